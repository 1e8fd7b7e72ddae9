package daworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/names"
)

var (
	errSilent   = errors.New("da: head stream fell silent")
	errClosed   = errors.New("da: head stream closed")
	errWalkBack = errors.New("da: cursor walked back")
)

// sinkError marks an error of the Sink, the only one that can stop the worker.
type sinkError struct{ error }

// Unwrap returns the Sink's error.
func (e sinkError) Unwrap() error { return e.error }

// rewinder is an answer of the Sink that is no failure: see Sink.
type rewinder interface {
	error
	RewindTo() uint64
}

// reader is the state of one Run.
type reader struct {
	w     *Worker
	p     Params
	asm   *assembler
	watch *watcher
	win   *window
	seek  seeker

	first    uint64            // never read below
	next     uint64            // DA height to read next
	began    uint64            // DA height this process began at
	scanned  uint64            // everything below was read and handed over
	told     block.DAPositions // as handed over last
	walkedAt uint64            // block height for which strangers' data was looked for again
	again    search
	stands   standing
	heads

	pollAt    time.Time // when to ask for the head
	notBefore time.Time // reading is backed off until then
	failures  int
	early     int // times in a row that the head could not be read yet
	phase     Phase
	lastOK    time.Time
	lastRead  time.Time
	lastErr   string
	rate      meter

	cause trace.SpanContext // the poll that found something to read
	each  bool              // DA heights have spans of their own
}

func newReader(w *Worker) *reader {
	p := w.p
	first := max(p.Genesis.DAStartHeight, 1)
	var at block.DAPositions
	if p.DA != nil {
		at = p.DA()
	}
	next := max(first, at.Floor)
	r := &reader{w: w, p: p, first: first, next: next, began: next, scanned: max(next, at.Scanned), phase: PhaseStarting}
	r.told = block.DAPositions{Floor: next, Scanned: r.scanned}
	r.asm = newAssembler(p, rules{
		genesis: p.Genesis, headerNS: p.HeaderNS, dataNS: p.dataNS(), proposers: p.Proposers, ignoreData: p.HeadersOnly,
	})
	r.watch = &watcher{client: p.Client, log: p.Log, wake: w.Wake}
	r.win = &window{
		start: p.Config.InFlight, most: p.Config.MaxInFlight, budget: p.Config.PrefetchBytes,
		fetch: r.fetch, many: r.many(), hand: r.hand, retry: r.retry, backoff: r.backoff, held: &w.prefetched, beat: &w.beat,
	}
	r.pace()
	r.publish()
	return r
}

// dataNS returns the namespace data is looked for in.
func (p Params) dataNS() da.Namespace {
	if p.HeadersOnly {
		return p.HeaderNS
	}
	return p.DataNS
}

// round does what can be done now: settle what is pending, ask for the head when
// it is time, read up to it.
func (r *reader) round(ctx context.Context) error {
	r.pace()
	r.takeRewind()
	if err := r.flush(ctx); err != nil {
		return err
	}
	r.reclaim()
	if err := r.look(ctx); err != nil {
		return err
	}
	if r.scanned < r.told.Scanned { // the head took it back
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	if err := r.followHints(ctx); err != nil {
		return err
	}
	if time.Now().Before(r.notBefore) {
		return nil
	}
	if r.next <= r.head.Height {
		if err := r.read(ctx); err != nil {
			return err
		}
	}
	if r.next <= r.head.Height {
		return nil
	}
	return r.searchAgain(ctx)
}

// pace takes the DA block time as it was measured last, unless one is set.
func (r *reader) pace() {
	r.p.Config.PollInterval = da.BlockTimeOf(r.p.Client, r.w.p.Config.PollInterval)
	r.watch.interval.Store(int64(r.p.Config.PollInterval))
}

// look learns the head from the stream or, when that is silent, by asking.
func (r *reader) look(ctx context.Context) error {
	now := time.Now()
	if streamed := r.watch.head.Load(); streamed != r.streamed {
		r.streamed = streamed
		r.hear(streamed, now)
	}
	if now.Before(r.pollAt) {
		return nil
	}
	ctx, span := r.p.Tracer.Work(ctx, names.SpanDAPoll, trace.SpanKindClient)
	defer span.End()
	r.cause = span.Context()
	r.asm.stats.Polls++
	wait := r.p.Config.PollInterval
	if r.watch.alive.Load() {
		wait *= silentBlocks // it tells of the next head
	}
	r.asked, r.pollAt = now, now.Add(wait)
	head, err := r.p.Client.Head(ctx)
	if err != nil {
		r.asm.stats.Retries++
		return span.Fail(fmt.Errorf("ask for the da head: %w", err))
	}
	if span.Recording() {
		span.SetAttributes(number(names.AttrDAHeight, head.Height))
	}
	r.answered(now)
	r.takeHead(ctx, head)
	return nil
}

// read hands over everything from the cursor to the head.
func (r *reader) read(ctx context.Context) error {
	ctx, span := r.retrieving(ctx)
	defer span.End()
	from := r.next
	if r.head.Height > from && r.phase != PhasePruned && r.phase != PhaseFailing { // those end when a height was read
		r.phase = PhaseCatchUp
	}
	blobs, read := r.asm.stats.Blobs, r.asm.stats.Heights
	err := r.win.run(ctx, from, r.head.Height)
	if span.Recording() {
		span.SetAttributes(number(names.AttrDAHeight, from), number(names.AttrDACount, r.asm.stats.Heights-read),
			number(names.AttrBlobCount, r.asm.stats.Blobs-blobs))
	}
	return span.Fail(err)
}

// spaces returns the namespaces that are read.
func (r *reader) spaces() []da.Namespace {
	if r.asm.rules.headerNS == r.asm.rules.dataNS {
		return []da.Namespace{r.asm.rules.headerNS}
	}
	return []da.Namespace{r.asm.rules.headerNS, r.asm.rules.dataNS}
}

// fetch reads and sorts one DA height. Several run at a time.
func (r *reader) fetch(ctx context.Context, height uint64) (*found, error) {
	blobs, err := r.blobs(ctx, height)
	if err != nil {
		return nil, fmt.Errorf("read da height %d: %w", height, err)
	}
	_, span := r.step(ctx, names.SpanDADecode, height)
	defer span.End()
	return r.asm.rules.classify(height, blobs, r.p.Now()), nil
}

func (r *reader) blobs(ctx context.Context, height uint64) ([]da.Blob, error) {
	ctx, span := r.step(ctx, names.SpanDARead, height)
	defer span.End()
	blobs, err := r.p.Client.Blobs(ctx, height, r.spaces()...)
	if span.Recording() {
		span.SetAttributes(attribute.Int(names.AttrBlobCount, len(blobs)))
	}
	return blobs, span.Fail(err)
}

// many returns what reads and sorts several DA heights at once, nil when the
// client cannot.
func (r *reader) many() func(context.Context, []uint64) ([]answer, error) {
	client, ok := r.p.Client.(da.BatchReader)
	if !ok {
		return nil
	}
	return func(ctx context.Context, heights []uint64) ([]answer, error) {
		replies, err := client.BlobsAt(ctx, heights, r.spaces()...)
		if err != nil {
			return nil, fmt.Errorf("read da heights %d to %d: %w", heights[0], heights[len(heights)-1], err)
		}
		answers := make([]answer, len(heights))
		for i, height := range heights {
			a := answer{height: height, err: replies[i].Err}
			if a.err != nil {
				a.err = fmt.Errorf("read da height %d: %w", height, a.err)
			} else {
				a.found = r.asm.rules.classify(height, replies[i].Blobs, r.p.Now())
			}
			answers[i] = a
		}
		return answers, nil
	}
}

// hand takes over consecutive DA heights: authenticate, pair, append, report.
// The cursor moves last.
func (r *reader) hand(ctx context.Context, group []*found) error {
	ctx, span := r.p.Tracer.Step(ctx, names.SpanHandOver)
	defer span.End()
	if span.Recording() {
		span.SetAttributes(number(names.AttrDAHeight, group[0].height), attribute.Int(names.AttrDACount, len(group)))
	}
	verify(group)
	for _, f := range group {
		r.logJunk(f)
		if r.asm.add(ctx, f) {
			r.owned = max(r.owned, f.height)
		}
		r.next = f.height + 1
	}
	r.scanned = max(r.scanned, r.next)
	r.early = 0
	if r.phase == PhasePruned {
		r.p.Log.Info("da height can be read again", zap.Uint64("da_height", group[0].height))
		r.phase, r.lastErr = PhaseCatchUp, ""
	}
	r.lastRead = time.Now()
	r.answered(r.lastRead)
	r.rate.add(len(group), r.lastRead)
	if err := r.flush(ctx); err != nil {
		return err
	}
	if err := r.followHints(ctx); err != nil {
		return err
	}
	r.publish()
	if err := r.waitProof(ctx); err != nil {
		return err
	}
	if r.reclaim() {
		return errWalkBack
	}
	if r.takeRewind() || r.recheck(ctx) {
		return errWalkBack
	}
	return nil
}

func (r *reader) logJunk(f *found) {
	n := f.junk.total()
	if n == 0 {
		return
	}
	if entry := r.p.Log.Check(zap.DebugLevel, "junk on da"); entry != nil {
		entry.Write(zap.Uint64("da_height", f.height), zap.Uint64("blobs", n), zap.Any("reasons", f.junk.byName()))
	}
}

// flush appends what can be appended, then reports it together with the cursor.
func (r *reader) flush(ctx context.Context) error {
	if err := r.asm.advance(ctx); err != nil {
		return err
	}
	floor, err := r.asm.floor(ctx, r.next)
	if err != nil {
		return err
	}
	read := block.DAPositions{Floor: floor, Scanned: r.scanned}
	if len(r.asm.incs) == 0 && read == r.told {
		return nil
	}
	err = r.p.Sink.Include(ctx, r.asm.incs, read)
	if back, ok := errors.AsType[rewinder](err); ok {
		r.asm.told = reported{}
		r.asm.handedOver()
		r.takeBack(min(back.RewindTo(), r.next))
		r.told = block.DAPositions{Floor: r.next, Scanned: r.scanned}
		return errWalkBack
	}
	if err != nil {
		return sinkError{fmt.Errorf("report %d inclusions up to da height %d: %w", len(r.asm.incs), r.next, err)}
	}
	r.told = read
	r.asm.handedOver()
	return nil
}

// retry is told that a height failed and will be asked for again. While DA is
// away, what P2P brings still completes what is pending.
func (r *reader) retry(ctx context.Context, height uint64, err error) error {
	r.asm.stats.Retries++
	if height != r.next {
		return nil // nothing waits for it yet
	}
	r.failing(err)
	r.judgeFinality(ctx) // the round does not end while a height fails
	r.publish()
	if err := r.flush(ctx); err != nil {
		return err
	}
	return r.followHints(ctx)
}

// walkBack reads again from a DA height. What was read stays read: see Scanned.
func (r *reader) walkBack(to uint64) {
	r.asm.stats.WalkBacks++
	r.p.Log.Debug("cursor walks back", zap.Uint64("from", r.next), zap.Uint64("to", to))
	r.next = max(to, r.first)
}

// reclaim walks back for what had to give way, when there is room again.
func (r *reader) reclaim() bool {
	back := r.asm.pending.reclaim()
	if back == 0 || back >= r.next {
		return false
	}
	r.walkBack(back)
	return true
}

func (r *reader) takeRewind() bool {
	to := r.w.rewind.Swap(0)
	if to == 0 || to >= r.next {
		return false
	}
	r.takeBack(to)
	return true
}

// takeBack is walkBack to where the scan itself has to begin again: what was read
// from there on does not count.
func (r *reader) takeBack(to uint64) {
	r.walkBack(to)
	r.scanned = r.next
}
