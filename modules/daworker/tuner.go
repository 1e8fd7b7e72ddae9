package daworker

import "time"

const (
	// maxList is the most heights of one request.
	maxList = 16
	// listBytes is what the answer to a list may come to, going by earlier ones.
	listBytes = 1 << 20
	// trial is how many requests of one size are timed before they are judged.
	trial = 8
	// rest is how many requests are made before a larger list is tried again.
	rest = 512
)

// tuner finds out how many heights one request should ask for. It doubles the
// list as long as that makes a height cheaper by a tenth at least: it does where
// the request itself or the way to the endpoint is what costs, and does not where
// the endpoint's work is, since it answers the calls of a list one after the
// other. Its zero value asks for one height.
type tuner struct {
	double int           // a list has 1<<double heights
	trying bool          // lists of twice that are being timed,
	given  int           // so many of them were asked for
	before time.Duration // what a height costs without
	spent  time.Duration // on the requests being timed
	timed  int
	wait   int // requests until the next trial
	fails  int // of lists, so far
}

// begin forgets the requests whose outcome will not be noted.
func (t *tuner) begin() { t.given, t.spent, t.timed = 0, 0, 0 }

// next returns for how many heights to ask now, at most limit.
func (t *tuner) next(limit int) int {
	n := 1 << t.double
	try := t.trying && t.given < trial
	if try {
		n *= 2
	}
	switch {
	case n > limit:
		return max(limit, 1)
	case try:
		t.given++
	}
	return n
}

// note takes the outcome of one request.
func (t *tuner) note(heights int, took time.Duration, failed bool) {
	const patience = 8
	want := 1 << t.double
	if t.trying {
		want *= 2
	}
	switch {
	case failed && heights > 1:
		*t = tuner{wait: rest << min(t.fails, patience), fails: t.fails + 1}
		return
	case t.wait > 0:
		t.wait--
		return
	case failed, heights != want:
		return // says nothing, or was cut short
	}
	t.spent += took
	if t.timed++; t.timed == trial {
		t.judge(max(t.spent/time.Duration(trial*heights), 1))
		t.begin()
	}
}

// judge takes what a height costs at the size that was timed.
func (t *tuner) judge(cost time.Duration) {
	switch {
	case t.trying && cost > t.before/10*9:
		t.trying, t.wait = false, rest
		return
	case t.trying:
		t.double++
	}
	t.before, t.trying = cost, 1<<t.double < maxList
	if !t.trying {
		t.wait = rest
	}
}
