package sequencer

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// SubmitterParams is what a Submitter is made of.
type SubmitterParams struct {
	Config     Config
	Genesis    block.Genesis
	Signer     Signer
	Chain      Chain
	Store      Store
	Headers    Reader[*block.SignedHeader]
	Data       Reader[*block.Data]
	Client     da.Client
	Namespaces Namespaces
	Problems   *problems.Board // nil: none
	Log        *zap.Logger
	Tracer     *blocktrace.Tracer // nil: none
}

// Submitter posts headers and data to DA, independently of one another, each in
// height order. All methods may be used from many goroutines; Run only once.
type Submitter struct {
	p      SubmitterParams
	signer block.Signer
	header *lane
	data   *lane
	limit  limit

	mu       sync.Mutex
	progress chan struct{}
	saving   sync.Mutex // one SaveSubmitted at a time, in order
}

// SubmitterStats is a snapshot of what a Submitter does.
type SubmitterStats struct {
	Header LaneStats
	Data   LaneStats
}

// LaneStats says how far one kind of item is known to lie on DA.
type LaneStats struct {
	Submitted   uint64    // every height up to here was read back from DA, or has nothing to post
	Lag         uint64    // applied heights above it
	DAHeight    uint64    // where the last posting is said to lie, 0 before one did
	LastPosted  time.Time // when that was known
	Submissions uint64    // calls of Submit that succeeded
	Resent      uint64    // items posted again: their outcome stayed unknown, or DA lost them
	WaitingFor  string    // empty while there is nothing to do
	Held        string    // why nothing gets on now; empty while things go as they should
	LastError   string    // the failure that goes on, or nothing
}

// NewSubmitter returns a Submitter that does nothing until Run.
func NewSubmitter(p SubmitterParams) *Submitter {
	s := &Submitter{p: p, signer: block.NewSigner(p.Signer.Public()), progress: make(chan struct{})}
	s.header = newLane(s, block.KindHeader, p.Namespaces.Header)
	s.header.read = s.readHeaders
	s.data = newLane(s, block.KindData, p.Namespaces.Data)
	s.data.read = s.readData
	return s
}

// Submitted returns the last heights that were read back from DA.
func (s *Submitter) Submitted() (header, data uint64) {
	header, data = s.p.Store.Submitted()
	return max(header, s.header.done()), max(data, s.data.done())
}

// Progress returns a channel that is closed at the next change of Submitted.
func (s *Submitter) Progress() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

func (s *Submitter) advanced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.progress)
	s.progress = make(chan struct{})
}

// Largest returns how many bytes the way to DA takes at once, as far as refusals
// have shown it; 0 when no limit is known.
func (s *Submitter) Largest() int { return s.limit.known() }

// Stats returns what the Submitter is doing.
func (s *Submitter) Stats() SubmitterStats {
	applied := s.p.Chain.State().LastHeight
	return SubmitterStats{Header: s.header.snapshot(applied), Data: s.data.snapshot(applied)}
}

// Run posts until ctx ends. An error means that the store or the signer failed for
// good; what DA does never ends it.
func (s *Submitter) Run(ctx context.Context) error {
	if err := s.limit.load(s.p.Store, s.p.Config.Submit.MaxBytes); err != nil {
		return err
	}
	header, data := s.p.Store.Submitted()
	s.header.begin(header)
	s.data.begin(data)
	g, lanes := errgroup.WithContext(ctx)
	g.Go(func() error { return s.header.run(lanes) })
	g.Go(func() error { return s.data.run(lanes) })
	err := g.Wait()
	if ctx.Err() == nil {
		return err
	}
	return s.save(context.WithoutCancel(ctx))
}

// save keeps how far both lanes are.
func (s *Submitter) save(ctx context.Context) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	header, data := s.Submitted()
	if err := s.p.Store.SaveSubmitted(ctx, header, data); err != nil {
		return fmt.Errorf("save submitted heights %d and %d: %w", header, data, err)
	}
	return nil
}

// mine reports whether this node's key signed a header.
func (s *Submitter) mine(h *block.SignedHeader) bool {
	return bytes.Equal(h.Header.ProposerAddress, s.signer.Address)
}

// readHeaders returns what has to be posted for heights [from, to).
func (s *Submitter) readHeaders(ctx context.Context, from, to uint64) ([]item, error) {
	hs, err := s.p.Headers.GetRange(ctx, from, to)
	if err != nil {
		return nil, err
	}
	items := make([]item, len(hs))
	for i, h := range hs {
		items[i] = item{height: h.Height(), hash: h.Digest()}
		if !s.mine(h) {
			items[i].skip = true // another proposer's; only its key can sign the envelope
			continue
		}
		items[i].size = h.Size()
		items[i].encode = func(ctx context.Context) ([]byte, error) {
			signature, err := s.p.Signer.Sign(ctx, block.EnvelopeMessage(h))
			return block.HeaderEnvelope{Header: h, Signature: signature}.Encode(), err
		}
	}
	return items, nil
}

// readData returns what has to be posted for heights [from, to).
func (s *Submitter) readData(ctx context.Context, from, to uint64) ([]item, error) {
	ds, err := s.p.Data.GetRange(ctx, from, to)
	if err != nil {
		return nil, err
	}
	hs, err := s.p.Headers.GetRange(ctx, from, to)
	if err != nil {
		return nil, err
	}
	items := make([]item, min(len(ds), len(hs)))
	for i, d := range ds[:len(items)] {
		items[i] = item{height: d.Height(), hash: d.Commitment()}
		if len(d.Txs) == 0 || !s.mine(hs[i]) {
			items[i].skip = true // never on DA, or for another proposer to post
			continue
		}
		items[i].size = d.Size()
		items[i].encode = func(ctx context.Context) ([]byte, error) {
			signature, err := s.p.Signer.Sign(ctx, block.DataMessage(d))
			return block.SignedData{Data: d, Signature: signature, Signer: s.signer}.Encode(), err
		}
	}
	return items, nil
}
