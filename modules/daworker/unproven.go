package daworker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// What is signed by an address that is not the proposer as far as is known, for a
// height whose proposer the state does not name yet, waits in unproven: the
// chain may rotate before that height (ADR 015). It is bounded by bytes, the
// highest give way and are read again, and it holds the persisted cursor back
// when it is near enough to be of use soon.

// unprovenWindow is how far above the stored headers an item may be to hold the
// cursor back. Strangers can make such items too, but not for long: once the
// chain is there they are refuted.
const unprovenWindow = 8192

func (a *assembler) holdsUnproven(height uint64) bool {
	return height <= a.p.Headers.Height()+unprovenWindow
}

// judgeHeader takes a header with good signatures whose proposer was not proven
// when it was read.
func (a *assembler) judgeHeader(ctx context.Context, i *headerItem) {
	height := i.header.Height()
	switch a.p.Proposers.Judge(height, i.header.Header.ProposerAddress) {
	case block.Expected:
		a.addHeader(ctx, i)
	case block.Unexpected:
		a.junk[junkProposer]++
	case block.Unproven:
		a.unproven.addHeader(i, a.holdsUnproven(height))
	}
}

// judgeData is judgeHeader for data. It reports whether the data was taken.
func (a *assembler) judgeData(ctx context.Context, i *dataItem) bool {
	if !i.verify() {
		return false
	}
	standing := a.p.Proposers.Judge(i.height, i.signer)
	if standing == block.Unproven {
		a.unproven.addData(i, a.holdsUnproven(i.height))
		return true
	}
	i.maybe, i.own = false, standing == block.Expected
	if i.own {
		a.addData(ctx, i)
	}
	return i.own
}

// promote judges again what is unproven.
func (a *assembler) promote(ctx context.Context) {
	u := a.unproven
	if len(u.headers)+len(u.claimed) == 0 {
		return
	}
	proven := func(height uint64, address []byte) bool {
		return a.p.Proposers.Judge(height, address) != block.Unproven
	}
	for _, height := range slices.Sorted(maps.Keys(u.claimed)) {
		for _, i := range slices.Clone(u.claimed[height]) {
			if !proven(height, i.signer) {
				continue
			}
			u.removeData(i)
			if !a.judgeData(ctx, i) {
				a.addData(ctx, i) // a stranger's: what a header commits to counts whoever signed it
			}
		}
	}
	for _, height := range slices.Sorted(maps.Keys(u.headers)) {
		for _, i := range slices.Clone(u.headers[height]) {
			if proven(height, i.header.Header.ProposerAddress) {
				u.removeHeader(i)
				a.judgeHeader(ctx, i)
			}
		}
	}
}

// takeData removes and returns data with a commitment from where the unsure is
// kept, nil when there is none.
func (a *assembler) takeData(c block.Hash, height uint64) *dataItem {
	if i := a.unproven.match(c, height); i != nil {
		a.unproven.removeData(i)
		return i
	}
	i, bad := a.quarantine.takeData(c)
	a.junk[junkSignature] += bad
	return i
}

// rotating reports whether all that is missing to go on is that the state names
// the proposer of the next header: everything below is stored.
func (a *assembler) rotating() bool {
	head := a.p.Headers.Height()
	next := a.nextHeight(head)
	return !a.p.HeadersOnly && a.p.Data.Height() >= head &&
		len(a.unproven.headers[next]) > 0 && len(a.pending.headers[next]) == 0
}

// waitProof waits until the state has named the proposers of what was read, a
// rotation at a time, so that a long way behind DA is not read in vain. It gives
// up when the state does not move for a while: nothing is lost by reading on.
func (r *reader) waitProof(ctx context.Context) error {
	for r.asm.rotating() {
		changed := r.p.Proposers.Changed()
		r.asm.promote(ctx)
		if r.asm.rotating() {
			timer := time.NewTimer(r.p.Config.PollInterval)
			select {
			case <-ctx.Done():
			case <-changed:
			case <-r.w.wake:
			case <-timer.C:
				timer.Stop()
				return nil
			}
			timer.Stop()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reclaim returns the DA height to go back to for what had to give way, 0 for
// nowhere.
func (a *assembler) reclaim() uint64 {
	back := a.pending.reclaim()
	if other := a.unproven.reclaim(); other != 0 && (back == 0 || other < back) {
		back = other
	}
	return back
}

// floor returns the DA height a restart must read from, given the next one to read.
func (a *assembler) floor(next uint64) uint64 {
	return min(a.pending.floor(next), a.unproven.floor(next))
}

// unprovenNext says whose header is there for the next height, "" when none is.
func (a *assembler) unprovenNext(next uint64) string {
	is := a.unproven.headers[next]
	if len(is) == 0 {
		return ""
	}
	return fmt.Sprintf("block %d to say that %X signs header %d, seen at DA %d", next-1, is[0].header.Header.ProposerAddress, next, is[0].da)
}
