package instrumented

import (
	"context"

	"github.com/tandem-node/tandem/modules/notifier"
)

type sourceKey struct{}

// WithSource marks what is appended with the returned context as coming from
// src.
func WithSource(ctx context.Context, src notifier.Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, src)
}

// SourceOf returns the source set by WithSource, and P2P where none was.
func SourceOf(ctx context.Context) notifier.Source {
	if src, ok := ctx.Value(sourceKey{}).(notifier.Source); ok {
		return src
	}
	return notifier.P2P
}
