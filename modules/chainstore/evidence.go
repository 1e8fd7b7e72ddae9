package chainstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// maxEvidence bounds the proofs kept, to a few megabytes at most. The oldest
// stand: a proposer that signs twice again and again proves nothing new.
const maxEvidence = 1024

type evidenceKey [heightKeySize + indexHashSize]byte

func evidenceKeyOf(e block.Evidence) (k evidenceKey) {
	height, id := keyAt(nsEvidence, e.Height()), e.ID()
	copy(k[:], height[:])
	copy(k[heightKeySize:], id[:])
	return k
}

// SaveEvidence keeps a proof, on the disk when it returns, and reports whether
// it is new. Each pair of headers is kept once, and the first 1,024 pairs only;
// neither Truncate nor pruning removes one.
func (s *Store) SaveEvidence(ctx context.Context, e block.Evidence) (bool, error) {
	if e.First.Header == nil || e.Second.Header == nil {
		return false, fmt.Errorf("save evidence: %w", block.ErrNoPair)
	}
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("save evidence: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Load() == nil {
		return false, fmt.Errorf("save evidence: %w", errNotOpen)
	}
	key := evidenceKeyOf(e)
	switch has, err := s.db.Has(key[:]); {
	case err != nil:
		return false, fmt.Errorf("save evidence: %w", err)
	case has || s.evidence.Load() >= maxEvidence:
		return false, nil
	}
	var b leveldb.Batch
	b.Put(key[:], e.Encode())
	if err := s.db.Write(&b, true); err != nil {
		return false, fmt.Errorf("save evidence: %w", err)
	}
	s.evidence.Add(1)
	return true, nil
}

// Evidence returns the proofs by height.
func (s *Store) Evidence(ctx context.Context) ([]block.Evidence, error) {
	start := keyAt(nsEvidence, 0)
	it := s.db.NewIterator(start[:], keyEnd(nsEvidence))
	defer it.Close()
	var all []block.Evidence
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evidence: %w", err)
		}
		e, err := block.DecodeEvidence(it.Value())
		if err != nil {
			return nil, fmt.Errorf("evidence in database %s: %w", s.db.Path(), err)
		}
		all = append(all, e)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return all, nil
}

// EvidenceCount returns how many proofs are kept.
func (s *Store) EvidenceCount() int { return int(s.evidence.Load()) }

func (s *Store) countEvidence() error {
	start := keyAt(nsEvidence, 0)
	it := s.db.NewIterator(start[:], keyEnd(nsEvidence))
	defer it.Close()
	n := int64(0)
	for it.Next() {
		n++
	}
	s.evidence.Store(n)
	return it.Err()
}

// SaveRevert keeps a revert that was decided, and sets the DA cursor to where it
// makes the node read again. Both reach the disk.
func (s *Store) SaveRevert(ctx context.Context, r block.Revert) error {
	return s.update(ctx, "save revert", true, func(b *leveldb.Batch, p *progress) error {
		b.Put(keyNamed(nsMark, markRevert), r.Encode())
		p.cursor = r.DACursor
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
