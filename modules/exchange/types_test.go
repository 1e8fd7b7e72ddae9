package exchange

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
)

type (
	ctxT       = context.Context
	protocolID = protocol.ID
	edPublic   = ed25519.PublicKey
)

func contextWithTimeout(tb testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	tb.Helper()
	return context.WithTimeout(tb.Context(), d)
}
