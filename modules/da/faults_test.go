package da

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOutages(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	ns := NamespaceOf("a")
	const brief = 50 * time.Millisecond // where nobody answers
	process := &localClient{server: s, timeout: brief}
	address := s.Addr()
	for _, outage := range []Outage{OutageRefuse, OutageDrop, OutageHang} {
		t.Run(string(outage), func(t *testing.T) {
			cfg := testConfig(s.URL())
			if outage == OutageHang {
				cfg.HeadTimeout, cfg.ReadTimeout, cfg.RequestTimeout = brief, brief, sending
			}
			network := newTestClient(t, cfg)
			require.NoError(t, s.SetOutage(outage))
			for name, c := range map[string]Client{"network": network, "process": process} {
				_, err := c.Head(t.Context())
				require.ErrorIs(t, err, ErrUnavailable, name)
				_, err = c.Blobs(t.Context(), 1, ns)
				require.ErrorIs(t, err, ErrUnavailable, name)
			}
			_, err := network.Submit(t.Context(), ns, [][]byte{{1}})
			if outage == OutageRefuse {
				require.ErrorIs(t, err, ErrUnavailable)
			} else {
				require.ErrorIs(t, err, ErrUnknown)
			}
			height := s.Status().Height
			waitHeight(t, s, height+2) // the chain goes on
			require.NoError(t, s.SetOutage(OutageNone))
			require.Equal(t, address, s.Addr(), "back on the same port")
			for name, c := range map[string]Client{"network": newTestClient(t, testConfig(s.URL())), "process": s.Client()} {
				_, err := c.Submit(t.Context(), ns, [][]byte{{1}})
				require.NoError(t, err, name)
			}
		})
	}
	require.ErrorContains(t, s.SetOutage("x"), "want none, refuse, drop or hang")
}

func TestConfiguredOutage(t *testing.T) {
	cfg := testServerConfig()
	cfg.Outage = OutageRefuse
	s, _ := startServer(t, cfg)
	c := newTestClient(t, testConfig(s.URL()))
	_, err := c.Head(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	require.NoError(t, s.SetOutage(OutageNone))
	_, err = c.Head(t.Context())
	require.NoError(t, err)
}

func TestFailures(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	for name, c := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			s.Fail(Failure{Method: "blob.Submit", Next: 2, Message: "broadcast tx error: hash X error: insufficient fee code: 13"})
			s.Fail(Failure{Method: "header.NetworkHead", Next: 1})
			for range 2 {
				_, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
				require.ErrorIs(t, err, ErrFee)
			}
			_, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
			require.NoError(t, err)
			_, err = c.Head(t.Context())
			require.ErrorIs(t, err, ErrUnavailable)
			_, err = c.Head(t.Context())
			require.NoError(t, err)

			s.Fail(Failure{Rate: 1, Message: "server busy"})
			_, err = c.Blobs(t.Context(), 1, NamespaceOf("a"))
			require.ErrorIs(t, err, ErrBusy)
			s.ClearFailures()
			_, err = c.Blobs(t.Context(), 1, NamespaceOf("a"))
			require.NoError(t, err)
		})
	}
}

// TestLostReply: the blob lands although nobody is told.
func TestLostReply(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	for name, c := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			before := s.Status().Height
			s.Fail(Failure{Method: "blob.Submit", Next: 1, LoseReply: true})
			_, err := c.Submit(t.Context(), NamespaceOf(name), [][]byte{[]byte("lost")})
			require.ErrorIs(t, err, ErrUnknown)
			found := 0
			for h := before + 1; h <= s.Status().Height; h++ {
				blobs, err := c.Blobs(t.Context(), h, NamespaceOf(name))
				require.NoError(t, err)
				found += len(blobs)
			}
			require.Equal(t, 1, found)
			s.Fail(Failure{Method: "blob.GetAll", Rate: 1, LoseReply: true})
			_, err = c.Blobs(t.Context(), 1, NamespaceOf(name))
			require.ErrorIs(t, err, ErrUnavailable)
			s.ClearFailures()
		})
	}
}

func TestLatency(t *testing.T) {
	cfg := testServerConfig()
	cfg.Latency = 40 * time.Millisecond
	s, _ := startServer(t, cfg)
	for _, c := range clients(t, s) {
		begin := time.Now()
		_, err := c.Head(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(begin), cfg.Latency)
	}
}

func TestConfiguredFailures(t *testing.T) {
	cfg := testServerConfig()
	cfg.FailRate, cfg.FailMethod = 1, "blob.Submit"
	s, _ := startServer(t, cfg)
	_, err := s.Client().Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
	require.ErrorIs(t, err, ErrUnknown)
	_, err = s.Client().Head(t.Context())
	require.NoError(t, err)
}

func TestControl(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	control := func(body string) (int, string) { return post(t, s.URL()+"/control", body) }
	status, body := control(`{"block_time":"1h","latency":"1ms","freeze":true,"fail":{"method":"blob.Submit","next":3}}`)
	require.Equal(t, http.StatusOK, status, body)
	st := s.Status()
	require.Equal(t, Span(time.Hour), st.BlockTime)
	require.Equal(t, Span(time.Millisecond), st.Latency)
	require.True(t, st.Freeze)
	require.Equal(t, []Failure{{Method: "blob.Submit", Next: 3}}, st.Failures)
	_, body = control(`{"produce":true,"clear_failures":true}`)
	require.Contains(t, body, `"failures":[]`)
	require.Equal(t, st.Height+1, s.Status().Height)
	_, body = control(`{"prune_below":2}`)
	require.Contains(t, body, `"tail":2`)
	_, body = control(`{"outage":"drop"}`)
	require.Contains(t, body, `"outage":"drop"`, "control works during an outage")
	_, err := s.Client().Head(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	control(`{"outage":"none"}`)

	for bad, want := range map[string]string{
		`{"outage":"refuse"}`:   "want outage_for",
		`{"outage":"x"}`:        "want none, refuse, drop or hang",
		`{"outage_for":"1s"}`:   "outage_for without outage",
		`{"block_time":"0s"}`:   "block_time is 0s",
		`{"block_time":"soon"}`: "invalid duration",
		`{"latency":"-1s"}`:     "latency is -1s",
		`{"fail":{"rate":2}}`:   "fail wants",
		`{"blocktime":"1s"}`:    "unknown field",
	} {
		status, body := control(bad)
		require.Equal(t, http.StatusBadRequest, status, bad)
		require.Contains(t, body, want)
	}
	status, _ = post(t, s.URL()+"/control", `{}`, "Content-Type", "text/plain")
	require.Equal(t, http.StatusUnsupportedMediaType, status)

	status, _ = control(`{"outage":"drop","outage_for":"20ms"}`)
	require.Equal(t, http.StatusOK, status)
	require.Eventually(t, func() bool { return s.Status().Outage == OutageNone }, time.Minute, time.Millisecond)

	// The answer may be cut off with everything else, so only what follows counts.
	require.NoError(t, s.setOutage(OutageRefuse, 30*time.Millisecond))
	require.Eventually(t, func() bool { return s.Status().Outage == OutageNone }, time.Minute, time.Millisecond)
	_, err = newTestClient(t, testConfig(s.URL())).Head(t.Context())
	require.NoError(t, err)
}

// TestOutageForEndsWithItsOutage: what was to end one outage does not end another
// that began in the meantime.
func TestOutageForEndsWithItsOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bubbleServer(t)
		require.NoError(t, s.setOutage(OutageDrop, time.Second))
		require.NoError(t, s.SetOutage(OutageHang))
		time.Sleep(time.Hour)
		require.Equal(t, OutageHang, s.Status().Outage)
		require.NoError(t, s.setOutage(OutageDrop, time.Second))
		time.Sleep(time.Second - 1)
		require.Equal(t, OutageDrop, s.Status().Outage)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, OutageNone, s.Status().Outage)
	})
}
