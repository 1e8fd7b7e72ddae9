package profiling_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/profiling"
	"github.com/tandem-node/tandem/testutil"
)

func TestMain(m *testing.M) { testutil.LeaksMain(m) }

func TestAddressIsLoopbackUnlessAllowed(t *testing.T) {
	for _, tc := range []struct {
		address string
		remote  bool
		want    string
	}{
		{"", false, ""},
		{"127.0.0.1:6060", false, ""},
		{"[::1]:0", false, ""},
		{"localhost:6060", false, ""},
		{"127.0.0.1", false, `profiling.address is "127.0.0.1", want host:port`},
		{"0.0.0.0:6060", false, `profiling.address is "0.0.0.0:6060", want a loopback address`},
		{":6060", false, "want a loopback address"},
		{"192.0.2.1:6060", false, "want a loopback address"},
		{"localhost.example:6060", false, "want a loopback address"},
		{"0.0.0.0:6060", true, ""},
	} {
		err := profiling.Config{Address: tc.address, AllowRemote: tc.remote}.Validate()
		if tc.want == "" {
			require.NoError(t, err, tc.address)
		} else {
			require.ErrorContains(t, err, tc.want, tc.address)
		}
	}
}

// TestStopEndsAProfileBeingTaken: one that was asked for an hour does not hold the stop.
func TestStopEndsAProfileBeingTaken(t *testing.T) {
	s := profiling.New(profiling.Config{Address: "127.0.0.1:0"}, zap.NewNop())
	require.NoError(t, s.Start(t.Context()))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+"/debug/pprof/trace?seconds=3600", nil)
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req) // the first bytes of the trace were sent
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	began := time.Now()
	stop()
	require.NoError(t, <-ended)
	testutil.Took(t, "stop", began, 2*time.Second)
	_, _ = io.Copy(io.Discard, resp.Body)
}

func TestOffListensNowhere(t *testing.T) {
	s := profiling.New(profiling.Default(), zap.NewNop())
	require.NoError(t, s.Start(t.Context()))
	require.Empty(t, s.Address())
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, s.Run(ctx))
}
