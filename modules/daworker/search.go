package daworker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// A DA node may hide blobs for a while, or an item may have been let go before it was
// known to be of use. What must be on DA and was not seen is searched for: the worker
// reads again from where the blocks below were seen. That ends by itself when the
// block is found, also after a restart, since nothing of it is kept.
const (
	// searchPolls is for how many DA block times something has to be missing before it
	// is searched for. Every search that fails doubles the wait for the next one.
	searchPolls = 3
	searchPause = time.Hour // at most
	// searchShare bounds the time spent on searches: a search is followed by a pause
	// of so many times what it took.
	searchShare = 10
	// searchBelow is how many blocks below are looked at for where to begin.
	searchBelow = 1024
	// searchStep is how many DA heights the second search begins below the first, each
	// later one four times as many: lanes post apart, and what was seen may be a lie.
	searchStep = 64
	// searchWide is how many DA heights the first search goes back when nothing at all
	// was seen.
	searchWide = 1024
)

// search is the search for one block.
type search struct {
	height uint64    // of the block; 0 while nothing is missing
	tries  int       // searches for it
	due    time.Time // the next
	began  time.Time // the one under way, zero when none is
}

// searchAgain walks back for what was overlooked. It is called when everything up
// to the head was read.
func (r *reader) searchAgain(ctx context.Context) error {
	now, s := time.Now(), &r.again
	if lost, height := r.asm.quarantine.lost, r.asm.stalled(); lost != 0 && height > r.walkedAt {
		// Strangers' data was pushed out before its header was known: at once, and once per
		// block, so that a flood cannot keep the worker reading.
		r.asm.quarantine.lost, r.walkedAt = 0, height
		r.walkBack(lost)
		return nil
	}
	height, err := r.overlooked(ctx)
	if err != nil || height == 0 {
		*s = search{}
		return err
	}
	first := searchPolls * r.p.Config.PollInterval
	if height != s.height {
		*s = search{height: height, due: now.Add(first)}
	}
	if !s.began.IsZero() {
		s.due, s.began = now.Add(max(min(first<<min(s.tries, 16), searchPause), searchShare*now.Sub(s.began))), time.Time{}
	}
	if now.Before(s.due) {
		return nil
	}
	from, err := r.searchFrom(ctx, height, s.tries)
	if err != nil {
		return err
	}
	s.tries, s.began = s.tries+1, now
	r.p.Log.Debug("a block that should be on da was not seen; reading again",
		zap.Uint64("height", height), zap.Uint64("from_da_height", from), zap.Int("search", s.tries))
	r.walkBack(from)
	return nil
}

// overlooked returns the lowest block height of which something must be on DA that
// was not seen there, 0 for none.
func (r *reader) overlooked(ctx context.Context) (uint64, error) {
	if height := r.asm.stalled(); height != 0 {
		return height, nil
	}
	l, err := r.lacking(ctx)
	if err != nil || l.height == 0 {
		return 0, err
	}
	if l.height < r.p.Marks.Included() || r.stands.long(r, l.height) {
		return l.height, nil
	}
	return 0, nil // it may be on its way
}

// searchFrom returns the DA height to begin at: where the blocks below were seen, and
// ever further down.
func (r *reader) searchFrom(ctx context.Context, height uint64, tries int) (uint64, error) {
	from := r.next - min(r.next, searchWide<<min(2*tries, 32))
	header, data, err := r.seenBelow(ctx, height)
	if err != nil {
		return 0, err
	}
	if header != 0 {
		from = header
		if data != 0 {
			from = min(from, data)
		}
		if tries > 0 {
			from -= min(from, searchStep<<min(2*(tries-1), 32))
		}
	}
	return max(min(from, r.next-min(r.next, 1)), r.first), nil
}

// seenBelow returns where the newest header and the newest data below a block height
// were seen, 0 for not.
func (r *reader) seenBelow(ctx context.Context, height uint64) (header, data uint64, err error) {
	if r.p.Marks == nil {
		return 0, 0, nil
	}
	low := max(r.p.Genesis.InitialHeight, height-min(height, searchBelow))
	for h := height; h > low && (header == 0 || data == 0 && !r.p.HeadersOnly); h-- {
		in, err := r.p.Marks.Inclusion(ctx, h-1)
		if err != nil {
			return 0, 0, fmt.Errorf("where block %d was seen on da: %w", h-1, err)
		}
		if header == 0 {
			header = in.HeaderDA
		}
		if data == 0 {
			data = in.DataDA
		}
	}
	return header, data, nil
}
