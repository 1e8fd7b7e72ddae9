package chainstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// SavePending keeps the block that is being made, in place of the one before,
// and changes the queue its transactions were taken from in the same step.
func (s *Store) SavePending(ctx context.Context, b block.Block, queue block.QueueChange, sync bool) error {
	if b.Header == nil {
		return errors.New("save pending block: no header")
	}
	return s.update(ctx, "save pending block", sync || s.cfg.Sync, func(batch *leveldb.Batch, _ *progress) error {
		v := binary.AppendUvarint(make([]byte, 0, b.Size()+16), uint64(b.Header.Size())) //nolint:gosec // a size is not negative
		v = b.Header.AppendTo(v)
		if b.Data != nil {
			v = append(append(v, 1), b.Data.Encode()...)
		}
		batch.Put(keyNamed(nsMark, markPending), v)
		stageQueue(batch, queue)
		return nil
	})
}

// Sync returns once all that was written before is on the disk.
func (s *Store) Sync(context.Context) error {
	if err := s.db.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// Pending returns the block kept by SavePending, unless it was dropped.
func (s *Store) Pending(context.Context) (block.Block, bool, error) {
	v, err := s.db.Get(keyNamed(nsMark, markPending))
	if errors.Is(err, leveldb.ErrNotFound) {
		return block.Block{}, false, nil
	}
	if err != nil {
		return block.Block{}, false, fmt.Errorf("pending block: %w", err)
	}
	b, err := decodePending(v)
	if err != nil {
		return block.Block{}, false, fmt.Errorf("pending block in database %s: %w", s.db.Path(), err)
	}
	return b, true, nil
}

func decodePending(v []byte) (block.Block, error) {
	size, n := binary.Uvarint(v)
	if n <= 0 || size > uint64(len(v)-n) { //nolint:gosec // n is at most len(v)
		return block.Block{}, errors.New("record is cut off")
	}
	v = v[n:]
	h, err := block.DecodeSignedHeader(v[:size])
	if err != nil {
		return block.Block{}, err
	}
	if v = v[size:]; len(v) == 0 {
		return block.Block{Header: h}, nil
	}
	d, err := block.DecodeData(v[1:])
	return block.Block{Header: h, Data: d}, err
}

// Meta returns a value other parts of the node keep beside the chain.
func (s *Store) Meta(key string) ([]byte, bool, error) {
	v, err := s.db.Get(keyNamed(nsUser, key))
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("meta %s: %w", key, err)
	}
	return v, true, nil
}

// PutMeta sets what Meta returns. It does not wait for the disk unless
// Config.Sync says so.
func (s *Store) PutMeta(key string, value []byte) error {
	var b leveldb.Batch
	b.Put(keyNamed(nsUser, key), value)
	if err := s.db.Write(&b, s.cfg.Sync); err != nil {
		return fmt.Errorf("put meta %s: %w", key, err)
	}
	return nil
}

// Forget removes values of PutMeta. It reaches the disk.
func (s *Store) Forget(ctx context.Context, keys ...string) error {
	return s.update(ctx, "forget meta", true, func(b *leveldb.Batch, _ *progress) error {
		for _, key := range keys {
			b.Delete(keyNamed(nsUser, key))
		}
		return nil
	})
}
