package execution

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// Records ev-node does not have. Keys of the state begin with '/'.
const (
	evolvePositionKey = "\x00position"
	evolveGenesisKey  = "\x00genesis"
	evolveUndoPrefix  = "\x00undo/" // ‖ big-endian height → undo record
	evolveUndoEnd     = "\x00undo0"
)

// evolveGenesis is what InitChain left behind.
type evolveGenesis struct {
	hash          block.Hash
	initialHeight uint64
	root          []byte
}

func (g *evolveGenesis) put(b *leveldb.Batch) {
	b.Put([]byte(evolveGenesisKey), binary.BigEndian.AppendUint64(bytes.Clone(g.hash[:]), g.initialHeight))
}

// evolvePosition is where the state stands.
type evolvePosition struct {
	height uint64 // last executed block, 0 before the first
	final  uint64 // highest final height heard of
	oldest uint64 // lowest height that can be restored
}

const evolvePositionBytes = 3 * 8

func (p evolvePosition) put(b *leveldb.Batch) {
	v := make([]byte, 0, evolvePositionBytes)
	for _, n := range []uint64{p.height, p.final, p.oldest} {
		v = binary.BigEndian.AppendUint64(v, n)
	}
	b.Put([]byte(evolvePositionKey), v)
}

func putFinal(b *leveldb.Batch, height uint64) {
	b.Put([]byte(finalHeightKey), strconv.AppendUint(nil, height, 10))
}

// load makes memory what the disk says.
func (k *EvolveKV) load() error {
	k.chain, k.loaded = nil, false
	k.pos, k.saved, k.undo = evolvePosition{}, 0, nil
	k.all, k.last = concatenation{}, make(map[string]evolveLast)
	err := k.loadRecords()
	if err == nil {
		err = k.loadEntries()
	}
	if err == nil {
		err = k.loadUndo()
	}
	if err != nil {
		return k.db.unreadable(err)
	}
	k.loaded = true
	return nil
}

func (k *EvolveKV) loadRecords() error {
	g, found, err := k.db.get([]byte(evolveGenesisKey))
	if err != nil || !found {
		return err
	}
	p, _, err := k.db.get([]byte(evolvePositionKey))
	if err != nil {
		return err
	}
	root, _, err := k.db.get([]byte(genesisRootKey))
	if err != nil {
		return err
	}
	if len(g) != block.HashSize+8 || len(p) != evolvePositionBytes {
		return fmt.Errorf("records are damaged (position %d bytes, genesis %d bytes)", len(p), len(g))
	}
	n := binary.BigEndian.Uint64
	k.chain = &evolveGenesis{hash: block.Hash(g[:block.HashSize]), initialHeight: n(g[block.HashSize:]), root: root}
	k.pos = evolvePosition{height: n(p), final: n(p[8:]), oldest: n(p[16:])}
	k.saved = k.pos.height
	return nil
}

func (k *EvolveKV) loadEntries() error {
	it := k.db.NewIterator([]byte(heightPrefix), []byte(heightPrefixEnd))
	defer it.Close()
	for it.Next() {
		key := string(it.Key())
		k.all.add(key, it.Value())
		k.index(key)
	}
	return it.Err()
}

func (k *EvolveKV) loadUndo() error {
	it := k.db.NewIterator([]byte(evolveUndoPrefix), []byte(evolveUndoEnd))
	defer it.Close()
	for it.Next() {
		height, ok := bytes.CutPrefix(it.Key(), []byte(evolveUndoPrefix))
		if !ok || len(height) != 8 {
			return fmt.Errorf("undo record has key %X", it.Key())
		}
		k.undo = append(k.undo, binary.BigEndian.Uint64(height))
	}
	return it.Err()
}

// index remembers an entry when it is the newest of its key.
func (k *EvolveKV) index(dbKey string) {
	number, key, ok := strings.Cut(dbKey[len(heightPrefix):], "/")
	if !ok {
		return
	}
	height, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return // a key that reached out of its height
	}
	if last, known := k.last[key]; !known || height > last.height {
		k.last[key] = evolveLast{height: height, dbKey: dbKey}
	}
}

func undoKey(height uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(evolveUndoPrefix), height)
}

// putUndo records what entries replace: for each its key, then 0, or 1 and the
// value it had.
func (k *EvolveKV) putUndo(b *leveldb.Batch, height uint64, entries []kvEntry) error {
	var rec []byte
	for _, e := range entries {
		rec = appendSized(rec, e.key)
		if !k.all.has(string(e.key)) {
			rec = append(rec, 0)
			continue
		}
		old, err := k.db.Get(e.key)
		if err != nil {
			return fmt.Errorf("read %q: %w", e.key, err)
		}
		rec = appendSized(append(rec, 1), old)
	}
	b.Put(undoKey(height), rec)
	return nil
}

// pruneUndo drops undo records no rollback will ask for, a few at a time, and
// returns the rest and the lowest height that can be restored.
func (k *EvolveKV) pruneUndo(b *leveldb.Batch, undo []uint64) (rest []uint64, oldest uint64) {
	oldest = k.pos.oldest
	for range pruneStep {
		if n := len(undo); n <= k.cfg.KeepVersions || (undo[0] > min(k.pos.final, k.keep.lowest()) && n <= k.cfg.KeepUnfinal) {
			break
		}
		b.Delete(undoKey(undo[0]))
		oldest, undo = undo[0], undo[1:]
	}
	return undo, oldest
}

// Rollback restores the state after the block at height; see [Rollbacker].
func (k *EvolveKV) Rollback(_ context.Context, height uint64) error {
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

func (k *EvolveKV) rollback(height uint64) error {
	if height < k.pos.oldest {
		return &RollbackError{Height: height, Oldest: k.pos.oldest}
	}
	pos := k.pos
	pos.height = height
	if height < k.chain.initialHeight {
		pos.height = 0 // nothing executed
	}
	b := new(leveldb.Batch)
	if pos.final > pos.height {
		pos.final = pos.height
		putFinal(b, pos.final)
	}
	n := len(k.undo)
	for ; n > 0 && k.undo[n-1] > height; n-- {
		if err := k.undoBlock(b, k.undo[n-1]); err != nil {
			return fmt.Errorf("undo height %d: %w", k.undo[n-1], err)
		}
	}
	unchanged := n == len(k.undo)
	// What is executed next may be another chain: the rollback must not be lost alone.
	if err := k.commit(b, pos, true); err != nil || unchanged {
		return err
	}
	return k.load()
}

func (k *EvolveKV) undoBlock(b *leveldb.Batch, height uint64) error {
	rec, err := k.db.Get(undoKey(height))
	if err != nil {
		return err
	}
	for len(rec) > 0 {
		key, rest, ok := cutSized(rec)
		if !ok || len(rest) == 0 {
			return errors.New("undo record is damaged")
		}
		if existed := rest[0] == 1; !existed {
			b.Delete(key)
			rec = rest[1:]
			continue
		}
		old, rest, ok := cutSized(rest[1:])
		if !ok {
			return errors.New("undo record is damaged")
		}
		b.Put(key, old)
		rec = rest
	}
	b.Delete(undoKey(height))
	return nil
}

func appendSized(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

func cutSized(b []byte) (p, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) { //nolint:gosec // used is at most len(b)
		return nil, nil, false
	}
	end := used + int(n) //nolint:gosec // bounded by len(b)
	return b[used:end], b[end:], true
}

// Get returns the newest value of a key.
func (k *EvolveKV) Get(key []byte) (value []byte, found bool, err error) { return k.lookup(key) }

func (k *EvolveKV) lookup(key []byte) (value []byte, found bool, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	last, found := k.last[string(key)]
	if !found {
		return nil, false, nil
	}
	return k.db.get([]byte(last.dbKey))
}

// list walks over the entries as they are at the call and the final height, in
// the order of the database.
func (k *EvolveKV) list(ctx context.Context, r listRange, fn func(key, value []byte) error) error {
	start := max("/", string(r.after)+"\x00") // our own records lie before "/"
	it := k.db.NewIterator([]byte(start), nil)
	defer it.Close()
	for n := 0; it.Next() && (r.limit == 0 || n < r.limit); {
		if key := string(it.Key()); key == initializedKey || key == genesisRootKey {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(it.Key(), it.Value()); err != nil {
			return err
		}
		n++
	}
	return it.Err()
}
