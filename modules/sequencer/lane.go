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
	at   uint64 // DA height it is known to lie at; 0 while not known
}

// weight is about what an item costs on DA: whole shares and a blob's fixed part.
func (i item) weight() int {
	const share, payload, fixed, envelope = 512, 482, 200, 200
	return (i.size+envelope+payload-1)/payload*share + fixed
}

// lane posts one kind of item. It is run by one goroutine.
type lane struct {
	s    *Submitter
	kind block.Kind
	ns   da.Namespace
	cfg  SubmitConfig
	log  *zap.Logger
	read func(ctx context.Context, from, to uint64) ([]item, error)

	batch  []item // read and not yet known to lie on DA, in height order
	weight int    // of batch
	full   bool   // the next item does not fit the batch
	next   uint64 // height to read next
	limit  int    // weight of one submission; shrinks when DA says too large
	fitted int    // submissions since it shrank or grew
	saved  uint64 // what SaveSubmitted last kept
	lastAt time.Time
	try    attempt
	pause  backoff
	posts  trouble
	marks  trouble

	mu        sync.Mutex
	submitted uint64
	stats     LaneStats
}

func newLane(s *Submitter, kind block.Kind, ns da.Namespace) *lane {
	cfg := s.p.Config.Submit
	log := s.p.Log.With(zap.Stringer("kind", kind))
	return &lane{
		s: s, kind: kind, ns: ns, cfg: cfg, log: log, limit: cfg.MaxBytes,
		pause: backoff{first: s.p.Config.RetryDelay, most: cfg.DABlockTime},
		posts: trouble{log: log, failed: "nothing can be posted to the DA layer, trying again", over: "the DA layer takes blocks again"},
		marks: trouble{log: log, failed: "inclusion cannot be recorded, trying again", over: "inclusion is recorded again"},
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

// done returns the height up to which nothing is left to post.
func (l *lane) done() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.submitted
}

func (l *lane) snapshot(applied uint64) LaneStats {
	l.mu.Lock()
	s := l.stats
	s.Submitted = l.submitted
	l.mu.Unlock()
	s.Lag = applied - min(s.Submitted, applied)
	if s.LastError = l.posts.text(); s.LastError == "" {
		s.LastError = l.marks.text()
	}
	return s
}

func (l *lane) update(f func(*LaneStats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.stats)
}

// run reads, waits until a submission is due, and posts, until ctx ends.
func (l *lane) run(ctx context.Context) error {
	if err := l.recall(); err != nil {
		return err
	}
	for {
		changed := l.s.p.Chain.Changed()
		if err := l.gather(ctx); err != nil {
			return err
		}
		wait, due := l.due()
		switch {
		case due:
			if err := l.post(ctx); err != nil {
				return err
			}
		case wait > 0:
			if _, err := sleep(ctx, wait, changed); err != nil {
				return err
			}
		default:
			if err := await(ctx, changed); err != nil {
				return err
			}
		}
	}
}

// gather reads applied items until the batch is full or nothing is left, and
// moves on past those that need no posting.
func (l *lane) gather(ctx context.Context) error {
	const chunk = 256
	applied := l.s.p.Chain.State().LastHeight
	for !l.full && l.next <= applied {
		items, err := l.read(ctx, l.next, min(applied, l.next+chunk-1)+1)
		if err != nil {
			return fmt.Errorf("read %s %d to post it: %w", l.kind, l.next, err)
		}
		if len(items) == 0 || items[0].height != l.next {
			return fmt.Errorf("read %s %d to post it: not stored", l.kind, l.next)
		}
		for _, it := range items {
			if it.skip || l.included(ctx, it) {
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
	return l.settle(ctx)
}

// included reports whether the store knows the item to lie on DA already.
func (l *lane) included(ctx context.Context, it item) bool {
	s, ok := l.s.p.Store.(interface {
		Inclusion(ctx context.Context, height uint64) (block.Included, error)
	})
	if !ok {
		return false
	}
	inc, err := s.Inclusion(ctx, it.height)
	if err != nil {
		return false // posting again does no harm
	}
	if l.kind == block.KindHeader {
		return inc.HeaderDA > 0 && inc.HeaderHash == it.hash
	}
	return inc.DataDA > 0 && inc.Commitment == it.hash
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

// due reports whether to post now, and if not, when time alone makes it so; 0
// means never.
func (l *lane) due() (time.Duration, bool) {
	if len(l.batch) == 0 {
		return 0, false
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
		return 0, false
	}
	left := l.cfg.delay()
	if l.lastAt.IsZero() {
		left = 0
	} else {
		left -= time.Since(l.lastAt)
	}
	return left, left <= 0
}

// settle takes note of what is known to lie on DA: marks, then heights.
func (l *lane) settle(ctx context.Context) error {
	var incs []block.Inclusion
	n := 0
	for ; n < len(l.batch) && l.batch[n].at > 0; n++ {
		it := l.batch[n]
		incs = append(incs, block.Inclusion{Height: it.height, Kind: l.kind, Hash: it.hash, DAHeight: it.at})
	}
	if n > 0 {
		// Marks first: after a crash in between, the same blobs are found again.
		if err := l.mark(ctx, incs); err != nil {
			return err
		}
		for _, it := range l.batch[:n] {
			l.weight -= it.weight()
		}
		l.batch = append([]item(nil), l.batch[n:]...)
		l.full = false
	}
	done := l.next - 1
	if len(l.batch) > 0 {
		done = l.batch[0].height - 1
	}
	if done == l.done() {
		return nil
	}
	l.mu.Lock()
	l.submitted = done
	l.mu.Unlock()
	// Heights without anything to post are kept with the next ones that had.
	const lazily = 64
	if n > 0 || done-l.saved >= lazily {
		if err := l.s.save(ctx); err != nil {
			return err
		}
		l.saved = done
	}
	l.s.advanced()
	return nil
}

func (l *lane) mark(ctx context.Context, incs []block.Inclusion) error {
	for {
		err := l.s.p.Marks.Include(ctx, incs, 0)
		switch {
		case err == nil:
			l.marks.clear()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case permanent(err):
			return fmt.Errorf("record inclusion of %s %d: %w", l.kind, incs[0].Height, err)
		}
		l.marks.note(err)
		if _, err := sleep(ctx, l.pause.step(), nil); err != nil {
			return err
		}
	}
}
