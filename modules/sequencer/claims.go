package sequencer

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// claim is an item that DA is said to hold. It is no more than a claim until the
// DA worker has read the item back. For blocks that are final already, which are
// posted again to a DA layer that the chain moved to, the lane's own look has to do.
type claim struct {
	height     uint64
	hash       block.Hash
	commitment da.Commitment
	from       uint64 // DA head before it was first sent
	at         uint64 // where it is said to lie

	seen  bool      // it was looked for and lay there
	due   time.Time // when to look for it
	until uint64    // DA head from which on it counts as lost; 0 before the first look
}

// claims are what was sent and not yet read back, in height order.
type claims []claim

// oldest returns the lowest DA head before one of them was sent.
func (c claims) oldest() (from uint64, ok bool) {
	for i := range c {
		if i == 0 || c[i].from < from {
			from = c[i].from
		}
	}
	return from, len(c) > 0
}

// holds reports whether a height is among them.
func (c claims) holds(height uint64) bool {
	i := sort.Search(len(c), func(i int) bool { return c[i].height >= height })
	return i < len(c) && c[i].height == height
}

// add puts a claim in its place.
func (c claims) add(n claim) claims {
	i := len(c)
	for i > 0 && c[i-1].height > n.height {
		i--
	}
	c = append(c, claim{})
	copy(c[i+1:], c[i:])
	c[i] = n
	return c
}

// cutAbove drops those above a height.
func (c claims) cutAbove(height uint64) claims {
	for len(c) > 0 && c[len(c)-1].height > height {
		c = c[:len(c)-1]
	}
	return c
}

// claim takes note that an item is said to lie at a DA height.
func (l *lane) claim(it item, commitment da.Commitment, at uint64) {
	l.claims = l.claims.add(claim{
		height: it.height, hash: it.hash, commitment: commitment, from: l.try.first, at: at, due: time.Now().Add(l.landing()),
	})
}

// landing is how long a submission has to be read back before it is looked for.
func (l *lane) landing() time.Duration {
	return time.Duration(l.cfg.ReconcileHeights) * l.cfg.DABlockTime //nolint:gosec // a small number
}

// confirm drops the claims that the DA worker has read back, from the front. It
// reports whether there were any.
func (l *lane) confirm(ctx context.Context) bool {
	n := 0
	for final := l.s.p.Store.Final(); n < len(l.claims); n++ {
		c := l.claims[n]
		if !l.included(ctx, c.height, c.hash) && (!c.seen || c.height > final) {
			break
		}
	}
	if n == 0 {
		return false
	}
	l.claims = append(claims(nil), l.claims[n:]...)
	l.losses = 0
	l.problem.over(lostClaims)
	return true
}

// audit looks on DA for what the DA worker should have read by now and has not.
// What is not there is to be sent again. It reports whether there was anything to
// look for.
func (l *lane) audit(ctx context.Context) (bool, error) {
	due := l.overdue(ctx)
	if len(due) == 0 {
		return false, nil
	}
	head, err := l.head(ctx)
	if err != nil {
		return true, err
	}
	missing, from := map[da.Commitment]*claim{}, head
	for _, c := range due {
		c.seen = false
		c.give(head, l.cfg.ReconcileHeights)
		missing[c.commitment] = c
		if c.from > head {
			c.from = l.floor(ctx, head)
		}
		from = min(from, c.from)
	}
	asked := map[uint64]bool{}
	for _, c := range due { // most lie where they are said to
		if c.at <= head && missing[c.commitment] != nil && !asked[c.at] {
			asked[c.at] = true
			if err := l.find(ctx, c.at, missing); err != nil {
				return true, err
			}
		}
	}
	for h := from; h <= min(head, from+2*lateHeights) && len(missing) > 0; h++ {
		began := time.Now()
		if err := l.find(ctx, h, missing); err != nil {
			return true, err
		}
		if misled, err := l.misled(ctx, head, h-from, began); err != nil || misled {
			return true, err
		}
	}
	l.judge(head, missing)
	return true, nil
}

// overdue returns the claims whose time has come and that are not read back.
func (l *lane) overdue(ctx context.Context) []*claim {
	var due []*claim
	now := time.Now()
	for i := range l.claims {
		c := &l.claims[i]
		if now.Before(c.due) {
			continue
		}
		c.due = now.Add(l.cfg.DABlockTime)
		if !l.included(ctx, c.height, c.hash) {
			due = append(due, c)
		}
	}
	return due
}

// give sets how long the claim may still land. A height that DA answered counts
// when it is not far above the head.
func (c *claim) give(head, patience uint64) {
	if c.until != 0 && c.until <= head+patience+lateHeights {
		return
	}
	c.until = head + patience
	if c.at > head && c.at <= head+lateHeights {
		c.until = c.at + patience
	}
}

// find removes from missing what lies at a DA height.
func (l *lane) find(ctx context.Context, height uint64, missing map[da.Commitment]*claim) error {
	blobs, err := l.s.p.Client.Blobs(ctx, height, l.ns)
	if err != nil && !errors.Is(err, da.ErrPruned) {
		return fmt.Errorf("look for a submission at DA height %d: %w", height, err)
	}
	for _, b := range blobs {
		if c, ok := missing[b.Commitment]; ok {
			c.seen, c.at, c.until, c.due = true, height, 0, time.Now().Add(l.landing())
			delete(missing, b.Commitment)
		}
	}
	return nil
}

// lostClaims is the condition that DA does not hold what it says it took.
const lostClaims = "lost"

// judge has what is lost for certain sent again.
func (l *lane) judge(head uint64, missing map[da.Commitment]*claim) {
	lost := map[uint64]bool{}
	var first *claim
	for _, c := range missing {
		if head < c.until {
			continue
		}
		lost[c.height] = true
		if first == nil || c.height < first.height {
			first = c
		}
	}
	if first == nil {
		return
	}
	l.losses++
	at, height := first.at, first.height
	l.log.Warn("the DA layer does not hold what it answered to have taken, posting it again", zap.Uint64("height", height),
		zap.Int("items", len(lost)), zap.Uint64("da_height", at), zap.Uint64("da_head", head))
	if l.losses > 1 {
		l.problem.say(lostClaims, fmt.Sprintf("the DA layer answers that %s %d lies at DA height %d and does not hold it there, %d times in a row: "+
			"blocks from there on are not final; use another endpoint in da.address", l.kind, height, at, l.losses))
	}
	kept := l.claims[:0]
	for _, c := range l.claims {
		if !lost[c.height] {
			kept = append(kept, c)
		}
	}
	l.claims = kept
	l.update(func(s *LaneStats) { s.Resent += uint64(len(lost)) })
	l.rewind(height)
}
