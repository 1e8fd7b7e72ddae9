package app

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/stages"
)

// announcer publishes what the pipeline did. Blocks made here were written by
// the pipeline itself, so it also announces what the stores gained.
type announcer struct {
	n      *notifier.Notifier
	t      *blocktrace.Tracer
	stages *stages.Recorder
	open   *unfinal
}

func newAnnouncer(n *notifier.Notifier, t *blocktrace.Tracer, s *stages.Recorder) pipeline.Events {
	return announcer{n: n, t: t, stages: s, open: &unfinal{}}
}

// Applied implements pipeline.Events.
func (a announcer) Applied(blocks []block.Block, src block.Source) {
	if len(blocks) == 0 {
		return
	}
	last, now := blocks[len(blocks)-1], time.Now()
	a.open.push(last.Height(), now)
	e := notifier.Event{Type: notifier.Applied, Source: eventSource(src), Height: last.Height(), Hash: last.Header.Digest(), Timestamp: now}
	if src == block.SourceLocal {
		local := e
		local.Type = notifier.Header
		span := instrumented.Announcing(context.Background(), a.t, &local)
		for _, t := range []notifier.EventType{notifier.Header, notifier.Data} {
			local.Type = t
			a.n.Publish(local)
		}
		span.End()
	}
	a.n.Publish(e)
}

// Final implements pipeline.Events.
func (a announcer) Final(height uint64, hash block.Hash) {
	if at := a.open.final(height); !at.IsZero() {
		ctx := trace.ContextWithSpanContext(context.Background(), a.t.At(context.Background(), height))
		a.stages.Final(ctx, time.Since(at))
	}
	a.n.Publish(notifier.Event{Type: notifier.Final, Source: notifier.Local, Height: height, Hash: hash, Timestamp: time.Now()})
}

// Conflict implements pipeline.Events.
func (a announcer) Conflict(height uint64, hash block.Hash) {
	a.n.Publish(notifier.Event{Type: notifier.Conflict, Source: notifier.Local, Height: height, Hash: hash, Timestamp: time.Now()})
}

// Reverted implements pipeline.Events. The pipeline wrote the header itself.
func (a announcer) Reverted(height uint64, h *block.SignedHeader) {
	*a.open = unfinal{}
	e := notifier.Event{Type: notifier.Conflict, Source: notifier.Local, Height: height, Timestamp: time.Now()}
	if h != nil {
		e.Type, e.Hash = notifier.Header, h.Digest()
		a.n.Publish(e)
		e.Type = notifier.Conflict
	}
	a.n.Publish(e)
}

// mostUnfinal is how many groups of blocks are remembered until they are final.
const mostUnfinal = 1024

// unfinal remembers when the newest block of each group was applied. Where more
// groups wait than fit, the oldest are not measured. The pipeline calls its
// owner one by one.
type unfinal struct {
	ring  [mostUnfinal]appliedAt
	first int
	count int
}

type appliedAt struct {
	height uint64
	at     time.Time
}

func (u *unfinal) push(height uint64, at time.Time) {
	if u.count == mostUnfinal {
		u.first, u.count = (u.first+1)%mostUnfinal, u.count-1
	}
	u.ring[(u.first+u.count)%mostUnfinal] = appliedAt{height, at}
	u.count++
}

// final returns when the block was applied, if it was the newest of a group, and
// forgets it and those below.
func (u *unfinal) final(height uint64) time.Time {
	for u.count > 0 && u.ring[u.first].height <= height {
		done := u.ring[u.first]
		u.first, u.count = (u.first+1)%mostUnfinal, u.count-1
		if done.height == height {
			return done.at
		}
	}
	return time.Time{}
}
