package testnet

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/sequencer"
)

// signatures are all payloads that were ever signed with the proposer's key, over
// all restarts of the sequencer.
type signatures struct {
	t    testing.TB
	free bool // two payloads of a height are what the test is about

	mu   sync.Mutex
	seen map[signature]block.Hash
}

type signature struct {
	what   string
	height uint64
}

func newSignatures(tb testing.TB) *signatures {
	tb.Helper()
	return &signatures{t: tb, seen: map[signature]block.Hash{}}
}

// record notes what a message is and fails the test when another one of the same
// height was signed before. Envelopes repeat a signed header and count as such.
func (s *signatures) record(message []byte) {
	var key signature
	payload := block.Sum(message)
	if h, err := block.DecodeHeader(message); err == nil && h.ChainID != "" && len(h.ProposerAddress) > 0 {
		key = signature{"header", h.Height}
	} else if e, err := block.DecodeSignedHeader(message); err == nil {
		key, payload = signature{"header", e.Height()}, e.Digest()
	} else if d, err := block.DecodeData(message); err == nil && d.Metadata != nil {
		key = signature{"data", d.Height()}
	} else {
		s.t.Errorf("something unknown was signed: %X", message)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.seen[key]; ok && have != payload && !s.free {
		s.t.Errorf("two %s payloads of height %d were signed", key.what, key.height)
	}
	s.seen[key] = payload
}

// highest returns the highest height of which a header was signed.
func (s *signatures) highest() (height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.seen {
		height = max(height, key.height)
	}
	return height
}

// forget takes back the header of a height, whose signature nobody can have seen.
func (s *signatures) forget(height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, signature{"header", height})
}

// guardedSigner is what signs in a real sequencer.
type guardedSigner interface {
	app.Signer
	sequencer.Disowner
}

// recordedSigner is the proposer's key in one run of the sequencer.
type recordedSigner struct {
	guardedSigner

	all  *signatures
	dead atomic.Bool // what is signed from now on nobody will see
}

// Sign implements sequencer.Signer.
func (r *recordedSigner) Sign(ctx context.Context, m block.Message) ([]byte, error) {
	signature, err := r.guardedSigner.Sign(ctx, m)
	if err == nil && !r.dead.Load() {
		r.all.record(m.Bytes())
	}
	return signature, err //nolint:wrapcheck // a pass-through
}

// Disown implements sequencer.Disowner. The signature was lost with the machine.
func (r *recordedSigner) Disown(ctx context.Context, m block.Mark) error {
	if err := r.guardedSigner.Disown(ctx, m); err != nil {
		return err //nolint:wrapcheck // a pass-through
	}
	r.all.forget(m.Height)
	return nil
}
