package testutil

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// poolDrain is how long goleveldb's buffer pool drainer outlives its database.
const poolDrain = 30 * time.Second

// Leaks fails the test when it leaves goroutines behind. Call it first, outside
// of synctest bubbles and not in parallel tests. Known and harmless: goleveldb's
// buffer pool drainer, which lives for 30 s after the last Close, and the
// process-wide worker of opencensus, which libraries start on import.
func Leaks(tb testing.TB) {
	tb.Helper()
	before := goleak.IgnoreCurrent()
	tb.Cleanup(func() {
		err := leaks(before,
			goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"),
			goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		)
		if err != nil {
			tb.Error(err)
		}
	})
}

// LeaksMain runs the tests of a package and fails when they leave goroutines
// behind, apart from those ignored. It is what TestMain does.
func LeaksMain(m *testing.M, ignored ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := leaks(ignored...); err != nil {
			fmt.Fprintf(os.Stderr, "goroutines left after the tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code) //nolint:forbidigo // a TestMain ends the process
}

// leaks waits for goroutines to end; connections that were closed and the like
// take a moment, on a busy machine a long one. It returns an error that shows those
// that stay.
func leaks(ignored ...goleak.Option) error {
	const patience = 5 * time.Second
	for end := time.Now().Add(patience); ; {
		if err := goleak.Find(ignored...); err == nil || time.Now().After(end) {
			return err //nolint:wrapcheck // it shows the stacks
		}
	}
}

// LeaksInBubble is Leaks for a synctest bubble. Call it first: cleanups run in
// reverse order, so that it lets the 30 virtual seconds pass that goleveldb needs
// after everything else has stopped. What is left then is shown, one stack each;
// the bubble itself would only panic.
func LeaksInBubble(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		time.Sleep(2 * poolDrain) // virtual
		synctest.Wait()
		for _, stack := range bubbleOthers() {
			tb.Errorf("left running:\n%s", stack)
		}
	})
}

// bubbleOthers returns the stacks of the other goroutines of this bubble, apart
// from those of the testing package.
func bubbleOthers() []string {
	const grow, least = 2, 1 << 20
	buf := make([]byte, least)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, grow*len(buf))
	}
	stacks := strings.Split(strings.TrimSpace(string(buf)), "\n\n")
	mine := bubbleOf(stacks[0]) // the caller comes first
	var out []string
	for _, s := range stacks[1:] {
		if bubbleOf(s) == mine && !strings.Contains(s, "testing/synctest.") && !strings.Contains(s, "internal/synctest.Run") {
			out = append(out, s)
		}
	}
	return out
}

// bubbleOf returns "synctest bubble N" of a stack's first line.
func bubbleOf(stack string) string {
	head, _, _ := strings.Cut(stack, "\n")
	_, rest, ok := strings.Cut(head, "synctest bubble ")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "]")
	name, _, _ = strings.Cut(name, ",")
	return name
}
