package execution

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// The executor's own records lie beside the tree's, whose keys begin with 's',
// 'm', 'n', 'o' or 'r'.
const (
	recordPosition = 'P' // kvPosition
	recordGenesis  = 'G' // kvGenesis
	recordVersion  = 'V' // V‖version → height
)

// kvGenesis is what InitChain left behind.
type kvGenesis struct {
	hash          block.Hash
	initialHeight uint64
	root          []byte
}

func (g *kvGenesis) put(b *leveldb.Batch) {
	v := append([]byte(nil), g.hash[:]...)
	v = binary.BigEndian.AppendUint64(v, g.initialHeight)
	b.Put([]byte{recordGenesis}, append(v, g.root...))
}

// kvPosition is where the state stands. The height runs ahead of the version:
// blocks without writes make none.
type kvPosition struct {
	height  uint64 // last executed block, 0 before the first
	version uint64 // of the tree
	first   uint64 // oldest version kept
	final   uint64 // highest final height heard of
}

const kvPositionBytes = 4 * 8

func (p kvPosition) put(b *leveldb.Batch) {
	v := make([]byte, 0, kvPositionBytes)
	for _, n := range []uint64{p.height, p.version, p.first, p.final} {
		v = binary.BigEndian.AppendUint64(v, n)
	}
	b.Put([]byte{recordPosition}, v)
}

func readKVRecords(d *database) (*kvGenesis, kvPosition, error) {
	g, found, err := d.get([]byte{recordGenesis})
	if err != nil || !found {
		return nil, kvPosition{}, err
	}
	p, found, err := d.get([]byte{recordPosition})
	if err != nil {
		return nil, kvPosition{}, err
	}
	if !found || len(p) != kvPositionBytes || len(g) < block.HashSize+8 {
		return nil, kvPosition{}, fmt.Errorf("records are damaged (position %d bytes, genesis %d bytes)", len(p), len(g))
	}
	n := binary.BigEndian.Uint64
	return &kvGenesis{
			hash: block.Hash(g[:block.HashSize]), initialHeight: n(g[block.HashSize:]), root: g[block.HashSize+8:],
		},
		kvPosition{height: n(p), version: n(p[8:]), first: n(p[16:]), final: n(p[24:])}, nil
}

func versionKey(version uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{recordVersion}, version)
}

func putVersionHeight(b *leveldb.Batch, version, height uint64) {
	b.Put(versionKey(version), binary.BigEndian.AppendUint64(nil, height))
}

// heightOf returns the height of the block that made a version.
func (k *KV) heightOf(version uint64) (uint64, error) {
	v, found, err := k.db.get(versionKey(version))
	if err != nil {
		return 0, err
	}
	if !found || len(v) != 8 {
		return 0, fmt.Errorf("height of version %d is missing", version)
	}
	return binary.BigEndian.Uint64(v), nil
}

// versionAt returns the last version made at or below height, 0 when none is kept.
func (k *KV) versionAt(height uint64) (version uint64, err error) {
	kept := int(k.pos.version - k.pos.first + 1) //nolint:gosec // bounded by the pruning
	above := sort.Search(kept, func(i int) bool {
		h, e := k.heightOf(k.pos.first + uint64(i)) //nolint:gosec // not negative
		if e != nil {
			err = e
		}
		return h > height
	})
	if err != nil || above == 0 {
		return 0, err
	}
	return k.pos.first + uint64(above) - 1, nil //nolint:gosec // not negative
}

// pruneStep versions at most go per new one: enough to catch up after finality
// stood still, little enough to not be felt.
const pruneStep = 2

// prune drops versions that no rollback will ask for: older than KeepVersions and
// not needed for the final height, for the one of KeepFrom or for later ones, or
// older than KeepUnfinal. The deletes are pending. pos is where the state will stand.
func (k *KV) prune(pos kvPosition) (kvPosition, error) {
	older := func(keep int) bool { return pos.version-pos.first > uint64(keep) } //nolint:gosec // validated
	begin := pos.first
	for range pruneStep {
		if !older(k.cfg.KeepVersions) {
			break
		}
		if !older(k.cfg.KeepUnfinal) {
			next, err := k.heightOf(pos.first + 1)
			if err != nil {
				return pos, err
			}
			if next > min(pos.final, k.keep.lowest()) {
				break // such a height is in this version
			}
		}
		k.pending.Delete(versionKey(pos.first))
		pos.first++
	}
	if pos.first == begin {
		return pos, nil
	}
	return pos, k.tree.DeleteVersionsTo(int64(pos.first - 1)) //nolint:gosec // counts blocks
}

// Rollback restores the state after the block at height; see [Rollbacker].
func (k *KV) Rollback(_ context.Context, height uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.chain == nil {
		return ErrNotInitialized
	}
	if height >= k.pos.height {
		return nil
	}
	return k.rollback(height)
}

// rollbackStep bounds the versions one batch deletes. Each batch leaves the state
// of a block, so a crash in between is a shorter rollback.
const rollbackStep = 64

func (k *KV) rollback(height uint64) error {
	target, err := k.versionAt(height)
	if err != nil {
		return fmt.Errorf("roll back to height %d: %w", height, err)
	}
	if target == 0 {
		oldest, err := k.heightOf(k.pos.first)
		if err != nil {
			return fmt.Errorf("roll back to height %d: %w", height, err)
		}
		return &RollbackError{Height: height, Oldest: oldest}
	}
	for {
		pos := k.pos
		pos.height, pos.final = height, min(pos.final, height)
		pos.version = target
		if k.pos.version > target+rollbackStep {
			pos.version = k.pos.version - rollbackStep
			if pos.height, err = k.heightOf(pos.version); err != nil {
				return fmt.Errorf("roll back to height %d: %w", height, err)
			}
		}
		if err := k.truncate(pos); err != nil {
			return fmt.Errorf("roll back to height %d: %w", height, err)
		}
		if k.pos.version == target {
			return nil
		}
	}
}

// truncate moves back to pos in one batch and loads the tree there.
func (k *KV) truncate(pos kvPosition) error {
	if pos.height < k.chain.initialHeight {
		pos.height = 0 // nothing executed
	}
	// What is executed next may be another chain: the rollback must not be lost alone.
	if pos.version == k.pos.version {
		return k.commit(pos, true)
	}
	for v := pos.version + 1; v <= k.pos.version; v++ {
		k.pending.Delete(versionKey(v))
	}
	err := k.tree.DeleteVersionsFrom(int64(pos.version + 1)) //nolint:gosec // counts blocks
	if err == nil {
		err = k.commit(pos, true)
	}
	if loadErr := k.load(); err == nil { // a fresh tree: the old one remembers deleted nodes
		err = loadErr
	}
	return err
}
