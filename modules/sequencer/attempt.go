package sequencer

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// lateHeights is how far behind the last try a lost submission is looked for:
// longer than DA mempools keep a transaction.
const lateHeights = 64

// attempt is a submission whose outcome may not be known. It is written down
// before the first byte is sent.
//
// The DA heights in it are heads that DA reported, and any of them may have been
// wrong. None of them is trusted once a later head is lower: see view.
type attempt struct {
	first uint64 // DA head before the first try
	last  uint64 // DA head before the last try
	to    uint64 // last height sent in any try
	timed uint64 // DA head from which on a lost try was given time to land; 0 for none

	open  bool      // some try may have landed: look on DA before sending again
	lost  time.Time // when a try's outcome was lost; whatever heads say, it has some time from then on
	fresh bool      // nobody has looked since then
	look  search    // by the heights above

	denied uint64 // the lower head that contradicts them; 0 while none does
	again  search // by that head
}

// search is where on DA to look for what may have landed.
type search struct {
	from    uint64 // lowest DA height
	scanned uint64 // DA heights up to here were looked at
	until   uint64 // DA head from which on sending again is allowed
	end     uint64 // DA heights above are not looked at
}

func newSearch(from, last, patience uint64) search {
	return search{from: from, scanned: before(from), until: last + patience, end: last + patience + lateHeights}
}

// restart makes the search begin at its first height again.
func (s *search) restart() { s.scanned = before(s.from) }

// extend gives a landing more time.
func (s *search) extend(until uint64) {
	s.until = max(s.until, until)
	s.end = max(s.end, until+lateHeights)
}

func before(height uint64) uint64 { return height - min(height, 1) }

// reopen makes an attempt of what an earlier process wrote down.
func reopen(first, last, to, patience uint64) attempt {
	return attempt{first: first, last: last, to: to, open: true, lost: time.Now(), fresh: true, look: newSearch(first, last, patience)}
}

// view returns the search that fits a DA head. When the head is below one that is
// remembered, either that one or this one is wrong. Until a head is as high as what
// is remembered, the search starts over at a DA height below which nothing unknown
// can lie, and waits its time from the lower head on.
func (a *attempt) view(head, floor, patience uint64) *search {
	if head >= max(a.first, a.last, a.timed) {
		a.denied = 0
		if a.look.scanned > head {
			a.look.restart()
		}
		return &a.look
	}
	if a.denied == 0 || head < a.denied {
		a.denied = head
		a.again = newSearch(min(floor, a.first), head, patience)
	}
	return &a.again
}

// retry notes a try that is about to be made at a DA head.
func (a *attempt) retry(head, to uint64) {
	switch {
	case !a.open:
		*a = attempt{first: head, look: newSearch(head, head, 0)}
	case a.denied > 0:
		a.first, a.look, a.denied, a.timed = a.again.from, a.again, 0, 0
	}
	a.last, a.to = head, max(a.to, to)
	a.look.extend(head)
}

// outlasts reports whether heights above the given one were sent as well.
func (a *attempt) outlasts(height uint64) bool { return a.open && a.to > height }

func (l *lane) metaKey() string { return metaKey(l.kind) }

func metaKey(kind block.Kind) string { return "submit_" + kind.String() }

// MetaKeys returns what a Submitter keeps about a DA layer under: unfinished
// submissions, and how much it takes.
func MetaKeys() []string {
	return []string{metaKey(block.KindHeader), metaKey(block.KindData), limitKey}
}

// remember writes the attempt down, from the oldest submission on that was not
// read back.
func (l *lane) remember() error {
	first := l.try.first
	if from, ok := l.claims.oldest(); ok {
		first = min(first, from)
	}
	b := make([]byte, 0, 24)
	for _, n := range []uint64{first, l.try.last, l.try.to} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if err := l.s.p.Store.PutMeta(l.metaKey(), b); err != nil {
		return fmt.Errorf("write %s submission down: %w", l.kind, err)
	}
	return nil
}

// recall takes up the attempt an earlier process was in the middle of.
func (l *lane) recall() error {
	b, ok, err := l.s.p.Store.Meta(l.metaKey())
	switch {
	case err != nil:
		return fmt.Errorf("read last %s submission: %w", l.kind, err)
	case !ok:
		return nil
	case len(b) != 24:
		return fmt.Errorf("read last %s submission: %d bytes, want 24", l.kind, len(b))
	}
	first, last, to := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	if to <= l.done() {
		return nil
	}
	l.try = reopen(first, last, to, l.cfg.ReconcileHeights)
	l.log.Info("looking for an unfinished submission on DA", zap.Uint64("to_height", to), zap.Uint64("from_da_height", first))
	return nil
}
