package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Agreement is what a devnet is checked for.
type Agreement struct {
	Height uint64 // highest height all nodes have applied
	Root   []byte // the state root they all have there
	Final  uint64 // lowest final head
}

// Agree compares the nodes at the highest height all of them have applied. It
// fails when two have different roots, or one has nothing.
func (d *Devnet) Agree(ctx context.Context) (Agreement, error) {
	a := Agreement{}
	for i, n := range d.Nodes {
		heads := n.Status(ctx).Heads
		if heads.Applied == 0 {
			return Agreement{}, fmt.Errorf("%s has applied no block", n.Name)
		}
		if i == 0 {
			a.Height, a.Final = heads.Applied, heads.Final
		}
		a.Height, a.Final = min(a.Height, heads.Applied), min(a.Final, heads.Final)
	}
	var errs []error
	for i, n := range d.Nodes {
		st, err := n.Store.StateAt(ctx, a.Height)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: state of %d: %w", n.Name, a.Height, err))
		case i == 0:
			a.Root = st.AppHash
		case !bytes.Equal(a.Root, st.AppHash):
			errs = append(errs, fmt.Errorf("%s has state root %X at %d, %s has %X", n.Name, st.AppHash, a.Height, d.Nodes[0].Name, a.Root))
		}
	}
	return a, errors.Join(errs...)
}
