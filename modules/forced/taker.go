package forced

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Meta keeps small records.
type Meta interface {
	Meta(key string) ([]byte, bool, error)
	PutMeta(key string, value []byte) error
}

// Params are the parts of a Taker or a Watcher.
type Params struct {
	Client    da.Client
	Namespace da.Namespace
	// Enabled is false where no forced namespace is configured.
	Enabled bool
	Genesis block.Genesis
	Chain   Chain
	// Applied returns the height of the newest applied block, 0 before the first.
	Applied  func() uint64
	Meta     Meta
	Valid    Valid // nil takes everything that has a size
	Config   Config
	Evidence EvidenceStore   // nil keeps none
	Executor string          // its configured name, for evidence
	Poll     time.Duration   // the DA block time
	Problems *problems.Board // nil: none
	Log      *zap.Logger     // nil is silent
}

func (p Params) source() *source {
	return &source{client: p.Client, ns: p.Namespace, valid: p.Valid, epochs: epochsOf(p.Genesis), poll: p.Poll, skipped: p.skipped}
}

// skipped says that DA heights are gone, and with them what was forced there. It is
// said until the process ends.
func (p Params) skipped(from, to uint64) {
	p.Log.Error("forced transactions are gone from the da layer and are skipped", zap.Uint64("from_da_height", from), zap.Uint64("to_da_height", to))
	p.Problems.Report(problems.Problem{Kind: problems.DAPruned, Subject: "forced", Reason: fmt.Sprintf(
		"DA heights up to %d are no longer served: what was forced at heights %d to %d is neither taken nor checked here; "+
			"name an endpoint in da.address that keeps old heights before another start", to, from, to)})
}

// failing says that forced transactions cannot be dealt with, once that lasts.
func (p Params) failing(err error, since time.Time) {
	const polls = 5
	switch {
	case err == nil:
		p.Problems.Clear(problems.Forced, "")
	case time.Since(since) >= polls*p.Poll:
		p.Problems.Report(problems.Problem{Kind: problems.Forced, Reason: fmt.Sprintf(
			"forced transactions cannot be read: %v; check the endpoints in da.address", err)})
	}
}

func (p Params) book(keep bool) *book {
	return newBook(epochsOf(p.Genesis).first, p.Chain, p.Config.PendingBytes, keep)
}

// TakerStats is a snapshot of what a Taker does.
type TakerStats struct {
	Enabled bool
	Waiting int      // transactions that wait for a block
	Bytes   int      // what they cost
	Front   Position // everything before it was taken
	CatchUp bool     // blocks hold nothing else for now
	Error   string   // why DA cannot be read; empty while it can
}

// Taker gives the sequencer what was forced. Its methods may be used from many
// goroutines; Run only once.
type Taker struct {
	p      Params
	source *source // of Run's goroutine

	mu      sync.Mutex
	book    *book
	only    bool   // nothing else for now: DA was not asked yet, or an epoch or more was missed and is not caught up with
	begun   bool   // DA was asked
	until   uint64 // DA height up to which it is caught up with, fixed when that began
	trail   trail[Position]
	lastErr error
	since   time.Time // of lastErr and those before it
	saved   Position
	have    bool // saved is set
}

const takenKey = "forced/taken"

// NewTaker returns a Taker that knows nothing until Run.
func NewTaker(p Params) *Taker {
	if p.Log == nil {
		p.Log = zap.NewNop()
	}
	return &Taker{p: p, source: p.source(), book: p.book(true), only: p.Enabled}
}

// Run reads ended epochs until ctx ends. While DA cannot be read nothing is
// forced, and the sequencer goes on without.
func (t *Taker) Run(ctx context.Context) error {
	if !t.p.Enabled {
		<-ctx.Done()
		return nil
	}
	if err := t.recall(); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := true; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := t.round(ctx, first)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, da.ErrDisabled):
			t.begin(true, 0)
			<-ctx.Done()
			return nil
		}
		first = first && err != nil
		t.note(err)
		timer.Reset(t.p.Poll)
	}
}

// recall goes on where an earlier process was.
func (t *Taker) recall() error {
	var n [2]uint64
	ok, err := getRecord(t.p.Meta, takenKey, n[:])
	if err != nil {
		return fmt.Errorf("read the checkpoint of forced transactions: %w", err)
	}
	if !ok {
		return nil
	}
	at := Position{n[0], n[1]}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book.resume(at, 0)
	t.saved, t.have = at, true
	return nil
}

// round reads what has ended.
func (t *Taker) round(ctx context.Context, first bool) error {
	head, err := t.p.Client.Head(ctx)
	if err != nil {
		return fmt.Errorf("ask for the da head: %w", err)
	}
	e := t.source.epochs
	to := e.start(e.ended(head.Height)) - 1
	t.face(to)
	next, room := t.begin(first, to)
	for next <= to && room {
		pages, err := t.source.pages(ctx, next, to)
		if err != nil {
			return err
		}
		if next, room, err = t.add(ctx, pages); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle()
	return nil
}

// face compares what was read with the DA height up to which epochs have ended by
// the head of now. What was read above it was no answer of DA: reading goes back
// to where it was when the head was first told too high.
func (t *Taker) face(to uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.book.next > to+1 {
		at, ok := t.trail.back(to)
		if !ok { // an earlier process read too far
			at = Position{DAHeight: max(t.source.epochs.first, to+1-min(to+1, lookBack))}
		}
		t.p.Log.Warn("the da head is lower than before, forced transactions are read again", zap.Uint64("from_da_height", at.DAHeight),
			zap.Uint64("read_to", t.book.next-1), zap.Uint64("ended", to))
		t.book.resume(at, 0)
		t.until = min(t.until, to)
	}
	t.trail.add(to, t.book.front())
}

// begin returns the DA height to read next and whether there is room, and notes
// at first whether there is an epoch or more to catch up with, up to DA height to.
func (t *Taker) begin(first bool, to uint64) (next uint64, room bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next = t.book.next
	if !first || t.begun {
		return next, !t.book.full()
	}
	t.begun, t.until = true, to
	if t.only = next+t.source.epochs.length <= to+1; t.only {
		t.p.Log.Info("forced transactions of past epochs are taken first", zap.Uint64("from_da_height", next), zap.Uint64("to_da_height", to))
	}
	return next, !t.book.full()
}

// add takes in what was read.
func (t *Taker) add(ctx context.Context, pages []page) (next uint64, room bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.book.scan(ctx, t.p.Applied()); err != nil {
		return 0, false, fmt.Errorf("look for forced transactions in the chain: %w", err)
	}
	for _, p := range pages {
		if t.book.full() {
			break
		}
		if err := t.book.add(ctx, p); err != nil {
			return 0, false, err
		}
	}
	return t.book.next, !t.book.full(), t.save()
}

// settle ends the catching up when all is taken that was forced before it began:
// what is forced meanwhile must not keep the mempool out. The caller holds mu.
func (t *Taker) settle() {
	if t.only && t.begun && t.book.front().DAHeight > t.until {
		t.only = false
		t.p.Log.Info("all forced transactions of past epochs are taken")
	}
}

func (t *Taker) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil && t.lastErr == nil:
		t.since = time.Now()
		t.p.Log.Warn("forced transactions cannot be read, going on without", zap.Error(err))
	case err == nil && t.lastErr != nil:
		t.p.Log.Info("forced transactions can be read again")
	}
	t.lastErr = err
	t.p.failing(err, t.since)
}

// save keeps the checkpoint: a position that a few heads have confirmed. Losing the
// newest one costs reading, nothing else.
func (t *Taker) save() error {
	at := settled(&t.trail, t.book.front())
	if t.have && at == t.saved {
		return nil
	}
	if err := putRecord(t.p.Meta, takenKey, at.DAHeight, at.Index); err != nil {
		return fmt.Errorf("keep the checkpoint of forced transactions: %w", err)
	}
	t.saved, t.have = at, true
	return nil
}

// Take returns what the block after st has to begin with, in DA order: as many
// transactions as fit most bytes, framing included, and at least one when any
// waits. at is the time the block should have (evolve-wire §6.9). They stay until
// they are found in an applied block. The first block of a chain takes none: its
// time is that of the genesis.
func (t *Taker) Take(ctx context.Context, st block.State, most int) (txs [][]byte, at time.Time, err error) {
	if !t.p.Enabled || !st.Started() {
		return nil, time.Time{}, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.book.scan(ctx, st.LastHeight); err != nil {
		return nil, time.Time{}, fmt.Errorf("look for forced transactions in the chain: %w", err)
	}
	t.settle()
	if err := t.save(); err != nil {
		return nil, time.Time{}, err
	}
	size, last := 0, time.Time{}
	for _, e := range t.book.entries {
		n := block.FramedTx(e.tx)
		if len(txs) > 0 && (size+n > most || !e.end.Equal(last)) {
			break // blocks do not mix epochs: they have different times
		}
		size, last = size+n, e.end
		txs = append(txs, e.tx)
	}
	left := 0
	for _, e := range t.book.entries[len(txs):] {
		if !e.end.Equal(last) {
			break
		}
		left++
	}
	return txs, last.Add(-time.Duration(left) * time.Millisecond), nil
}

// Only reports whether blocks hold forced transactions and nothing else for now:
// an epoch or more was missed, or may have been because DA was not asked yet, and
// nothing says that DA cannot be read.
func (t *Taker) Only() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.only && t.lastErr == nil
}

// Pending reports whether transactions wait for a block.
func (t *Taker) Pending() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.book.entries) > 0
}

// Stats returns what the Taker is doing.
func (t *Taker) Stats() TakerStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := TakerStats{
		Enabled: t.p.Enabled, Waiting: len(t.book.entries), Bytes: t.book.bytes, Front: t.book.front(),
		CatchUp: t.only && t.lastErr == nil,
	}
	if t.lastErr != nil {
		s.Error = t.lastErr.Error()
	}
	return s
}
