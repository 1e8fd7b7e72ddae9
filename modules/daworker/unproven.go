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
// chain may rotate before that height (ADR 015). Anybody can make such items. They
// are bounded by bytes, and nothing that is dropped of them is read again unless it
// is missed: see search. They do not hold the floor, but for the one header the chain
// may go on with: see rotationFloor.

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
		if a.past(height) {
			a.junk[junkProposer]++
			return
		}
		a.unproven.addHeader(i, false)
	}
}

// past reports whether a height is decided, so that who is not proven to sign it
// never will be: a node that executes has applied it, one that does not has stored
// it.
func (a *assembler) past(height uint64) bool {
	if a.p.HeadersOnly {
		return height <= a.p.Headers.Height()
	}
	return a.p.Marks != nil && height <= a.p.Marks.Applied()
}

// judgeData is judgeHeader for data. It reports whether the data was taken.
func (a *assembler) judgeData(ctx context.Context, i *dataItem) bool {
	if !i.verify() {
		return false
	}
	standing := a.p.Proposers.Judge(i.height, i.signer)
	if standing == block.Unproven && !a.past(i.height) {
		a.unproven.addData(i, false)
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
	settled := func(height uint64, address []byte) bool {
		return a.past(height) || a.p.Proposers.Judge(height, address) != block.Unproven
	}
	for _, height := range slices.Sorted(maps.Keys(u.claimed)) {
		for _, i := range slices.Clone(u.claimed[height]) {
			if !settled(height, i.signer) {
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
			if settled(height, i.header.Header.ProposerAddress) {
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

// candidates returns the unproven headers that the chain may go on with: they link
// to the newest stored header, and all that is missing to judge them is that the
// state names the next proposer. A node that executes nothing is never told.
func (a *assembler) candidates(ctx context.Context) ([]*headerItem, error) {
	head := a.p.Headers.Height()
	is := a.unproven.headers[a.nextHeight(head)]
	if len(is) == 0 || a.p.HeadersOnly {
		return nil, nil
	}
	var last []byte // none before the first block
	if head >= a.p.Genesis.InitialHeight {
		h, err := a.storedHeader(ctx, head)
		if err != nil || h == nil {
			return nil, err
		}
		digest := h.Digest()
		last = digest[:]
	}
	var out []*headerItem
	for _, i := range is {
		if string(i.header.Header.LastHeaderHash) == string(last) {
			out = append(out, i)
		}
	}
	return out, nil
}

// floor returns the DA height a restart must read from, given the next one to read.
func (a *assembler) floor(ctx context.Context, next uint64) (uint64, error) {
	turn, err := a.rotationFloor(ctx, next)
	return min(a.pending.floor(next), turn), err
}

// rotationFloor is floor for what a rotation may bring. A stranger can make such a
// header too. It is refuted when the newest stored block is executed, which depends
// on nobody else.
func (a *assembler) rotationFloor(ctx context.Context, next uint64) (uint64, error) {
	is, err := a.candidates(ctx)
	for _, i := range is {
		next = min(next, i.da)
		if d := a.unproven.match(block.Hash(i.header.Header.DataHash), i.header.Height()); d != nil {
			next = min(next, d.da)
		}
	}
	return next, err
}

// rotating reports whether all that is missing to go on is that the state names
// the proposer of the next header: everything below is stored.
func (a *assembler) rotating(ctx context.Context) (bool, error) {
	head := a.p.Headers.Height()
	if a.p.HeadersOnly || a.p.Data.Height() < head || len(a.pending.headers[a.nextHeight(head)]) > 0 {
		return false, nil
	}
	is, err := a.candidates(ctx)
	return len(is) > 0, err
}

// waitProof waits until the state has named the proposers of what was read, a
// rotation at a time, so that a long way behind DA is not read in vain. It gives
// up when the state does not move for a while: nothing is lost by reading on.
func (r *reader) waitProof(ctx context.Context) error {
	for {
		changed := r.p.Proposers.Changed()
		waits, err := r.asm.rotating(ctx)
		if err != nil || !waits {
			return err
		}
		r.asm.promote(ctx)
		if waits, err = r.asm.rotating(ctx); err != nil {
			return err
		}
		if waits {
			if moved, err := r.awaitState(ctx, changed); err != nil || !moved {
				return err
			}
		}
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
}

// awaitState waits for a change of the state, at most a DA block time. It reports
// whether there was one. Execution has a beat of its own; waiting for it is idle.
func (r *reader) awaitState(ctx context.Context, changed <-chan struct{}) (bool, error) {
	r.w.beat.Idle()
	defer r.w.beat.Busy()
	timer := time.NewTimer(r.p.Config.PollInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-changed:
	case <-r.w.wake:
	case <-timer.C:
		return false, nil
	}
	return true, nil
}

// unprovenNext says whose header is there for the next height, "" when none is.
func (a *assembler) unprovenNext(next uint64) string {
	is := a.unproven.headers[next]
	if len(is) == 0 {
		return ""
	}
	return fmt.Sprintf("block %d to say that %X signs header %d, seen at DA %d", next-1, is[0].header.Header.ProposerAddress, next, is[0].da)
}
