package pipeline_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/block"
)

// memStore keeps what the chain's database keeps.
type memStore struct {
	faults  *faults
	mu      sync.Mutex
	genesis block.Hash
	last    uint64
	states  map[uint64]block.State
	headers map[uint64]*block.SignedHeader
	data    map[uint64]*block.Data
	incs    map[uint64]block.Included
	final   uint64
	cursor  uint64 // DA floor
	scanned uint64
	top     uint64 // highest inclusion
	proofs  map[block.Hash]block.Evidence
	revert  *block.Revert
	batches []block.Batch // without the slices' contents but the lengths
	keep    bool          // record batches
}

func newMemStore(f *faults) *memStore {
	return &memStore{
		faults: f, states: map[uint64]block.State{}, headers: map[uint64]*block.SignedHeader{},
		data: map[uint64]*block.Data{}, incs: map[uint64]block.Included{}, proofs: map[block.Hash]block.Evidence{}, keep: true,
	}
}

func (s *memStore) put(blocks ...block.Block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range blocks {
		s.headers[b.Height()] = b.Header
		if b.Data != nil {
			s.data[b.Height()] = b.Data
		}
	}
}

func (s *memStore) State(context.Context) (block.State, error) {
	if err := s.faults.point("state"); err != nil {
		return block.State{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.states) == 0 {
		return block.State{}, header.ErrNotFound
	}
	return s.states[s.last], nil
}

func (s *memStore) StateAt(_ context.Context, height uint64) (block.State, error) {
	if err := s.faults.point("state at"); err != nil {
		return block.State{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.states[height]
	if !ok {
		return st, header.ErrNotFound
	}
	return st, nil
}

func (s *memStore) SaveGenesis(_ context.Context, g block.Genesis, st block.State) error {
	if err := s.faults.point("before genesis"); err != nil {
		return err
	}
	s.mu.Lock()
	switch {
	case len(s.states) == 0, s.genesis == g.Hash() && s.last == g.InitialHeight-1:
		s.genesis, s.last = g.Hash(), g.InitialHeight-1
		s.states[s.last] = st
	case s.genesis != g.Hash():
		s.mu.Unlock()
		return errors.New("database of another genesis")
	}
	s.mu.Unlock()
	return s.faults.point("after genesis")
}

func (s *memStore) ReviseState(_ context.Context, st block.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[st.LastHeight] = st
	return nil
}

func (s *memStore) Commit(_ context.Context, b block.Batch) error {
	if err := s.faults.point("before commit"); err != nil {
		return err
	}
	s.mu.Lock()
	for _, st := range b.States {
		s.states[st.LastHeight] = st
		s.last = st.LastHeight
	}
	for _, bl := range b.Blocks {
		s.headers[bl.Height()] = bl.Header
		if bl.Data != nil {
			s.data[bl.Height()] = bl.Data
		}
	}
	for _, inc := range b.Inclusions {
		in := s.incs[inc.Height]
		switch {
		case inc.Kind == block.KindHeader && in.HeaderDA == 0:
			in.HeaderHash, in.HeaderDA = inc.Hash, inc.DAHeight
		case inc.Kind == block.KindData && in.DataDA == 0:
			in.Commitment, in.DataDA = inc.Hash, inc.DAHeight
		}
		s.incs[inc.Height] = in
		s.top = max(s.top, inc.Height)
	}
	if b.DropRevert {
		s.revert = nil
	}
	if b.Final != 0 {
		s.final = b.Final
	}
	if b.DA.Floor != 0 {
		s.cursor = b.DA.Floor
	}
	if b.DA.Scanned != 0 {
		s.scanned = b.DA.Scanned
	}
	if s.keep {
		b.States, b.Blocks, b.Inclusions = slices.Clone(b.States), slices.Clone(b.Blocks), slices.Clone(b.Inclusions)
		s.batches = append(s.batches, b)
	}
	s.mu.Unlock()
	return s.faults.point("after commit")
}

func (s *memStore) Inclusion(_ context.Context, height uint64) (block.Included, error) {
	if s.keep {
		if err := s.faults.point("inclusion"); err != nil {
			return block.Included{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.incs[height], nil
}

func (s *memStore) Final() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final
}

func (s *memStore) DA() block.DAPositions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return block.DAPositions{Floor: s.cursor, Scanned: s.scanned}
}

func (s *memStore) Included() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.top
}

func (s *memStore) SaveEvidence(_ context.Context, e block.Evidence) (bool, error) {
	if err := s.faults.point("before evidence"); err != nil {
		return false, err
	}
	s.mu.Lock()
	_, has := s.proofs[e.ID()]
	if !has {
		s.proofs[e.ID()] = e
	}
	s.mu.Unlock()
	return !has, s.faults.point("after evidence")
}

func (s *memStore) DropEvidence(_ context.Context, e block.Evidence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.proofs, e.ID())
	return nil
}

func (s *memStore) Evidence(context.Context) ([]block.Evidence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.proofs)), nil
}

func (s *memStore) SaveRevert(_ context.Context, r block.Revert) error {
	if err := s.faults.point("before revert"); err != nil {
		return err
	}
	s.mu.Lock()
	s.revert, s.cursor, s.scanned = &r, r.DACursor, min(s.scanned, r.DACursor)
	s.mu.Unlock()
	return s.faults.point("after revert")
}

func (s *memStore) Revert(context.Context) (block.Revert, bool, error) {
	if err := s.faults.point("revert"); err != nil {
		return block.Revert{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revert == nil {
		return block.Revert{}, false, nil
	}
	return *s.revert, true, nil
}

func (s *memStore) Truncate(_ context.Context, to uint64) error {
	if err := s.faults.point("before truncate"); err != nil {
		return err
	}
	s.mu.Lock()
	above := func(h uint64) bool { return h > to }
	maps.DeleteFunc(s.headers, func(h uint64, _ *block.SignedHeader) bool { return above(h) })
	maps.DeleteFunc(s.data, func(h uint64, _ *block.Data) bool { return above(h) })
	maps.DeleteFunc(s.states, func(h uint64, _ block.State) bool { return above(h) })
	maps.DeleteFunc(s.incs, func(h uint64, _ block.Included) bool { return above(h) })
	s.last, s.top, s.final = min(s.last, to), min(s.top, to), min(s.final, to)
	s.mu.Unlock()
	return s.faults.point("after truncate")
}

func (s *memStore) applied() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

type headersOf struct{ *memStore }

func (s headersOf) Height() uint64 { return highest(s.memStore, s.headers) }

func highest[V any](s *memStore, m map[uint64]V) (top uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h := range m {
		top = max(top, h)
	}
	return top
}

func (s headersOf) GetByHeight(ctx context.Context, height uint64) (*block.SignedHeader, error) {
	if err := s.faults.point("header"); err != nil {
		return nil, err
	}
	return wait(ctx, s.memStore, s.headers, height)
}

type dataOf struct{ *memStore }

func (s dataOf) Height() uint64 { return highest(s.memStore, s.data) }

func (s dataOf) GetByHeight(ctx context.Context, height uint64) (*block.Data, error) {
	if err := s.faults.point("data"); err != nil {
		return nil, err
	}
	return wait(ctx, s.memStore, s.data, height)
}

// wait blocks for absent items as stores do.
func wait[V any](ctx context.Context, s *memStore, m map[uint64]V, height uint64) (V, error) {
	s.mu.Lock()
	v, ok := m[height]
	s.mu.Unlock()
	if !ok {
		<-ctx.Done()
		return v, ctx.Err()
	}
	return v, nil
}
