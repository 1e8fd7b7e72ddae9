//go:build race

package testnet

import "runtime"

// oneProcessor keeps the race detector from crashing. The runtime runs the
// expired timers of a bubble under one race context, also when two goroutines
// find one on two processors at the same moment; the context cannot take that, and
// the process dies of a segmentation fault (seen with Go 1.26). Races are found by
// what happened before what, so that one processor finds them as well.
func oneProcessor() { runtime.GOMAXPROCS(1) }
