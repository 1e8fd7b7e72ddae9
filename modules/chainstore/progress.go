package chainstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// progress is how far the node is, kept in one record.
type progress struct {
	final           uint64
	cursor          uint64 // next DA height
	submittedHeader uint64
	submittedData   uint64
	state           uint64 // key of the newest state; only with hasState
	hasState        bool
	included        uint64 // no inclusion is stored above this height
}

const progressSize = 6*8 + 1

func (p progress) encode() (b [progressSize]byte) {
	for i, n := range [...]uint64{p.final, p.cursor, p.submittedHeader, p.submittedData, p.state, p.included} {
		binary.BigEndian.PutUint64(b[8*i:], n)
	}
	if p.hasState {
		b[progressSize-1] = 1
	}
	return b
}

func decodeProgress(b []byte) (progress, error) {
	if len(b) != progressSize {
		return progress{}, fmt.Errorf("progress has %d bytes, want %d", len(b), progressSize)
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	return progress{
		final: at(0), cursor: at(1), submittedHeader: at(2), submittedData: at(3), state: at(4), included: at(5),
		hasState: b[progressSize-1] == 1,
	}, nil
}

func (s *Store) readProgress() (progress, error) {
	v, err := s.db.Get(keyNamed(nsMark, markProgress))
	if errors.Is(err, leveldb.ErrNotFound) {
		return progress{}, nil
	}
	if err != nil {
		return progress{}, err
	}
	return decodeProgress(v)
}

// stageProgress adds p to b when it is not what is stored.
func (s *Store) stageProgress(b *leveldb.Batch, old, p progress) {
	if p != old {
		v := p.encode()
		b.Put(keyNamed(nsMark, markProgress), v[:])
	}
}
