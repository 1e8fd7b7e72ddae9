package chainstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// stateHeight is the height a state is stored at: that of the last block it
// knows, one below the initial height before the first.
func stateHeight(st block.State) uint64 { return st.NextHeight() - 1 }

// State returns the newest state. Before SaveGenesis it is header.ErrNotFound.
func (s *Store) State(context.Context) (block.State, error) {
	st := s.newest.Load()
	if st == nil {
		return block.State{}, fmt.Errorf("state: %w", header.ErrNotFound)
	}
	return *st, nil
}

// StateAt returns the state after the block at height; at the initial height
// minus one it is the genesis state.
func (s *Store) StateAt(_ context.Context, height uint64) (block.State, error) {
	p := s.marks()
	if !p.hasState || height > p.state {
		return block.State{}, fmt.Errorf("state after %d: %w", height, header.ErrNotFound)
	}
	return s.readState(height)
}

func (s *Store) readState(height uint64) (block.State, error) {
	key := keyAt(nsState, height)
	v, err := s.db.Get(key[:])
	if errors.Is(err, leveldb.ErrNotFound) {
		err = header.ErrNotFound
	}
	if err != nil {
		return block.State{}, fmt.Errorf("state after %d: %w", height, err)
	}
	st, err := block.DecodeState(v)
	if err != nil {
		return block.State{}, fmt.Errorf("state after %d: %w", height, err)
	}
	return st, nil
}

// GenesisMismatch says that the home belongs to another chain than the genesis
// file.
type GenesisMismatch struct { //nolint:errname // says what is wrong better than with Error behind it
	HaveChain, GotChain string
	HaveHash, GotHash   block.Hash
}

// Error names both chains.
func (e *GenesisMismatch) Error() string {
	return fmt.Sprintf("home holds chain %s (genesis hash %s), genesis file is of %s (genesis hash %s)",
		e.HaveChain, e.HaveHash.Short(), e.GotChain, e.GotHash.Short())
}

// Permanent reports that trying again does not help.
func (e *GenesisMismatch) Permanent() bool { return true }

// SaveGenesis ties the store to a chain and keeps the state before its first
// block. It reaches the disk. On a store that is tied already it changes
// nothing but that state, as long as no block was applied: the executor may be
// another one now. It is a *GenesisMismatch when the genesis is another.
func (s *Store) SaveGenesis(ctx context.Context, g block.Genesis, st block.State) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("save genesis: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	have, err := s.readGenesis()
	if err != nil {
		return err
	}
	height, p := stateHeight(st), s.progress.Load()
	if have != nil && (have.hash != g.Hash() || p == nil || p.state != height) {
		return have.mismatch(g)
	}
	if height+1 != g.InitialHeight {
		return fmt.Errorf("save genesis: state is of height %d, want %d", height, g.InitialHeight-1)
	}
	err = s.apply(true, func(b *leveldb.Batch, p *progress) error {
		hash := g.Hash()
		v := binary.BigEndian.AppendUint64(hash[:], g.InitialHeight)
		b.Put(keyNamed(nsMark, markGenesis), append(v, g.ChainID...))
		key := keyAt(nsState, height)
		b.Put(key[:], st.Encode())
		p.state, p.hasState = height, true
		return nil
	})
	if err != nil {
		return fmt.Errorf("save genesis: %w", err)
	}
	s.newest.Store(&st)
	return nil
}

// ReviseState replaces the newest state by another one after the same block, as an
// executor that was replaced comes to. It reaches the disk.
func (s *Store) ReviseState(ctx context.Context, st block.State) error {
	err := s.update(ctx, "revise state", true, func(b *leveldb.Batch, p *progress) error {
		height := stateHeight(st)
		if !p.hasState || p.state != height {
			return fmt.Errorf("the newest state is after block %d, not %d", p.state, height)
		}
		key := keyAt(nsState, height)
		b.Put(key[:], st.Encode())
		return nil
	})
	if err == nil {
		s.newest.Store(&st)
	}
	return err
}

// CheckGenesis returns a *GenesisMismatch when the store is tied to another
// chain, and nil when to this one or to none.
func (s *Store) CheckGenesis(_ context.Context, g block.Genesis) error {
	have, err := s.readGenesis()
	if err != nil {
		return fmt.Errorf("check genesis: %w", err)
	}
	return have.mismatch(g)
}

// genesisMark is what the store keeps of the genesis.
type genesisMark struct {
	hash          block.Hash
	initialHeight uint64
	chainID       string
}

// readGenesis returns nil when none was saved.
func (s *Store) readGenesis() (*genesisMark, error) {
	v, err := s.db.Get(keyNamed(nsMark, markGenesis))
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, nil //nolint:nilnil // none is a good answer
	}
	if err != nil {
		return nil, err
	}
	if len(v) < block.HashSize+8 {
		return nil, fmt.Errorf("genesis record has %d bytes, want at least %d", len(v), block.HashSize+8)
	}
	return &genesisMark{
		hash:          block.Hash(v[:block.HashSize]),
		initialHeight: binary.BigEndian.Uint64(v[block.HashSize:]),
		chainID:       string(v[block.HashSize+8:]),
	}, nil
}

func (m *genesisMark) mismatch(g block.Genesis) error {
	if m == nil || m.hash == g.Hash() {
		return nil
	}
	return &GenesisMismatch{HaveChain: m.chainID, HaveHash: m.hash, GotChain: g.ChainID, GotHash: g.Hash()}
}
