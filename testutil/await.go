package testutil

import (
	"testing"
	"time"
)

// Await waits until ok holds, looking again each time the channel of changed
// closes or delivers, and fails the test after a while. Where changed returns a
// new channel per change (pipeline.Pipeline.Changed) it is asked before ok, so
// that no change is missed. In a synctest bubble the while is virtual.
func Await[T any](tb testing.TB, within time.Duration, changed func() <-chan T, ok func() bool) {
	tb.Helper()
	AwaitElse(tb, within, changed, ok, func() string { return "" })
}

// AwaitElse is Await with something to say when the time is over.
func AwaitElse[T any](tb testing.TB, within time.Duration, changed func() <-chan T, ok func() bool, why func() string) {
	tb.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		c := changed()
		if ok() {
			return
		}
		select {
		case <-c:
		case <-timer.C:
			if ok() {
				return
			}
			tb.Fatalf("not reached within %s. %s", within, why())
		}
	}
}

// Never waits for a time during which ok has to stay false.
func Never[T any](tb testing.TB, during time.Duration, changed func() <-chan T, ok func() bool) {
	tb.Helper()
	timer := time.NewTimer(during)
	defer timer.Stop()
	for {
		c := changed()
		if ok() {
			tb.Fatalf("reached, though it must not be for %s", during)
		}
		select {
		case <-c:
		case <-timer.C:
			return
		}
	}
}
