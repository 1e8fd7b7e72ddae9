package exchange

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	manet "github.com/multiformats/go-multiaddr/net"
)

// errBusy ends a request that found no room in time.
var errBusy = errors.New("too many requests")

// serving shares what answers take, slots and bytes, among the peers that ask. When
// all of it is taken, answers that took their time give way to requests of others:
// soonest those of peers that were slow lately, then those of peers and subnets that
// hold more than the one that waits. So neither requests without end nor answers
// that are not read keep a peer from being served, whatever they number.
type serving struct {
	slots, perPeer int
	bytes          int64

	mu      sync.Mutex
	guests  map[peer.ID]*guest
	subnets map[netip.Prefix]int // slots held
	running map[*reply]struct{}
	waiting []*reply
	busy    int // guests that hold slots
	used    int64
	evicted atomic.Uint64
}

// guest is a peer that asks, or did lately.
type guest struct {
	streams int // open, with or without a slot
	running int // slots held
	bytes   int64
	slow    time.Time // until then it counts as slow
}

// reply is one answer, from the request on.
type reply struct {
	guest  *guest
	subnet netip.Prefix
	end    func()        // ends its stream
	ready  chan struct{} // closed with the slot
	state  replyState
	since  time.Time // of the slot
	bytes  int64
	sent   atomic.Int64
}

type replyState uint8

const (
	replyWaits replyState = iota
	replyRuns
	replyOver
)

// How long an answer keeps its slot at least while others wait for one.
const (
	// slowSlice is for peers that were slow lately.
	slowSlice = 500 * time.Millisecond
	// heavySlice is for those that hold more than the one that waits.
	heavySlice = time.Second
	// idleSlice is for answers below slowRate: one round trip of a long link.
	idleSlice = 3 * time.Second
	// fairSlice is for all others.
	fairSlice = 10 * time.Second
)

const (
	// slowRate is the bytes per second below which a peer counts as slow.
	slowRate = 64 << 10
	// slowTime is for how long.
	slowTime = time.Minute
	// mostGuests bounds the peers that are remembered.
	mostGuests = 1024
	// lookAgain is how often one that waits looks who could give way.
	lookAgain = 100 * time.Millisecond
)

func (s *serving) init(cfg Config) {
	s.slots, s.perPeer, s.bytes = max(cfg.Serve, 1), cfg.ServePeer, int64(cfg.ServeBytes)
	s.guests = make(map[peer.ID]*guest)
	s.subnets = make(map[netip.Prefix]int)
	s.running = make(map[*reply]struct{})
}

// open counts a stream of a peer, or reports that it has too many. The caller ends
// it with shut.
func (s *serving) open(conn network.ConnMultiaddrs, p peer.ID, end func()) (*reply, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.guests[p]
	if !ok {
		s.forget()
		g = &guest{}
		s.guests[p] = g
	}
	if g.streams >= s.perPeer {
		return nil, false
	}
	g.streams++
	return &reply{guest: g, subnet: subnetOf(conn), end: end, ready: make(chan struct{})}, true
}

// forget makes room for one more guest. The caller holds mu.
func (s *serving) forget() {
	if len(s.guests) < mostGuests {
		return
	}
	now := time.Now()
	var idle []peer.ID
	for id, g := range s.guests {
		switch {
		case g.streams > 0:
		case g.slow.After(now):
			idle = append(idle, id)
		default:
			delete(s.guests, id)
		}
	}
	if len(s.guests) >= mostGuests {
		for _, id := range idle {
			delete(s.guests, id)
		}
	}
}

// shut ends what open began and gives back what the reply holds.
func (s *serving) shut(r *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.guest.streams--
	s.leave(r)
}

// acquire waits for a slot.
func (s *serving) acquire(ctx context.Context, r *reply) error {
	s.mu.Lock()
	s.waiting = append(s.waiting, r)
	s.contend()
	s.mu.Unlock()
	select {
	case <-r.ready:
		return nil
	default:
	}
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		select {
		case <-r.ready:
			return nil
		case <-again.C:
			s.mu.Lock()
			s.contend()
			s.mu.Unlock()
		case <-ctx.Done():
			return errBusy
		}
	}
}

// contend hands out the slots that are free and those that must be given up. The
// caller holds mu.
func (s *serving) contend() {
	s.admit()
	now := time.Now()
	for r := s.best(now); r != nil; r = s.best(now) {
		x := s.victim(r, now, func(x *reply) int64 { return int64(now.Sub(x.since)) })
		if x == nil {
			return
		}
		s.evict(x, now)
	}
}

// admit gives the free slots to those that wait. The caller holds mu.
func (s *serving) admit() {
	now := time.Now()
	for len(s.running) < s.slots && len(s.waiting) > 0 {
		r := s.best(now)
		s.waiting = slices.DeleteFunc(s.waiting, func(x *reply) bool { return x == r })
		r.state, r.since = replyRuns, now
		if r.guest.running++; r.guest.running == 1 {
			s.busy++
		}
		s.subnets[r.subnet]++
		s.running[r] = struct{}{}
		close(r.ready)
	}
}

// best returns the reply that is next: of a peer that was not slow lately, of the
// subnet and the peer that hold least, in the order they came. The caller holds mu.
func (s *serving) best(now time.Time) *reply {
	var best *reply
	for _, r := range s.waiting {
		if best == nil || s.before(r, best, now) {
			best = r
		}
	}
	return best
}

func (s *serving) before(a, b *reply, now time.Time) bool {
	if slow := a.guest.slow.After(now); slow != b.guest.slow.After(now) {
		return !slow
	}
	if x, y := s.subnets[a.subnet], s.subnets[b.subnet]; x != y {
		return x < y
	}
	return a.guest.running < b.guest.running
}

// victim returns the running reply that must give way to r now, of several the one
// that weighs most; nil when there is none. The caller holds mu.
func (s *serving) victim(r *reply, now time.Time, weigh func(*reply) int64) *reply {
	var victim *reply
	var most int64
	for x := range s.running {
		if x.guest == r.guest || now.Sub(x.since) < s.slice(x, r, now) {
			continue
		}
		if w := weigh(x); victim == nil || w > most {
			victim, most = x, w
		}
	}
	return victim
}

// slice is how long x may keep its slot while r waits. The caller holds mu.
func (s *serving) slice(x, r *reply, now time.Time) time.Duration {
	switch {
	case r.guest.slow.After(now):
		return fairSlice
	case x.guest.slow.After(now):
		return slowSlice
	case x.guest.running > r.guest.running+1, s.subnets[x.subnet] > s.subnets[r.subnet]+1, x.guest.bytes > s.share():
		return heavySlice
	case x.idle(now):
		return idleSlice
	}
	return fairSlice
}

// idle reports whether the answer moves so slowly that its peer counts as slow.
func (r *reply) idle(now time.Time) bool {
	return float64(r.sent.Load()) < slowRate*now.Sub(r.since).Seconds()
}

// evict ends a running reply. The caller holds mu.
func (s *serving) evict(x *reply, now time.Time) {
	if x.idle(now) {
		x.guest.slow = now.Add(slowTime)
	}
	s.evicted.Add(1)
	s.leave(x)
	x.end()
}

// stalled notes that the peer of a reply did not read it.
func (s *serving) stalled(r *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.guest.slow = time.Now().Add(slowTime)
}

// leave gives back what a reply holds. The caller holds mu.
func (s *serving) leave(r *reply) {
	switch r.state {
	case replyWaits:
		s.waiting = slices.DeleteFunc(s.waiting, func(x *reply) bool { return x == r })
	case replyRuns:
		delete(s.running, r)
		if r.guest.running--; r.guest.running == 0 {
			s.busy--
		}
		if s.subnets[r.subnet]--; s.subnets[r.subnet] <= 0 {
			delete(s.subnets, r.subnet)
		}
		s.used -= r.bytes
		r.guest.bytes -= r.bytes
		r.bytes = 0
	case replyOver:
		return
	}
	r.state = replyOver
	s.admit()
}

// share is the bytes that one peer may hold. The caller holds mu.
func (s *serving) share() int64 { return s.bytes / int64(max(s.busy, 2)) }

// take reserves bytes for a reply that has a slot, or reports that there is no room;
// the first bytes of a reply always find some. They are given back with the slot.
func (s *serving) take(r *reply, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.state != replyRuns {
		return false
	}
	first, size := r.bytes == 0, int64(n)
	if !first && r.guest.bytes+size > s.share() {
		return false
	}
	for now := time.Now(); s.used+size > s.bytes; {
		x := s.victim(r, now, func(x *reply) int64 { return x.bytes })
		if x == nil {
			break
		}
		s.evict(x, now)
	}
	if !first && s.used+size > s.bytes {
		return false
	}
	s.used += size
	r.bytes += size
	r.guest.bytes += size
	return true
}

// size returns the bytes in use.
func (s *serving) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// subnetOf returns the network the peer of a connection is in, as far as identities
// cost nothing there: a /24 of IPv4, a /48 of IPv6.
func subnetOf(conn network.ConnMultiaddrs) netip.Prefix {
	ip, err := manet.ToIP(conn.RemoteMultiaddr())
	if err != nil {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Prefix{}
	}
	addr = addr.Unmap()
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
