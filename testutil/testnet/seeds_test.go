package testnet_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// bySeed runs a world for each seed from first on, each in a bubble of its own. The
// last lines of the output say how to run those again that failed, with the make
// target: what is above them may be too long to be kept.
func bySeed(t *testing.T, target string, first uint64, runs int, run func(t *testing.T, seed uint64)) {
	t.Helper()
	var mu sync.Mutex
	var failed []uint64
	t.Cleanup(func() {
		slices.Sort(failed)
		for _, seed := range failed {
			t.Logf("again: make %s SEED=%d SEEDS=1", target, seed)
		}
	})
	for i := range uint64(runs) {
		seed := first + i
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					mu.Lock()
					defer mu.Unlock()
					failed = append(failed, seed)
				}
			})
			synctest.Test(t, func(t *testing.T) { run(t, seed) })
		})
	}
}
