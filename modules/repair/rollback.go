package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
)

// Rollback says how far to roll back and what may be lost by it.
type Rollback struct {
	To uint64
	// Force allows To to be below the final head.
	Force bool
	// Discard allows to remove blocks that may exist on this node alone.
	Discard bool
}

// Rolled is what a rollback did.
type Rolled struct {
	From      uint64 `json:"from"` // highest block there was
	To        uint64 `json:"to"`
	Final     uint64 `json:"final"`
	Discarded Blocks `json:"discarded"` // of them, what may have existed here alone
	// DAFloor is the DA height from which a start reads again.
	DAFloor uint64 `json:"da_floor"`
	// Replays says that the executor could not go back and starts over: the next
	// start executes all blocks again.
	Replays bool `json:"replays"`
}

// RefusedError says why a rollback would do harm, and what allows it.
type RefusedError struct{ Reason string }

// Error returns the reason.
func (e *RefusedError) Error() string { return e.Reason }

func refusedf(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// RollBack rolls the stores and the executor of a home back to a block.
func RollBack(ctx context.Context, p Params, r Rollback) (_ Rolled, err error) {
	h := &home{Params: p}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.openStore(ctx); err != nil {
		return Rolled{}, err
	}
	if h.store == nil {
		return Rolled{}, refusedf("there is no database at %s: nothing to roll back", p.DB.Path)
	}
	if err := h.openExecutor(ctx); err != nil {
		return Rolled{}, err
	}
	at, err := h.heights(ctx)
	if err != nil {
		return Rolled{}, err
	}
	if err := h.mayRollBack(at, r); err != nil {
		return Rolled{}, err
	}
	return h.rollBack(ctx, at, block.Revert{To: r.To})
}

func (h *home) mayRollBack(at heights, r Rollback) error {
	lowest := h.Genesis.InitialHeight - 1
	own := h.own(at, r.To)
	switch {
	case r.To < lowest:
		return refusedf("roll back to block %d: the chain begins with block %d, want at least %d", r.To, lowest+1, lowest)
	case r.To >= at.top:
		return refusedf("roll back to block %d: there is nothing above it, the highest block here is %d", r.To, at.top)
	case r.To < at.final && !r.Force:
		return refusedf("roll back to block %d: block %d is final, DA holds all blocks up to it; --force goes below it", r.To, at.final)
	case own.Count() > 0 && !r.Discard:
		return refusedf("roll back to block %d: %s were made by this node and are not final, so they may exist nowhere else; "+
			"the key signs no other blocks of these heights, so the chain stands until DA or a peer has them: "+
			"start the node and let them become final, or remove them with --discard-unposted", r.To, own)
	}
	return nil
}

func (h *home) rollBack(ctx context.Context, at heights, r block.Revert) (Rolled, error) {
	done := Rolled{From: at.top, To: r.To, Discarded: h.own(at, r.To)}
	if r.To < at.final || done.Discarded.Count() > 0 {
		if err := h.store.Forget(ctx, h.Forget...); err != nil {
			return Rolled{}, err
		}
	}
	if err := h.pipeline().RollBack(ctx, r); err != nil {
		return Rolled{}, err
	}
	now, err := h.heights(ctx)
	if err != nil {
		return Rolled{}, err
	}
	done.Final, done.DAFloor = now.final, h.store.DA().Floor
	done.Replays = h.exec != nil && now.executed < now.applied && at.executed > now.applied
	return done, nil
}
