package evnode

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/celestiaorg/go-header/p2p"
	"github.com/celestiaorg/go-header/store"
	headersync "github.com/celestiaorg/go-header/sync"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/conngater"
	"github.com/stretchr/testify/require"
)

const (
	// soon is longer than anything here takes, on a busy machine too.
	soon = 3 * time.Minute
	// century is the trusting period and the pruning window of ev-node.
	century = 99 * 365 * 24 * time.Hour
	// maxGossip is the largest message ev-node takes.
	maxGossip = 5 << 20
)

// hints says where the halves of blocks lie on DA.
type hints struct {
	mu           sync.Mutex
	header, data map[uint64]uint64
}

func newHints() *hints { return &hints{header: map[uint64]uint64{}, data: map[uint64]uint64{}} }

func (x *hints) set(h *evHeader, kind string, daHeight uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if kind == "data" {
		x.data[h.Height()] = daHeight
		return
	}
	x.header[h.Height()] = daHeight
	if h.isEmpty() {
		x.data[h.Height()] = daHeight
	}
}

func (x *hints) hinted(h *evHeader) *evHeader {
	x.mu.Lock()
	defer x.mu.Unlock()
	return h.withHint(x.header[h.Height()])
}

func (x *hints) hintedData(d *evData) *evData {
	x.mu.Lock()
	defer x.mu.Unlock()
	return d.withHint(x.data[d.Height()])
}

// served is a store as ev-node's range server sees it: with DA hints, and items
// of both kinds under the hash of the stored SignedHeader and no other.
type served[H header.Header[H]] struct {
	*store.Store[H]

	hinted  func(H) H
	indexed func(hash header.Hash) (height uint64, ok bool)
}

func (s served[H]) Get(ctx context.Context, hash header.Hash) (H, error) {
	height, ok := s.indexed(hash)
	if !ok {
		var none H
		return none, header.ErrNotFound
	}
	return s.GetByHeight(ctx, height)
}

func (s served[H]) Head(ctx context.Context, opts ...header.HeadOption[H]) (H, error) {
	h, err := s.Store.Head(ctx, opts...)
	if err != nil {
		return h, err
	}
	return s.hinted(h), nil
}

func (s served[H]) GetByHeight(ctx context.Context, height uint64) (H, error) {
	h, err := s.Store.GetByHeight(ctx, height)
	if err != nil {
		return h, err
	}
	return s.hinted(h), nil
}

func (s served[H]) GetRange(ctx context.Context, from, to uint64) ([]H, error) {
	hs, err := s.Store.GetRange(ctx, from, to)
	for i := range hs {
		hs[i] = s.hinted(hs[i])
	}
	return hs, err
}

// service is ev-node's sync service of one kind.
type service[H header.Header[H]] struct {
	store  *store.Store[H]
	server *p2p.ExchangeServer[H]
	client *p2p.Exchange[H]
	sub    *p2p.Subscriber[H]
	syncer *headersync.Syncer[H]

	subscription header.Subscription[H]
	stop         []func()
}

// open starts what needs no block: the range server and the range client with
// its trusted peers.
func open[H header.Header[H]](t *testing.T, n *evNode, id string, view func(*store.Store[H]) header.Store[H]) *service[H] {
	t.Helper()
	ctx := t.Context()
	s := &service[H]{}
	var err error
	s.store, err = store.NewStore[H](dssync.MutexWrap(datastore.NewMapDatastore()), store.WithStorePrefix(id))
	require.NoError(t, err)
	require.NoError(t, s.store.Start(ctx))
	s.onStop(s.store.Stop)
	s.server, err = p2p.NewExchangeServer(n.host, view(s.store), p2p.WithNetworkID[p2p.ServerParameters](id))
	require.NoError(t, err)
	require.NoError(t, s.server.Start(ctx))
	s.onStop(s.server.Stop)
	gater, err := conngater.NewBasicConnectionGater(dssync.MutexWrap(datastore.NewMapDatastore()))
	require.NoError(t, err)
	s.client, err = p2p.NewExchange[H](n.host, n.trusted, gater,
		p2p.WithNetworkID[p2p.ClientParameters](id), p2p.WithChainID(n.chain))
	require.NoError(t, err)
	require.NoError(t, s.client.Start(ctx))
	s.onStop(s.client.Stop)
	s.sub, err = p2p.NewSubscriber[H](n.ps, pubsub.DefaultMsgIdFn, p2p.WithSubscriberNetworkID(id))
	require.NoError(t, err)
	s.syncer, err = headersync.NewSyncer[H](s.client, s.store, s.sub,
		headersync.WithTrustingPeriod(century), headersync.WithPruningWindow(century), headersync.WithBlockTime(time.Second))
	require.NoError(t, err)
	return s
}

func (s *service[H]) onStop(f func(context.Context) error) {
	s.stop = append(s.stop, func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		_ = f(ctx)
	})
}

func (s *service[H]) close() {
	for _, stop := range slices.Backward(s.stop) {
		stop()
	}
}

// follow initialises from peers, as a full node does.
func (s *service[H]) follow(t *testing.T, initial uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	first, err := s.client.GetByHeight(ctx, initial)
	require.NoError(t, err, "the initial item is got by range request")
	s.begin(t, first)
}

// begin starts Syncer and Subscriber behind the first item.
func (s *service[H]) begin(t *testing.T, first H) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	require.NoError(t, s.store.Append(ctx, first))
	require.NoError(t, s.store.Sync(ctx))
	require.NoError(t, s.syncer.Start(ctx))
	s.onStop(s.syncer.Stop)
	require.NoError(t, s.sub.Start(ctx))
	var err error
	s.subscription, err = s.sub.Subscribe()
	require.NoError(t, err)
	s.onStop(func(context.Context) error { s.subscription.Cancel(); return nil })
}

// publish is what the sequencer does with an item it made: the first one only
// goes into the store, others through the topic's own validator.
func (s *service[H]) publish(t *testing.T, item H) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if s.subscription == nil {
		s.begin(t, item)
		require.Error(t, s.sub.Broadcast(ctx, item), "the first item is a known one")
		return
	}
	require.NoError(t, s.sub.Broadcast(ctx, item))
	require.NoError(t, s.store.Sync(ctx))
}

// evNode is the P2P side of an ev-node.
type evNode struct {
	chain   string
	host    host.Host
	ps      *pubsub.PubSub
	trusted peer.IDSlice
	hints   *hints
	headers *service[*evHeader]
	data    *service[*evData]

	close func() // also at the end of the test

	mu     sync.Mutex
	heard  map[string][]*pubsub.Message // by topic, those of others
	faulty []error
}

// newEvNode starts host, FloodSub and both services. It stops with the test.
func newEvNode(t *testing.T, chain string, trusted ...string) *evNode {
	t.Helper()
	n := &evNode{chain: chain, hints: newHints(), heard: map[string][]*pubsub.Message{}}
	var err error
	n.host, err = libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.UserAgent("github.com/evstack/ev-node/apps/testapp@"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	n.ps, err = pubsub.NewFloodSub(ctx, n.host, pubsub.WithMaxMessageSize(maxGossip),
		pubsub.WithDefaultValidator(pubsub.ValidatorEx(n.overhear)))
	require.NoError(t, err)
	for _, address := range trusted {
		info, err := peer.AddrInfoFromString(address)
		require.NoError(t, err)
		require.NoError(t, n.host.Connect(t.Context(), *info))
		n.trusted = append(n.trusted, info.ID)
	}
	n.headers = open(t, n, chain+"-headerSync", func(s *store.Store[*evHeader]) header.Store[*evHeader] {
		return served[*evHeader]{Store: s, hinted: n.hints.hinted, indexed: n.indexed}
	})
	n.data = open(t, n, chain+"-dataSync", func(s *store.Store[*evData]) header.Store[*evData] {
		return served[*evData]{Store: s, hinted: n.hints.hintedData, indexed: n.indexed}
	})
	n.close = sync.OnceFunc(func() {
		n.data.close()
		n.headers.close()
		cancel()
		_ = n.host.Close()
	})
	t.Cleanup(n.close)
	return n
}

// indexed finds a height by SHA-256 of its SignedHeader.
func (n *evNode) indexed(hash header.Hash) (uint64, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	for height := uint64(1); height <= n.headers.store.Height(); height++ {
		h, err := n.headers.store.GetByHeight(ctx, height)
		if err == nil && bytes.Equal(sum(encode(h.signed())), hash) {
			return height, true
		}
	}
	return 0, false
}

// follow starts as a full node: headers first, then data.
func (n *evNode) follow(t *testing.T, initial uint64) {
	t.Helper()
	n.headers.follow(t, initial)
	n.data.follow(t, initial)
}

// publish gossips a block, header first.
func (n *evNode) publish(t *testing.T, b evBlock) {
	t.Helper()
	n.headers.publish(t, b.header)
	n.data.publish(t, b.data)
}

// block waits for both halves of a height.
func (n *evNode) block(t *testing.T, height uint64) evBlock {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	h, err := n.headers.store.GetByHeight(ctx, height)
	require.NoError(t, err, "header %d, store at %d", height, n.headers.store.Height())
	d, err := n.data.store.GetByHeight(ctx, height)
	require.NoError(t, err, "data %d, store at %d", height, n.data.store.Height())
	return evBlock{h, d}
}

// address is where others find the node.
func (n *evNode) address(t *testing.T) string {
	t.Helper()
	addrs, err := peer.AddrInfoToP2pAddrs(host.InfoFromHost(n.host))
	require.NoError(t, err)
	require.NotEmpty(t, addrs)
	return addrs[0].String()
}

// overhear looks at every message before the services do.
func (n *evNode) overhear(_ context.Context, _ peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	if msg.GetFrom() == n.host.ID() {
		return pubsub.ValidationAccept
	}
	if len(msg.Key) != 0 || len(msg.Seqno) != 8 || len(msg.Signature) != 64 {
		n.faulty = append(n.faulty, errors.New("message is not signed as StrictSign wants it"))
	}
	n.heard[msg.GetTopic()] = append(n.heard[msg.GetTopic()], msg)
	return pubsub.ValidationAccept
}

// gossiped returns what was heard on a topic.
func (n *evNode) gossiped(topic string) []*pubsub.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*pubsub.Message(nil), n.heard[topic]...)
}
