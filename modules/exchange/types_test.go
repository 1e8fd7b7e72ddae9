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

func contextWithTimeout(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}
