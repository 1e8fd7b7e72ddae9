// Package bubble keeps tests in testing/synctest bubbles from crashing under the
// race detector. It is imported for that effect:
//
//	import _ "github.com/tandem-node/tandem/testutil/bubble"
//
// The runtime runs the expired timers of a bubble under one race context, also
// when two goroutines come upon expired ones on two processors at the same moment:
// the one that lets time pass, and one that looks at a timer's channel. The context
// cannot take that, and the process dies of a segmentation fault (seen with Go
// 1.26, runtime.(*timer).unlockAndRun). Timers run without being preempted, so
// that on one processor they run one after the other. Races are found by what
// happened before what, which one processor shows as well.
//
// It does nothing without the race detector. Every package with a bubble in its
// tests imports it, which is checked (app, TestBubblesAreSafe).
package bubble
