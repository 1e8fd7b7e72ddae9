// Package referee makes the other parts of a node look again when a proposer was
// caught signing two headers of one height, and stops the node when that is what
// the pipeline decided. It sleeps until there is an event.
//
// It decides nothing itself.
package referee
