package exchange

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// Data of the future is refused as such, as headers are, and does not wait for its
// header.
func TestDataOfTheFutureIsRefused(t *testing.T) {
	c := testutil.NewChain("future")
	b := c.Next([]byte("tx"))
	now := b.Header.Time()
	r := &dataRules{genesis: c.Genesis, headers: newStore[*block.SignedHeader](), now: func() time.Time { return now }, ahead: 16}
	d := func(at time.Time) *block.Data {
		return block.NewData(&block.Metadata{ChainID: "future", Height: 1, Time: uint64(at.UnixNano())}, [][]byte{[]byte("tx")})
	}
	require.NoError(t, r.vet(d(now.Add(block.MaxFuture))))
	require.ErrorIs(t, r.vet(d(now.Add(block.MaxFuture+time.Second))), block.ErrFutureTime)
}
