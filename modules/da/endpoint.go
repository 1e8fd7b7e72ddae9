package da

import (
	"errors"
	"math"
	"time"
)

// use is what an endpoint is called for. Endpoints are ranked for each by
// itself: one may serve reads and refuse to post.
type use uint8

const (
	reading use = iota
	posting
	uses
)

func (u use) String() string { return [...]string{"reading", "posting"}[min(u, posting)] }

// What endpoints are ranked by, in points; 0 is best. One leaves the lead only
// to one that is better by margin, so that two of the same kind do not take turns.
const (
	margin       = 1
	pointsFailed = 1
	pointsBusy   = 0.5
	pointsLie    = 6
	// mostPoints bounds what an endpoint is remembered for: two that both fail
	// all the time are equal.
	mostPoints = 8
	// halfLife is when half of it is forgotten.
	halfLife = time.Minute
	// lagSlack is how many heights endpoints may be apart without being late.
	lagSlack = 2
	// lagPoint is how many heights more cost a point, lagMost the most points.
	lagPoint = 20
	lagMost  = 4
	// slowPoint is how much later an answer costs a point, slowMost the most points.
	slowPoint = 500 * time.Millisecond
	slowMost  = 3
)

// points are bad marks that are forgotten with time.
type points struct {
	value float64
	at    time.Time
}

func (p *points) add(n float64, now time.Time) {
	p.value, p.at = min(p.left(now)+n, mostPoints), now
}

func (p *points) left(now time.Time) float64 {
	if p.value == 0 {
		return 0
	}
	return p.value * math.Exp2(-float64(now.Sub(p.at))/float64(halfLife))
}

// endpoint is one way to the DA layer, and what is known of its health. All but
// name and client is guarded by Pool.mu.
type endpoint struct {
	name   string
	client Client

	trouble [uses]points
	latency time.Duration // of answers to Head, smoothed; 0 while unknown
	head    uint64        // as it last told
	lag     uint64        // heights behind the best, when it last told
	tail    uint64        // everything below is gone from it
	foreign bool          // of another DA chain: never asked again

	answers, failures, lies uint64
	lastOK                  time.Time
	lastErr                 string // empty once it answers again
}

// score ranks the endpoint; 0 is best.
func (e *endpoint) score(u use, now time.Time) float64 {
	s := e.trouble[u].left(now) + min(float64(e.latency)/float64(slowPoint), slowMost)
	if e.lag > lagSlack {
		s += min(1+float64(e.lag-lagSlack)/lagPoint, lagMost)
	}
	return s
}

// blame gives points for a failed call.
func (e *endpoint) blame(u use, err error, now time.Time) {
	e.lastErr = err.Error()
	switch {
	case errors.Is(err, ErrDishonest):
		e.lies++
		e.trouble[reading].add(pointsLie, now)
		e.trouble[posting].add(pointsLie, now)
	case errors.Is(err, ErrBusy), errors.Is(err, ErrSyncing):
		e.trouble[u].add(pointsBusy, now)
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrFee), errors.Is(err, ErrAuth), errors.Is(err, ErrRejected):
		e.failures++
		e.trouble[u].add(pointsFailed, now)
	default: // who does not answer one kind of call is not asked others
		e.failures++
		e.trouble[reading].add(pointsFailed, now)
		e.trouble[posting].add(pointsFailed, now)
	}
}

// answered notes a good answer.
func (e *endpoint) answered(now time.Time) {
	e.answers++
	e.lastOK, e.lastErr = now, ""
}

// timed takes how long an answer to Head took.
func (e *endpoint) timed(took time.Duration) {
	const weight = 4
	if e.latency == 0 {
		e.latency = took
	}
	e.latency += (took - e.latency) / weight
}

// Endpoint is what a Pool knows of one of its endpoints.
type Endpoint struct {
	Address string // without what may be secret
	// Reading and Posting tell whether it is the one that is asked first.
	Reading, Posting bool
	// Score ranks it for reads: 0 is best, 1 is a call that failed just now.
	Score   float64
	Head    uint64        // as it last told; 0 before
	Lag     uint64        // heights behind the best of all, when it last told
	Latency time.Duration // of asking it for its head; 0 while unknown
	// Answers and Failures count calls, Lies those of the answers that were not
	// to be believed.
	Answers, Failures, Lies uint64
	LastOK                  time.Time
	LastErr                 string // empty once it answers again
}
