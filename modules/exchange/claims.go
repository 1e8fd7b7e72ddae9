package exchange

import (
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// claims are the heads peers told of, the highest of each. A claim is a reason to
// ask, and no more: it goes when the peer goes, when the peer cannot give what
// leads to it, and when it lies. Only ranges that link prove it.
//
// Vague claims, whose proposer is not proven, are apart: anybody can make them. They
// start a probe of the next heights and nothing else, end after a while, and neither
// hide what the same peer said before nor take its place.
type claims struct {
	mu    sync.Mutex
	by    map[peer.ID]claim
	vague map[peer.ID]claim
}

type claim struct {
	height uint64
	own    bool // the peer said so of its own store; gossip is relayed
	vague  bool // its proposer is not proven: followed no further than is asked for at once
	asked  bool // the peer is asked for it, at its height
	shown  bool // the peer has it at its height, whatever it lacks below

	since time.Time // vague: when the wait for a proof began
	head  uint64    // vague: of the store at that time
}

// maxClaims bounds the claims of either sort; lower ones than all there are give way.
const maxClaims = 1024

func (c *claims) init() { c.by, c.vague = make(map[peer.ID]claim), make(map[peer.ID]claim) }

// raise notes a claim and reports whether it is higher than all others of its sort.
func (c *claims) raise(p peer.ID, one claim) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := c.by
	if one.vague {
		by = c.vague
	}
	top := highest(by)
	old, ok := by[p]
	switch {
	case ok && old.height >= one.height:
		return false
	case ok:
		one.since, one.head = old.since, old.head
	case len(by) >= maxClaims:
		if one.height <= top {
			return false
		}
		clear(by)
	}
	by[p] = one
	return one.height > top
}

// own notes that a peer made what its vague claim comes from.
func (c *claims) own(p peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one, ok := c.vague[p]; ok {
		one.own = true
		c.vague[p] = one
	}
}

// of returns a peer's claims, of either sort.
func (c *claims) of(p peer.ID) (out []claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, by := range []map[peer.ID]claim{c.by, c.vague} {
		if one, ok := by[p]; ok {
			out = append(out, one)
		}
	}
	return out
}

// showing notes that a peer is asked for its claim, and reports whether it was not.
func (c *claims) showing(p peer.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	one, ok := c.by[p]
	if !ok || one.asked {
		return false
	}
	one.asked = true
	c.by[p] = one
	return true
}

// shown notes that a peer has what it claims.
func (c *claims) shown(p peer.ID, height uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one, ok := c.by[p]; ok && one.height == height {
		one.shown = true
		c.by[p] = one
	}
}

func highest(by map[peer.ID]claim) (top uint64) {
	for _, one := range by {
		top = max(top, one.height)
	}
	return top
}

// withdraw drops a peer's claims that are not below height, and returns one of them,
// the peer's own rather than what it relayed.
func (c *claims) withdraw(p peer.ID, height uint64) (gone claim, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, by := range []map[peer.ID]claim{c.by, c.vague} {
		old, there := by[p]
		if !there || old.height < height {
			continue
		}
		delete(by, p)
		if !ok || old.own {
			gone, ok = old, true
		}
	}
	return gone, ok
}

// clear drops all claims but those that were shown, or the vague ones alone. It
// returns the vague ones.
func (c *claims) clear(vagueOnly bool) map[peer.ID]claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	vague := c.vague
	c.vague = make(map[peer.ID]claim)
	if !vagueOnly {
		maps.DeleteFunc(c.by, func(_ peer.ID, one claim) bool { return !one.shown })
	}
	return vague
}

// top returns the highest claim, 0 when there is none; vague ones count up to reach.
func (c *claims) top(reach uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(highest(c.by), min(highest(c.vague), reach))
}

// vouched returns the highest claim to a head that the proposer has signed.
func (c *claims) vouched() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return highest(c.by)
}

// expire drops the vague claims that the store has reached, and those that brought
// it nowhere for as long as patience, which it returns. next is when that is so for
// another one; zero when there is none.
func (c *claims) expire(head uint64, now time.Time, patience time.Duration) (late map[peer.ID]claim, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, one := range c.vague {
		switch at := one.since.Add(patience); {
		case one.height <= head:
			delete(c.vague, p)
		case at.After(now):
			next = earlier(next, at)
		case head > one.head:
			one.since, one.head = now, head
			c.vague[p] = one
			next = earlier(next, now.Add(patience))
		default:
			delete(c.vague, p)
			if late == nil {
				late = make(map[peer.ID]claim)
			}
			late[p] = one
		}
	}
	return late, next
}

// claim notes what a peer told of, as long as it is connected, and reports whether
// that is news.
func (e *Exchange[H]) claim(p peer.ID, one claim) bool {
	if one.vague {
		one.since, one.head = time.Now(), e.store.Height()
	}
	news := e.claims.raise(p, one)
	if e.host.Network().Connectedness(p) != network.Connected { // its end may have been noted before
		e.claims.withdraw(p, 0)
		return false
	}
	return news
}

// Vouched returns the highest head peers told of that the proposer has signed,
// as long as nobody found that they do not have it.
func (e *Exchange[H]) Vouched() uint64 { return e.claims.vouched() }

// goal returns the highest height that is known to exist: what the proposer signed.
func (e *Exchange[H]) goal() uint64 {
	if t, ok := e.rules.target(); ok {
		return t
	}
	return max(e.claims.vouched(), e.park.highest())
}

// target returns the highest height worth asking for: the goal, and a few heights
// above the store when somebody says that there are more.
func (e *Exchange[H]) target() uint64 {
	if t, ok := e.rules.target(); ok {
		return t
	}
	reach := e.next() + maxItems*uint64(e.cfg.InFlight) //nolint:gosec // a validated config value
	return max(e.claims.top(reach), e.park.highest())
}
