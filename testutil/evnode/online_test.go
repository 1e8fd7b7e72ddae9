package evnode

import (
	"fmt"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/testutil"
)

// checked returns what CheckOnline says of a config, one line each, findings and
// faults apart.
func checked(t *testing.T, role app.Role, change func(*app.Config)) (said, wrong string) {
	t.Helper()
	var lines, faults strings.Builder
	c := app.Default()
	c.Role = role.Name()
	change(&c)
	for _, a := range app.CheckOnline(t.Context(), c, newGenesis("online-1", 1)) {
		if a.Err != nil {
			_, _ = fmt.Fprintf(&faults, "%s: %v\n", a.Subject, a.Err)
		} else {
			_, _ = fmt.Fprintf(&lines, "%s: %s\n", a.Subject, a.Said)
		}
	}
	return lines.String(), faults.String()
}

// What a celestia-node says of itself is shown, and what a node cannot run with is
// named.
func TestCheckOnline(t *testing.T) {
	t.Parallel()
	c := newCelestia(t)
	with := func(token string) func(*app.Config) {
		return func(cfg *app.Config) { cfg.DA.Addresses, cfg.DA.AuthToken = []string{c.url}, token }
	}
	said, wrong := checked(t, app.RoleSequencer, with(c.token))
	require.Empty(t, wrong)
	for _, part := range []string{" of private, ", "tail 1, ", "token may read; 0 blobs in the namespaces online-1-headers, online-1-data", "token may write", "balance 5.000000 TIA"} {
		require.Contains(t, said, "da "+c.url+": ")
		require.Contains(t, said, part)
	}
	require.Zero(t, c.submitted(), "nothing is posted")

	_, wrong = checked(t, app.RoleFull, with(c.readToken))
	require.Empty(t, wrong, "a follower needs no more than to read")
	require.Nil(t, c.reach(t.Context(), 2))
	for name, f := range map[string]struct {
		role   app.Role
		token  string
		change func()
		want   string
	}{
		"a sequencer that may only read": {app.RoleSequencer, c.readToken, nil, "the token may not post"},
		"no token":                       {app.RoleFull, "", nil, "missing permission to invoke 'NetworkHead'"},
		"another token":                  {app.RoleFull, "other", nil, "da.auth_token"},
		"no funds":                       {app.RoleSequencer, c.token, func() { c.balance = 0 }, "its account holds nothing"},
		"a tail above the beginning":     {app.RoleFull, c.token, func() { c.tail = 2 }, "archival endpoint"},
	} {
		if f.change != nil {
			c.set(f.change)
		}
		_, wrong := checked(t, f.role, func(cfg *app.Config) { with(f.token)(cfg); cfg.P2P.Disabled = true })
		require.Contains(t, wrong, f.want, name)
		c.set(func() { c.balance, c.tail = 1, 1 })
	}
}

func TestCheckOnlineOfOtherLayers(t *testing.T) {
	t.Parallel()
	one, other := newCelestia(t), newCelestia(t)
	other.name = "mocha-4"
	_, wrong := checked(t, app.RoleFull, func(cfg *app.Config) {
		cfg.DA.Addresses, cfg.DA.AuthToken = []string{one.url, other.url, "http://127.0.0.1:1/?token=secret"}, one.token
	})
	require.Contains(t, wrong, "da "+other.url+": it is of the DA layer mocha-4, want private")
	require.Contains(t, wrong, "connection refused")
	require.NotContains(t, wrong, "secret")
	_, wrong = checked(t, app.RoleFull, func(cfg *app.Config) {
		cfg.DA.Addresses, cfg.DA.AuthToken, cfg.DA.Identity = []string{one.url}, one.token, "mocha-4@1:AB"
	})
	require.Contains(t, wrong, "want mocha-4")

	// ev-node's local DA knows neither tail nor balance.
	said, wrong := checked(t, app.RoleSequencer, func(cfg *app.Config) { cfg.DA.Addresses = []string{newLocalMock(t).url} })
	require.Contains(t, said, "no header.Tail")
	require.Contains(t, said, "no state.Balance")
	require.Contains(t, wrong, "da_start_height", "its head is below the beginning of the chain")
}

func TestCheckOnlineOfPeers(t *testing.T) {
	t.Parallel()
	address := newEvNode(t, "online-1").address(t)
	at, _, _ := strings.Cut(address, "/p2p/")
	key, err := app.NodeKeyOf(testutil.Key("somebody else"))
	require.NoError(t, err)
	id := idOf(t, key)
	said, wrong := checked(t, app.RoleFull, func(cfg *app.Config) {
		cfg.P2P.Peers = []string{address, at + "/p2p/" + id, "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWLcvpWLDSdx94WGaXEdgqstjGA8uSPmMPpwSdwxahyoFh"}
	})
	require.Contains(t, said, "answers, github.com/evstack/ev-node/apps/testapp@")
	require.Contains(t, wrong, "and not of "+id+": correct the peer id")
	require.Contains(t, wrong, "peer 12D3KooWLcvpWLDSdx94WGaXEdgqstjGA8uSPmMPpwSdwxahyoFh: failed to dial")
	require.Equal(t, 2, strings.Count(wrong, "\n"))
}

func idOf(t *testing.T, key crypto.PrivKey) string {
	t.Helper()
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return id.String()
}
