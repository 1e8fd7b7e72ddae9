package repair

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// Inspect finds out what keeps a home from starting, or from going on. It reads all
// of both databases, and changes nothing but what every start does: a journal whose
// end was lost with the power is cut, a truncation that was cut short is finished.
func Inspect(ctx context.Context, p Params) (_ Report, err error) {
	in := &inspection{home: home{Params: p}, report: Report{Chain: p.Genesis.ChainID, Findings: []Finding{}}}
	defer func() { _ = in.close() }() // a damaged database cannot be closed well
	if err := in.database(ctx); err != nil {
		return Report{}, err
	}
	if err := in.executor(ctx); err != nil {
		return Report{}, err
	}
	if in.store != nil {
		if err := in.chain(ctx); err != nil {
			return Report{}, err
		}
	}
	return in.report, nil
}

type inspection struct {
	home

	at     heights
	report Report
}

func (in *inspection) found(f Finding) { in.report.Findings = append(in.report.Findings, f) }

// database opens the chain's database and reads all of it.
func (in *inspection) database(ctx context.Context) error {
	err := in.openStore(ctx)
	if err == nil && in.db != nil {
		err = in.db.Verify(ctx)
	}
	_, other := errors.AsType[*chainstore.GenesisMismatch](err)
	switch {
	case err == nil:
		return nil
	case other || outside(ctx, err):
		return err
	}
	f := Finding{
		Kind: KindDatabase, Problem: err.Error(), action: actRemoveDatabase,
		Fix: "remove " + in.DB.Path + "; the next start fetches the chain again from DA and from peers",
	}
	if err := in.ownUnread(ctx, &f); err != nil {
		return err
	}
	in.found(f)
	return errors.Join(ctx.Err(), in.dropStore())
}

// ownUnread notes which blocks may be lost with a damaged database.
func (in *inspection) ownUnread(ctx context.Context, f *Finding) error {
	if !in.Produces {
		return nil
	}
	if in.store != nil {
		if at, err := in.heights(ctx); err == nil {
			f.Removes = in.own(at, 0)
			return nil
		}
	}
	last, err := in.Signed(ctx)
	f.Unknown, f.Removes.Last = true, last
	return err
}

// dropStore closes what is of no use, however that ends.
func (in *inspection) dropStore() error {
	_ = in.closeStore()
	return nil
}

// outside reports whether an error is about the machine or the caller, not about
// what the files hold.
func outside(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, leveldb.ErrInUse) || isSystem(err)
}

// executor opens the executor and reads all of its database.
func (in *inspection) executor(ctx context.Context) error {
	if in.Pipeline.HeadersOnly || !exists(in.ExecutionDir) {
		return nil
	}
	err := in.verifyExecutor(ctx)
	if err == nil {
		err = in.openExecutor(ctx)
	}
	if err == nil {
		_, err = in.exec.InitChain(ctx, in.Genesis)
	}
	switch {
	case err == nil:
		return nil
	case outside(ctx, err):
		return err
	}
	in.found(Finding{
		Kind: KindExecutor, Problem: err.Error(), action: actRemoveExecutor,
		Fix: "remove " + in.ExecutionDir + "; the next start executes all blocks again",
	})
	_ = in.closeExecutor()
	return nil
}

func (in *inspection) verifyExecutor(ctx context.Context) (err error) {
	c := leveldb.Default()
	c.Path = in.ExecutionDir
	db := leveldb.New(c)
	if err := db.Open(); err != nil {
		return err
	}
	defer func() {
		if closed := db.Close(); err == nil {
			err = closed
		}
	}()
	return db.Verify(ctx)
}

// chain compares what is stored with itself, with the executor and with DA.
func (in *inspection) chain(ctx context.Context) error {
	var err error
	if in.at, err = in.heights(ctx); err != nil {
		return err
	}
	in.report.Applied, in.report.Final, in.report.Executed = in.at.applied, in.at.final, in.at.executed
	r, under, err := in.store.Revert(ctx)
	if err != nil {
		return err
	}
	if under {
		in.found(Finding{
			Kind: KindRollback, Problem: fmt.Sprintf("a rollback to block %d was cut short", r.To), action: actLevel, Fix: "finish it, as a start does",
		})
		return nil // the rest is judged when it is done
	}
	faults, err := in.store.Check(ctx, in.Pipeline.HeadersOnly)
	if err != nil {
		return err
	}
	if faults.Height != 0 {
		in.faulty(faults)
		return nil
	}
	if faults.Unindexed > 0 {
		in.found(Finding{
			Kind: KindIndex, Problem: fmt.Sprintf("%d items are not found by their hash", faults.Unindexed), action: actReindex, Fix: "rebuild the index",
		})
	}
	for _, look := range []func(context.Context) error{in.conflict, in.refuted, in.evidence, in.level} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	return nil
}

// faulty: what lies above a record that is wrong goes with it.
func (in *inspection) faulty(faults chainstore.Faults) {
	if faults.Height <= in.Genesis.InitialHeight {
		in.found(Finding{
			Kind: KindDatabase, Problem: faults.Problem, action: actRemoveDatabase, Removes: in.own(in.at, 0),
			Fix: "remove " + in.DB.Path + "; the next start fetches the chain again from DA and from peers",
		})
		return
	}
	in.found(in.rollBackTo(KindRecords, faults.Problem, block.Revert{To: faults.Height - 1}))
}

// rollBackTo returns a finding that is fixed by a rollback.
func (in *inspection) rollBackTo(kind Kind, problem string, r block.Revert) Finding {
	fix := fmt.Sprintf("roll back to block %d; the next start reads what is above again", r.To)
	if r.To < in.at.final {
		fix = fmt.Sprintf("roll back to block %d, below the final block %d; the next start reads what is above again from DA", r.To, in.at.final)
	}
	return Finding{Kind: kind, Problem: problem, Fix: fix, action: actRollBack, revert: r, Removes: in.own(in.at, r.To)}
}

// conflict looks for the first block, above the final one, of which DA was seen to
// hold another.
func (in *inspection) conflict(ctx context.Context) error {
	for h := max(in.at.final+1, in.Genesis.InitialHeight); h <= min(in.store.Headers().Height(), in.store.Included()); h++ {
		seen, err := in.store.Inclusion(ctx, h)
		if err != nil {
			return err
		}
		have, err := in.store.Headers().GetByHeight(ctx, h)
		if err != nil {
			return err
		}
		if seen.HeaderDA == 0 || seen.HeaderHash == have.Digest() {
			continue
		}
		r := block.Revert{To: h - 1}
		if r.Header, err = in.witnessed(ctx, h, seen.HeaderHash); err != nil {
			return err
		}
		if r.Header != nil {
			r.DAHeight = seen.HeaderDA
		}
		in.found(in.rollBackTo(KindConflict, fmt.Sprintf("block %d is %s here, and DA holds %s at its height %d, which stands; "+
			"see 'tandem evidence list'", h, have.Digest(), seen.HeaderHash, seen.HeaderDA), r))
		return nil
	}
	return nil
}

// witnessed returns a header that is part of the evidence; nil when none is.
func (in *inspection) witnessed(ctx context.Context, height uint64, hash block.Hash) (*block.SignedHeader, error) {
	all, err := in.store.Evidence(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		for _, s := range []block.Sighting{e.First, e.Second} {
			if s.Header != nil && s.Header.Height() == height && s.Header.Digest() == hash {
				return s.Header, nil
			}
		}
	}
	return nil, nil //nolint:nilnil // as documented
}

// refuted looks whether the next stored header names another state than the chain has.
func (in *inspection) refuted(ctx context.Context) error {
	next := in.at.applied + 1
	if in.Pipeline.HeadersOnly || in.store.Headers().Height() < next {
		return nil
	}
	st, err := in.store.State(ctx)
	if err != nil {
		return err
	}
	h, err := in.store.Headers().GetByHeight(ctx, next)
	if err != nil || bytes.Equal(h.Header.AppHash, st.AppHash) {
		return err
	}
	in.found(in.rollBackTo(KindRefuted, fmt.Sprintf("block %d (%s) is stored with app hash %s, and the state root after block %d is %s",
		next, h.Digest().Short(), short(h.Header.AppHash), in.at.applied, short(st.AppHash)), block.Revert{To: in.at.applied}))
	return nil
}

// evidence names headers that were refuted and are not settled.
func (in *inspection) evidence(ctx context.Context) error {
	all, err := in.store.Evidence(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Refuted == nil || e.Refuted.Rule == block.ErrForcedLeftOut || e.Height() <= in.at.applied {
			continue
		}
		in.found(Finding{
			Kind: KindEvidence,
			Problem: fmt.Sprintf("block %d (%s) was refuted by the executor %s; either the proposer is faulty, or that executor is not the chain's",
				e.Height(), e.Second.Header.Digest().Short(), e.Refuted.Executor),
			Advice: "compare execution.name, its version and the state root with other nodes, see 'tandem evidence list'; " +
				"a start with the chain's executor takes the block and drops the evidence",
		})
	}
	return nil
}

// level compares the executor with the chain.
func (in *inspection) level(ctx context.Context) error {
	if in.exec == nil {
		return nil
	}
	start, err := in.store.StateAt(ctx, in.Genesis.InitialHeight-1)
	if err != nil {
		return nil //nolint:nilerr // nothing was ever applied
	}
	root, err := in.exec.InitChain(ctx, in.Genesis)
	if err != nil {
		return err
	}
	if !bytes.Equal(root, start.AppHash) && in.at.applied >= in.Genesis.InitialHeight {
		in.found(Finding{
			Kind: KindOther, Problem: fmt.Sprintf("the executor %s has state root %s before the first block, and this chain began with %s",
				in.Execution.Name, short(root), short(start.AppHash)),
			Advice: "set execution.name to the executor of this chain, in the version that other nodes run",
		})
		return nil
	}
	problem, err := in.unlevel(ctx)
	if err != nil || problem == "" {
		return err
	}
	fix := fmt.Sprintf("bring it to block %d, by a rollback or by executing blocks again, as a start does", in.at.applied)
	f := Finding{Kind: KindLevel, Problem: problem, Fix: fix, action: actLevel}
	if in.Produces && in.at.executed > in.at.applied {
		f.action, f.Fix = actNone, ""
		f.Advice = "start the node: it rolls the executor back, after its signer has noted that these blocks may have been signed"
	}
	in.found(f)
	return nil
}

// unlevel says how the executor differs from the chain; it is empty when it does not.
func (in *inspection) unlevel(ctx context.Context) (string, error) {
	if _, ok := in.exec.(execution.HeightProvider); !ok {
		return "", nil
	}
	switch {
	case in.at.executed > in.at.applied:
		return fmt.Sprintf("the executor is at block %d, ahead of the applied block %d", in.at.executed, in.at.applied), nil
	case in.at.executed < in.Genesis.InitialHeight && in.at.applied < in.Genesis.InitialHeight:
		return "", nil
	}
	if roots, ok := in.exec.(execution.RootProvider); ok && in.at.executed >= in.Genesis.InitialHeight {
		st, err := in.store.StateAt(ctx, in.at.executed)
		if err != nil {
			return "", err
		}
		root, err := roots.StateRoot(ctx)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(root, st.AppHash) {
			return fmt.Sprintf("the executor has state root %s after block %d, and the chain has %s", short(root), in.at.executed, short(st.AppHash)), nil
		}
	}
	if in.at.executed < in.at.applied {
		return fmt.Sprintf("the executor is at block %d, behind the applied block %d", in.at.executed, in.at.applied), nil
	}
	return "", nil
}

// short shows a state root, which may be a long text.
func short(root []byte) string {
	const most = 16
	switch {
	case len(root) == 0:
		return "(empty)"
	case len(root) > most:
		return fmt.Sprintf("%X…", root[:most])
	}
	return fmt.Sprintf("%X", root)
}
