package testutil

import (
	"testing"
	"time"
)

// Await waits until ok holds, looking again each time the channel of changed
// closes or delivers, and fails the test after a while. Where changed returns a
// new channel per change (pipeline.Pipeline.Changed) it is asked before ok, so
// that no change is missed. In a synctest bubble the while is virtual.
func Await[T any](t testing.TB, within time.Duration, changed func() <-chan T, ok func() bool) {
	t.Helper()
	AwaitElse(t, within, changed, ok, func() string { return "" })
}

// AwaitElse is Await with something to say when the time is over.
func AwaitElse[T any](t testing.TB, within time.Duration, changed func() <-chan T, ok func() bool, why func() string) {
	t.Helper()
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
			t.Fatalf("not reached within %s. %s", within, why())
		}
	}
}

// Never waits for a time during which ok has to stay false.
func Never[T any](t testing.TB, during time.Duration, changed func() <-chan T, ok func() bool) {
	t.Helper()
	timer := time.NewTimer(during)
	defer timer.Stop()
	for {
		c := changed()
		if ok() {
			t.Fatalf("reached, though it must not be for %s", during)
		}
		select {
		case <-c:
		case <-timer.C:
			return
		}
	}
}
