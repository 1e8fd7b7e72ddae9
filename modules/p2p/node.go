package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry/problems"
)

// Options are further libp2p options, after the node's own; tests put in-memory
// transports there.
type Options []libp2p.Option

// Params of a Node.
type Params struct {
	Config    Config
	ChainID   string
	Key       crypto.PrivKey
	UserAgent string
	// ChainProtocol is what peers of the chain speak; with none of them the node is
	// isolated. Empty takes every peer for one.
	ChainProtocol protocol.ID
	// Topics are those that will be joined. Peers may subscribe to them from the
	// start, and to no others before they are joined.
	Topics  []string
	Options Options
	// Problems hears of peers with other keys than expected; nil hears nothing.
	Problems *problems.Board
	Log      *zap.Logger
}

// Node is the libp2p side of the node. Host and PubSub are there from Start to
// Close.
type Node struct {
	p      Params
	gater  *gater
	static map[peer.ID]struct{}
	scores *scores
	rates  *rates
	queues *queues
	known  acquaintances

	unchecked *unchecked
	topics    *topics

	expelled chan peer.ID  // to be disconnected
	doubled  chan peer.ID  // have two connections of one sort
	lifted   chan struct{} // capacity 1: a ban was lifted
	rescues  atomic.Uint64

	mu     sync.Mutex
	stop   context.CancelFunc
	host   host.Host
	pubsub *pubsub.PubSub
	dht    *dht.IpfsDHT
}

// maxExpelled is how many peers may wait to be disconnected.
const maxExpelled = 64

// New checks the lists of peers. Nothing is opened before Start.
func New(p Params) (*Node, error) {
	if err := p.Config.Validate(); err != nil {
		return nil, err
	}
	blocked, err := peerIDs(p.Config.BlockedPeers)
	if err != nil {
		return nil, err
	}
	allowed, err := peerIDs(p.Config.AllowedPeers)
	if err != nil {
		return nil, err
	}
	static, err := p.Config.staticPeers()
	if err != nil {
		return nil, err
	}
	if len(allowed) > 0 {
		for _, info := range static {
			allowed[info.ID] = struct{}{}
		}
	}
	n := &Node{
		p: p, static: make(map[peer.ID]struct{}, len(static)), scores: newScores(p.Config), rates: newRates(p.Config),
		expelled: make(chan peer.ID, maxExpelled), doubled: make(chan peer.ID, maxExpelled), lifted: make(chan struct{}, 1),
	}
	for _, info := range static {
		n.static[info.ID] = struct{}{}
	}
	n.gater = &gater{blocked: blocked, allowed: allowed, free: n.permitted}
	n.topics = newTopics(p.Topics, func(id peer.ID) { n.Penalise(id, Invalid, "subscriptions to too many topics") })
	n.queues, n.unchecked = newQueues(p.Config, n.expel), newUnchecked(p.Config, n.ID(), n.topics)
	return n, nil
}

// Start listens. A port that is taken is an error that names the address. It
// dials nobody: that is Run's work, so that a dead peer cannot delay a start.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	// The start context dies when start-up ends; pubsub and DHT live until Close.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := n.open(life); err != nil {
		stop()
		return errors.Join(err, n.closeParts())
	}
	n.stop = stop
	if n.p.Config.Disabled {
		n.p.Log.Info("peers are disabled")
		return nil
	}
	n.p.Log.Info("listening for peers", zap.Strings("addresses", texts(n.addresses())))
	return nil
}

func (n *Node) open(ctx context.Context) error {
	cfg := n.p.Config
	opts := []libp2p.Option{
		libp2p.Identity(n.p.Key),
		libp2p.ListenAddrStrings(cfg.ListenAddresses...),
		libp2p.UserAgent(n.p.UserAgent),
		libp2p.ConnectionGater(n.gater),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	}
	if len(n.p.Options) == 0 {
		// No others: peers advertise what they like, and every transport would be dialled.
		opts = append(opts, libp2p.Transport(tcp.NewTCPTransport), libp2p.Transport(libp2pquic.NewTransport))
	}
	if cfg.Disabled {
		opts = append(opts, libp2p.NoListenAddrs)
	}
	if len(n.p.Options) == 0 && !cfg.Disabled {
		if err := probePorts(ctx, cfg.ListenAddresses); err != nil {
			return err
		}
	}
	resources, err := cfg.resources()
	if err != nil {
		return err
	}
	trimmer, err := cfg.trimmer()
	if err != nil {
		return errors.Join(err, resources.Close())
	}
	opts = append(opts, libp2p.ResourceManager(resources), libp2p.ConnectionManager(trimmer))
	if n.host, err = libp2p.New(append(opts, n.p.Options...)...); err != nil {
		err = fmt.Errorf("p2p: listen on %s: %w", strings.Join(cfg.ListenAddresses, ", "), err)
		return errors.Join(err, trimmer.Close(), resources.Close())
	}
	stale := &staleConns{doubled: func(id peer.ID) {
		select {
		case n.doubled <- id:
		default:
		}
	}}
	n.host.Network().Notify(stale.notifiee())
	// GossipSub among ourselves; with FloodSub peers it speaks FloodSub. Own
	// messages go to everybody at once: one hop is the tip latency of followers.
	guarded := guardedHost{Host: n.host, refused: func(id peer.ID, err error) { n.Penalise(id, Invalid, err.Error()) }}
	n.pubsub, err = pubsub.NewGossipSub(ctx, guarded, append(n.gossipOptions(),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMaxMessageSize(cfg.MaxMessageBytes),
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerOutboundQueueSize(256),
		pubsub.WithValidateQueueSize(1024),
	)...)
	if err != nil {
		return fmt.Errorf("start pubsub: %w", err)
	}
	if !cfg.DHT || cfg.Disabled {
		return nil
	}
	static, err := cfg.staticPeers()
	if err != nil {
		return err
	}
	bounds, err := tableOptions(n.p.ChainID)
	if err != nil {
		return err
	}
	n.dht, err = dht.New(n.host, append(bounds, dht.Mode(dht.ModeServer), dht.BootstrapPeers(static...))...)
	if err != nil {
		return fmt.Errorf("start DHT: %w", err)
	}
	return nil
}

// Close disconnects from everybody and stops what Start started.
func (n *Node) Close(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stop == nil {
		return nil
	}
	n.stop()
	n.stop = nil
	return n.closeParts()
}

func (n *Node) closeParts() error {
	var errs []error
	if n.dht != nil {
		errs = append(errs, n.dht.Close())
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	n.dht, n.host, n.pubsub = nil, nil, nil
	return errors.Join(errs...)
}

// Host returns the host, or nil before Start and after Close.
func (n *Node) Host() host.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host
}

// PubSub returns the pubsub, or nil before Start and after Close.
func (n *Node) PubSub() *pubsub.PubSub {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pubsub
}

// ID returns the peer id.
func (n *Node) ID() peer.ID {
	id, err := peer.IDFromPrivateKey(n.p.Key)
	if err != nil {
		return ""
	}
	return id
}

// Static returns the ids of the static peers.
func (n *Node) Static() []peer.ID {
	infos, err := n.p.Config.staticPeers()
	if err != nil {
		return nil // New has checked them
	}
	ids := make([]peer.ID, len(infos))
	for i, info := range infos {
		ids[i] = info.ID
	}
	return ids
}

// Addresses returns the addresses others can dial, each ending in /p2p/<id>.
func (n *Node) Addresses() []ma.Multiaddr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addresses()
}

func (n *Node) addresses() []ma.Multiaddr {
	if n.host == nil || len(n.host.Addrs()) == 0 {
		return nil
	}
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()})
	if err != nil {
		return nil
	}
	return addrs
}

// Block refuses a peer from now on and closes its connections.
func (n *Node) Block(id peer.ID) error {
	n.gater.block(id)
	if h := n.Host(); h != nil {
		if err := h.Network().ClosePeer(id); err != nil {
			return fmt.Errorf("disconnect %s: %w", id, err)
		}
	}
	return nil
}

// Unblock lets a peer connect again.
func (n *Node) Unblock(id peer.ID) { n.gater.unblock(id) }

// PeerInfo describes one connected peer.
type PeerInfo struct {
	ID        peer.ID
	Address   ma.Multiaddr
	Direction network.Direction
	Agent     string
	Since     time.Time
	Static    bool
	Chain     bool              // it speaks the chain's protocol
	Score     float64           // 0 is best, BanScore is banned
	Offences  map[string]uint64 // by reason
}

// Peers returns the connected peers, ordered by id.
func (n *Node) Peers() []PeerInfo {
	h := n.Host()
	if h == nil {
		return nil
	}
	var out []PeerInfo
	for _, id := range h.Network().Peers() {
		conns := h.Network().ConnsToPeer(id)
		if len(conns) == 0 {
			continue
		}
		agent, _ := h.Peerstore().Get(id, "AgentVersion")
		name, _ := agent.(string)
		out = append(out, PeerInfo{
			ID: id, Address: conns[0].RemoteMultiaddr(), Direction: conns[0].Stat().Direction,
			Agent: name, Since: conns[0].Stat().Opened,
			Static: n.isStatic(id), Chain: n.ofChain(h, id), Score: n.scores.score(id, time.Now()), Offences: n.scores.offences(id),
		})
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

func texts(addrs []ma.Multiaddr) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}
