package forced

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// A sequencer that leaves out a forced transaction is evidence against the newest
// of its blocks on DA. Those blocks are final and stay. What follows is the policy:
// with wait, nothing above is applied until DA holds a block that takes the
// transaction; with halt, the node stops as well, once per transaction; with warn,
// the transaction is given up (ADR 016, ADR 025).

// EvidenceStore keeps proofs.
type EvidenceStore interface {
	// SaveEvidence keeps a proof on the disk and reports whether it is new.
	SaveEvidence(ctx context.Context, e block.Evidence) (bool, error)
}

// NoEvidence is an EvidenceStore that keeps nothing.
type NoEvidence struct{}

// SaveEvidence implements EvidenceStore.
func (NoEvidence) SaveEvidence(context.Context, block.Evidence) (bool, error) { return false, nil }

// CensorError says that the sequencer has left out a transaction it had to take.
type CensorError struct {
	At     Position
	Tx     block.Hash
	Epochs uint64 // in which it went on making blocks without it
	Halt   bool   // the policy is to stop
}

// Error names the transaction, the two causes there can be, and what to compare.
func (e *CensorError) Error() string {
	said := fmt.Sprintf("sequencer censors: transaction %s, forced at DA height %d (blob %d), is in no block although the sequencer posted blocks "+
		"in %d epochs since", e.Tx, e.At.DAHeight, e.At.Index, e.Epochs)
	const causes = "either the sequencer leaves it out, or this node reads another namespace or has another executor than the chain: compare " +
		"namespaces.forced, execution.name and its version with other nodes, see 'tandem evidence list'; set forced.policy to warn to follow the chain all the same"
	if e.Halt {
		return said + "; forced.policy is halt; " + causes + "; a start serves what is applied and waits for a block that has it"
	}
	return said + "; nothing more is applied until DA holds a block that has it; " + causes
}

// Permanent reports that trying again does not help.
func (e *CensorError) Permanent() bool { return e.Halt }

// held is the transaction for whose sake nothing is applied, also to those who ask
// from outside. It survives a restart.
type held struct {
	meta Meta

	mu       sync.Mutex
	recalled bool
	err      *CensorError // nil when nothing is held
	// late is where the last transaction was forced that came late: the blocks
	// before the one that has it do not hold it again.
	late Position
}

const (
	heldKey     = "forced/held"
	heldSubject = "censored"
)

// get returns what is held, nil for nothing. The first call reads what an earlier
// process held.
func (h *held) get() (*CensorError, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.recalled {
		return h.err, nil
	}
	var n [7]uint64
	ok, err := getRecord(h.meta, heldKey, n[:])
	if err != nil {
		return nil, fmt.Errorf("read which forced transaction is waited for: %w", err)
	}
	h.recalled = true
	switch at := (Position{n[0], n[1]}); {
	case !ok:
	case n[2] == 0:
		h.late = at
	default:
		h.err = &CensorError{At: at, Epochs: n[2]}
		for i, part := range n[3:] {
			binary.BigEndian.PutUint64(h.err.Tx[8*i:], part)
		}
	}
	return h.err, nil
}

// hold notes a transaction.
func (h *held) hold(e *CensorError) error {
	n := [7]uint64{e.At.DAHeight, e.At.Index, e.Epochs}
	for i, hash := 0, n[3:]; i < len(hash); i++ {
		hash[i] = binary.BigEndian.Uint64(e.Tx[8*i:])
	}
	return h.put(n, e, Position{})
}

// release notes that a transaction came late.
func (h *held) release(at Position) error {
	return h.put([7]uint64{at.DAHeight, at.Index}, nil, at)
}

func (h *held) put(n [7]uint64, e *CensorError, late Position) error {
	if err := putRecord(h.meta, heldKey, n[:]...); err != nil {
		return fmt.Errorf("keep which forced transaction is waited for: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recalled, h.err, h.late = true, e, late
	return nil
}

// cameLate reports whether a transaction was held and released.
func (h *held) cameLate(at Position) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.late == at
}

// Held returns a *CensorError while no block may be applied since the sequencer
// has left out a forced transaction, and nil otherwise.
func (w *Watcher) Held() error {
	if !w.p.Enabled || w.p.Config.Policy == PolicyWarn {
		return nil
	}
	switch e, err := w.held.get(); {
	case err != nil:
		return err
	case e != nil:
		return e
	}
	return nil
}

// accuse deals with the first waiting transaction, which is left out.
func (w *Watcher) accuse(ctx context.Context, epochs uint64) error {
	e := w.book.entries[0]
	if w.held.cameLate(e.at) {
		return nil // a block that is not looked at yet has it
	}
	found := &CensorError{At: e.at, Tx: e.hash, Epochs: epochs}
	if err := w.testify(ctx, found); err != nil {
		return err
	}
	w.p.Log.Error("sequencer censors: a forced transaction is in no block", zap.Stringer("tx", e.hash),
		zap.Uint64("da_height", e.at.DAHeight), zap.Uint64("index", e.at.Index), zap.Uint64("epochs", epochs))
	if w.p.Config.Policy == PolicyWarn {
		w.censored, w.last = w.censored+1, found.Error()
		w.book.found(e)
		w.book.compact()
		return nil
	}
	w.searched = w.book.scanned
	if err := w.held.hold(found); err != nil {
		return err
	}
	w.report(found)
	if w.p.Config.Policy == PolicyHalt {
		halted := *found
		halted.Halt = true
		return &halted
	}
	return found
}

func (w *Watcher) report(e *CensorError) {
	w.p.Problems.Report(problems.Problem{Kind: problems.Forced, Subject: heldSubject, Reason: e.Error(), Unready: true})
}

// testify keeps the evidence: the newest block posted by then, which, like all
// before it, does not have the transaction.
func (w *Watcher) testify(ctx context.Context, found *CensorError) error {
	top := w.book.scanned
	e := block.Evidence{Refuted: &block.Refutation{
		Rule: block.ErrForcedLeftOut, WantHash: found.Tx, Executor: w.p.Executor,
		Forced: &block.LeftOut{DAHeight: found.At.DAHeight, Index: found.At.Index, Epochs: found.Epochs},
	}}
	for height := max(w.p.Genesis.InitialHeight, top-min(top, 1)); height <= top; height++ {
		hs, err := w.p.Chain.Headers(ctx, height, height+1)
		if err != nil {
			return fmt.Errorf("read block %d, which leaves out a forced transaction: %w", height, err)
		}
		if len(hs) == 0 {
			return nil // no longer kept: there is nothing left to show
		}
		in, err := w.followed.Inclusion(ctx, height)
		if err != nil {
			return fmt.Errorf("look where block %d lies on da: %w", height, err)
		}
		e.First, e.Second = e.Second, block.Sighting{Header: hs[0], Source: block.SourceDA, DAHeight: in.HeaderDA, At: time.Now()}
	}
	if _, err := w.p.Evidence.SaveEvidence(ctx, e); err != nil {
		return fmt.Errorf("keep the evidence of a forced transaction that is left out: %w", err)
	}
	return nil
}

// release lets blocks be applied again once DA holds one that has the transaction.
// It reports whether nothing is held.
func (w *Watcher) release(ctx context.Context) (bool, error) {
	e, err := w.held.get()
	if err != nil || e == nil {
		return err == nil, err
	}
	if w.p.Config.Policy == PolicyWarn {
		return true, w.held.release(Position{})
	}
	w.report(e)
	at, err := w.takenAbove(ctx, e.Tx)
	switch {
	case err != nil:
		return false, err
	case at == 0:
		return false, nil
	}
	if err := w.held.release(e.At); err != nil {
		return false, err
	}
	w.p.Log.Warn("the sequencer has taken a forced transaction it had left out, the chain goes on", zap.Stringer("tx", e.Tx),
		zap.Uint64("height", at), zap.Uint64("epochs", e.Epochs))
	w.p.Problems.Clear(problems.Forced, heldSubject)
	w.strikes, w.judged = 0, w.epoch+1 // it was judged: that is why it was held
	return true, nil
}

// takenAbove returns the block with a transaction among those that DA holds and are
// stored here, applied or not; 0 when there is none.
func (w *Watcher) takenAbove(ctx context.Context, tx block.Hash) (uint64, error) {
	for w.searched = max(w.searched, w.book.scanned); ; w.searched++ {
		d, complete, err := w.onDA(ctx, w.searched+1)
		if err != nil || !complete {
			return 0, err
		}
		for _, have := range d {
			if block.Sum(have) == tx {
				return w.searched + 1, nil
			}
		}
	}
}

// onDA returns the transactions of a stored block, if DA holds all of it.
func (w *Watcher) onDA(ctx context.Context, height uint64) (txs [][]byte, complete bool, err error) {
	in, err := w.followed.Inclusion(ctx, height)
	if err != nil || in.HeaderDA == 0 {
		return nil, false, err
	}
	hs, err := w.p.Chain.Headers(ctx, height, height+1)
	if err != nil || len(hs) == 0 || hs[0].Digest() != in.HeaderHash {
		return nil, false, err
	}
	if hs[0].IsEmpty() || in.DataDA == 0 {
		return nil, hs[0].IsEmpty(), nil
	}
	ds, err := w.p.Chain.Data(ctx, height, height+1)
	if err != nil || len(ds) == 0 {
		return nil, false, err
	}
	return ds[0].Txs, true, nil
}

// halted returns the error that ends the node, if err is one.
func halted(err error) (*CensorError, bool) {
	e, ok := errors.AsType[*CensorError](err)
	return e, ok && e.Halt
}
