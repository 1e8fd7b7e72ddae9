package execution

import (
	"bytes"
	"context"
)

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

// writes is the filter of key-value stores: what they would skip is no transaction.
type writes struct{}

// FilterTxs implements TxFilter. Only forced transactions have to be writes; from
// the mempool anything but nothing is taken.
func (writes) FilterTxs(_ context.Context, txs [][]byte, forced bool) ([]TxVerdict, error) {
	out := make([]TxVerdict, len(txs))
	for i, tx := range txs {
		if _, _, ok := parseTx(tx); len(tx) == 0 || forced && !ok {
			out[i] = TxRemove
		}
	}
	return out, nil
}
