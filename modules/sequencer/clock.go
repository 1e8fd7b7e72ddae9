package sequencer

import (
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Tolerances of clocks.
const (
	// maxStep is how far the wall clock may be set in one go and be followed.
	maxStep = 2 * time.Second
	// maxSkew is how far the clock may be from DA's header times, which are as old as
	// a DA block and the way to here.
	maxSkew = 2 * time.Minute
	// firstWord is how long a single header of DA counts: whether DA stands still or
	// catches up shows with the next.
	firstWord = time.Minute
	// firstWait is for how long DA's first word is waited for.
	firstWait = 20 * time.Second
)

// DATime is the newest header of the DA layer.
type DATime struct {
	Height uint64
	Time   time.Time // zero when it is not known
}

// steady is the clock block times are made from: the wall clock, as long as that goes
// on like the monotonic one. When it is set by more than maxStep, block times go on
// as before, until the wall clock is back or DA's header times say that it is right
// now. Where DA's header times are far behind, they are the limit: a block of the
// future would stop all that follow. It is used by one goroutine.
type steady struct {
	wall  func() time.Time
	since func(time.Time) time.Duration // monotonic
	da    func() DATime
	board *problems.Board

	begun time.Time // by the monotonic clock
	base  time.Time // wall clock, at the monotonic time mono
	mono  time.Time
	seen  sighting
}

// sighting is DA's newest header and when it was seen, by the monotonic clock.
type sighting struct {
	DATime

	at    time.Time
	again bool // it is not the first
	live  bool // its time moves like the clock: neither stopped nor catching up
}

func newSteady(wall func() time.Time, da func() DATime, board *problems.Board) *steady {
	c := &steady{wall: wall, since: time.Since, da: da, board: board}
	if da == nil {
		c.da = func() DATime { return DATime{} }
	} else {
		c.begun = time.Now()
	}
	return c
}

// unheard reports whether DA's first word is still to be waited for: until then
// nothing tells a clock that is ahead from a long time without blocks.
func (c *steady) unheard() bool {
	c.look()
	return c.seen.Height == 0 && !c.begun.IsZero() && c.since(c.begun) < firstWait
}

// limited returns the time for a block: now, unless that is farther ahead of DA's
// header times than followers take. Whoever lies about those can make block times old,
// which followers take.
func (c *steady) limited() time.Time {
	t := c.now()
	if e, known := c.estimate(); (known || c.since(c.seen.at) < firstWord && !c.seen.again) && t.Sub(e) > block.MaxFuture {
		return e
	}
	return t
}

// now returns what time it is.
func (c *steady) now() time.Time {
	wall := c.wall().Round(0)
	if c.base.IsZero() {
		c.set(wall)
	}
	c.look()
	t := c.base.Add(c.since(c.mono))
	step := wall.Sub(t)
	switch {
	case step.Abs() <= maxStep:
		c.set(wall)
		t, step = wall, 0
	case c.confirmed(wall) && !c.confirmed(t):
		c.set(wall) // as after a machine has slept
		t, step = wall, 0
	}
	estimate, known := c.estimate()
	c.report(step, t, estimate, known)
	return t
}

func (c *steady) set(wall time.Time) { c.base, c.mono = wall, time.Now() }

// look takes note of DA's newest header.
func (c *steady) look() {
	newest := c.da()
	if newest.Time.IsZero() || newest.Height <= c.seen.Height {
		return
	}
	next := sighting{DATime: newest, at: time.Now()}
	if c.seen.Height > 0 {
		const jitter = 10 * time.Second
		passed, moved := next.at.Sub(c.seen.at), newest.Time.Sub(c.seen.Time)
		next.again = true
		next.live = (moved - passed).Abs() <= jitter+passed/2
	}
	c.seen = next
}

// estimate returns what time it is by DA.
func (c *steady) estimate() (time.Time, bool) {
	return c.seen.Time.Add(c.since(c.seen.at)), c.seen.live
}

func (c *steady) confirmed(t time.Time) bool {
	estimate, known := c.estimate()
	return known && t.Sub(estimate).Abs() <= maxSkew
}

// report says what is wrong with the clock, if anything is.
func (c *steady) report(step time.Duration, t, estimate time.Time, known bool) {
	const subject = "wall clock"
	reason := ""
	switch {
	case step != 0:
		reason = fmt.Sprintf("the wall clock was set by %s while the node ran; block times go on as before: set the clock right, or start the node again if it is right now",
			step.Round(time.Second))
	case known && t.Sub(estimate).Abs() > maxSkew:
		reason = fmt.Sprintf("the wall clock is %s from the time of DA's newest header: set the clock right, or check the DA endpoint",
			t.Sub(estimate).Round(time.Second))
	}
	if reason == "" {
		c.board.Clear(problems.Clock, subject)
		return
	}
	c.board.Report(problems.Problem{Kind: problems.Clock, Subject: subject, Reason: reason})
}
