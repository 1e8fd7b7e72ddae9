package leveldb

import (
	"bytes"
	"encoding/binary"

	"github.com/syndtr/goleveldb/leveldb"
)

// claim says that a journal was synced up to an offset, where a record ends. The
// first write behind a sync says so, in the journal itself. After a power cut that
// tells a hole in what was never synced, which is cut off, from damage to what was:
// a record that is found behind the hole and claims more than what lies before it.
//
// It is the deletion of a key that nobody has, so that no read ever sees it.
type claim struct {
	journal int64
	synced  int64
}

const (
	claimPrefix = "\x00synced/"
	claimSize   = len(claimPrefix) + 2*8
)

// stage adds the claim to a batch.
func (c claim) stage(b *leveldb.Batch) {
	key := append(make([]byte, 0, claimSize), claimPrefix...)
	key = binary.BigEndian.AppendUint64(key, uint64(c.journal)) //nolint:gosec // not negative
	key = binary.BigEndian.AppendUint64(key, uint64(c.synced))  //nolint:gosec // not negative
	b.Delete(key)
}

// claimed returns the highest claim about a journal in one of its records, 0 when
// there is none. The record may be anything.
func claimed(journal int64, record []byte) (synced int64) {
	const header = 8 + 4 // sequence number and count
	if len(record) < header {
		return 0
	}
	for b := record[header:]; len(b) > 0; {
		deleted := b[0] == 0
		key, rest, ok := cutField(b[1:])
		if !ok {
			return synced
		}
		if b = rest; !deleted {
			if _, b, ok = cutField(rest); !ok {
				return synced
			}
			continue
		}
		if numbers, found := bytes.CutPrefix(key, []byte(claimPrefix)); found && len(key) == claimSize &&
			binary.BigEndian.Uint64(numbers) == uint64(journal) { //nolint:gosec // not negative
			synced = max(synced, int64(binary.BigEndian.Uint64(numbers[8:]))) //nolint:gosec // compared only
		}
	}
	return synced
}

// cutField cuts a field off that has its length before it.
func cutField(b []byte) (field, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) { //nolint:gosec // used is at most len(b)
		return nil, nil, false
	}
	end := used + int(n) //nolint:gosec // bounded by len(b)
	return b[used:end], b[end:], true
}
