package execution

import "bytes"

// parseTx splits "key=value" at the first '=' and trims both parts of Unicode
// white space. A transaction without '=' or with an empty key is not a write;
// an empty value is. The parts alias tx.
func parseTx(tx []byte) (key, value []byte, ok bool) {
	key, value, ok = bytes.Cut(tx, []byte{'='})
	if !ok {
		return nil, nil, false
	}
	key = bytes.TrimSpace(key)
	return key, bytes.TrimSpace(value), len(key) > 0
}
