package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	header "github.com/celestiaorg/go-header"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
)

// ErrStopped is returned by Broadcast after Run has ended.
var ErrStopped = errors.New("exchange is stopped")

// Item is a header or data: what an exchange moves.
type Item[H any] interface {
	header.Header[H]
	EncodeP2P() []byte
	WithDAHint(daHeight uint64) H
	Size() int
	// Held returns the bytes the item takes in memory.
	Held() int
	// IsP2P reports whether b is what EncodeP2P returns.
	IsP2P(b []byte) bool
	Digest() block.Hash
}

// core is what both kinds of exchange are built from.
type core[H Item[H]] struct {
	net       Network
	store     header.Store[H]
	genesis   block.Genesis
	kind      block.Kind
	cfg       Config
	hint      Hint
	now       func() time.Time
	log       *zap.Logger
	tracer    *blocktrace.Tracer
	conflicts func(*block.Conflict[H], peer.ID)
	hinted    func(H, peer.ID)
	blame     func(peer.ID, Fault, error)
	headers   func() (<-chan struct{}, func()) // wake-ups by the header store
}

// Exchange gossips, serves and fetches one kind of item. See Run.
type Exchange[H Item[H]] struct {
	core[H]

	rules rules[H]
	topic string
	proto protocol.ID

	started atomic.Bool
	ready   chan struct{} // closed once the topic is joined
	stopped chan struct{} // closed when Run ends
	wake    chan struct{} // capacity 1: look again
	forks   chan peer.ID  // capacity 1: this peer's chain does not join ours
	gate    gate          // counts handlers and validators under way

	host host.Host
	pub  *pubsub.Topic

	mu       sync.Mutex // serialises all that ends in an append
	park     park[H]
	reported seen // conflicts already reported

	strangers strangers

	heard      quiet // when gossip was heard last
	peers      peerSet
	claims     claims
	serving    serving // answers under way
	reads      chan struct{}
	meter      meter   // what each peer is served
	checks     limiter // gossip under check
	gossip     budget  // its bytes
	quarantine quarantine
	relayed    relayed
	noise      noise
	bufs       sync.Pool
	status     status
	counts     counters
}

func newExchange[H Item[H]](c core[H], r func(func() time.Time) rules[H]) *Exchange[H] {
	if c.log == nil {
		c.log = zap.NewNop()
	}
	c.log = c.log.With(zap.Stringer("kind", c.kind))
	if c.now == nil {
		c.now = time.Now
	}
	if c.hint == nil {
		c.hint = func(uint64) uint64 { return 0 }
	}
	topic, proto := wireNames(c.genesis.ChainID, c.kind)
	e := &Exchange[H]{
		core: c, rules: r(c.now), topic: topic, proto: proto,
		ready: make(chan struct{}), stopped: make(chan struct{}), wake: make(chan struct{}, 1), forks: make(chan peer.ID, 1),
	}
	e.park.init(c.cfg.ParkHeights, c.cfg.ParkBytes)
	e.peers.init(c.cfg)
	e.peers.held = e.rules.held
	e.serving.init(c.cfg)
	e.reads = make(chan struct{}, serveReads)
	e.claims.init()
	e.relayed.init()
	e.noise.init()
	e.meter.init(c.cfg.ServeRate, max(2*c.cfg.ServeRate, c.cfg.ResponseBytes+block.MaxFrameBytes))
	e.checks.init(gossipChecks, gossipChecks/2)
	e.gossip.init(c.cfg.GossipBytes, c.cfg.GossipPeerBytes)
	e.quarantine.init(c.cfg.QuarantineBytes, c.cfg.QuarantinePeerBytes)
	e.gate.init()
	e.bufs.New = func() any { return new(buffers) }
	return e
}

// HeaderProtocol returns the name of the range protocol for headers of a chain,
// which all its peers speak.
func HeaderProtocol(chain string) protocol.ID {
	_, proto := wireNames(chain, block.KindHeader)
	return proto
}

// Topics returns the names of the gossip topics of a chain.
func Topics(chain string) []string {
	headers, _ := wireNames(chain, block.KindHeader)
	data, _ := wireNames(chain, block.KindData)
	return []string{headers, data}
}

// wireNames returns the topic and the protocol of a kind (evolve-wire §5.3).
func wireNames(chain string, k block.Kind) (topic string, proto protocol.ID) {
	id := chain + "-headerSync"
	if k == block.KindData {
		id = chain + "-dataSync"
	}
	return "/" + id + "/header-sub/v0.0.1", protocol.ID("/" + id + "/header-ex/v0.0.3")
}

// Topic returns the name of the gossip topic.
func (e *Exchange[H]) Topic() string { return e.topic }

// Protocol returns the name of the range protocol.
func (e *Exchange[H]) Protocol() protocol.ID { return e.proto }

// Run gossips, serves and syncs until ctx ends, then waits for everything it
// started. It can run once.
func (e *Exchange[H]) Run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return errors.New("exchange runs once only")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer close(e.stopped)
	e.host = e.net.Host()
	leave, err := e.join(ctx)
	if err != nil {
		return fmt.Errorf("join %s: %w", e.topic, err)
	}
	e.host.SetStreamHandler(e.proto, e.handler(ctx))
	close(e.ready)
	defer func() {
		cancel()
		e.host.RemoveStreamHandler(e.proto)
		leave()
		e.gate.close()
	}()
	return newPuller(e).run(ctx)
}

// Broadcast publishes an item that is already in the store. It waits for Run to
// have joined the topic.
func (e *Exchange[H]) Broadcast(ctx context.Context, item H) error {
	if err := e.joined(ctx, item); err != nil {
		return err
	}
	if err := e.pub.Publish(ctx, item.EncodeP2P(), pubsub.WithValidatorData(item)); err != nil {
		return fmt.Errorf("broadcast %d: %w", item.Height(), err)
	}
	e.counts.broadcasts.Add(1)
	return nil
}

// prepared marks a message of Prepare for the validator.
type prepared[H any] struct{ item H }

// Prepare makes the message of an item that was made here and returns what
// publishes it, once. Making it takes longer than sending it (two operations with
// the node's key), so it is done while the item is on its way to the disk;
// publish is for when it has arrived there. Nothing has to be undone when publish
// is not called. Prepare waits for Run to have joined the topic.
func (e *Exchange[H]) Prepare(ctx context.Context, item H) (publish func() error, err error) {
	if err := e.joined(ctx, item); err != nil {
		return nil, err
	}
	batch := new(pubsub.MessageBatch)
	if err := e.pub.AddToBatch(ctx, batch, item.EncodeP2P(), pubsub.WithValidatorData(prepared[H]{item})); err != nil {
		return nil, fmt.Errorf("broadcast %d: %w", item.Height(), err)
	}
	return func() error {
		if !e.gate.enter() { // behind it pubsub is alive
			return ErrStopped
		}
		defer e.gate.leave()
		if err := e.net.PubSub().PublishBatch(batch); err != nil {
			return fmt.Errorf("broadcast %d: %w", item.Height(), err)
		}
		e.counts.broadcasts.Add(1)
		return nil
	}, nil
}

// joined waits for Run to have joined the topic.
func (e *Exchange[H]) joined(ctx context.Context, item H) error {
	select {
	case <-e.ready:
		return nil
	case <-e.stopped:
		return ErrStopped
	case <-ctx.Done():
		return fmt.Errorf("broadcast %d: %w", item.Height(), ctx.Err())
	}
}

// Wake makes Run look again. Writers need it only when they cut the store back;
// whatever else changes is noticed.
func (e *Exchange[H]) Wake() { e.poke() }

// poke makes Run look again.
func (e *Exchange[H]) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
