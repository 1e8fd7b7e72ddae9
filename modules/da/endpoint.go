package da

import (
	"context"
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
	silent  [uses]silence
	latency time.Duration // of answers to Head, smoothed; 0 while unknown
	head    uint64        // as it last told
	toldAt  time.Time     // when it did
	at      time.Time     // time of that header; zero while unknown
	lag     uint64        // heights behind the best, when it last told
	tail    uint64        // everything below is gone from it
	// lacksUntil is until when its heads do not count: it lacked a height below one.
	lacksUntil time.Time
	chain      string // id of its DA chain; empty while unknown
	// reads are cancelled when another endpoint answers and this one does not.
	reads  context.Context //nolint:containedctx // ends with the lead
	hangUp context.CancelFunc

	proven    time.Time // when it was last found to be of the DA layer that is followed
	foreign   bool      // it is not: nothing is read from it or posted to it
	foreignAt time.Time
	offered   string // identity of the DA layer it is of

	answers, failures, lies uint64
	lastOK                  time.Time
	lastErr                 string // empty once it answers again
}

// silence is that an endpoint let a call wait until its deadline, or was left
// because another one answers. Whoever answers now is better than one that does
// not, whatever its points.
type silence struct {
	until time.Time
	read  bool // only an answer to a read of a height ends it earlier
}

// silenceTime is how long silence counts.
const silenceTime = 2 * time.Minute

// hushed notes silence.
func (e *endpoint) hushed(u use, read bool, now time.Time) {
	e.silent[u] = silence{until: now.Add(silenceTime), read: read}
}

func makeEndpoint(name string, c Client) *endpoint {
	e := &endpoint{name: name, client: c}
	e.listen()
	return e
}

// listen makes hangUp end the reads that begin from now on.
func (e *endpoint) listen() { e.reads, e.hangUp = context.WithCancel(context.Background()) }

// score ranks the endpoint; 0 is best.
func (e *endpoint) score(u use, now time.Time) float64 {
	s := e.trouble[u].left(now) + min(float64(e.latency)/float64(slowPoint), slowMost)
	if e.lag > lagSlack {
		s += min(1+float64(e.lag-lagSlack)/lagPoint, lagMost)
	}
	if now.Before(e.silent[u].until) {
		s += 2 * mostPoints
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
	case errors.Is(err, ErrFee), errors.Is(err, ErrAuth), errors.Is(err, ErrRejected):
		e.failures++
		e.trouble[u].add(pointsFailed, now)
	default: // who does not answer one kind of call is not asked others
		e.failures++
		e.proven = time.Time{} // it may be another when it answers again
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
	Score float64
	// Foreign tells that it is not of the DA layer that is followed.
	Foreign bool
	Head    uint64        // as it last told; 0 before
	Lag     uint64        // heights behind the best of all, when it last told
	Latency time.Duration // of asking it for its head; 0 while unknown
	// Answers and Failures count calls, Lies those of the answers that were not
	// to be believed.
	Answers, Failures, Lies uint64
	LastOK                  time.Time
	LastErr                 string // empty once it answers again
}

// Calls returns what was asked of the endpoints so far.
func (p *Pool) Calls() []Calls { return p.calls.all() }

// AnswerBytes is what the answers that are being read take now, beside what each
// may take without asking.
func (p *Pool) AnswerBytes() (n int) {
	for _, a := range p.answers {
		n += a.used()
	}
	return n
}

// Endpoints returns what is known of each, in the order of the config.
func (p *Pool) Endpoints() []Endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	out := make([]Endpoint, len(p.all))
	for i, e := range p.all {
		out[i] = Endpoint{
			Address: e.name, Reading: e == p.active[reading], Posting: e == p.active[posting], Score: e.score(reading, now), Foreign: e.foreign,
			Head: e.head, Lag: e.lag, Latency: e.latency, Answers: e.answers, Failures: e.failures, Lies: e.lies,
			LastOK: e.lastOK, LastErr: e.lastErr,
		}
	}
	return out
}
