package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/testutil"
)

// gated is an executor that executes a block for each token it is given.
type gated struct {
	execution.Executor

	tokens chan struct{}
	asked  atomic.Uint64 // height
}

func (g *gated) ExecuteTxs(ctx context.Context, e block.Execution) (block.ExecResult, error) {
	g.asked.Store(e.Height)
	select {
	case <-g.tokens:
		return g.Executor.ExecuteTxs(ctx, e)
	case <-ctx.Done():
		return block.ExecResult{}, ctx.Err()
	}
}

func (g *gated) LatestHeight(ctx context.Context) (uint64, error) {
	return g.Executor.(execution.HeightProvider).LatestHeight(ctx)
}

// A node whose executor has to catch up with the applied blocks answers probes
// meanwhile, says what it does, makes no blocks, and stops at once.
func TestProbesAreAnsweredDuringAReplay(t *testing.T) {
	testutil.Leaks(t)
	s := setup(t, app.RoleSequencer)
	s.Config.Sequencer.BlockTime = blockTime
	n := begin(t, s, nil)
	n.awaitApplied(4)
	n.stop()
	applied := n.pipeline.Snapshot().Applied()
	require.NoError(t, os.RemoveAll(filepath.Join(s.Home, "data", "execution")))

	slow := &gated{tokens: make(chan struct{})}
	hold := fx.Decorate(func(e execution.Executor) execution.Executor {
		slow.Executor = e
		return slow
	})
	for i, tokens := range []uint64{2, applied - 2} {
		n = begin(t, s, nil, hold)
		for range tokens {
			code, body := n.get("/health/live")
			require.Equal(t, http.StatusOK, code, "%s", body)
			code, body = n.get("/health/ready")
			require.Equal(t, http.StatusServiceUnavailable, code)
			require.Contains(t, string(body), `"reason": "replaying blocks the executor lacks: block `)
			code, body = n.get("/status")
			require.Equal(t, http.StatusOK, code)
			var status rpc.Status
			require.NoError(t, json.Unmarshal(body, &status))
			require.NotNil(t, status.Replay)
			require.Equal(t, applied, status.Replay.To)
			require.Equal(t, applied, status.Heads.Applied)
			require.Contains(t, status.WaitingFor, "the executor, which is given again what it lacks: block ")
			require.Positive(t, n.scrape()[names.MetricReplay].GetMetric()[0].GetGauge().GetValue())
			slow.tokens <- struct{}{}
		}
		if i == 0 {
			n.stop() // in the middle
		}
	}
	close(slow.tokens)
	n.awaitApplied(applied + 2)
	var status rpc.Status
	_, body := n.get("/status")
	require.NoError(t, json.Unmarshal(body, &status))
	require.Nil(t, status.Replay)
}
