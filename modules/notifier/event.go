package notifier

import "time"

// EventType says what grew.
type EventType uint8

// The types of events.
const (
	Header   EventType = iota + 1 // the header store
	Data                          // the data store
	Applied                       // the applied head
	Final                         // the final head
	Conflict                      // what is known of headers signed twice

	typeCount = iota + 1
)

// String returns the type as it appears in logs and metrics.
func (t EventType) String() string {
	switch t {
	case Header:
		return "header"
	case Data:
		return "data"
	case Applied:
		return "applied"
	case Final:
		return "final"
	case Conflict:
		return "conflict"
	default:
		return "unknown"
	}
}

// Source says who caused the change. It keeps what came from this node itself
// from being announced to the network again.
type Source uint8

// The sources of events.
const (
	P2P   Source = iota + 1 // learnt from a peer
	Local                   // produced here, or read from DA
)

// String returns the source as it appears in logs and metrics.
func (s Source) String() string {
	switch s {
	case P2P:
		return "p2p"
	case Local:
		return "local"
	default:
		return "unknown"
	}
}

// Event says that something grew to a height. It is a plain value of 96 bytes.
type Event struct {
	Type      EventType
	Source    Source
	Span      SpanContext // the operation that caused it; zero when not traced
	Height    uint64
	Hash      [32]byte // of the item at Height
	Timestamp time.Time
}

// SpanContext is the identity of a span, laid out as OpenTelemetry has it, so
// that the work an event causes can be linked to what caused the event.
type SpanContext struct {
	TraceID [16]byte
	SpanID  [8]byte
	Flags   byte
}
