package syncer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/testutil"
)

func TestMain(m *testing.M) { testutil.LeaksMain(m) }

// chain is what all tests sync: making it once saves signing it again.
var chain = sync.OnceValue(func() []block.Block { return testutil.NewChain("syncer-test").Blocks(600, 1) })

// shelf is a synchronous store in memory. What it does not implement is not
// called.
type shelf[H header.Header[H]] struct {
	header.Store[H]

	mu    sync.Mutex
	items []H
	most  int     // items of one range; 0 is no limit
	fails []error // of the next ranges
	sneak []func()
}

// Height also runs the next sneak after it took the height and before the
// caller has it: the least lucky moment for something to happen.
func (s *shelf[H]) Height() uint64 {
	s.mu.Lock()
	height := uint64(len(s.items))
	var sneak func()
	if len(s.sneak) > 0 {
		sneak, s.sneak = s.sneak[0], s.sneak[1:]
	}
	s.mu.Unlock()
	if sneak != nil {
		sneak()
	}
	return height
}

func (s *shelf[H]) sneakIn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sneak = append(s.sneak, f)
}

func (s *shelf[H]) pendingSneaks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sneak)
}

func (s *shelf[H]) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items)
}

func (s *shelf[H]) Append(_ context.Context, items ...H) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, items...)
	return nil
}

func (s *shelf[H]) GetRange(ctx context.Context, from, to uint64) ([]H, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		return nil, err
	}
	if from < 1 || from >= to || to > uint64(len(s.items))+1 {
		return nil, fmt.Errorf("range [%d, %d) of %d items", from, to, len(s.items))
	}
	if s.most > 0 {
		to = min(to, from+uint64(s.most))
	}
	return s.items[from-1 : to-1 : to-1], ctx.Err()
}

func (s *shelf[H]) truncate(height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = s.items[:height]
}

func (s *shelf[H]) failNext(errs ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = append(s.fails, errs...)
}

// call is one Apply.
type call struct {
	from, to uint64
	src      block.Source
}

// table is a sink that checks what it is served.
type table struct {
	mu    sync.Mutex
	next  uint64
	calls []call
	fails []error
	slow  time.Duration
	wrong error // the first thing that must not happen
	onErr func()

	applied chan uint64 // told of every new height when not nil
}

func (t *table) Next() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

func (t *table) jump(by uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next += by
}

func (t *table) failNext(errs ...error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fails = append(t.fails, errs...)
}

func (t *table) seen() []call {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]call(nil), t.calls...)
}

func (t *table) Apply(ctx context.Context, blocks []block.Block, src block.Source) error {
	if t.slow > 0 {
		select {
		case <-time.After(t.slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	from, to := blocks[0].Height(), blocks[len(blocks)-1].Height()
	t.calls = append(t.calls, call{from, to, src})
	t.check(blocks)
	if len(t.fails) > 0 {
		err := t.fails[0]
		t.fails = t.fails[1:]
		if t.onErr != nil {
			t.onErr()
		}
		if err != nil {
			return err
		}
	}
	if to >= t.next {
		t.next = to + 1
		if t.applied != nil {
			t.applied <- to
		}
	}
	return nil
}

func (t *table) check(blocks []block.Block) {
	for i, b := range blocks {
		switch {
		case t.wrong != nil:
		case b.Height() != blocks[0].Height()+uint64(i):
			t.wrong = fmt.Errorf("block %d follows %d", b.Height(), blocks[i-1].Height())
		case b.Data != nil && b.Data.Height() != b.Height():
			t.wrong = fmt.Errorf("header %d with data %d", b.Height(), b.Data.Height())
		case b.Height() > t.next && i == 0:
			t.wrong = fmt.Errorf("gap: %d wanted, %d served", t.next, b.Height())
		}
	}
}

// rig is a syncer between two shelves and a table.
type rig struct {
	tb      testing.TB
	t       *testing.T // of the bubble; nil outside of one
	events  *notifier.Notifier
	headers *shelf[*block.SignedHeader]
	data    *shelf[*block.Data]
	// The announcing views of the shelves.
	headerView header.Store[*block.SignedHeader]
	dataView   header.Store[*block.Data]
	sink       *table
	logs       *observer.ObservedLogs
	params     syncer.Params
	syncer     *syncer.Syncer
	stop       func() error
	writer     sync.Mutex // what comes next and writing it are one
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	core, logs := observer.New(zap.DebugLevel)
	r := &rig{
		tb: tb, events: notifier.New(), sink: &table{next: 1}, logs: logs,
		headers: &shelf[*block.SignedHeader]{}, data: &shelf[*block.Data]{},
	}
	r.headerView = instrumented.Wrap[*block.SignedHeader](r.headers, r.events, notifier.Header)
	r.dataView = instrumented.Wrap[*block.Data](r.data, r.events, notifier.Data)
	r.params = syncer.Params{
		Headers: r.headers, Data: r.data, Sink: r.sink, Notifier: r.events, Config: syncer.Default(), Log: zap.New(core),
	}
	return r
}

// start runs a new syncer; stop ends it and returns what Run returned.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.syncer = syncer.New(r.params)
	ended := make(chan error, 1)
	go func() { ended <- r.syncer.Run(ctx) }()
	r.stop = func() error {
		defer cancel()
		r.stop = func() error { return nil }
		select {
		case err := <-ended: // by itself
			return err
		default:
			cancel()
			return <-ended
		}
	}
}

// addHeaders appends the next n headers of the chain through a store view.
func (r *rig) addHeaders(view header.Store[*block.SignedHeader], n int, src notifier.Source) {
	r.tb.Helper()
	r.writer.Lock()
	defer r.writer.Unlock()
	at := r.headers.count()
	items := testutil.Headers(chain()[at : at+n])
	require.NoError(r.tb, view.Append(instrumented.WithSource(context.Background(), src), items...))
}

func (r *rig) addData(view header.Store[*block.Data], n int, src notifier.Source) {
	r.tb.Helper()
	r.writer.Lock()
	defer r.writer.Unlock()
	at := r.data.count()
	items := testutil.DataOf(chain()[at : at+n])
	require.NoError(r.tb, view.Append(instrumented.WithSource(context.Background(), src), items...))
}

// add appends n whole blocks and announces them.
func (r *rig) add(n int, src notifier.Source) {
	r.tb.Helper()
	r.addHeaders(r.headerView, n, src)
	r.addData(r.dataView, n, src)
}

// fill appends n whole blocks that nobody hears of.
func (r *rig) fill(n int) {
	r.tb.Helper()
	r.addHeaders(r.headers, n, notifier.P2P)
	r.addData(r.data, n, notifier.P2P)
}

// bubble runs a test of a rig in virtual time and sees to it that nothing is
// left of it.
func bubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.t, r.stop = t, func() error { return nil }
		f(r)
		require.NoError(t, r.stop())
		require.NoError(t, r.sink.wrong)
	})
}

var errFlaky = errors.New("flaky")
