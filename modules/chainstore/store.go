package chainstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// Store is everything a node keeps of its chain. Writers take mu, then the
// headers' lock, then the data's; readers take none of them.
type Store struct {
	db      *leveldb.DB
	cfg     Config
	log     *zap.Logger
	headers *Chain[*block.SignedHeader]
	data    *Chain[*block.Data]

	progress atomic.Pointer[progress]    // nil until opened
	newest   atomic.Pointer[block.State] // nil before SaveGenesis
	evidence kept

	flushed flushed

	mu       sync.Mutex // one writer of everything but the two chains
	batch    leveldb.Batch
	included map[uint64]Included // of the batch being made
}

// Included is where the halves of one block were first seen on DA.
type Included = block.Included

// New returns a store on db. It is opened after db is.
func New(db *leveldb.DB, cfg Config, log *zap.Logger) *Store {
	return &Store{
		db: db, cfg: cfg, log: log,
		headers: newChain(headerKind(), db, cfg), data: newChain(dataKind(), db, cfg),
		included: make(map[uint64]Included),
	}
}

// Open reads where the chain ends, which does not depend on its length, and
// finishes a Truncate that was cut short.
func (s *Store) Open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.readMarks()
	if isDatabase(err) {
		return fmt.Errorf("open chain store: %w", err)
	}
	if err != nil {
		return fmt.Errorf("open chain store in database %s: %w; 'tandem repair' says what can be kept", s.db.Path(), err)
	}
	s.progress.Store(&p)
	s.flushed.set(p.state) // opening the database has made a table of its journal
	if err := s.resumeSweep(ctx); err != nil {
		return fmt.Errorf("open chain store: %w", err)
	}
	s.log.Info("chain store opened", zap.Uint64("header_height", s.headers.Height()),
		zap.Uint64("data_height", s.data.Height()), zap.Uint64("applied_height", p.state), zap.Uint64("final_height", p.final))
	return nil
}

// readMarks reads what says where everything ends, and the newest item of each kind.
func (s *Store) readMarks() (progress, error) {
	p, err := s.readProgress()
	if err == nil {
		err = errors.Join(s.headers.open(), s.data.open(), s.countEvidence())
	}
	s.newest.Store(nil)
	if err != nil || !p.hasState {
		return p, err
	}
	st, err := s.readState(p.state)
	if err == nil {
		s.newest.Store(&st)
	}
	return p, err
}

// Headers returns the chain of headers.
func (s *Store) Headers() *Chain[*block.SignedHeader] { return s.headers }

// Data returns the chain of data.
func (s *Store) Data() *Chain[*block.Data] { return s.data }

// Final returns the final height, 0 before the first.
func (s *Store) Final() uint64 { return s.marks().final }

// Included returns the highest height of which any half was seen on DA, 0 before
// the first.
func (s *Store) Included() uint64 { return s.marks().included }

// DA returns how far DA was read, zero before the first height.
func (s *Store) DA() block.DAPositions {
	p := s.marks()
	return block.DAPositions{Floor: p.floor, Scanned: p.scanned}
}

// Submitted returns the last heights of headers and of data that this node knows
// to have put on DA.
func (s *Store) Submitted() (header, data uint64) {
	p := s.marks()
	return p.submittedHeader, p.submittedData
}

// SaveSubmitted sets what Submitted returns.
func (s *Store) SaveSubmitted(ctx context.Context, header, data uint64) error {
	return s.update(ctx, "save submitted heights", s.cfg.Sync, func(_ *leveldb.Batch, p *progress) error {
		p.submittedHeader, p.submittedData = header, data
		return nil
	})
}

func (s *Store) marks() progress {
	if p := s.progress.Load(); p != nil {
		return *p
	}
	return progress{}
}

// update makes one change under the lock; see apply.
func (s *Store) update(ctx context.Context, what string, sync bool, change func(*leveldb.Batch, *progress) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.apply(sync, change); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// apply writes what change puts into a batch and into the progress as one, and
// then makes it visible. The caller holds mu.
func (s *Store) apply(sync bool, change func(*leveldb.Batch, *progress) error) error {
	old := s.progress.Load()
	if old == nil {
		return errNotOpen
	}
	reuse(&s.batch)
	p := *old
	if err := change(&s.batch, &p); err != nil {
		return err
	}
	s.stageProgress(&s.batch, *old, p)
	if s.batch.Len() == 0 {
		return nil
	}
	if err := s.db.Write(&s.batch, sync); err != nil {
		return err
	}
	s.progress.Store(&p)
	return nil
}
