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
	floor           uint64 // DA height a restart reads from
	submittedHeader uint64
	submittedData   uint64
	state           uint64 // key of the newest state; only with hasState
	hasState        bool
	included        uint64 // no inclusion is stored above this height
	scanned         uint64 // DA height below which everything was read
}

const (
	progressSize = 7*8 + 1
	// unscannedSize is that of records without scanned, from before it was kept.
	unscannedSize = 6*8 + 1
)

func (p progress) encode() (b [progressSize]byte) {
	for i, n := range [...]uint64{p.final, p.floor, p.submittedHeader, p.submittedData, p.state, p.included, p.scanned} {
		binary.BigEndian.PutUint64(b[8*i:], n)
	}
	if p.hasState {
		b[progressSize-1] = 1
	}
	return b
}

func decodeProgress(b []byte) (progress, error) {
	if len(b) != progressSize && len(b) != unscannedSize {
		return progress{}, fmt.Errorf("progress has %d bytes, want %d", len(b), progressSize)
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	p := progress{
		final: at(0), floor: at(1), submittedHeader: at(2), submittedData: at(3), state: at(4), included: at(5),
		hasState: b[len(b)-1] == 1,
	}
	p.scanned = p.floor
	if len(b) == progressSize {
		p.scanned = at(6)
	}
	return p, nil
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
