package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/rpc"
)

func TestDASource(t *testing.T) {
	const every = 6 * time.Second
	read := time.Unix(5, 0)
	w := daworker.Status{LastRead: read, Rate: 20}
	up := rpc.DA{Enabled: true, Head: 10, Cursor: 11, LastOK: read}
	far, failing, silent := up, up, up
	far.Cursor = 1
	failing.Error = "connection refused"
	silent.LastOK = time.Time{}
	waits := w
	waits.WaitingFor = "data of 1042, header seen at DA 8"
	for name, tc := range map[string]struct {
		d    rpc.DA
		w    daworker.Status
		want rpc.Source
	}{
		"at the head": {up, w, rpc.Source{Rate: 20, LastProgress: read}},
		"far behind":  {far, w, rpc.Source{Lag: 10, Seconds: 60, Rate: 20, ETA: 0.5, LastProgress: read, WaitingFor: "DA heights 1 to 10 to be read"}},
		"a half":      {up, waits, rpc.Source{Rate: 20, LastProgress: read, WaitingFor: waits.WaitingFor}},
		"it fails":    {failing, waits, rpc.Source{Rate: 20, LastProgress: read, WaitingFor: "an answer"}},
		"no answer":   {silent, daworker.Status{}, rpc.Source{WaitingFor: "an answer"}},
		"none":        {rpc.DA{}, daworker.Status{}, rpc.Source{}},
	} {
		tc.want.Head, tc.want.Unit = 7, "DA heights"
		require.Equal(t, tc.want, daSource(tc.d, 7, tc.w, every), name)
	}
}

func TestWaitsForPeers(t *testing.T) {
	up := rpc.P2P{Enabled: true, ChainPeers: 2}
	require.Empty(t, waitsForPeers(rpc.P2P{}, 5))
	require.Empty(t, waitsForPeers(up, 0))
	require.Equal(t, "peers of the chain", waitsForPeers(rpc.P2P{Enabled: true}, 5))
	require.Equal(t, "5 blocks from 2 peers", waitsForPeers(up, 5))
	require.Zero(t, eta(5, 0))
	require.Zero(t, eta(0, 5))
	require.InDelta(t, 2.5, eta(5, 2), 0)
	require.Zero(t, age(time.Time{}, time.Unix(9, 0)))
	require.InDelta(t, 4, age(time.Unix(5, 0), time.Unix(9, 0)), 0)
}
