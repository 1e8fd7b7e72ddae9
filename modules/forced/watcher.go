package forced

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Followed is how far a follower is.
type Followed interface {
	// Applied and Final return block heights, 0 before the first.
	Applied() uint64
	Final() uint64
	// DAScanned returns the DA height below which everything was read and handed over.
	DAScanned() uint64
	// Inclusion says where a block was seen on DA, zero when it was not.
	Inclusion(ctx context.Context, height uint64) (block.Included, error)
	// Changed returns a channel that is closed at the next change of the above.
	Changed() <-chan struct{}
}

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
	Error    string   // why nothing can be checked now, or no block is applied
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
	since    time.Time // failing
	trail    trail[[5]uint64]
	withheld uint64 // epochs in which data was missing
	held     held
	searched uint64 // block up to which what is held was looked for
	stats    atomic.Pointer[WatcherStats]
}

const checkedKey = "forced/checked"

// NewWatcher returns a Watcher that knows nothing until Run.
func NewWatcher(p Params, f Followed) *Watcher {
	if p.Log == nil {
		p.Log = zap.NewNop()
	}
	if p.Evidence == nil {
		p.Evidence = NoEvidence{}
	}
	w := &Watcher{p: p, followed: f, source: p.source(), book: p.book(false), held: held{meta: p.Meta}}
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

// Run checks epoch after epoch until ctx ends. By the policy halt it returns a
// *CensorError, once per transaction.
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
		censored, halt := halted(err)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // asked to stop
		case halt:
			w.publish(censored)
			return censored
		case errors.Is(err, da.ErrDisabled):
			<-ctx.Done()
			return nil
		}
		if held, ok := errors.AsType[*CensorError](err); ok {
			w.publish(held)
		} else {
			w.note(err)
		}
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
	if w.followed.DAScanned() <= w.source.epochs.end(w.epoch) {
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
		w.since = time.Now()
		w.p.Log.Warn("forced transactions cannot be checked now, trying again", zap.Error(err))
	case err == nil && w.failing:
		w.p.Log.Info("forced transactions are checked again")
	}
	w.failing = err != nil
	w.p.failing(err, w.since)
	w.publish(err)
}

// round settles every epoch that can be settled. While a transaction is held it
// returns the *CensorError.
func (w *Watcher) round(ctx context.Context) error {
	w.face(w.followed.DAScanned())
	switch released, err := w.release(ctx); {
	case err != nil:
		return err
	case !released:
		return w.Held()
	}
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

// face compares what was settled with how far DA was read. When the node reads DA
// heights again because DA had told of too high ones, what was settled by them was
// settled on nothing: the check goes back.
func (w *Watcher) face(scanned uint64) {
	if scanned > 0 && w.source.epochs.start(w.epoch) > scanned {
		n, ok := w.trail.back(scanned)
		if !ok { // an earlier process went too far
			epoch := w.source.epochs.of(scanned - min(scanned, lookBack))
			n = [5]uint64{epoch, w.book.scanned, 0, w.source.epochs.start(epoch), 0}
		}
		w.p.Log.Warn("da is read again from a lower height, forced transactions are checked again", zap.Uint64("da_height", scanned),
			zap.Uint64("from_epoch", n[0]), zap.Uint64("checked_to_epoch", w.epoch))
		w.resume(n)
	}
	w.trail.add(scanned, w.record())
}

// ready reports whether all that DA said up to the end of the epoch is known, and
// applied here as far as it is complete.
func (w *Watcher) ready(ctx context.Context) (bool, error) {
	end := w.source.epochs.end(w.epoch)
	if w.followed.DAScanned() <= end {
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
	if err := w.withholding(ctx, end, waited && !posted); err != nil {
		return err
	}
	strikes := w.strikes
	switch {
	case !waited || w.book.front() != front:
		strikes = 0
	case posted:
		strikes++
	}
	if strikes >= w.p.Config.GraceEpochs && waited && w.book.front() == front {
		if err := w.accuse(ctx, strikes); err != nil {
			return err
		}
		strikes = 0
	}
	w.strikes = strikes
	return nil
}

// withheld is the condition that a header lies on DA and its data does not.
const withheld = "withheld"

// withholding says that forced transactions cannot be judged since the data of a
// block is missing on DA for as many epochs as a sequencer may leave one out. That is
// no strike: whether the sequencer keeps it back or cannot post it, nobody can tell
// from here.
func (w *Watcher) withholding(ctx context.Context, end uint64, waits bool) error {
	next := w.followed.Final() + 1
	in, err := w.followed.Inclusion(ctx, next)
	if err != nil {
		return fmt.Errorf("look where block %d lies on da: %w", next, err)
	}
	if !waits || in.HeaderDA == 0 || in.HeaderDA > end || in.DataDA != 0 && in.DataDA <= end {
		w.withheld = 0
		w.p.Problems.Clear(problems.Forced, withheld)
		return nil
	}
	if w.withheld++; w.withheld < w.p.Config.GraceEpochs {
		return nil
	}
	e := w.book.entries[0]
	w.p.Problems.Report(problems.Problem{Kind: problems.Forced, Subject: withheld, Reason: fmt.Sprintf(
		"the header of block %d lies at DA height %d and its data is not on DA %d epochs later: no block becomes final, and whether transaction %s, "+
			"forced at DA height %d, was taken cannot be judged; ask who runs the sequencer", next, in.HeaderDA, w.withheld, e.hash, e.at.DAHeight)})
	return nil
}

// postedUpTo returns the highest block up to which all final ones lie on DA up to a
// height. Blocks need not lie there in order: one that came late holds back those
// after it, for whoever looks at whatever time.
func (w *Watcher) postedUpTo(ctx context.Context, end uint64) (uint64, error) {
	reached, final := w.book.scanned, w.followed.Final()
	for ; reached < final; reached++ {
		in, err := w.followed.Inclusion(ctx, reached+1)
		if err != nil {
			return 0, fmt.Errorf("look where block %d lies on da: %w", reached+1, err)
		}
		if max(in.HeaderDA, in.DataDA) > end {
			break
		}
	}
	return reached, nil
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

// record is where the check is. Everything else follows from DA and the chain.
func (w *Watcher) record() [5]uint64 {
	front := w.book.front()
	return [5]uint64{w.epoch, w.book.scanned, w.strikes, front.DAHeight, front.Index}
}

// resume goes on where a record says: what waited is read again.
func (w *Watcher) resume(n [5]uint64) {
	w.epoch, w.judged, w.strikes = n[0], 0, n[2]
	w.book.resume(Position{n[3], n[4]}, n[1])
}

func (w *Watcher) save() error {
	n := w.record()
	if err := putRecord(w.p.Meta, checkedKey, n[:]...); err != nil {
		return fmt.Errorf("keep how far forced transactions were checked: %w", err)
	}
	return nil
}

// recall goes on where an earlier process was.
func (w *Watcher) recall() error {
	var n [5]uint64
	ok, err := getRecord(w.p.Meta, checkedKey, n[:])
	if err != nil {
		return fmt.Errorf("read how far forced transactions were checked: %w", err)
	}
	if ok {
		w.resume(n)
	}
	return nil
}
