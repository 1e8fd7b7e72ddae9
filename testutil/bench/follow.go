package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/syncer"
)

// shelf is a store in memory that costs next to nothing, so that what moves the
// blocks is what is measured.
type shelf[H header.Header[H]] struct {
	header.Store[H] // what is missing here is not called

	mu    sync.Mutex
	items []H
	wrote time.Time // end of the last Append
}

// Append implements header.Store.
func (s *shelf[H]) Append(_ context.Context, items ...H) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, items...)
	s.wrote = time.Now()
	return nil
}

// Height implements header.Store.
func (s *shelf[H]) Height() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.items))
}

// GetRange implements header.Store.
func (s *shelf[H]) GetRange(_ context.Context, from, to uint64) ([]H, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[from-1 : to-1 : to-1], nil
}

// table is a sink that takes everything.
type table struct {
	next    atomic.Uint64
	applied chan uint64
}

// Next implements syncer.Sink.
func (t *table) Next() uint64 { return t.next.Load() + 1 }

// Apply implements syncer.Sink.
func (t *table) Apply(_ context.Context, blocks []block.Block, _ block.Source) error {
	last := blocks[len(blocks)-1].Height()
	t.next.Store(last)
	t.applied <- last
	return nil
}

// rig is two shelves that announce what is put on them, a table, and what moves
// the blocks from one to the other.
type rig struct {
	headerShelf *shelf[*block.SignedHeader]
	dataShelf   *shelf[*block.Data]
	headers     header.Store[*block.SignedHeader]
	data        header.Store[*block.Data]
	table       *table
	fetched     chan time.Time // begin of every fetch
	mover       mover
}

// mover brings blocks from the stores to the sink.
type mover interface {
	Run(ctx context.Context) error
}

// source tells when a fetch began.
type source struct {
	*shelf[*block.SignedHeader]
	began chan<- time.Time
}

// GetRange implements syncer.Source.
func (s source) GetRange(ctx context.Context, from, to uint64) ([]*block.SignedHeader, error) {
	select {
	case s.began <- time.Now():
	default:
	}
	return s.shelf.GetRange(ctx, from, to)
}

// newRig returns a rig with the syncer or, with every, a poller.
func newRig(every time.Duration) *rig {
	const room = 1 << 16
	events := notifier.New()
	r := &rig{
		headerShelf: new(shelf[*block.SignedHeader]), dataShelf: new(shelf[*block.Data]),
		table: &table{applied: make(chan uint64, room)}, fetched: make(chan time.Time, 1),
	}
	r.headers = instrumented.Wrap[*block.SignedHeader](r.headerShelf, events, notifier.Header)
	r.data = instrumented.Wrap[*block.Data](r.dataShelf, events, notifier.Data)
	from := source{r.headerShelf, r.fetched}
	if every > 0 {
		r.mover = &poller{every: every, headers: from, data: r.dataShelf, sink: r.table}
		return r
	}
	r.mover = syncer.New(syncer.Params{
		Headers: from, Data: r.dataShelf, Sink: r.table, Notifier: events, Config: syncer.Default(), Log: zap.NewNop(),
	})
	return r
}

// put stores blocks, header first.
func (r *rig) put(ctx context.Context, blocks ...block.Block) error {
	for _, b := range blocks {
		if err := r.headers.Append(ctx, b.Header); err != nil {
			return fmt.Errorf("put: %w", err)
		}
		if err := r.data.Append(ctx, b.Data); err != nil {
			return fmt.Errorf("put: %w", err)
		}
	}
	return nil
}

// running runs the mover for f.
func (r *rig) running(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.mover.Run(ctx) }()
	err := f()
	cancel()
	if runErr := <-ended; err == nil {
		err = runErr
	}
	return err
}

// poller is what was there before the syncer: it looks at the stores on every
// tick. It lives here to be compared with.
type poller struct {
	every   time.Duration
	headers syncer.Source[*block.SignedHeader]
	data    syncer.Source[*block.Data]
	sink    syncer.Sink
}

// Run polls until ctx ends.
func (p *poller) Run(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := p.look(ctx); err != nil {
			return err
		}
	}
}

func (p *poller) look(ctx context.Context) error {
	next, head := p.sink.Next(), min(p.headers.Height(), p.data.Height())
	if next > head {
		return nil
	}
	headers, err := p.headers.GetRange(ctx, next, head+1)
	if err != nil {
		return fmt.Errorf("poll headers: %w", err)
	}
	data, err := p.data.GetRange(ctx, next, head+1)
	if err != nil {
		return fmt.Errorf("poll data: %w", err)
	}
	blocks := make([]block.Block, len(headers))
	for i := range blocks {
		blocks[i] = block.Block{Header: headers[i], Data: data[i]}
	}
	return p.sink.Apply(ctx, blocks, block.SourceP2P)
}

// followSpec says what moves the blocks in a child.
type followSpec struct{ Every time.Duration }

// followChild runs a mover to which nothing comes.
func followChild(ctx context.Context, raw []byte, say *speaker, commands <-chan string) error {
	var spec followSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	return newRig(spec.Every).running(ctx, func() error {
		if err := say.say(message{Event: eventReady, Now: mine()}); err != nil {
			return err
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-commands:
				if err := say.say(message{Event: eventReport, Now: mine()}); err != nil {
					return err
				}
			}
		}
	})
}
