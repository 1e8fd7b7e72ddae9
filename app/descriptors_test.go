package app

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// However few files a process may open, the parts together stay below that.
func TestFitDescriptors(t *testing.T) {
	for _, limit := range []uint64{leastFiles, 128, 200, 256, 512, 1024, 1103, 4096, 1 << 20} {
		c, err := Default().fitDescriptors(limit, zap.NewNop())
		require.NoError(t, err)
		total := baseFiles + executorFiles + c.DB.OpenFiles + c.RPC.MaxConnections + 2*c.P2P.MaxPeers
		require.LessOrEqual(t, total, int(limit), "limit %d", limit)
		require.NoError(t, c.DB.Validate(), "limit %d", limit)
		require.NoError(t, c.RPC.Validate(), "limit %d", limit)
		require.NoError(t, c.P2P.Validate(), "limit %d", limit)
	}
	for _, limit := range []uint64{0, 4096, 1 << 40} {
		c, err := Default().fitDescriptors(limit, zap.NewNop())
		require.NoError(t, err)
		require.Equal(t, Default(), c, "limit %d", limit)
	}
	_, err := Default().fitDescriptors(leastFiles-1, zap.NewNop())
	require.ErrorContains(t, err, "may open 111 files, want at least 112")
}
