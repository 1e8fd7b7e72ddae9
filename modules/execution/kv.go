package execution

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/cosmos/iavl"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// stateVersion changes with the rules that lead from transactions to a root.
const stateVersion = "1"

const (
	// userPrefix goes before the keys of transactions in the tree, systemPrefix
	// before what the executor itself commits to.
	userPrefix   = 'k'
	systemPrefix = 'g'

	// maxKeyBytes bounds the keys; a transaction with a longer one is not a write.
	// Keys are repeated in the inner nodes of the tree, so a long one would make
	// other people's writes dear.
	maxKeyBytes = 1024

	// persistEvery bounds the blocks without writes that are only counted in memory.
	persistEvery = 1024

	// storePage bounds one answer of /store.
	storePage      = 1000
	storePageBytes = 4 << 20
)

// KV is a persistent key-value store whose state root is the root hash of a
// Merkle tree (iavl). A transaction "key=value" sets a key; both parts are
// trimmed, the value may be empty, the key has 1 to 1024 bytes. Every other
// transaction is skipped.
//
// A block that writes makes one new version of the tree and one batch in the
// database, whatever came before; a block that does not costs a counter. The
// counter reaches the disk with the next write, every 1024 blocks and at Close:
// after a crash LatestHeight may be that much lower, never wrong, and the node
// replays the blocks without writes.
type KV struct {
	frontend
	writes
	cfg     Config
	db      *database
	pending *leveldb.Batch // gathered for the next write

	mu    sync.RWMutex // the node's calls write; the endpoints read
	tree  *iavl.MutableTree
	nodes *treeDB    // of tree
	chain *kvGenesis // nil before InitChain
	pos   kvPosition
	saved kvPosition // pos on disk
	root  []byte     // never changed in place
	keep  keep
}

// NewKV returns a store in the directory dir. Open opens it.
func NewKV(cfg Config, dir string, log *zap.Logger, opts ...leveldb.Option) *KV {
	return &KV{frontend: newFrontend(cfg, log), cfg: cfg, db: newDatabase(dir, opts), pending: new(leveldb.Batch)}
}

// Submit queues a copy of tx for a later block; see [Submitter]. What would have no
// effect in a block is refused with ErrNoWrite.
func (k *KV) Submit(ctx context.Context, tx []byte) error {
	if key, _, ok := parseTx(tx); len(tx) > 0 && (!ok || len(key) > maxKeyBytes) {
		return fmt.Errorf("%w: want KEY=VALUE with a key of 1 to %d bytes", ErrNoWrite, maxKeyBytes)
	}
	return k.frontend.Submit(ctx, tx)
}

// Open opens the database and loads the last state.
func (k *KV) Open(context.Context) error {
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
func (k *KV) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tree == nil {
		return nil
	}
	err := k.persist(true)
	k.tree, k.chain = nil, nil
	return errors.Join(err, k.db.Close())
}

// load makes memory what the disk says. It is also the way back after a failed
// change: whatever was half done is forgotten.
func (k *KV) load() error {
	k.pending.Reset()
	k.tree, k.chain, k.root = nil, nil, nil
	k.pos, k.saved = kvPosition{}, kvPosition{}
	chain, pos, err := readKVRecords(k.db)
	if err != nil {
		return k.db.unreadable(err)
	}
	nodes := &treeDB{db: k.db, pending: k.pending}
	tree := openTree(nodes, k.cfg.CacheBytes)
	if chain != nil {
		if _, err := tree.LoadVersion(int64(pos.version)); err != nil { //nolint:gosec // counts blocks
			return k.db.unreadable(fmt.Errorf("version %d: %w", pos.version, err))
		}
		k.root = bytes.Clone(tree.Hash())
	}
	k.tree, k.nodes, k.chain, k.pos, k.saved = tree, nodes, chain, pos, pos
	return nil
}

// InitChain writes the first version, which commits to the chain id and the
// genesis hash, or checks that the state belongs to this genesis.
func (k *KV) InitChain(_ context.Context, g block.Genesis) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tree == nil {
		return nil, ErrNotOpen
	}
	hash := g.Hash()
	if k.chain != nil {
		if k.chain.hash != hash {
			return nil, &GenesisError{Have: k.chain.hash, Want: hash}
		}
		return k.chain.root, nil
	}
	root, err := k.genesis(g, hash)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write genesis state: %w", err), k.load())
	}
	return root, nil
}

func (k *KV) genesis(g block.Genesis, hash block.Hash) ([]byte, error) {
	for _, e := range []struct{ key, value []byte }{
		{systemKey("chain_id"), []byte(g.ChainID)},
		{systemKey("genesis_hash"), hash[:]},
	} {
		if _, err := k.tree.Set(e.key, e.value); err != nil {
			return nil, err
		}
	}
	root, version, err := k.tree.SaveVersion()
	if err != nil {
		return nil, err
	}
	chain := &kvGenesis{hash: hash, initialHeight: g.InitialHeight, root: bytes.Clone(root)}
	pos := kvPosition{version: uint64(version), first: uint64(version)} //nolint:gosec // starts at 1
	chain.put(k.pending)
	putVersionHeight(k.pending, pos.version, g.InitialHeight-1)
	if err := k.commit(pos, true); err != nil {
		return nil, err
	}
	k.chain, k.root = chain, chain.root
	return chain.root, nil
}

// ExecuteTxs applies the writes of one block. A block that was executed already
// is undone first, so the same height may be handed over again.
func (k *KV) ExecuteTxs(ctx context.Context, e block.Execution) (block.ExecResult, error) {
	if err := ctx.Err(); err != nil {
		return block.ExecResult{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.chain == nil {
		return block.ExecResult{}, ErrNotInitialized
	}
	if err := k.follow(e); err != nil {
		return block.ExecResult{}, err
	}
	writes, err := k.apply(e)
	if err != nil {
		return block.ExecResult{}, errors.Join(fmt.Errorf("execute height %d: %w", e.Height, err), k.load())
	}
	k.executedBlock(writes)
	return block.ExecResult{StateRoot: k.root}, nil
}

// follow makes e the next block, or says why it cannot be.
func (k *KV) follow(e block.Execution) error {
	again, err := executedBefore(e, k.pos.height, k.chain.initialHeight)
	if err != nil {
		return err
	}
	if again {
		if err := k.rollback(e.Height - 1); err != nil {
			return err
		}
	}
	return checkRoot(e, k.root)
}

func (k *KV) apply(e block.Execution) (writes int, err error) {
	for _, tx := range e.Txs {
		key, value, ok := parseTx(tx)
		if !ok || len(key) > maxKeyBytes {
			continue
		}
		entry := make([]byte, 0, 1+len(key)+len(value)) // the tree keeps it, the block's memory goes
		entry = append(append(append(entry, userPrefix), key...), value...)
		if _, err := k.tree.Set(entry[:1+len(key):1+len(key)], entry[1+len(key):]); err != nil {
			return 0, err
		}
		writes++
	}
	if writes == 0 {
		k.pos.height = e.Height
		if k.pos.height-k.saved.height >= persistEvery {
			return 0, k.persist(false)
		}
		return 0, nil
	}
	root, version, err := k.tree.SaveVersion()
	if err != nil {
		return 0, err
	}
	pos := k.pos
	pos.height, pos.version = e.Height, uint64(version) //nolint:gosec // ascending from 1
	putVersionHeight(k.pending, pos.version, pos.height)
	if pos, err = k.prune(pos); err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	if err := k.commit(pos, false); err != nil {
		return 0, err
	}
	k.root = bytes.Clone(root)
	if k.nodes.long.Load() > int64(k.cfg.CacheBytes) {
		return writes, k.load()
	}
	return writes, nil
}

// commit writes what is pending together with the position, then moves there.
func (k *KV) commit(pos kvPosition, sync bool) error {
	pos.put(k.pending)
	if err := k.db.write(k.pending, sync); err != nil {
		return err
	}
	k.pending.Reset()
	k.pos, k.saved = pos, pos
	return nil
}

// persist writes the position when only memory has it.
func (k *KV) persist(sync bool) error {
	if k.chain == nil || k.saved == k.pos {
		return nil
	}
	return k.commit(k.pos, sync)
}

// SetFinal remembers the height; versions below it may be pruned. It reaches the
// disk with the next write.
func (k *KV) SetFinal(_ context.Context, height uint64) error {
	if height == 0 {
		return errors.New("set final: height is 0, want at least 1")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pos.final = max(k.pos.final, height)
	return nil
}

// LatestHeight returns the height of the last executed block.
func (k *KV) LatestHeight(context.Context) (uint64, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.pos.height, nil
}

// FinalHeight returns the last height that is known to be final.
func (k *KV) FinalHeight(context.Context) (uint64, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.pos.final, nil
}

// StateRoot returns the root after the last executed block.
func (k *KV) StateRoot(context.Context) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.chain == nil {
		return nil, ErrNotInitialized
	}
	return k.root, nil
}

// KeepFrom bounds what is pruned; see [Keeper].
func (k *KV) KeepFrom(height uint64) { k.keep.from(height) }

// Reset removes all state; see [Resetter].
func (k *KV) Reset(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tree == nil {
		return ErrNotOpen
	}
	return errors.Join(k.db.reset(), k.load())
}

// Info returns the current height and root.
func (k *KV) Info(context.Context) (Info, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return Info{Name: NameKV, Version: stateVersion, Height: k.pos.height, Final: k.pos.final, Root: k.root}, nil
}

// Handler serves /tx, /kv, /store and /stats.
func (k *KV) Handler() http.Handler { return newHandler(&k.frontend, k, k, storePage) }

func systemKey(name string) []byte { return append([]byte{systemPrefix, '/'}, name...) }
