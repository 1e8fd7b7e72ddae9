package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// isSystem reports whether an error is of the operating system: a file that may not
// be read, a disk that is full.
func isSystem(err error) bool {
	_, path := errors.AsType[*fs.PathError](err)
	return path && !errors.Is(err, fs.ErrNotExist)
}

// rounds bounds how often a home is inspected: a fix may bring to light what it hid.
const rounds = 4

// Apply inspects a home and fixes what can be fixed, until nothing is left that can.
// Blocks that may exist on this node alone are removed with discard only. The report
// has what was fixed and what is left; what came in the way is the error.
func Apply(ctx context.Context, p Params, discard bool) (Report, error) {
	fixed := []Finding{}
	for range rounds {
		r, err := Inspect(ctx, p)
		if err != nil || r.Fixable() == 0 {
			r.Findings = slices.Concat(fixed, r.Findings)
			return r, err
		}
		err = p.fix(ctx, r.Findings, discard)
		if err != nil {
			r.Findings = slices.Concat(fixed, r.Findings)
			return r, err
		}
		fixed = append(fixed, slices.DeleteFunc(r.Findings, func(f Finding) bool { return !f.Done })...)
	}
	return Report{Chain: p.Genesis.ChainID, Findings: fixed}, errUnfixed
}

var errUnfixed = errors.New("what was fixed is wrong again: restore a copy of the home, or make a new one with 'tandem init --genesis'")

// fix fixes findings in the order of their actions.
func (p Params) fix(ctx context.Context, findings []Finding, discard bool) error {
	order := make([]*Finding, 0, len(findings))
	for i := range findings {
		f := &findings[i]
		switch {
		case f.action == actNone:
			continue
		case f.Lost() != "" && !discard:
			return refusedf("to %s would remove %s: they may exist nowhere else, and this key signs no others in their place, so the chain "+
				"stands until DA or a peer has them; nothing was changed; --discard-unposted removes them", f.Fix, f.Lost())
		}
		order = append(order, f)
	}
	slices.SortStableFunc(order, func(a, b *Finding) int { return cmp.Compare(a.action, b.action) })
	for _, f := range order {
		if err := p.apply(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", f.Fix, err)
		}
		f.Done = true
	}
	return nil
}

// apply carries out one fix.
func (p Params) apply(ctx context.Context, f *Finding) error {
	switch f.action {
	case actRemoveExecutor:
		return leveldb.Remove(p.ExecutionDir)
	case actRemoveDatabase:
		return leveldb.Remove(p.DB.Path)
	default:
		return p.applyOpen(ctx, f)
	}
}

// applyOpen carries out a fix that works on the records.
func (p Params) applyOpen(ctx context.Context, f *Finding) (err error) {
	h := &home{Params: p}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.openStore(ctx); err != nil {
		return err
	}
	if f.action == actReindex {
		_, err := h.store.Reindex(ctx)
		return err
	}
	if err := h.openExecutor(ctx); err != nil {
		return err
	}
	if f.action == actLevel {
		return h.pipeline().Open(ctx)
	}
	at, err := h.heights(ctx)
	if err != nil {
		return err
	}
	_, err = h.rollBack(ctx, at, f.revert)
	return err
}
