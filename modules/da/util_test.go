package da

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"
)

const zapWarn = zapcore.WarnLevel

// sending is a deadline within which a call is surely sent, on a busy machine too.
const sending = time.Second

func newCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(context.WithoutCancel(t.Context()))
}

// waitHeight waits until the server's chain has a height.
func waitHeight(t *testing.T, s *Server, height uint64) {
	t.Helper()
	n, err := s.opened()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, n.reach(ctx, height, true))
}
