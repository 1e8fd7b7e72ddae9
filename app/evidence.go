package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/rpc"
)

// conflicts is nil while the proposer was never caught.
func (m *monitor) conflicts(ctx context.Context) *rpc.Conflicts {
	out := &rpc.Conflicts{Count: m.in.Store.EvidenceCount()}
	if out.Count == 0 {
		return nil
	}
	c := m.in.Pipeline.Conflicts()
	out.Policy, out.Reverts, out.LastRevert, out.RevertedTo = string(c.Policy), c.Reverts, c.LastRevert, c.RevertedTo
	if c.Halted != nil {
		out.Halted = c.Halted.Error()
	}
	all, err := m.in.Store.Evidence(ctx)
	if err != nil || len(all) == 0 {
		return out
	}
	last := slices.MaxFunc(all, func(a, b block.Evidence) int { return a.Second.At.Compare(b.Second.At) })
	out.Last = &rpc.Conflict{
		Kind: last.Kind(), Height: last.Height(), At: last.Second.At,
		Second: last.Second.Header.Digest().String(), SecondSource: last.Second.Source.String(), SecondDA: last.Second.DAHeight,
	}
	if last.Refuted == nil {
		out.Last.First, out.Last.FirstSource, out.Last.FirstDA = last.First.Header.Digest().String(), last.First.Source.String(), last.First.DAHeight
	}
	return out
}

// Evidence implements rpc.Node.
func (m *monitor) Evidence(ctx context.Context) ([]block.Evidence, error) {
	return m.in.Store.Evidence(ctx) //nolint:wrapcheck // it says what is wrong
}

// StoredEvidence reads the proofs from the database of a node that does not run.
// The config has absolute paths.
func StoredEvidence(ctx context.Context, c Config) (_ []block.Evidence, err error) {
	if _, err := os.Stat(c.DB.Path); err != nil {
		return nil, fmt.Errorf("no database: %w", err)
	}
	db := leveldb.New(c.DB)
	if err := db.Open(); err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s := chainstore.New(db, c.Store, zap.NewNop())
	if err := s.Open(ctx); err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong
	}
	all, err := s.Evidence(ctx)
	if all == nil {
		all = []block.Evidence{}
	}
	return all, err //nolint:wrapcheck // it says what is wrong
}
