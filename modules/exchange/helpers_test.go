package exchange

import (
	"bytes"
	"context"
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

const (
	chainID = "c1"
	soon    = time.Minute
)

// memStore is header.Store in memory: contiguous, synchronous, conflict-true.
type memStore[H Item[H]] struct {
	mu      sync.Mutex
	items   map[uint64]H
	tail    uint64
	head    uint64
	appends int
	ranges  int
	changed chan struct{}
	fail    error
}

func newStore[H Item[H]](items ...H) *memStore[H] {
	s := &memStore[H]{items: map[uint64]H{}, changed: make(chan struct{})}
	if err := s.Append(context.Background(), items...); err != nil {
		panic(err)
	}
	return s
}

func (s *memStore[H]) Append(_ context.Context, items ...H) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for _, item := range items {
		if have, ok := s.items[item.Height()]; ok && have.Digest() != item.Digest() {
			return &block.Conflict[H]{Height: item.Height(), Have: have, Got: item}
		}
	}
	for _, item := range items {
		if len(s.items) == 0 {
			s.tail, s.head = item.Height(), item.Height()-1
		}
		s.items[item.Height()] = item
	}
	s.appends++
	for _, ok := s.items[s.head+1]; ok; _, ok = s.items[s.head+1] {
		s.head++
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *memStore[H]) Height() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head
}

func (s *memStore[H]) at(height uint64) (H, error) {
	if len(s.items) == 0 {
		var none H
		return none, header.ErrEmptyStore
	}
	return s.items[height], nil
}

func (s *memStore[H]) Head(context.Context, ...header.HeadOption[H]) (H, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(s.head)
}

func (s *memStore[H]) Tail(context.Context) (H, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(s.tail)
}

func (s *memStore[H]) GetByHeight(ctx context.Context, height uint64) (H, error) {
	for {
		s.mu.Lock()
		item, ok := s.items[height]
		changed, head := s.changed, s.head
		s.mu.Unlock()
		if ok {
			return item, nil
		}
		if height <= head {
			return item, header.ErrNotFound
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return item, ctx.Err()
		}
	}
}

func (s *memStore[H]) Get(_ context.Context, hash header.Hash) (H, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, item := range s.items {
		if bytes.Equal(item.Hash(), hash) {
			return item, nil
		}
		if h, ok := any(item).(*block.SignedHeader); ok {
			if sum := sha256.Sum256(h.Encode()); bytes.Equal(sum[:], hash) {
				return item, nil
			}
		}
	}
	var none H
	return none, header.ErrNotFound
}

func (s *memStore[H]) Has(ctx context.Context, hash header.Hash) (bool, error) {
	_, err := s.Get(ctx, hash)
	return err == nil, nil
}

func (s *memStore[H]) HasAt(_ context.Context, height uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return height >= s.tail && height <= s.head
}

func (s *memStore[H]) GetRange(_ context.Context, from, to uint64) ([]H, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges++
	var out []H
	for ; from < to; from++ {
		item, ok := s.items[from]
		if !ok {
			break
		}
		out = append(out, item)
	}
	if len(out) == 0 {
		return nil, header.ErrNotFound
	}
	return out, nil
}

func (s *memStore[H]) GetRangeByHeight(ctx context.Context, from H, to uint64) ([]H, error) {
	return s.GetRange(ctx, from.Height()+1, to)
}
func (s *memStore[H]) DeleteRange(context.Context, uint64, uint64) error { return nil }
func (s *memStore[H]) OnDelete(func(context.Context, uint64) error)      {}

// events is what app binds HeaderEvents to: a coalesced wake-up per change.
func (s *memStore[H]) events(tb testing.TB) func() (<-chan struct{}, func()) {
	tb.Helper()
	return func() (<-chan struct{}, func()) {
		out, stop := make(chan struct{}, 1), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				s.mu.Lock()
				changed := s.changed
				s.mu.Unlock()
				select {
				case out <- struct{}{}:
				default:
				}
				select {
				case <-changed:
				case <-stop:
					return
				}
			}
		})
		return out, func() { close(stop); wg.Wait() }
	}
}

// reaches waits until the store is at a height.
func (s *memStore[H]) reaches(tb testing.TB, height uint64) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), soon)
	defer cancel()
	for s.Height() < height {
		s.mu.Lock()
		changed, head := s.changed, s.head
		s.mu.Unlock()
		if head >= height {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(tb, "store stays behind", "at %d, want %d", s.Height(), height)
		}
	}
}

// machine is a libp2p host with pubsub.
type machine struct {
	host host.Host
	ps   *pubsub.PubSub
}

func (m *machine) Host() host.Host        { return m.host }
func (m *machine) PubSub() *pubsub.PubSub { return m.ps }

const maxMessage = 2 * block.MaxBlobBytes

func newMachine(tb testing.TB) *machine {
	tb.Helper()
	return machineOf(tb, func(ctx context.Context, h host.Host, opts ...pubsub.Option) (*pubsub.PubSub, error) {
		return pubsub.NewGossipSub(ctx, h, append(opts, pubsub.WithFloodPublish(true))...)
	})
}

func newFloodMachine(tb testing.TB) *machine {
	tb.Helper()
	return machineOf(tb, pubsub.NewFloodSub)
}

func machineOf(tb testing.TB, router func(context.Context, host.Host, ...pubsub.Option) (*pubsub.PubSub, error)) *machine {
	tb.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics(), libp2p.ResourceManager(nil), libp2p.DisableRelay())
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(tb.Context())
	ps, err := router(ctx, h, pubsub.WithMaxMessageSize(maxMessage), pubsub.WithPeerOutboundQueueSize(256), pubsub.WithValidateQueueSize(1024))
	require.NoError(tb, err)
	tb.Cleanup(func() { cancel(); _ = h.Close() })
	return &machine{host: h, ps: ps}
}

func connect(tb testing.TB, a, b *machine) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), soon)
	defer cancel()
	require.NoError(tb, a.host.Connect(ctx, peer.AddrInfo{ID: b.host.ID(), Addrs: b.host.Addrs()}))
}

// proposers says the same address for every height.
type proposers []byte

func (p proposers) Judge(_ uint64, address []byte) block.Standing {
	if bytes.Equal(p, address) {
		return block.Expected
	}
	return block.Unexpected
}

func (p proposers) Changed() <-chan struct{} { return nil }

// clock is shortly after the newest block of the tests.
func clock() time.Time { return time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC) }

type headerNode struct {
	*machine
	store     *memStore[*block.SignedHeader]
	ex        *Exchange[*block.SignedHeader]
	mu        sync.Mutex
	conflicts []*block.Conflict[*block.SignedHeader]
	blamed    map[peer.ID]error
	faults    map[peer.ID][]Fault
}

type tune func(*HeaderParams)

func quick(c *Config) {
	c.RetryMin, c.RetryMax = 20*time.Millisecond, 200*time.Millisecond
	c.RequestTimeout = 2 * time.Second
}

func newHeaderNode(tb testing.TB, c *testutil.Chain, bs []block.Block, opts ...tune) *headerNode {
	tb.Helper()
	return headerNodeOn(tb, newMachine(tb), c, bs, opts...)
}

func headerNodeOn(tb testing.TB, m *machine, c *testutil.Chain, bs []block.Block, opts ...tune) *headerNode {
	tb.Helper()
	n := &headerNode{machine: m, store: newStore[*block.SignedHeader](testutil.Headers(bs)...), blamed: map[peer.ID]error{}, faults: map[peer.ID][]Fault{}}
	p := HeaderParams{
		Network: m, Store: n.store, Genesis: c.Genesis, Proposers: proposers(c.Genesis.ProposerAddress), Now: clock, Config: Default(),
		Conflicts: func(c *block.Conflict[*block.SignedHeader], _ peer.ID) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.conflicts = append(n.conflicts, c)
		},
		Blame: func(p peer.ID, f Fault, err error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.blamed[p] = err
			n.faults[p] = append(n.faults[p], f)
		},
	}
	quick(&p.Config)
	for _, o := range opts {
		o(&p)
	}
	n.ex = NewHeaders(p)
	start(tb, n.ex)
	return n
}

func (n *headerNode) blames(p peer.ID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.blamed[p]
}

func (n *headerNode) conflictCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conflicts)
}

type dataNode struct {
	*headerNode
	data *memStore[*block.Data]
	dx   *Exchange[*block.Data]
}

func newDataNode(tb testing.TB, c *testutil.Chain, bs []block.Block, opts ...func(*DataParams)) *dataNode {
	tb.Helper()
	return dataNodeOn(tb, newHeaderNode(tb, c, bs), c, bs, opts...)
}

func newFloodNode(tb testing.TB, c *testutil.Chain, bs []block.Block) *dataNode {
	tb.Helper()
	return dataNodeOn(tb, headerNodeOn(tb, newFloodMachine(tb), c, bs), c, bs)
}

func dataNodeOn(tb testing.TB, h *headerNode, c *testutil.Chain, bs []block.Block, opts ...func(*DataParams)) *dataNode {
	tb.Helper()
	n := &dataNode{headerNode: h, data: newStore[*block.Data](testutil.DataOf(bs)...)}
	p := DataParams{
		Network: n.machine, Store: n.data, Headers: n.store, HeaderEvents: n.store.events(tb), Genesis: c.Genesis, Now: clock, Config: Default(),
	}
	quick(&p.Config)
	for _, o := range opts {
		o(&p)
	}
	n.dx = NewData(p)
	start(tb, n.dx)
	return n
}

// start runs an exchange until the test ends.
func start[H Item[H]](tb testing.TB, e *Exchange[H]) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	<-e.ready
	tb.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(tb, err)
		case <-time.After(soon):
			require.Fail(tb, "run does not return")
		}
	})
}

// meshed waits until a publishes to n peers.
func meshed[H Item[H]](tb testing.TB, e *Exchange[H], n int) {
	tb.Helper()
	eventually(tb, func() bool { return len(e.pub.ListPeers()) >= n }, "%s: topic has no peers", e.topic)
}

func eventually(tb testing.TB, ok func() bool, msg string, args ...any) {
	tb.Helper()
	require.Eventuallyf(tb, ok, soon, time.Millisecond, msg, args...)
}
