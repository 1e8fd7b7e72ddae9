package block

// MessageKind is what a message of the proposer is.
type MessageKind uint8

// The messages a proposer signs. Their encodings cannot be mistaken for each other:
// only that of a header has a varint as field 2.
const (
	MessageHeader   MessageKind = iota + 1 // a header: one per height, ever
	MessageEnvelope                        // a signed header as it lies on DA
	MessageData                            // data as it lies on DA
)

// String returns the kind's name.
func (k MessageKind) String() string {
	switch k {
	case MessageHeader:
		return "header"
	case MessageEnvelope:
		return "header envelope"
	case MessageData:
		return "data"
	}
	return "unknown message"
}

// Message is what a proposer's key is asked to sign. It is built from the item
// itself, so the kind and the height are those of the bytes: a signer may decide
// by them.
type Message struct {
	kind   MessageKind
	height uint64
	bytes  []byte
}

// HeaderMessage returns the message whose signature makes h a signed header. It is
// the slim encoding: the legacy one is verified and never signed.
func HeaderMessage(h *SignedHeader) Message {
	return Message{kind: MessageHeader, height: h.Height(), bytes: h.payload}
}

// EnvelopeMessage returns the message that authenticates a signed header on DA.
func EnvelopeMessage(h *SignedHeader) Message {
	return Message{kind: MessageEnvelope, height: h.Height(), bytes: h.Encode()}
}

// DataMessage returns the message that authenticates data on DA.
func DataMessage(d *Data) Message {
	return Message{kind: MessageData, height: d.Height(), bytes: d.Encode()}
}

// Kind returns what the message is.
func (m Message) Kind() MessageKind { return m.kind }

// Height returns the height of the header or data.
func (m Message) Height() uint64 { return m.height }

// Bytes returns what is signed. The caller must not change it.
func (m Message) Bytes() []byte { return m.bytes }

// Mark returns what a signer remembers of a header message.
func (m Message) Mark() Mark { return Mark{Height: m.height, Payload: Sum(m.bytes)} }

// Mark is the newest header a key has signed.
type Mark struct {
	Height uint64
	// Payload is the hash of the signed bytes; zero when only the height is known.
	Payload Hash
}

// Memory is what a signer remembers of its headers.
type Memory struct {
	Mark

	// Certain says that the key signed no header above the mark as long as the
	// memory is not an old copy. Without it, nothing is remembered for certain.
	Certain bool
	// Disownable says that the mark was written just before the machine went down:
	// its signature may never have been given out. See Signer.Disown.
	Disownable bool
}
