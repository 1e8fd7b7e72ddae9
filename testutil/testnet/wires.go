package testnet

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/modules/p2p"
)

// wires is the network between the nodes: QUIC packets over simnet, with links
// that can be cut. A cut drops packets silently, as a real one does.
type wires struct {
	net *simnet.Simnet

	mu    sync.Mutex
	cut   map[[2]string]bool // by IP, in both directions
	alone map[string]bool
	noise Noise
	rand  *rand.Rand
}

// Noise is how unreliable a source is. Shares are of 1.
type Noise struct {
	Drop, Duplicate float64
	// Delay is the longest a packet or call is held back; those that are held for
	// different times change their order.
	Delay time.Duration
}

// bandwidth of every node, in bits per second: enough not to matter.
const bandwidth = 1_000_000_000

func newWires(latency time.Duration) *wires {
	w := &wires{
		net:   &simnet.Simnet{LatencyFunc: simnet.StaticLatency(latency), Logger: slog.New(slog.DiscardHandler)},
		cut:   map[[2]string]bool{},
		alone: map[string]bool{},
		rand:  rand.New(rand.NewPCG(0, 0)), //nolint:gosec // repeatable, not secret
	}
	w.net.Start()
	return w
}

// port is one node's side of the network, for one run of the node.
type port struct {
	wires *wires
	dead  atomic.Bool // the process is gone: nothing gets out any more
}

// options puts a libp2p host on the network.
func (p *port) options() p2p.Options {
	source := new(sourceIP)
	listen := func(_ string, address *net.UDPAddr) (net.PacketConn, error) {
		source.ip.Store(&address.IP)
		return p.wires.endpoint(p, address), nil
	}
	newManager := func(lc fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		m, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			lc.Append(fx.StopHook(m.Close)) // libp2p closes only those it has made itself
		}
		return m, err
	}
	return p2p.Options{
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.QUICReuse(newManager,
			quicreuse.OverrideListenUDP(listen),
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return source, nil }),
		),
		// Looks at the addresses others see on a ticker that never lets a bubble rest.
		libp2p.DisableIdentifyAddressDiscovery(),
	}
}

// sourceIP is the address the node has, whoever it talks to.
type sourceIP struct{ ip atomic.Pointer[net.IP] }

// PreferredSourceIPForDestination implements quicreuse.SourceIPSelector.
func (s *sourceIP) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return *s.ip.Load(), nil
}

func (w *wires) endpoint(p *port, address *net.UDPAddr) net.PacketConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	link := simnet.LinkSettings{BitsPerSecond: bandwidth}
	return &endpoint{
		SimConn: w.net.NewEndpoint(address, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
		port:    p, from: address.IP.String(),
	}
}

// endpoint is a socket that loses what is sent over a cut link.
type endpoint struct {
	*simnet.SimConn
	port *port
	from string
}

// WriteTo implements net.PacketConn.
func (e *endpoint) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if e.port.dead.Load() || ok && e.port.wires.severed(e.from, udp.IP.String()) {
		return len(b), nil
	}
	copies, delay := e.port.wires.fate()
	for range copies {
		if delay == 0 {
			if n, err := e.SimConn.WriteTo(b, to); err != nil {
				return n, err //nolint:wrapcheck // a pass-through
			}
			continue
		}
		late := bytes.Clone(b)
		time.AfterFunc(delay, func() { _, _ = e.SimConn.WriteTo(late, to) }) // the socket may be closed by then
	}
	return len(b), nil
}

// fate draws what becomes of a packet.
func (w *wires) fate() (copies int, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.noise.draw(w.rand)
}

func (n Noise) draw(r *rand.Rand) (copies int, delay time.Duration) {
	if n == (Noise{}) {
		return 1, 0
	}
	if n.Delay > 0 {
		delay = time.Duration(r.Int64N(int64(n.Delay)))
	}
	switch x := r.Float64(); {
	case x < n.Drop:
		return 0, 0
	case x < n.Drop+n.Duplicate:
		return 2, delay
	}
	return 1, delay
}

// setNoise makes all links unreliable, by the seed.
func (w *wires) setNoise(n Noise, seed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noise, w.rand = n, rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // repeatable, not secret
}

func (w *wires) severed(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alone[from] || w.alone[to] || w.cut[[2]string{from, to}]
}

func (w *wires) setCut(a, b string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = cut, cut
}

func (w *wires) setAlone(ip string, alone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alone[ip] = alone
}

func (w *wires) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cut)
	clear(w.alone)
}
