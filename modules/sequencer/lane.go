package sequencer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// item is one header or data on its way to DA.
type item struct {
	height uint64
	hash   block.Hash // header hash or data commitment
	skip   bool       // nothing to post
	size   int        // encoded length, before the envelope
	encode func(context.Context) ([]byte, error)

	blob []byte
}

// weight is about what an item costs on DA: whole shares and a blob's fixed part.
func (i item) weight() int {
	const share, payload, fixed, envelope = 512, 482, 200, 200
	return (i.size+envelope+payload-1)/payload*share + fixed
}

// lane posts one kind of item. It is run by one goroutine. An item goes from the
// batch to the claims when DA is said to hold it, and counts as posted once the
// DA worker has read it back.
type lane struct {
	s    *Submitter
	kind block.Kind
	ns   da.Namespace
	cfg  SubmitConfig
	log  *zap.Logger
	read func(ctx context.Context, from, to uint64) ([]item, error)

	batch   []item // read and not yet sent with success, in height order
	weight  int    // of batch
	full    bool   // the next item does not fit the batch
	posting bool   // batch is being sent: nothing is added to it
	next    uint64 // height to read next
	claims  claims
	losses  int    // times in a row that claims turned out to be false
	limit   int    // weight of one submission; shrinks when DA says too large
	fitted  int    // submissions since it shrank or grew
	saved   uint64 // what SaveSubmitted last kept
	lastAt  time.Time
	again   time.Time // not to advance before
	try     attempt
	pause   backoff
	posts   trouble
	problem notice

	mu        sync.Mutex
	submitted uint64
	held      bool // WaitingFor names something that should not last
	stats     LaneStats
}

func newLane(s *Submitter, kind block.Kind, ns da.Namespace) *lane {
	cfg := s.p.Config.Submit
	cfg.DABlockTime = da.BlockTimeOf(s.p.Client, cfg.DABlockTime)
	log := s.p.Log.With(zap.Stringer("kind", kind))
	return &lane{
		s: s, kind: kind, ns: ns, cfg: cfg, log: log, limit: cfg.MaxBytes,
		pause:   backoff{first: s.p.Config.RetryDelay, most: cfg.DABlockTime},
		posts:   trouble{log: log, failed: "nothing can be posted to the DA layer, trying again", over: "the DA layer takes blocks again"},
		problem: notice{board: s.p.Problems, kind: kind.String()},
	}
}

// begin sets the last height that needs no posting.
func (l *lane) begin(submitted uint64) {
	submitted = max(submitted, l.s.p.Genesis.InitialHeight-1)
	l.next, l.saved = submitted+1, submitted
	l.mu.Lock()
	defer l.mu.Unlock()
	l.submitted = submitted
}

// done returns the height up to which everything is read back from DA, or has
// nothing to post.
func (l *lane) done() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.submitted
}

func (l *lane) snapshot(applied uint64) LaneStats {
	l.mu.Lock()
	s, held := l.stats, l.held
	s.Submitted = l.submitted
	l.mu.Unlock()
	s.Lag = applied - min(s.Submitted, applied)
	s.LastError = l.posts.text()
	switch {
	case s.WaitingFor != "" && s.LastError != "":
		s.Held = s.WaitingFor + ": " + s.LastError
	case held:
		s.Held = s.WaitingFor
	}
	return s
}

func (l *lane) update(f func(*LaneStats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.stats)
}

// waits says in the status what is waited for, and whether that should not last.
func (l *lane) waits(what string, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.WaitingFor, l.held = what, held
}

// run reads, waits until a submission is due, posts and waits until it is read
// back, until ctx ends.
func (l *lane) run(ctx context.Context) error {
	if err := l.recall(); err != nil {
		return err
	}
	for {
		l.cfg.DABlockTime = da.BlockTimeOf(l.s.p.Client, l.s.p.Config.Submit.DABlockTime)
		l.pause.most = l.cfg.DABlockTime
		changed := l.s.p.Chain.Changed()
		wait, err := l.round(ctx)
		switch {
		case err != nil:
			return err
		case wait > 0:
			_, err = sleep(ctx, wait, changed)
		case wait < 0:
			err = await(ctx, changed)
		}
		if err != nil {
			return err
		}
	}
}

// round does what can be done now. It returns how long to wait for the next one
// when nothing changes: for ever when negative.
func (l *lane) round(ctx context.Context) (time.Duration, error) {
	if err := l.refresh(ctx); err != nil {
		return 0, err
	}
	if !l.posting {
		wait, due := l.due()
		if !due {
			return l.sooner(wait), nil
		}
		l.posting, l.lastAt = true, time.Now()
	}
	if left := time.Until(l.again); left > 0 {
		return l.sooner(left), nil
	}
	wait, err := l.advance(ctx)
	if err != nil {
		return 0, err
	}
	if len(l.batch) == 0 {
		l.finish()
	} else if wait > 0 {
		l.again = time.Now().Add(wait)
	}
	return 0, nil
}

// refresh reads what is new: blocks to post, and what the DA worker has seen.
func (l *lane) refresh(ctx context.Context) error {
	applied := l.s.p.Chain.State().LastHeight
	if first := max(applied+1, l.s.p.Genesis.InitialHeight); l.next > first { // the chain was cut back
		l.claims = l.claims.cutAbove(first - 1)
		l.rewind(first)
	}
	confirmed := l.confirm(ctx)
	looked, err := l.audit(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		l.posts.note(err)
	case !l.posting && (looked || len(l.claims) == 0):
		l.posts.clear()
	}
	if !l.posting {
		if err := l.gather(ctx, applied); err != nil {
			return err
		}
	}
	return l.settle(ctx, confirmed)
}

// sooner shortens a wait while something has to be read back.
func (l *lane) sooner(wait time.Duration) time.Duration {
	const least, most = 50 * time.Millisecond, time.Second
	if len(l.claims) == 0 {
		return wait
	}
	look := min(max(l.cfg.DABlockTime/4, least), most)
	if wait < 0 {
		return look
	}
	return min(wait, look)
}

// finish ends the posting of a batch that was sent.
func (l *lane) finish() {
	l.posting, l.again = false, time.Time{}
	l.waits("", false)
	l.pause.reset()
	l.posts.clear()
	l.problem.over("")
	if l.try.outlasts(l.next - 1) {
		l.try.look.restart() // the next batch is looked for from the beginning
		l.try.again.restart()
		return
	}
	l.try = attempt{}
}

// rewind makes posting go on at a lower height, which is no higher than the first
// that has yet to be sent. What is on DA, or claimed to be, is passed over again.
func (l *lane) rewind(height uint64) {
	if len(l.batch) > 0 {
		height = min(height, l.batch[0].height)
	}
	l.next = min(l.next, height)
	l.batch, l.weight, l.full, l.posting, l.again = nil, 0, false, false, time.Time{}
	l.try.look.restart()
	l.try.again.restart()
}

// drop removes items from the front of the batch.
func (l *lane) drop(n int) {
	for _, it := range l.batch[:n] {
		l.weight -= it.weight()
	}
	l.batch = append([]item(nil), l.batch[n:]...)
	l.full = false
}

// maxClaims bounds what is sent and not read back.
const maxClaims = 1 << 14

// gather reads applied items until the batch is full or nothing is left, and
// moves on past those that need no posting.
func (l *lane) gather(ctx context.Context, applied uint64) error {
	const chunk = 256
	for !l.full && l.next <= applied && len(l.claims) < maxClaims {
		items, err := l.read(ctx, l.next, min(applied, l.next+chunk-1)+1)
		if err != nil {
			return fmt.Errorf("read %s %d to post it: %w", l.kind, l.next, err)
		}
		if len(items) == 0 || items[0].height != l.next {
			return fmt.Errorf("read %s %d to post it: not stored", l.kind, l.next)
		}
		for _, it := range items {
			if it.skip || l.claims.holds(it.height) || l.included(ctx, it.height, it.hash) {
				l.next++
				continue
			}
			if len(l.batch) > 0 && l.weight+it.weight() > l.cfg.MaxBytes {
				l.full = true
				break
			}
			if err := l.seal(ctx, &it); err != nil {
				return err
			}
			l.batch = append(l.batch, it)
			l.weight += it.weight()
			l.next++
		}
	}
	return nil
}

// included reports whether the DA worker has read the item of a height on DA.
func (l *lane) included(ctx context.Context, height uint64, hash block.Hash) bool {
	inc, err := l.s.p.Store.Inclusion(ctx, height)
	if err != nil {
		return false // also when nothing was read yet
	}
	if l.kind == block.KindHeader {
		return inc.HeaderDA > 0 && inc.HeaderHash == hash
	}
	return inc.DataDA > 0 && inc.Commitment == hash
}

// seal makes the item's blob.
func (l *lane) seal(ctx context.Context, it *item) error {
	c := l.s.p.Config
	wait := backoff{first: c.RetryDelay, most: c.RetryMaxDelay}
	for tries := 1; ; tries++ {
		blob, err := it.encode(ctx)
		if err == nil {
			it.blob, it.encode = blob, nil
			return nil
		}
		if ctx.Err() != nil || permanent(err) || tries >= c.ExecuteTries {
			return fmt.Errorf("sign %s %d for DA: %w", l.kind, it.height, err)
		}
		if _, err := sleep(ctx, wait.step(), nil); err != nil {
			return err
		}
	}
}

// due reports whether to post now, and if not, when time alone makes it so:
// never when negative.
func (l *lane) due() (time.Duration, bool) {
	const never = -1
	if len(l.batch) == 0 {
		return never, false
	}
	waiting := l.next - 1 - l.done()
	most := l.s.p.Config.MaxPending
	if l.full || l.try.open || l.cfg.Strategy == StrategyImmediate || (most > 0 && waiting >= most) {
		return 0, true
	}
	if l.cfg.Strategy != StrategyTime && float64(l.weight) >= l.cfg.SizeThreshold*float64(l.cfg.MaxBytes) {
		return 0, true
	}
	if l.cfg.Strategy == StrategySize || len(l.batch) < l.cfg.MinItems {
		return never, false
	}
	if l.lastAt.IsZero() {
		return 0, true
	}
	left := l.cfg.delay() - time.Since(l.lastAt)
	return left, left <= 0
}

// settle takes note of how far everything is read back from DA, or has nothing to
// post.
func (l *lane) settle(ctx context.Context, confirmed bool) error {
	done := l.next - 1
	if len(l.batch) > 0 {
		done = min(done, l.batch[0].height-1)
	}
	if len(l.claims) > 0 {
		done = min(done, l.claims[0].height-1)
	}
	if done == l.done() {
		return nil
	}
	l.mu.Lock()
	l.submitted = done
	l.mu.Unlock()
	// Heights without anything to post are kept with the next ones that had.
	const lazily = 64
	if confirmed || done-min(l.saved, done) >= lazily {
		if err := l.s.save(ctx); err != nil {
			return err
		}
		l.saved = done
	}
	l.s.advanced()
	return nil
}
