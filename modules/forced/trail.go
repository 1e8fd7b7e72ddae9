package forced

// lookBack is how many DA heights are read again when nothing says from where on
// reading was wrong.
const lookBack = 256

// trail remembers where a check was when DA turned out to be ever higher, so that
// it can go back when a height turns out to have been told wrongly. It holds a
// bounded number of steps: the oldest give way.
type trail[T any] struct{ steps []step[T] }

// step is a DA height that counted as there, and where the check was before it did.
type step[T any] struct {
	told uint64
	at   T
}

const (
	// trailSteps bounds a trail: at one a DA block, over an hour and a half.
	trailSteps = 1024
	// confirmed is how many later steps make one safe to be kept on disk.
	confirmed = 4
)

// add notes the height that is told, before anything is read up to it. Only a
// higher one than before is a step.
func (t *trail[T]) add(told uint64, at T) {
	if n := len(t.steps); n > 0 && told <= t.steps[n-1].told {
		return
	}
	if len(t.steps) == trailSteps {
		t.steps = append(t.steps[:0], t.steps[trailSteps/2:]...)
	}
	t.steps = append(t.steps, step[T]{told, at})
}

// back drops the steps above a height and returns where the check was before the
// first of them. It is false when there is none.
func (t *trail[T]) back(told uint64) (at T, ok bool) {
	n := len(t.steps)
	for n > 0 && t.steps[n-1].told > told {
		n--
	}
	if n == len(t.steps) {
		return at, false
	}
	at = t.steps[n].at
	t.steps = t.steps[:n]
	return at, true
}

// before reports whether a position is lower than another.
func (p Position) before(q Position) bool {
	return p.DAHeight < q.DAHeight || p.DAHeight == q.DAHeight && p.Index < q.Index
}

// settled returns the position to keep on disk when reading is at now: one that a
// few heads have confirmed.
func settled(t *trail[Position], now Position) Position {
	if len(t.steps) == 0 {
		return now
	}
	if at := t.steps[max(len(t.steps)-confirmed, 0)].at; at.before(now) {
		return at
	}
	return now
}
