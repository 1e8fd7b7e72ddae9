package execution

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// BenchmarkExecute runs blocks of 0 and of 10 transactions of 100 bytes over
// 10,000 keys, each executor on disk.
func BenchmarkExecute(b *testing.B) {
	for _, name := range Names() {
		for _, txs := range []int{0, 10} {
			b.Run(fmt.Sprintf("%s/txs=%d", name, txs), func(b *testing.B) {
				cfg := Default()
				cfg.Name = name
				benchmarkExecute(b, cfg, txs)
			})
		}
	}
}

func benchmarkExecute(b *testing.B, cfg Config, txs int) {
	b.Helper()
	k, err := New(cfg, b.TempDir(), zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	if l, ok := k.(Lifecycle); ok {
		if err := l.Open(b.Context()); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = l.Close() }()
	}
	root, err := k.InitChain(b.Context(), testGenesis(1))
	if err != nil {
		b.Fatal(err)
	}
	pad := strings.Repeat("x", 100-len("key-00000="))
	blocks := make([][][]byte, 2000)
	for i := range blocks {
		for j := range txs {
			blocks[i] = append(blocks[i], []byte("key-"+fmt.Sprintf("%05d", (i*txs+j)*7919%10_000)+"="+pad[:80]+strconv.Itoa(i%10)+pad[81:]))
		}
	}
	ctx := b.Context()
	height := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		height++
		res, err := k.ExecuteTxs(ctx, block.Execution{Height: height, Txs: blocks[height%2000], PrevRoot: root})
		if err != nil {
			b.Fatal(err)
		}
		root = res.StateRoot
		if err := k.SetFinal(ctx, height); err != nil {
			b.Fatal(err)
		}
	}
}
