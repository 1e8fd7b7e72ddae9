package chainstore

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// SaveQueue changes the queue of transactions that wait for a block. A process
// that dies afterwards finds it so; a machine that does may not.
func (s *Store) SaveQueue(ctx context.Context, c block.QueueChange) error {
	return s.update(ctx, "save queue", s.cfg.Sync, func(b *leveldb.Batch, _ *progress) error {
		stageQueue(b, c)
		return nil
	})
}

func stageQueue(b *leveldb.Batch, c block.QueueChange) {
	for at := c.Drop; at < c.Keep; at++ {
		key := keyAt(nsQueue, at)
		b.Delete(key[:])
	}
	for i, tx := range c.Txs {
		key := keyAt(nsQueue, c.At+uint64(i))
		b.Put(key[:], tx)
	}
}

// Queue returns the transactions that wait for a block, in order, and the
// position of the first. It holds as much as was saved.
func (s *Store) Queue(ctx context.Context) (first uint64, txs [][]byte, err error) {
	start := keyAt(nsQueue, 0)
	it := s.db.NewIterator(start[:], keyEnd(nsQueue))
	defer it.Close()
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return 0, nil, fmt.Errorf("read queue: %w", err)
		}
		at := binary.BigEndian.Uint64(it.Key()[len(start)-8:])
		if len(txs) == 0 {
			first = at
		}
		if want := first + uint64(len(txs)); at != want {
			return 0, nil, fmt.Errorf("read queue in database %s: position %d is missing", s.db.Path(), want)
		}
		txs = append(txs, append([]byte{}, it.Value()...))
	}
	if err := it.Err(); err != nil {
		return 0, nil, fmt.Errorf("read queue: %w", err)
	}
	return first, txs, nil
}
