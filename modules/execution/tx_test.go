package execution

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParseTx(f *testing.F) {
	for _, seed := range []string{"a=b", " a = b ", "=", "a==b", "a", "", "\u2003k\u2003=\xff", " a/b/../c = d = e ", "../=x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, tx []byte) {
		before := bytes.Clone(tx)
		key, value, ok := parseTx(tx)
		require.Equal(t, before, tx)
		parts := strings.SplitN(string(tx), "=", 2)
		require.Equal(t, len(parts) == 2 && strings.TrimSpace(parts[0]) != "", ok)
		if !ok {
			return
		}
		require.Equal(t, strings.TrimSpace(parts[0]), string(key))
		require.Equal(t, strings.TrimSpace(parts[1]), string(value))
		dbKey := evolveKey(7, key)
		require.True(t, strings.HasPrefix(dbKey, heightPrefix), "%q leaves its prefix", dbKey)
		require.Less(t, dbKey, heightPrefixEnd)
	})
}

func FuzzUndoRecord(f *testing.F) {
	f.Add(appendSized(append(appendSized(nil, []byte("key")), 1), []byte("old")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, rest, ok := cutSized(b)
		if ok {
			require.LessOrEqual(t, len(p)+len(rest), len(b))
		}
	})
}
