package testutil

import (
	"testing"
	"time"
)

// busy is how many times longer than promised something may take in real time:
// the machine may be doing other things, or be slow, or run the race detector.
// The promises themselves are checked in virtual time (testnet).
const busy = 8

// Took logs how long something took that began at a time, and fails the test when
// that is far more than what is promised.
func Took(tb testing.TB, what string, began time.Time, promise time.Duration) {
	tb.Helper()
	took := time.Since(began)
	tb.Logf("%s: took %s of %s", what, took.Round(time.Millisecond/10), promise)
	if took > busy*promise {
		tb.Errorf("%s took %s, promised are %s", what, took, promise)
	}
}
