package forced

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// Followed is how far a follower is.
type Followed interface {
	// Applied and Final return block heights, 0 before the first.
	Applied() uint64
	Final() uint64
	// DACursor returns the DA height below which everything was read and handed over.
	DACursor() uint64
	// Inclusion says where a block was seen on DA, zero when it was not.
	Inclusion(ctx context.Context, height uint64) (block.Included, error)
	// Changed returns a channel that is closed at the next change of the above.
	Changed() <-chan struct{}
}

// CensorError says that the sequencer has left out a transaction it had to take.
type CensorError struct {
	At     Position
	Tx     block.Hash
	Epochs uint64 // in which it went on making blocks without it
}

// Error says what an operator can do.
func (e *CensorError) Error() string {
	return fmt.Sprintf("sequencer censors: transaction %s, forced at DA height %d (blob %d), is in no block although the sequencer posted blocks "+
		"in %d epochs since; ask who runs the sequencer, or set forced.policy to warn to follow the chain all the same",
		e.Tx, e.At.DAHeight, e.At.Index, e.Epochs)
}

// Permanent reports that trying again does not help.
func (e *CensorError) Permanent() bool { return true }

// WatcherStats is a snapshot of what a Watcher knows.
type WatcherStats struct {
	Enabled  bool
	Waiting  int      // transactions that are in no final block yet
	Bytes    int      // what they cost
	Front    Position // everything before it is in final blocks
	Strikes  uint64   // epochs with blocks in which the first of them was left out
	Epoch    uint64   // checked next
	Censored uint64   // transactions given up on
	Last     string   // the last of them; empty when there is none
	Error    string   // why nothing can be checked now
}

// Watcher checks that the sequencer takes what is forced. It looks at final blocks
// only: they are on DA, whatever source they came from, and are never rolled
// back, so that every follower comes to the same end, also after a restart.
type Watcher struct {
	p        Params
	followed Followed
	source   *source
	book     *book
	epoch    uint64 // settled next
	judged   uint64 // epochs whose blocks were looked at
	strikes  uint64
	censored uint64
	last     string
	failing  bool
	stats    atomic.Pointer[WatcherStats]
}

const checkedKey = "forced/checked"

// NewWatcher returns a Watcher that knows nothing until Run.
func NewWatcher(p Params, f Followed) *Watcher {
	if p.Log == nil {
		p.Log = zap.NewNop()
	}
	w := &Watcher{p: p, followed: f, source: p.source(), book: p.book(false)}
	w.publish(nil)
	return w
}

// Stats returns what the Watcher knows.
func (w *Watcher) Stats() WatcherStats { return *w.stats.Load() }

func (w *Watcher) publish(err error) {
	s := WatcherStats{
		Enabled: w.p.Enabled, Waiting: len(w.book.entries), Bytes: w.book.bytes, Front: w.book.front(), Strikes: w.strikes,
		Epoch: w.epoch, Censored: w.censored, Last: w.last,
	}
	if err != nil {
		s.Error = err.Error()
	}
	w.stats.Store(&s)
}

// Run checks epoch after epoch until ctx ends. It returns a *CensorError by the
// policy halt.
func (w *Watcher) Run(ctx context.Context) error {
	if !w.p.Enabled {
		<-ctx.Done()
		return nil
	}
	if err := w.recall(); err != nil {
		return err
	}
	for {
		changed := w.followed.Changed()
		err := w.round(ctx)
		censored, found := errors.AsType[*CensorError](err)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // asked to stop
		case found:
			w.publish(censored)
			return censored
		case errors.Is(err, da.ErrDisabled):
			<-ctx.Done()
			return nil
		}
		w.note(err)
		if err != nil {
			changed = nil // not before DA was given time
		}
		if !w.wait(ctx, changed) {
			return nil
		}
	}
}

// wait waits for news; on an idle chain DA goes on, so it also looks every so often.
func (w *Watcher) wait(ctx context.Context, changed <-chan struct{}) bool {
	timer := time.NewTimer(w.p.Poll)
	defer timer.Stop()
	if w.followed.DACursor() <= w.source.epochs.end(w.epoch) {
		changed = nil // blocks change nothing before the epoch has ended
	}
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-timer.C:
	}
	return true
}

func (w *Watcher) note(err error) {
	switch {
	case err != nil && !w.failing:
		w.p.Log.Warn("forced transactions cannot be checked now, trying again", zap.Error(err))
	case err == nil && w.failing:
		w.p.Log.Info("forced transactions are checked again")
	}
	w.failing = err != nil
	w.publish(err)
}

// round settles every epoch that can be settled.
func (w *Watcher) round(ctx context.Context) error {
	for ctx.Err() == nil {
		ready, err := w.ready(ctx)
		if err != nil || !ready {
			return err
		}
		if err := w.settle(ctx); err != nil {
			return err
		}
		w.publish(nil)
	}
	return ctx.Err()
}

// ready reports whether all that DA said up to the end of the epoch is known, and
// applied here as far as it is complete.
func (w *Watcher) ready(ctx context.Context) (bool, error) {
	end := w.source.epochs.end(w.epoch)
	if w.followed.DACursor() <= end {
		return false, nil
	}
	next := w.followed.Final() + 1
	in, err := w.followed.Inclusion(ctx, next)
	if err != nil {
		return false, err
	}
	if in.HeaderDA == 0 || in.HeaderDA > end {
		return true, nil
	}
	if next > w.followed.Applied() {
		return false, nil // being executed, or its data comes later
	}
	hs, err := w.p.Chain.Headers(ctx, next, next+1)
	if err != nil || len(hs) == 0 {
		return false, err
	}
	complete := hs[0].IsEmpty() || in.DataDA != 0 && in.DataDA <= end
	return !complete, nil // a complete one is about to be final
}

// settle looks at what the blocks posted during one epoch took, then reads what
// was forced in it.
func (w *Watcher) settle(ctx context.Context) error {
	if err := w.load(ctx, w.source.epochs.start(w.epoch)-1); err != nil {
		return err
	}
	end := w.source.epochs.end(w.epoch)
	if w.judged != w.epoch+1 {
		if err := w.judge(ctx, end); err != nil {
			return err
		}
		w.judged = w.epoch + 1
	}
	if err := w.load(ctx, end); err != nil {
		return err
	}
	w.epoch++
	return w.save()
}

// judge looks at the blocks posted up to the end of an epoch.
func (w *Watcher) judge(ctx context.Context, end uint64) error {
	reached, err := w.postedUpTo(ctx, end)
	if err != nil {
		return err
	}
	front, waited, posted := w.book.front(), len(w.book.entries) > 0, reached > w.book.scanned
	if err := w.book.scan(ctx, reached); err != nil {
		return fmt.Errorf("look for forced transactions in final blocks: %w", err)
	}
	strikes := w.strikes
	switch {
	case !waited || w.book.front() != front:
		strikes = 0
	case posted:
		strikes++
	}
	if strikes >= w.p.Config.GraceEpochs && waited && w.book.front() == front {
		if err := w.accuse(strikes); err != nil {
			return err
		}
		strikes = 0
	}
	w.strikes = strikes
	return nil
}

// postedUpTo returns the highest final block that lies on DA up to a height.
func (w *Watcher) postedUpTo(ctx context.Context, end uint64) (uint64, error) {
	from, final := w.book.scanned, w.followed.Final()
	if final <= from {
		return from, nil
	}
	var failed error
	n := sort.Search(int(final-from), func(i int) bool { //nolint:gosec // heights stay far below 2^63
		in, err := w.followed.Inclusion(ctx, from+1+uint64(i)) //nolint:gosec // not negative
		if err != nil {
			failed = err
		}
		return failed != nil || max(in.HeaderDA, in.DataDA) > end
	})
	if failed != nil {
		return 0, fmt.Errorf("look where blocks lie on da: %w", failed)
	}
	return from + uint64(n), nil //nolint:gosec // not negative
}

// load reads what was forced up to a DA height, as far as there is room.
func (w *Watcher) load(ctx context.Context, to uint64) error {
	for w.book.next <= to && !w.book.full() {
		pages, err := w.source.pages(ctx, w.book.next, to)
		if err != nil {
			return err
		}
		for _, p := range pages {
			if w.book.full() {
				break
			}
			if err := w.book.add(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// accuse says that the first waiting transaction is left out. By the policy warn
// the others are checked further.
func (w *Watcher) accuse(epochs uint64) error {
	e := w.book.entries[0]
	err := &CensorError{At: e.at, Tx: e.hash, Epochs: epochs}
	if w.p.Config.Policy == PolicyHalt {
		return err
	}
	w.p.Log.Error("sequencer censors: a forced transaction is in no block", zap.Stringer("tx", e.hash),
		zap.Uint64("da_height", e.at.DAHeight), zap.Uint64("index", e.at.Index), zap.Uint64("epochs", epochs))
	w.censored, w.last = w.censored+1, err.Error()
	w.book.found(e)
	w.book.compact()
	return nil
}

// save keeps where the check is. Everything else follows from DA and the chain.
func (w *Watcher) save() error {
	front := w.book.front()
	if err := putRecord(w.p.Meta, checkedKey, w.epoch, w.book.scanned, w.strikes, front.DAHeight, front.Index); err != nil {
		return fmt.Errorf("keep how far forced transactions were checked: %w", err)
	}
	return nil
}

// recall goes on where an earlier process was: what waited is read again.
func (w *Watcher) recall() error {
	var n [5]uint64
	ok, err := getRecord(w.p.Meta, checkedKey, n[:])
	if err != nil {
		return fmt.Errorf("read how far forced transactions were checked: %w", err)
	}
	if !ok {
		return nil
	}
	w.epoch, w.strikes = n[0], n[2]
	w.book.resume(Position{n[3], n[4]}, n[1])
	return nil
}
