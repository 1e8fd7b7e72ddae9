package forced

import (
	"encoding/binary"
	"fmt"
)

// putRecord keeps a few numbers.
func putRecord(m Meta, key string, numbers ...uint64) error {
	v := make([]byte, 0, 8*len(numbers))
	for _, n := range numbers {
		v = binary.BigEndian.AppendUint64(v, n)
	}
	return m.PutMeta(key, v) //nolint:wrapcheck // the caller says what it is
}

// getRecord fills numbers with what was kept. It is false when nothing was.
func getRecord(m Meta, key string, numbers []uint64) (bool, error) {
	v, ok, err := m.Meta(key)
	if err != nil || !ok {
		return false, err //nolint:wrapcheck // the caller says what it is
	}
	if len(v) != 8*len(numbers) {
		return false, fmt.Errorf("%q has %d bytes, want %d", key, len(v), 8*len(numbers))
	}
	for i := range numbers {
		numbers[i] = binary.BigEndian.Uint64(v[8*i:])
	}
	return true, nil
}

// MetaKeys returns what is concluded from the blocks of the chain under: how far
// forced transactions were taken, and checked.
func MetaKeys() []string { return []string{takenKey, checkedKey} }
