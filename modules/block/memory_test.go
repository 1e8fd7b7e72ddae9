package block_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// A block does not keep the one before in memory, and with it the whole chain.
func TestBlocksDoNotHoldTheirPredecessors(t *testing.T) {
	tests := map[string]func(prev block.Block) block.Block{
		"made": func(prev block.Block) block.Block {
			h := prev.Header.Header
			h.Height++
			h.LastHeaderHash = prev.Header.Hash()
			signed := block.NewSignedHeader(h, prev.Header.Signature, prev.Header.Signer)
			return block.Block{Header: signed, Data: block.CanonicalData(signed, [][]byte{[]byte("x")}, prev.Data.Hash())}
		},
		"empty": func(prev block.Block) block.Block {
			return block.Block{Header: prev.Header, Data: block.EmptyData(prev.Header, prev.Data.Hash())}
		},
		"decoded": func(prev block.Block) block.Block {
			raw := block.EmptyData(prev.Header, prev.Data.Hash()).Encode()
			d, err := block.DecodeData(raw)
			require.NoError(t, err)
			clear(raw)
			require.Equal(t, prev.Data.Hash(), d.LastHeader(), "the input may be reused")
			return block.Block{Header: prev.Header, Data: d}
		},
	}
	for name, next := range tests {
		t.Run(name, func(t *testing.T) {
			first := testutil.NewChain("c").Next([]byte("tx"))
			gone := make(chan struct{}, 2)
			second := func() block.Block {
				prev := block.Block{
					Header: block.NewSignedHeader(first.Header.Header, first.Header.Signature, first.Header.Signer),
					Data:   block.CanonicalData(first.Header, [][]byte{[]byte("y")}, nil),
				}
				runtime.AddCleanup(prev.Data, func(struct{}) { gone <- struct{}{} }, struct{}{})
				if name == "made" {
					runtime.AddCleanup(prev.Header, func(struct{}) { gone <- struct{}{} }, struct{}{})
				} else {
					gone <- struct{}{}
				}
				return next(prev)
			}()
			for range 2 {
				for held := true; held; {
					runtime.GC()
					select {
					case <-gone:
						held = false
					default:
						runtime.Gosched()
					}
				}
			}
			require.Len(t, second.Data.LastHeader(), block.HashSize)
			runtime.KeepAlive(second)
		})
	}
}
