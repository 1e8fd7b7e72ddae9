package chainstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// SaveRevert keeps a revert that was decided, and sets the positions on DA to
// where it makes the node read again. Both reach the disk.
func (s *Store) SaveRevert(ctx context.Context, r block.Revert) error {
	return s.update(ctx, "save revert", true, func(b *leveldb.Batch, p *progress) error {
		b.Put(keyNamed(nsMark, markRevert), r.Encode())
		p.floor, p.scanned = r.DACursor, min(p.scanned, r.DACursor)
		return nil
	})
}

// Revert returns the revert that is under way, if any.
func (s *Store) Revert(context.Context) (block.Revert, bool, error) {
	v, err := s.db.Get(keyNamed(nsMark, markRevert))
	if errors.Is(err, leveldb.ErrNotFound) {
		return block.Revert{}, false, nil
	}
	if err != nil {
		return block.Revert{}, false, fmt.Errorf("revert: %w", err)
	}
	r, err := block.DecodeRevert(v)
	if err != nil {
		return block.Revert{}, false, fmt.Errorf("revert in database %s: %w", s.db.Path(), err)
	}
	return r, true, nil
}
