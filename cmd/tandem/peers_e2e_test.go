//go:build e2e && linux

package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/rpc"
)

// An operator looks at the peers of a running node, bans one, and lets it back.
func TestPeersOfARunningNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.newDA().start()
	seq := w.sequencer()
	seq.start()
	full := w.follower("full", seq.viaP2P())
	full.start()
	full.applies(2)
	list := func() (l rpc.PeerList) {
		r := command(t, "peers", "list", "--json", "--rpc", full.rpc())
		require.Equal(t, exitOK, r.code, r.err)
		require.NoError(t, json.Unmarshal([]byte(r.out), &l))
		return l
	}
	l := list()
	require.Len(t, l.Peers, 1)
	require.Equal(t, seq.id, l.Peers[0].ID)
	require.True(t, l.Peers[0].Static && l.Peers[0].Chain)

	r := command(t, "peers", "ban", seq.id, "--for", "1h", "--rpc", full.rpc())
	require.Equal(t, exitOK, r.code, r.err)
	eventually(t, patience, func() (bool, string) { l := list(); return len(l.Peers) == 0 && len(l.Bans) == 1, "peers are left" })
	require.Contains(t, command(t, "peers", "bans", "--rpc", full.rpc()).out, seq.id)
	r = command(t, "peers", "unban", seq.id, "--rpc", full.rpc())
	require.Equal(t, exitOK, r.code, r.err)
	full.grows(3)
	require.Empty(t, list().Bans)
	r = command(t, "peers", "unban", seq.id, "--rpc", full.rpc())
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "is not banned")
}
