package exchange

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// claims are the heads peers told of, the highest of each. A claim is a reason to
// ask, and no more: it goes when the peer goes, when the peer cannot give what
// leads to it, and when it lies. Only ranges that link prove it.
type claims struct {
	mu sync.Mutex
	by map[peer.ID]claim
}

type claim struct {
	height uint64
	own    bool // the peer said so of its own store; gossip is relayed
	vague  bool // its proposer is not proven: followed no further than is asked for at once
}

// maxClaims bounds the claims; lower ones than all there are give way.
const maxClaims = 1024

func (c *claims) init() { c.by = make(map[peer.ID]claim) }

// raise notes a claim and reports whether it is higher than all others.
func (c *claims) raise(p peer.ID, one claim) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	top := uint64(0)
	for _, other := range c.by {
		top = max(top, other.height)
	}
	old, ok := c.by[p]
	switch {
	case ok && old.height >= one.height:
		return false
	case !ok && len(c.by) >= maxClaims:
		if one.height <= top {
			return false
		}
		clear(c.by)
	}
	c.by[p] = one
	return one.height > top
}

// withdraw drops a peer's claim if it is not below height.
func (c *claims) withdraw(p peer.ID, height uint64) (claim, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.by[p]
	if !ok || old.height < height {
		return claim{}, false
	}
	delete(c.by, p)
	return old, true
}

// clear drops all claims.
func (c *claims) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.by)
}

// top returns the highest claim, 0 when there is none; vague ones count up to reach.
func (c *claims) top(reach uint64) (top uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.by {
		if one.vague {
			one.height = min(one.height, reach)
		}
		top = max(top, one.height)
	}
	return top
}

// vouched returns the highest claim to a head that the proposer has signed.
func (c *claims) vouched() (top uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.by {
		if !one.vague {
			top = max(top, one.height)
		}
	}
	return top
}

// Vouched returns the highest head peers told of that the proposer has signed,
// as long as nobody found that they do not have it.
func (e *Exchange[H]) Vouched() uint64 { return e.claims.vouched() }

// target returns the highest height worth asking for.
func (e *Exchange[H]) target() uint64 {
	if t, ok := e.rules.target(); ok {
		return t
	}
	reach := e.next() + maxItems*uint64(e.cfg.InFlight) //nolint:gosec // a validated config value
	return max(e.claims.top(reach), e.park.highest())
}
