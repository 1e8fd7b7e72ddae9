package syncer

import (
	"context"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// TraceOnce returns one round of the spans that every block at the head makes.
func TraceOnce(ctx context.Context, p Params) func() {
	s := New(p)
	return func() {
		s.inbox.causes.hear(notifier.Event{Height: 1})
		ctx, span := s.receive(ctx, 1, 1)
		for _, name := range []string{names.SpanFetch, names.SpanPair} {
			_, step := s.tracer.Start(ctx, name, blocktrace.One(1))
			endFetch(step, 1, nil)
		}
		span.End()
	}
}
