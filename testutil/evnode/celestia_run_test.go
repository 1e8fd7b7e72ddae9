package evnode

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

// dialHTTP is ev-node's client over HTTP, with the token of the endpoint.
func dialHTTP(t *testing.T, url, token string, c *celestia) *daClient {
	t.Helper()
	c.token = token
	out := &daClient{}
	for module, handler := range map[string]any{"blob": &out.Blob, "header": &out.Header} {
		stop, err := jsonrpc.NewClient(t.Context(), url, module, handler, http.Header{})
		require.NoError(t, err)
		t.Cleanup(stop)
	}
	return out
}

// The messages a node logs when its DA endpoint misbehaves and when it is over.
func troubles() []string {
	return []string{
		"nothing can be posted to the DA layer, trying again", "reading from da fails; retrying",
		"the DA layer takes no submissions of this size, blocks stay smaller from now on",
	}
}

// A Tandem sequencer posts to a celestia-node and a follower reads from it alone,
// while the endpoint does what real ones do.
func TestOnCelestia(t *testing.T) {
	t.Parallel()
	c := newCelestia(t)
	c.maxTx = 24 << 10
	g := newGenesis("celestia-1", 1)
	change := func(cfg *app.Config) {
		cfg.DA.AuthToken = c.token
		cfg.DA.RequestTimeout, cfg.DA.ReadTimeout, cfg.DA.HeadTimeout = 8*pace, 8*pace, 8*pace
		cfg.Sequencer.Submit.ReconcileHeights = 12 // a busy machine may be this late
	}
	c.fail("header.NetworkHead", fault{status: http.StatusServiceUnavailable, body: "server busy, try again later"})
	c.fail("blob.GetAll",
		fault{text: "header: syncing in progress: localHeadHeight: 1, requestedHeight: 2"},
		fault{status: http.StatusTooManyRequests, body: "too many requests"})
	seq := start(t, spec{
		name: "sequencer", role: app.RoleSequencer, genesis: g, da: c.url, change: change,
		signer: signer.NewLocal(testutil.Key("proposer")), txs: []string{"first=block"}, allow: troubles(),
	})
	follower := start(t, spec{name: "follower", role: app.RoleFull, genesis: g, da: c.url, change: change, allow: troubles()})
	byURL := start(t, spec{
		name: "by-url", role: app.RoleFull, genesis: g, da: strings.Replace(c.url, "http", "ws", 1) + "/?token=" + c.token, allow: troubles(),
	})
	seq.applied(5)
	follower.final(3)
	byURL.final(3)

	// Refused for a reason that passes, lost on the way back, and a panic.
	c.fail("blob.Submit",
		fault{text: "broadcast tx error: account sequence mismatch, expected 9, got 8: incorrect account sequence code: 32"},
		fault{lose: true},
		fault{status: http.StatusInternalServerError, body: `{"error":{"code":0,"message":"fatal error calling 'blob.Submit': boom"},"id":1,"jsonrpc":"2.0"}`},
		fault{lose: true})
	big := strings.Repeat("x", 9<<10) // no write, so that the root stays small
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		seq.post("big " + key + big)
		seq.applied(seq.pipeline.Snapshot().Applied() + 2)
	}
	c.hangUp() // the node is killed and comes back
	c.set(func() { c.skip = 2 })
	follower.final(10)

	// The validator freezes: submissions hang, the head stands, and what waits
	// then is more than one transaction holds.
	c.set(func() { c.frozen = true })
	from := seq.pipeline.Snapshot().Applied()
	for _, key := range []string{"f", "g", "h", "i"} {
		seq.post("big " + key + big)
		seq.applied(seq.pipeline.Snapshot().Applied() + 4)
	}
	seq.applied(from + 24) // a few request timeouts
	c.set(func() { c.frozen = false })
	last := seq.pipeline.Snapshot().Applied()
	for _, n := range []*tandem{seq, follower, byURL} {
		n.final(last)
	}
	for height := uint64(1); height <= last; height++ {
		h, d := seq.hashes(height)
		for _, n := range []*tandem{follower, byURL} {
			fh, fd := n.hashes(height)
			require.Equal(t, h, fh)
			require.Equal(t, d, fd)
			require.Equal(t, seq.root(height), n.root(height))
		}
	}
	checkPosted(t, c, last)
}

// checkPosted: nothing lies on DA twice, although answers were lost, and all of
// it is what ev-node would read.
func checkPosted(t *testing.T, c *celestia, last uint64) {
	t.Helper()
	headerNS, dataNS := namespaces("celestia-1-headers", "celestia-1-data")
	judge := classifier{genesis: newGenesis("celestia-1", 1)}
	seen := map[string]int{}
	headers, data := uint64(0), 0
	for _, b := range c.posted(headerNS) {
		seen[string(b)]++
		h := judge.header(b)
		require.NotNil(t, h)
		if h.Height() <= last {
			headers++
		}
	}
	for _, b := range c.posted(dataNS) {
		seen[string(b)]++
		require.NotNil(t, judge.data(b))
		data++
	}
	require.Equal(t, last, headers)
	require.GreaterOrEqual(t, data, 10)
	for b, n := range seen {
		require.Equal(t, 1, n, "a blob of %d bytes is on DA %d times", len(b), n)
	}
	c.set(func() {
		require.Positive(t, c.calls["header.Subscribe"])
		require.Greater(t, c.pongs, 5, "pings are answered")
	})
}

// A token that is wrong, or none, is one clear error and no busy loop.
func TestCelestiaRefusesTokens(t *testing.T) {
	t.Parallel()
	c := newCelestia(t)
	g := newGenesis("celestia-2", 1)
	for name, token := range map[string]string{"none": "", "wrong": "other"} {
		n := start(t, spec{
			name: name, role: app.RoleFull, genesis: g, da: c.url, allow: []string{"da endpoint refuses the token"},
			change: func(cfg *app.Config) { cfg.DA.AuthToken = token },
		})
		before := c.count("header.NetworkHead")
		deadline := time.After(soon)
		for n.params.Node.Status(t.Context()).DA.Error == "" {
			select {
			case <-deadline:
				require.Fail(t, "no error in the status")
			case <-time.After(pace / 5):
			}
		}
		require.Contains(t, n.params.Node.Status(t.Context()).DA.Error, "not authorized")
		require.LessOrEqual(t, c.count("header.NetworkHead")-before, 10)
	}
}
