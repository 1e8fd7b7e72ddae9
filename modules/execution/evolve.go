package execution

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"sync"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// Keys of ev-node's test application (evolve-wire §4.2). Everything a transaction
// writes lies under heightPrefix.
const (
	heightPrefix    = "/height/"
	heightPrefixEnd = "/height0" // '0' follows '/'
	initializedKey  = "/genesis/initialized"
	genesisRootKey  = "/genesis/stateroot"
	finalHeightKey  = "/finalizedHeight"
)

// EvolveKV is a key-value store whose keys, values and state roots are those of
// ev-node's test application, byte for byte. The root is the concatenation of all
// entries ever written: it grows for ever, and a block that writes costs time in
// proportion to it. It is meant for joining such chains, not for new ones.
//
// Unlike the original it knows its height and undoes blocks exactly, also those
// with keys that reach into other heights ("../3/key"); what it keeps for that is
// neither part of the root nor listed.
type EvolveKV struct {
	frontend
	writes
	cfg Config
	db  *database

	mu     sync.RWMutex   // the node's calls write; the endpoints read
	loaded bool           // memory is what the disk says
	chain  *evolveGenesis // nil before InitChain
	pos    evolvePosition
	saved  uint64                // pos.height on disk
	undo   []uint64              // heights that can be undone, ascending
	all    concatenation         // the root
	last   map[string]evolveLast // by the key as transactions name it
	keep   keep
}

// evolveLast is the newest entry of a key.
type evolveLast struct {
	height uint64
	dbKey  string
}

// NewEvolveKV returns a store in the directory dir. Open opens it.
func NewEvolveKV(cfg Config, dir string, log *zap.Logger, opts ...leveldb.Option) *EvolveKV {
	return &EvolveKV{frontend: newFrontend(cfg, log), cfg: cfg, db: newDatabase(dir, opts)}
}

// Open opens the database and reads all of it: the root covers all of it.
func (k *EvolveKV) Open(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.db.open(); err != nil {
		return err
	}
	if err := k.load(); err != nil {
		return errors.Join(err, k.db.Close())
	}
	return nil
}

// Close writes what is only in memory and closes the database.
func (k *EvolveKV) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	if k.chain != nil && k.saved != k.pos.height {
		err = k.commit(new(leveldb.Batch), k.pos, true)
	}
	k.chain, k.loaded = nil, false
	return errors.Join(err, k.db.Close())
}

// InitChain writes the genesis records, or checks that the state belongs to this
// genesis, and returns the root before the first block.
func (k *EvolveKV) InitChain(_ context.Context, g block.Genesis) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.loaded {
		return nil, ErrNotOpen
	}
	hash := g.Hash()
	if k.chain != nil {
		if k.chain.hash != hash {
			return nil, &GenesisError{Have: k.chain.hash, Want: hash}
		}
		return k.chain.root, nil
	}
	chain := &evolveGenesis{hash: hash, initialHeight: g.InitialHeight, root: k.all.text}
	b := new(leveldb.Batch)
	b.Put([]byte(genesisRootKey), chain.root)
	b.Put([]byte(initializedKey), []byte("true"))
	chain.put(b)
	if err := k.commit(b, evolvePosition{oldest: g.InitialHeight - 1}, true); err != nil {
		return nil, fmt.Errorf("write genesis state: %w", err)
	}
	k.chain = chain
	return chain.root, nil
}

// ExecuteTxs applies the writes of one block. A block that was executed already
// is undone first, so the same height may be handed over again.
func (k *EvolveKV) ExecuteTxs(ctx context.Context, e block.Execution) (block.ExecResult, error) {
	if err := ctx.Err(); err != nil {
		return block.ExecResult{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.chain == nil {
		return block.ExecResult{}, ErrNotInitialized
	}
	again, err := executedBefore(e, k.pos.height, k.chain.initialHeight)
	if err == nil && again {
		err = k.rollback(e.Height - 1)
	}
	if err == nil {
		err = checkRoot(e, k.all.text)
	}
	if err != nil {
		return block.ExecResult{}, err
	}
	writes, err := k.apply(e)
	if err != nil {
		return block.ExecResult{}, fmt.Errorf("execute height %d: %w", e.Height, err)
	}
	k.executedBlock(writes)
	return block.ExecResult{StateRoot: k.all.text}, nil
}

func (k *EvolveKV) apply(e block.Execution) (writes int, err error) {
	values := make(map[string][]byte, len(e.Txs)) // the last write of a key wins
	for _, tx := range e.Txs {
		if key, value, ok := parseTx(tx); ok {
			values[evolveKey(e.Height, key)] = value
			writes++
		}
	}
	pos := k.pos
	pos.height = e.Height
	if writes == 0 {
		if pos.height-k.saved >= persistEvery {
			return 0, k.commit(new(leveldb.Batch), pos, false)
		}
		k.pos = pos
		return 0, nil
	}
	entries := make([]kvEntry, 0, len(values))
	b := new(leveldb.Batch)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		entries = append(entries, kvEntry{key: []byte(key), value: values[key]})
		b.Put([]byte(key), values[key])
	}
	if err := k.putUndo(b, e.Height, entries); err != nil {
		return 0, err
	}
	undo := append(k.undo, e.Height)
	undo, pos.oldest = k.pruneUndo(b, undo)
	if err := k.commit(b, pos, false); err != nil {
		return 0, err
	}
	k.undo = undo
	k.all.merge(entries)
	for _, entry := range entries {
		k.index(string(entry.key))
	}
	return writes, nil
}

// commit writes the batch together with the position, then moves there.
func (k *EvolveKV) commit(b *leveldb.Batch, pos evolvePosition, sync bool) error {
	pos.put(b)
	if err := k.db.write(b, sync); err != nil {
		return err
	}
	k.pos, k.saved = pos, pos.height
	return nil
}

// SetFinal stores the height where ev-node does.
func (k *EvolveKV) SetFinal(_ context.Context, height uint64) error {
	if height == 0 {
		return errors.New("set final: height is 0, want at least 1")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.chain == nil {
		return ErrNotInitialized
	}
	pos := k.pos
	if height <= pos.final {
		return nil
	}
	pos.final = height
	b := new(leveldb.Batch)
	putFinal(b, height)
	if err := k.commit(b, pos, false); err != nil {
		return fmt.Errorf("set final height %d: %w", height, err)
	}
	return nil
}

// LatestHeight returns the height of the last executed block.
func (k *EvolveKV) LatestHeight(context.Context) (uint64, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.pos.height, nil
}

// FinalHeight returns the last height that is known to be final.
func (k *EvolveKV) FinalHeight(context.Context) (uint64, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.pos.final, nil
}

// StateRoot returns the root after the last executed block.
func (k *EvolveKV) StateRoot(context.Context) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.chain == nil {
		return nil, ErrNotInitialized
	}
	return k.all.text, nil
}

// KeepFrom bounds what is pruned; see [Keeper].
func (k *EvolveKV) KeepFrom(height uint64) { k.keep.from(height) }

// Reset removes all state; see [Resetter].
func (k *EvolveKV) Reset(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.loaded {
		return ErrNotOpen
	}
	return errors.Join(k.db.reset(), k.load())
}

// Info returns the current height and root.
func (k *EvolveKV) Info(context.Context) (Info, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return Info{Name: NameEvolveKV, Version: stateVersion, Height: k.pos.height, Final: k.pos.final, Root: k.all.text}, nil
}

// Handler serves /tx, /kv, /store and /stats as ev-node does.
func (k *EvolveKV) Handler() http.Handler { return newHandler(&k.frontend, k, k, 0) }

// evolveKey is where a transaction's key lies in the database. A key with ".."
// may reach into another height, but not out of heightPrefix.
func evolveKey(height uint64, key []byte) string {
	return heightPrefix[:len(heightPrefix)-1] + path.Clean("/"+strconv.FormatUint(height, 10)+"/"+string(key))
}
