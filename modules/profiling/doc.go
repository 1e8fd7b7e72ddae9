// Package profiling serves the profiles of the Go runtime, below /debug/pprof/,
// on a port of its own. Goroutines carry the name of the worker they belong to as
// label "worker" (fxrun sets it, and what a worker starts inherits it).
//
// It does not serve metrics or anything of the chain, and nothing at all unless an
// address is configured.
package profiling
