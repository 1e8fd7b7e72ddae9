package testutil

import (
	"runtime"
	"testing"
)

// Live returns the bytes on the heap that the result of fill keeps alive. Nothing
// else may allocate for long meanwhile.
func Live(fill func() any) int {
	before := liveHeap()
	kept := fill()
	after := liveHeap()
	runtime.KeepAlive(kept)
	return after - before
}

func liveHeap() int {
	runtime.GC()
	runtime.GC() // finalizers ran and sync.Pool is empty
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) //nolint:gosec // far below the largest int
}

// CheckFigure fails the test unless the bytes alive on the heap and the figure for
// them agree within a factor of 1.5, as docs/limits.md promises.
func CheckFigure(tb testing.TB, part string, live, figure int) {
	tb.Helper()
	tb.Logf("%s: %d KiB alive, figure %d KiB, ratio %.2f", part, live>>10, figure>>10, float64(figure)/float64(max(live, 1)))
	if live > figure*3/2 || figure > live*3/2 {
		tb.Errorf("%s: %d bytes are alive on the heap, the figure is %d: more than a factor of 1.5 apart", part, live, figure)
	}
}
