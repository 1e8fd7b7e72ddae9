package daworker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/da"
)

// lowPolls is for how many DA block times the head may be below what was read, where
// something of the proposer's was read above it.
const lowPolls = 10

// timeEvery is how often the head is asked for while a stream tells its height, to
// know its time.
const timeEvery = 30 * time.Second

// heads is what the reader makes of the heads it is told of. A client believes heads
// that can be (see da.Pool), so that a lie goes a little too far at most. A head below
// what was read takes the scan back: what does not exist was not read, whatever was
// answered.
type heads struct {
	head     da.Head   // the newest told
	timed    da.Head   // the newest told with its time, which a stream does not tell
	asked    time.Time // when it was asked for last
	streamed uint64    // newest height taken from the stream
	owned    uint64    // highest DA height at which something of the proposer's was read
	recalled bool      // owned includes what earlier processes saw
	lowSince time.Time // since when the head is below what was read; zero while it is not
}

// hear takes a head from the stream.
func (r *reader) hear(height uint64, now time.Time) {
	if height > r.head.Height {
		r.head, r.lowSince = da.Head{Height: height}, time.Time{}
		r.pollAt = now.Add(silentBlocks * r.p.Config.PollInterval)
		if due := r.asked.Add(timeEvery); due.Before(r.pollAt) {
			r.pollAt = due
		}
	}
}

// takeHead takes the answer to a poll.
func (r *reader) takeHead(ctx context.Context, head da.Head) {
	r.head = head
	if !head.Time.IsZero() {
		r.timed = head
	}
	r.denied(ctx)
}

// denied takes the scan back to a head that says that heights which were read do not
// exist: at once when nothing of the proposer's was read above it, else when the head
// has stayed there for a while, for an endpoint may be a little behind.
func (r *reader) denied(ctx context.Context) {
	if r.head.Height+1 >= r.next {
		r.lowSince = time.Time{}
		return
	}
	r.recallOwned(ctx)
	now := time.Now()
	if r.lowSince.IsZero() {
		r.lowSince = now
		r.p.Log.Warn("da head is below what was already read", zap.Uint64("da_head", r.head.Height), zap.Uint64("cursor", r.next))
	}
	if r.owned > r.head.Height && now.Sub(r.lowSince) < lowPolls*r.p.Config.PollInterval {
		return
	}
	r.takeBack(r.head.Height + 1)
	r.owned = min(r.owned, r.head.Height)
	r.lowSince = time.Time{}
}

// recallOwned finds out where an earlier process last saw something of the
// proposer's.
func (r *reader) recallOwned(ctx context.Context) {
	if r.recalled || r.p.Marks == nil {
		return
	}
	in, err := r.p.Marks.Inclusion(ctx, r.p.Marks.Included())
	if err != nil {
		return // asked again with the next head
	}
	r.owned, r.recalled = max(r.owned, in.HeaderDA, in.DataDA), true
}

// recheck looks at the head again while many heights are read, for what is read may
// not exist. It reports whether reading has to begin again.
func (r *reader) recheck(ctx context.Context) bool {
	before := r.head.Height
	if err := r.look(ctx); err != nil {
		return false // the reads tell
	}
	return r.head.Height < before
}
