package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/rpc"
	board "github.com/tandem-node/tandem/telemetry/problems"
)

// Every problem is named, with its reason, wherever somebody may look: in /status,
// in what it says it waits for, in /health/ready whether the node is ready or not, and
// in the metric that wakes people. It does not make the node look dead.
func TestEveryProblemIsNamedEverywhere(t *testing.T) {
	var b *board.Board
	n := begin(t, on(setup(t, app.RoleSequencer), newDA(t)), nil, fx.Populate(&b))
	n.awaitFinal(1)
	var (
		status rpc.Status
		ready  rpc.Readiness
	)
	ask := func(path string, into any) int {
		code, body := n.get(path)
		require.NoError(t, json.Unmarshal(body, into), "%s", body)
		return code
	}
	for _, kind := range board.Kinds() {
		for _, unready := range []bool{false, true} {
			reason := fmt.Sprintf("what is wrong with %s", kind)
			b.Report(board.Problem{Kind: kind, Subject: "test", Reason: reason, Unready: unready})
			status, ready = rpc.Status{}, rpc.Readiness{}
			require.Equal(t, http.StatusOK, ask("/status", &status))
			require.Equal(t, reason, status.WaitingFor)
			require.Len(t, status.Problems, 1)
			require.Equal(t, reason, status.Problems[0].Reason)
			code := ask("/health/ready", &ready)
			require.Equal(t, status.Problems, ready.Problems, "also while it is ready")
			if unready {
				require.Equal(t, http.StatusServiceUnavailable, code)
				require.Equal(t, reason, ready.Reason)
			} else {
				require.Equal(t, http.StatusOK, code, "%+v", ready)
			}
			code, body := n.get("/health/live")
			require.Equal(t, http.StatusOK, code, "%s", body)
			_, body = n.get("/metrics")
			require.Contains(t, string(body), fmt.Sprintf("\ntandem_problem{kind=%q} 1\n", kind))
			b.Clear(kind, "test")
		}
	}
	require.Equal(t, http.StatusOK, ask("/health/ready", &rpc.Readiness{}))
}
