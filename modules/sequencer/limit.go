package sequencer

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// leastLimit is the lowest limit that is believed: whoever refuses a submission of
// less as too large has another reason.
const leastLimit = 16 << 10

// limit is what is known of the largest submission that the way to DA takes. It is
// learnt from refusals: the DA layer's own limit, or that of a proxy before it. All
// methods may be used from many goroutines.
type limit struct {
	mu      sync.Mutex
	fits    uint64 // the largest submission taken, below over
	over    uint64 // the smallest one refused; 0 when none was
	suspect uint64 // refused once
}

// refused takes note of a submission of so many bytes that was too large. One
// refusal may be a mistake: it is believed from the second in a row on. changed
// says that there is something to write down.
func (l *limit) refused(size int) (believed, changed bool) {
	n := uint64(max(size, 0))
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.suspect == 0
	if first || n < l.suspect {
		l.suspect = n
	}
	if first || n <= leastLimit || l.over > 0 && n >= l.over {
		return !first, false
	}
	l.over = n
	if l.fits >= n {
		l.fits = 0
	}
	return true, true
}

// taken takes note of a submission of so many bytes that went through, and reports
// whether anything is to be written down.
func (l *limit) taken(size int) bool {
	n := uint64(max(size, 0))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.suspect > 0 && n >= l.suspect {
		l.suspect = 0
	}
	switch {
	case l.over > 0 && n >= l.over:
		l.over, l.fits = 0, n
		return true
	case n > l.fits:
		was := l.largest()
		l.fits = n
		return l.largest() != was
	}
	return false
}

// largest is what a submission may have; 0 without a known limit. Between what was
// taken and what was refused it stays low: a block that is too large cannot be
// made smaller any more. The caller holds mu.
func (l *limit) largest() uint64 {
	const careful = 4
	if l.over == 0 {
		return 0
	}
	return max(l.fits, l.over/careful, leastLimit)
}

// known returns the bytes of the largest submission that DA is known, or very
// likely, to take; 0 when no limit is known.
func (l *limit) known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.largest()) //nolint:gosec // sizes of submissions
}

const limitKey = "submit_limit"

// save writes down what was learnt. Other settings for submissions than most bytes
// forget it.
func (l *limit) save(s Store, most int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := make([]byte, 0, 24)
	for _, n := range []uint64{uint64(most), l.fits, l.over} { //nolint:gosec // not negative
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if err := s.PutMeta(limitKey, b); err != nil {
		return fmt.Errorf("write down what DA takes: %w", err)
	}
	return nil
}

// load reads what an earlier process has learnt.
func (l *limit) load(s Store, most int) error {
	b, ok, err := s.Meta(limitKey)
	switch {
	case err != nil:
		return fmt.Errorf("read what DA takes: %w", err)
	case !ok:
		return nil
	case len(b) != 24:
		return fmt.Errorf("read what DA takes: %d bytes, want 24", len(b))
	}
	if binary.BigEndian.Uint64(b) != uint64(most) { //nolint:gosec // not negative
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fits, l.over = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	l.suspect = l.over
	return nil
}
