package pipeline_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/testutil"
)

// idle executes nothing and costs nothing.
type idle struct{}

func (idle) InitChain(context.Context, block.Genesis) ([]byte, error) { return nil, nil }
func (idle) ExecuteTxs(context.Context, block.Execution) (block.ExecResult, error) {
	return block.ExecResult{}, nil
}
func (idle) SetFinal(context.Context, uint64) error { return nil }

// BenchmarkApply shows what the pipeline itself costs per block: headers are
// checked already, the executor does nothing, the store is a map.
func BenchmarkApply(b *testing.B) {
	const n = 4096
	chain := testutil.NewChain("bench")
	blocks := chain.Blocks(n, 2)
	for _, bl := range blocks {
		require.NoError(b, bl.Header.VerifySignature())
	}
	for _, group := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			var mallocs uint64
			for b.Loop() {
				b.StopTimer()
				mallocs += applyAll(b, benchPipeline(b, chain.Genesis, group), blocks, group)
				b.StartTimer()
			}
			report(b, mallocs, n)
		})
	}
}

func benchPipeline(b *testing.B, g block.Genesis, group int) *pipeline.Pipeline {
	b.Helper()
	store := newMemStore(&faults{})
	store.keep = false
	for h := range uint64(5000) { // the map grows before the clock runs
		store.states[h] = block.State{}
	}
	clear(store.states)
	cfg := pipeline.Default()
	cfg.GroupBlocks = group
	p := pipeline.New(pipeline.Params{
		Genesis: g, Store: store, Headers: headersOf{store}, Data: dataOf{store}, Executor: idle{}, Config: cfg,
	})
	require.NoError(b, p.Open(b.Context()))
	return p
}
