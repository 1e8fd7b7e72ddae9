// Package progress shows how long work goes: a bar on a terminal, a log line
// every ten seconds elsewhere. While a node is near the head it has no timer.
//
// It does not do the work, and nothing waits for it.
package progress
