package daworker

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

func headerNS() da.Namespace { return da.Namespace{28: 1} }
func dataNS() da.Namespace   { return da.Namespace{28: 2} }

func blob(ns da.Namespace, b []byte) da.Blob {
	return da.Blob{Namespace: ns, Data: b, Commitment: sha256.Sum256(append(ns[:], b...))}
}

// fakeDA serves scripted heights.
type fakeDA struct {
	da.Client

	mu      sync.Mutex
	heights map[uint64][]da.Blob
	head    uint64
	latency func(height uint64) time.Duration
	fail    func(height uint64) error // 0 is Head
	watch   func(ctx context.Context) (<-chan uint64, error)

	heads, flying, mostFlying int
	asked                     []uint64
}

func newFakeDA() *fakeDA { return &fakeDA{heights: make(map[uint64][]da.Blob)} }

func (f *fakeDA) set(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

// put adds blobs at a height and moves the head there.
func (f *fakeDA) put(height uint64, blobs ...da.Blob) {
	f.set(func() {
		f.heights[height] = append(f.heights[height], blobs...)
		f.head = max(f.head, height)
	})
}

// polls returns how often the head was asked for; reads returns the heights read.
func (f *fakeDA) polls() (n int) {
	f.set(func() { n = f.heads })
	return n
}

func (f *fakeDA) reads() (heights []uint64) {
	f.set(func() { heights = slices.Clone(f.asked) })
	return heights
}

func (f *fakeDA) Head(context.Context) (da.Head, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heads++
	if f.fail != nil {
		if err := f.fail(0); err != nil {
			return da.Head{}, err
		}
	}
	return da.Head{Height: f.head}, nil
}

func (f *fakeDA) Blobs(ctx context.Context, height uint64, ns ...da.Namespace) ([]da.Blob, error) {
	f.mu.Lock()
	f.asked = append(f.asked, height)
	f.flying++
	f.mostFlying = max(f.mostFlying, f.flying)
	latency := f.latency
	f.mu.Unlock()
	defer f.set(func() { f.flying-- })
	if latency != nil {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(latency(height)):
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		if err := f.fail(height); err != nil {
			return nil, err
		}
	}
	if height > f.head {
		return nil, da.ErrFuture
	}
	var out []da.Blob
	for _, b := range f.heights[height] {
		if slices.Contains(ns, b.Namespace) {
			out = append(out, b)
		}
	}
	return out, nil
}

func (f *fakeDA) Watch(ctx context.Context) (<-chan uint64, error) {
	f.mu.Lock()
	watch := f.watch
	f.mu.Unlock()
	if watch == nil {
		return nil, errors.New("no stream here")
	}
	return watch(ctx)
}

var errCrash = errors.New("crashed")

// faults lets a process die at its n-th call, before or after the call's effect.
type faults struct {
	mu    sync.Mutex
	calls int
	at    int // 0 never
	after bool
	dead  bool
}

func (f *faults) call(effect func() error) error {
	if f == nil {
		return effect()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errCrash
	}
	f.calls++
	if f.calls != f.at {
		return effect()
	}
	f.dead = true
	if f.after {
		_ = effect()
	}
	return errCrash
}

// memStore is a store that does what chainstore promises.
type memStore[H header.Header[H]] struct {
	mu      sync.Mutex
	initial uint64
	items   map[uint64]H
	height  uint64
	faults  *faults
	appends int
	gets    int
}

func newMemStore[H header.Header[H]](initial uint64) *memStore[H] {
	return &memStore[H]{initial: initial, items: make(map[uint64]H)}
}

func (s *memStore[H]) Height() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.height
}

func (s *memStore[H]) GetRange(_ context.Context, from, to uint64) ([]H, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	var out []H
	for ; from < to; from++ {
		h, ok := s.items[from]
		if !ok {
			break
		}
		out = append(out, h)
	}
	if len(out) == 0 {
		return nil, header.ErrNotFound
	}
	return out, nil
}

func (s *memStore[H]) Append(_ context.Context, hs ...H) error {
	return s.faults.call(func() error { return s.put(hs...) })
}

func (s *memStore[H]) put(hs ...H) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hs {
		if have, ok := s.items[h.Height()]; ok && string(have.Hash()) != string(h.Hash()) {
			return &block.Conflict[H]{Height: h.Height(), Have: have, Got: h}
		}
	}
	for _, h := range hs {
		s.items[h.Height()] = h
	}
	s.appends++
	s.height = max(s.height, s.initial-1)
	for {
		if _, ok := s.items[s.height+1]; !ok {
			break
		}
		s.height++
	}
	if s.height < s.initial {
		s.height = 0
	}
	return nil
}

func (s *memStore[H]) at(height uint64) H {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[height]
}

func (s *memStore[H]) writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appends
}

func (s *memStore[H]) reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets
}

func (s *memStore[H]) truncate(to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.items, func(h uint64, _ H) bool { return h > to })
	s.height = to
}

// fakeSink persists what it is told.
type fakeSink struct {
	mu     sync.Mutex
	faults *faults
	err    error
	cursor uint64 // floor
	scan   uint64
	seen   map[block.Inclusion]uint64 // DA height zeroed → first DA height
	marks  map[uint64]block.Included
	calls  int
}

func (s *fakeSink) Include(_ context.Context, incs []block.Inclusion, read block.DAPositions) error {
	return s.faults.call(func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err != nil {
			return s.err
		}
		s.calls++
		s.cursor, s.scan = read.Floor, read.Scanned
		for _, i := range incs {
			at := i.DAHeight
			i.DAHeight, i.Header = 0, nil
			if _, ok := s.seen[i]; !ok {
				s.seen[i] = at
				s.mark(i, at)
			}
		}
		return nil
	})
}

// mark keeps the first of a height and kind.
func (s *fakeSink) mark(i block.Inclusion, at uint64) {
	if s.marks == nil {
		s.marks = make(map[uint64]block.Included)
	}
	in := s.marks[i.Height]
	switch {
	case i.Kind == block.KindHeader && in.HeaderDA == 0:
		in.HeaderHash, in.HeaderDA = i.Hash, at
	case i.Kind == block.KindData && in.DataDA == 0:
		in.Commitment, in.DataDA = i.Hash, at
	}
	s.marks[i.Height] = in
}

func (s *fakeSink) reports() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *fakeSink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *fakeSink) at() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor
}

func (s *fakeSink) positions() block.DAPositions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return block.DAPositions{Floor: s.cursor, Scanned: s.scan}
}

func (s *fakeSink) where(height uint64, kind block.Kind, hash block.Hash) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[block.Inclusion{Height: height, Kind: kind, Hash: hash}]
}

type proposers func(height uint64) []byte

func (p proposers) Judge(height uint64, address []byte) block.Standing {
	switch want := p(height); {
	case want == nil:
		return block.Unproven
	case string(want) == string(address):
		return block.Expected
	}
	return block.Unexpected
}

func (p proposers) Changed() <-chan struct{} { return nil }

// env is one node around the worker: what survives a restart, and the DA layer.
type env struct {
	chain   *testutil.Chain
	da      *fakeDA
	headers *memStore[*block.SignedHeader]
	data    *memStore[*block.Data]
	sink    *fakeSink
	params  Params
}

func newEnv() *env {
	e := &env{
		chain: testutil.NewChain("torture"), da: newFakeDA(),
		headers: newMemStore[*block.SignedHeader](1), data: newMemStore[*block.Data](1),
		sink: &fakeSink{seen: make(map[block.Inclusion]uint64)},
	}
	config := Default()
	config.Watch = false
	e.params = Params{
		Client: e.da, Genesis: e.chain.Genesis, HeaderNS: headerNS(), DataNS: dataNS(),
		Headers: e.headers, Data: e.data, Sink: e.sink, DA: e.sink.positions, Config: config, Log: zap.NewNop(),
		Proposers: proposers(func(uint64) []byte { return e.chain.Genesis.ProposerAddress }),
		Now:       func() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) },
	}
	return e
}

func (e *env) header(b block.Block) da.Blob {
	return blob(headerNS(), testutil.Envelope(e.chain.Key, b.Header))
}

func (e *env) body(b block.Block) da.Blob {
	return blob(dataNS(), testutil.DataBlob(e.chain.Key, b.Data))
}

// postEach posts one whole block per DA height, from 1 on.
func (e *env) postEach(bs []block.Block) {
	for i, b := range bs {
		e.da.put(uint64(i+1), e.header(b), e.body(b))
	}
}

// run runs a worker until the returned function is called.
func (e *env) run(t *testing.T) (*Worker, func() error) {
	t.Helper()
	w := New(e.params)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	synctest.Wait()
	return w, func() error {
		cancel()
		return <-done
	}
}

// crash makes the node die at its n-th call; n 0 means never.
func (e *env) crash(at int, after bool) *faults {
	f := &faults{at: at, after: after}
	e.headers.faults, e.data.faults, e.sink.faults = f, f, f
	return f
}

// requireAll checks that the chain is stored and reported, whole and exact.
func (e *env) requireAll(t require.TestingT, bs []block.Block) {
	require.Equal(t, bs[len(bs)-1].Height(), e.headers.Height(), "header head")
	require.Equal(t, bs[len(bs)-1].Height(), e.data.Height(), "data head")
	for _, b := range bs {
		require.Equal(t, b.Header.Digest(), e.headers.at(b.Height()).Digest())
		require.Equal(t, b.Data.Digest(), e.data.at(b.Height()).Digest())
		require.NotZero(t, e.sink.where(b.Height(), block.KindHeader, b.Header.Digest()), "header %d", b.Height())
		if !b.Header.IsEmpty() {
			require.NotZero(t, e.sink.where(b.Height(), block.KindData, b.Data.Commitment()), "data %d", b.Height())
		}
	}
}

// ends lets time pass, for all of the chain to be there, and stops.
func (e *env) ends(t *testing.T, after time.Duration, bs []block.Block, stop func() error) {
	t.Helper()
	time.Sleep(after)
	synctest.Wait()
	e.requireAll(t, bs)
	require.NoError(t, stop())
}

// fakeMarks is what the node knows of the chain: everything stored is applied, and
// final as far as the sink was told of it without a gap.
type fakeMarks struct{ e *env }

func (e *env) marks() Marks { return fakeMarks{e} }

func (m fakeMarks) Applied() uint64 {
	if m.e.params.HeadersOnly {
		return m.e.headers.Height()
	}
	return min(m.e.headers.Height(), m.e.data.Height())
}

func (m fakeMarks) Final() uint64 {
	for h := uint64(1); ; h++ {
		in, _ := m.Inclusion(context.Background(), h)
		if h > m.Applied() || in.HeaderDA == 0 || in.DataDA == 0 && !m.e.params.HeadersOnly && !m.e.headers.at(h).IsEmpty() {
			return h - 1
		}
	}
}

func (m fakeMarks) Included() (top uint64) {
	m.e.sink.mu.Lock()
	defer m.e.sink.mu.Unlock()
	for height := range m.e.sink.marks {
		top = max(top, height)
	}
	return top
}

func (m fakeMarks) Inclusion(_ context.Context, height uint64) (block.Included, error) {
	m.e.sink.mu.Lock()
	defer m.e.sink.mu.Unlock()
	return m.e.sink.marks[height], nil
}
