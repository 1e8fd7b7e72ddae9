package da

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Span is a duration in JSON, as text such as "500ms".
type Span time.Duration

// UnmarshalText reads a duration.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = Span(d)
	return err
}

// MarshalText writes a duration.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// Control is the body of POST /control. What is absent stays as it is.
type Control struct {
	BlockTime *Span   `json:"block_time,omitempty"`
	Latency   *Span   `json:"latency,omitempty"`
	Freeze    *bool   `json:"freeze,omitempty"`
	Outage    *Outage `json:"outage,omitempty"`
	// OutageFor ends the outage by itself. OutageRefuse needs it here: nobody could
	// ask for its end.
	OutageFor *Span `json:"outage_for,omitempty"`
	// PruneBelow forgets the blocks below a height.
	PruneBelow *uint64 `json:"prune_below,omitempty"`
	// ClearFailures removes all failures, before Fail adds one.
	ClearFailures bool     `json:"clear_failures,omitempty"`
	Fail          *Failure `json:"fail,omitempty"`
	// Produce makes one block now.
	Produce bool `json:"produce,omitempty"`
}

// ServerStatus is the answer of /control.
type ServerStatus struct {
	Height    uint64    `json:"height"`
	Tail      uint64    `json:"tail"`
	Pending   int       `json:"pending"`
	BlockTime Span      `json:"block_time"`
	Latency   Span      `json:"latency"`
	Freeze    bool      `json:"freeze"`
	Outage    Outage    `json:"outage"`
	Failures  []Failure `json:"failures"`
}

// maxControlBytes bounds the body of a control request.
const maxControlBytes = 64 << 10

func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		http.Error(w, "only from loopback", http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		// A web page cannot send this type to another site without asking first.
		if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			http.Error(w, "want Content-Type: application/json", http.StatusUnsupportedMediaType)
			return
		}
		var c Control
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBytes))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := s.apply(c); err != nil { //nolint:contextcheck // the listener outlives the request
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	default:
		http.Error(w, "want GET or POST", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(s.Status()); err != nil {
		s.log.Debug("control answer not written", zap.Error(err))
	}
}

func (c Control) validate() error {
	switch {
	case c.BlockTime != nil && time.Duration(*c.BlockTime) < MinBlockTime:
		return fmt.Errorf("block_time is %s, want at least %s", time.Duration(*c.BlockTime), MinBlockTime)
	case c.Latency != nil && *c.Latency < 0:
		return fmt.Errorf("latency is %s, want 0s or more", time.Duration(*c.Latency))
	case c.Outage != nil && !c.Outage.known():
		return fmt.Errorf("outage is %q, want none, refuse, drop or hang", *c.Outage)
	case c.Outage != nil && *c.Outage == OutageRefuse && (c.OutageFor == nil || *c.OutageFor <= 0):
		return errors.New("outage refuse closes this endpoint too, want outage_for")
	case c.OutageFor != nil && c.Outage == nil:
		return errors.New("outage_for without outage")
	case c.Fail != nil && (c.Fail.Rate < 0 || c.Fail.Rate > 1 || c.Fail.Next < 0):
		return errors.New("fail wants a rate of 0 to 1 and next of 0 or more")
	}
	return nil
}

// apply works the switches; a refusing outage comes last, for it cuts the caller off.
func (s *Server) apply(c Control) error {
	if err := c.validate(); err != nil {
		return err
	}
	if c.BlockTime != nil {
		s.SetBlockTime(time.Duration(*c.BlockTime))
	}
	if c.Latency != nil {
		s.SetLatency(time.Duration(*c.Latency))
	}
	if c.Freeze != nil {
		s.SetFreeze(*c.Freeze)
	}
	if c.ClearFailures {
		s.ClearFailures()
	}
	if c.Fail != nil {
		s.Fail(*c.Fail)
	}
	if c.PruneBelow != nil {
		if err := s.PruneBelow(*c.PruneBelow); err != nil {
			return err
		}
	}
	if c.Produce {
		if _, err := s.Produce(); err != nil {
			return err
		}
	}
	if c.Outage == nil {
		return nil
	}
	var last time.Duration
	if c.OutageFor != nil {
		last = time.Duration(*c.OutageFor)
	}
	return s.setOutage(*c.Outage, last)
}

// SetBlockTime changes the time from block to block.
func (s *Server) SetBlockTime(d time.Duration) {
	s.change(func(l *ledger) { l.blockTime = max(d, MinBlockTime) })
}

// SetFreeze stops making blocks, or goes on.
func (s *Server) SetFreeze(frozen bool) { s.change(func(l *ledger) { l.frozen = frozen }) }

func (s *Server) change(f func(*ledger)) {
	if n, err := s.opened(); err == nil {
		n.set(f)
	}
}

// SetLatency delays every call from now on.
func (s *Server) SetLatency(d time.Duration) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.latency = d
}

// Fail adds a failure.
func (s *Server) Fail(f Failure) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.failures = append(s.faults.failures, f)
}

// ClearFailures lets all calls succeed again.
func (s *Server) ClearFailures() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.failures = nil
}

// PruneBelow forgets the blocks below a height, at most up to the head.
func (s *Server) PruneBelow(height uint64) error {
	n, err := s.opened()
	if err != nil {
		return err
	}
	return n.prune(height)
}

// Produce makes one block now, also on a frozen chain, and returns its height.
func (s *Server) Produce() (uint64, error) {
	n, err := s.opened()
	if err != nil {
		return 0, err
	}
	return n.produce(s.clock())
}

// SetOutage begins or ends an outage. When it returns the outage is in force: with
// OutageRefuse the port is closed, and afterwards it is open again.
func (s *Server) SetOutage(o Outage) error { return s.setOutage(o, 0) }

// setOutage begins or ends an outage. A new one lasts for a time, unless that is
// 0; the end of the one before it is off.
func (s *Server) setOutage(o Outage, last time.Duration) error {
	if !o.known() {
		return fmt.Errorf("outage %q: want none, refuse, drop or hang", o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.node == nil {
		return errServerClosed
	}
	if s.reopen != nil {
		s.reopen.Stop()
		s.reopen = nil
	}
	if err := s.enforce(o); err != nil {
		return err
	}
	if last > 0 {
		s.endOutageAfter(last)
	}
	return nil
}

// enforce puts an outage into force. The caller holds mu.
func (s *Server) enforce(o Outage) error {
	s.faults.setOutage(o)
	if o == OutageRefuse {
		s.shut(s.session)
		s.session = nil
		return nil
	}
	if s.session == nil && s.cfg.Listen != "" {
		return s.open(context.Background())
	}
	return nil
}

// endOutageAfter ends the present outage later. The caller holds mu.
func (s *Server) endOutageAfter(d time.Duration) {
	var mine *time.Timer
	mine = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed || s.reopen != mine { // another outage has begun since
			return
		}
		if err := s.enforce(OutageNone); err != nil {
			s.log.Warn("local da cannot open its port again", zap.Error(err))
			s.endOutageAfter(reopenRetry)
		}
	})
	s.reopen = mine
}

// Status tells where the chain and the switches are.
func (s *Server) Status() ServerStatus {
	s.faults.mu.Lock()
	st := ServerStatus{
		Latency:  Span(s.faults.latency),
		Outage:   s.faults.outage,
		Failures: append([]Failure{}, s.faults.failures...),
	}
	s.faults.mu.Unlock()
	n, err := s.opened()
	if err != nil {
		return st
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	st.Height, st.Tail, st.Pending = n.meta.head, n.meta.tail, len(n.pending)
	st.BlockTime, st.Freeze = Span(n.blockTime), n.frozen
	return st
}
