package da

import (
	"context"
	"io"
	"sync"
	"time"
)

// leastRate is how fast an answer has to come, in bytes per second, to be waited for.
const leastRate = 64 << 10

// pace is the deadline of one call. What arrives puts it off, by as much as that
// may take at the least rate, up to a limit; time spent waiting for room does
// not count.
type pace struct {
	expire context.CancelFunc
	timer  *time.Timer

	mu      sync.Mutex
	due     time.Time
	most    time.Time // due is never later
	paused  time.Time // when the wait for room began; zero when there is none
	expired bool
}

// newPace calls expire when no answer begins within first, or it takes longer
// than most. The caller calls stop.
func newPace(first, most time.Duration, expire context.CancelFunc) *pace {
	now := time.Now()
	p := &pace{expire: expire, due: now.Add(first), most: now.Add(most)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(first, p.fire)
	return p
}

func (p *pace) fire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.paused.IsZero() {
		return // resumed with a new timer
	}
	if left := time.Until(p.due); left > 0 {
		p.timer.Reset(left)
		return
	}
	p.expired = true
	p.expire()
}

// got puts the deadline off for n bytes that arrived.
func (p *pace) got(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = p.due.Add(time.Duration(n) * time.Second / leastRate)
	if p.due.After(p.most) {
		p.due = p.most
	}
}

// pause stops the clock, and starts it again.
func (p *pace) pause(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.paused = time.Now()
		return
	}
	waited := time.Since(p.paused)
	p.paused, p.due, p.most = time.Time{}, p.due.Add(waited), p.most.Add(waited)
	p.timer.Reset(time.Until(p.due))
}

// late reports whether the deadline has passed.
func (p *pace) late() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.expired
}

func (p *pace) stop() { p.timer.Stop() }

// paced is a reader whose progress counts.
type paced struct {
	io.Reader

	pace *pace
}

// Read implements io.Reader.
func (r paced) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.pace.got(n)
	return n, err //nolint:wrapcheck // io.EOF has to stay
}
