package app_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/profiling"
)

// TestGoroutinesCarryTheNameOfTheirWorker in the profiles a running node serves.
func TestGoroutinesCarryTheNameOfTheirWorker(t *testing.T) {
	s := on(setup(t, app.RoleSequencer), newDA(t))
	s.Config.Profiling.Address = "127.0.0.1:0"
	var profiles *profiling.Server
	n := begin(t, s, nil, fx.Populate(&profiles))
	n.awaitApplied(1)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+profiles.Address()+"/debug/pprof/goroutine?debug=1", nil)
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	for _, worker := range []string{
		"daworker", "exchange-data", "exchange-headers", "p2p", "producer", "profiling", "referee", "rpc", "submitter", "syncer",
	} {
		require.Contains(t, string(body), `"worker":"`+worker+`"`)
	}
	status, _ := n.get("/debug/pprof/")
	require.Equal(t, http.StatusNotFound, status, "profiles have a port of their own")
}
