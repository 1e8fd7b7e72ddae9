package block_test

import (
	"testing"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func BenchmarkDecodeSignedHeader(b *testing.B) {
	in := testutil.NewChain("c").Next().Header.EncodeP2P()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := block.DecodeSignedHeader(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeData(b *testing.B) {
	in := testutil.NewChain("c").Blocks(1, 10)[0].Data.EncodeP2P()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := block.DecodeData(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifySignatures(b *testing.B) {
	for name, n := range map[string]int{"single": 1, "batch64": 64, "batch512": 512} {
		hs := testutil.Headers(testutil.NewChain("c").Blocks(n, 0))
		b.Run(name, func(b *testing.B) {
			fresh := make([]*block.SignedHeader, n)
			b.ReportAllocs()
			for b.Loop() {
				for i, h := range hs {
					fresh[i] = block.NewSignedHeader(h.Header, h.Signature, h.Signer)
				}
				if _, err := block.VerifySignatures(fresh); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/header")
		})
	}
}
