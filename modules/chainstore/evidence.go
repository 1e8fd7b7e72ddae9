package chainstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// Bounds of the proofs kept. The oldest stand: a proposer that signs what it must
// not again and again proves nothing new.
const (
	maxEvidence      = 1024
	maxEvidenceBytes = 32 << 20
)

// kept is how much evidence there is.
type kept struct {
	mu    sync.Mutex
	count int
	bytes int
}

func (k *kept) add(count, bytes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count += count
	k.bytes += bytes
}

func (k *kept) set(count, bytes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count, k.bytes = count, bytes
}

// fits reports whether a record may still be added.
func (k *kept) fits(bytes int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count < maxEvidence && bytes <= block.MaxEvidenceBytes && k.bytes+bytes <= maxEvidenceBytes
}

type evidenceKey [heightKeySize + indexHashSize]byte

func evidenceKeyOf(e block.Evidence) (k evidenceKey) {
	height, id := keyAt(nsEvidence, e.Height()), e.ID()
	copy(k[:], height[:])
	copy(k[heightKeySize:], id[:])
	return k
}

// SaveEvidence keeps a proof, on the disk when it returns, and reports whether
// it is new. Each is kept once, and of all only the first 1,024 and 32 MiB;
// neither Truncate nor pruning removes one.
func (s *Store) SaveEvidence(ctx context.Context, e block.Evidence) (bool, error) {
	if err := e.Complete(); err != nil {
		return false, fmt.Errorf("save evidence: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("save evidence: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Load() == nil {
		return false, fmt.Errorf("save evidence: %w", errNotOpen)
	}
	key, record := evidenceKeyOf(e), e.Encode()
	switch has, err := s.db.Has(key[:]); {
	case err != nil:
		return false, fmt.Errorf("save evidence: %w", err)
	case has || !s.evidence.fits(len(record)):
		return false, nil
	}
	var b leveldb.Batch
	b.Put(key[:], record)
	if err := s.db.Write(&b, true); err != nil {
		return false, fmt.Errorf("save evidence: %w", err)
	}
	s.evidence.add(1, len(record))
	return true, nil
}

// DropEvidence forgets evidence that turned out to prove nothing: a header whose
// refutation was the executor's fault. It reaches the disk.
func (s *Store) DropEvidence(ctx context.Context, e block.Evidence) error {
	if err := e.Complete(); err != nil {
		return fmt.Errorf("drop evidence: %w", err)
	}
	key, size := evidenceKeyOf(e), 0
	err := s.update(ctx, "drop evidence", true, func(b *leveldb.Batch, _ *progress) error {
		v, err := s.db.Get(key[:])
		if errors.Is(err, leveldb.ErrNotFound) {
			return nil
		}
		size = len(v)
		b.Delete(key[:])
		return err
	})
	if err == nil && size > 0 {
		s.evidence.add(-1, -size)
	}
	return err
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
func (s *Store) EvidenceCount() int {
	s.evidence.mu.Lock()
	defer s.evidence.mu.Unlock()
	return s.evidence.count
}

func (s *Store) countEvidence() error {
	start := keyAt(nsEvidence, 0)
	it := s.db.NewIterator(start[:], keyEnd(nsEvidence))
	defer it.Close()
	count, bytes := 0, 0
	for it.Next() {
		count++
		bytes += len(it.Value())
	}
	s.evidence.set(count, bytes)
	return it.Err()
}
