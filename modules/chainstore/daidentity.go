package chainstore

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// metaDAIdentity is the name of the record that identifies the DA layer.
const metaDAIdentity = "da_identity"

// DAIdentity returns the record that identifies the DA layer that was read, nil
// before there is one.
func (s *Store) DAIdentity() ([]byte, error) {
	v, _, err := s.Meta(metaDAIdentity)
	return v, err
}

// KeepDAIdentity sets what DAIdentity returns.
func (s *Store) KeepDAIdentity(record []byte) error { return s.PutMeta(metaDAIdentity, record) }

// DAFloor returns the DA height below which everything was read, 0 before the first.
func (s *Store) DAFloor() uint64 { return s.marks().floor }

// MoveDA sets what DAIdentity returns and forgets what was read from and posted
// to another DA layer, in one step that reaches the disk: how far it was read,
// where blocks lie on it, what was submitted, and the named Meta. The final head
// stays. Nothing else may use the store meanwhile.
func (s *Store) MoveDA(record []byte, forget ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers.mu.Lock()
	defer s.headers.mu.Unlock()
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	old := s.progress.Load()
	if old == nil {
		return fmt.Errorf("move to another DA layer: %w", errNotOpen)
	}
	p := *old
	p.floor, p.scanned, p.included, p.submittedHeader, p.submittedData = 0, 0, 0, 0, 0
	b := &leveldb.Batch{}
	s.stageProgress(b, *old, p)
	b.Put(keyNamed(nsUser, metaDAIdentity), record)
	for _, key := range forget {
		b.Delete(keyNamed(nsUser, key))
	}
	b.Put(keyNamed(nsMark, markSweep), nil)
	if err := s.db.Write(b, true); err != nil {
		return fmt.Errorf("move to another DA layer: %w", err)
	}
	s.progress.Store(&p)
	s.log.Warn("chain store moved to another da layer", zap.Uint64("da_floor", old.floor), zap.Uint64("final", p.final))
	return s.sweep()
}
