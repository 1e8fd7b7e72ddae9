package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry"
)

// TestLogLevel drives the command against what a node serves.
func TestLogLevel(t *testing.T) {
	_, levels, err := telemetry.NewLogger(telemetry.Default().Log, io.Discard)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(levelPath, levels)
	server := httptest.NewServer(mux)
	defer server.Close()
	level := func(args ...string) (int, string, string) {
		var out, errOut bytes.Buffer
		code := run(t.Context(), append([]string{"log", "level", "--rpc", server.URL}, args...), &out, &errOut)
		return code, strings.TrimSpace(out.String()), strings.TrimSpace(errOut.String())
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "info"},
		{[]string{"debug", "syncer=warn", "p2p=error"}, "debug p2p=error syncer=warn"},
		{[]string{"syncer="}, "debug p2p=error"},
		{[]string{"warn"}, "warn p2p=error"},
	} {
		code, out, errOut := level(c.args...)
		require.Equal(t, exitOK, code, errOut)
		require.Equal(t, c.want, out)
	}
	code, _, errOut := level("loud")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errOut, `level is "loud", want debug, info, warn or error`)
	_, out, _ := level()
	require.Equal(t, "warn p2p=error", out)
}
