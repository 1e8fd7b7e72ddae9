package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/rpc"
)

func TestPeersCommands(t *testing.T) {
	answer := rpc.PeerList{
		Peers: []rpc.PeerDetails{
			{
				ID: "12D3Kone", Address: "/ip4/1.2.3.4/tcp/7676", Direction: "Inbound", Agent: "tandem/\x1b[31mred", Since: time.Now(), Chain: true,
				Score: -12, Offences: map[string]uint64{"relayed": 4, "mismatch": 1},
			},
			{ID: "12D3Ktwo", Static: true},
		},
		Bans: []rpc.PeerBan{{ID: "12D3Kbad", Until: time.Now().Add(9 * time.Minute), Reason: "invalid", Detail: "header 5: signature does not match"}},
	}
	var asked []string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+string(body))
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(answer)
		}
	}))
	defer node.Close()

	r := tandem(t, "peers", "list", "--rpc", node.URL)
	require.Equal(t, exitOK, r.code, r.err)
	require.Contains(t, r.out, "12D3Kone  -12    inbound")
	require.Contains(t, r.out, "mismatch 1, relayed 4")
	require.Contains(t, r.out, "static, not of the chain")
	require.Contains(t, r.out, "2 connected, 1 banned")
	require.NotContains(t, r.out, "\x1b")
	r = tandem(t, "peers", "bans", "--rpc", node.URL)
	require.Contains(t, r.out, "12D3Kbad  9m0s")
	require.Contains(t, r.out, "signature does not match")
	r = tandem(t, "peers", "list", "--json", "--rpc", node.URL)
	require.True(t, json.Valid([]byte(r.out)))

	const one = "12D3KooWLcvpWLDSdx94WGaXEdgqstjGA8uSPmMPpwSdwxahyoFh"
	asked = nil
	r = tandem(t, "peers", "ban", one, "--for", "1h", "--rpc", node.URL)
	require.Equal(t, exitOK, r.code, r.err)
	require.Contains(t, r.out, one+" is banned")
	r = tandem(t, "peers", "unban", one, "--rpc", node.URL)
	require.Contains(t, r.out, one+" is no longer banned")
	require.Equal(t, []string{
		`POST /peers/ban application/json {"id":"` + one + `","for":"1h0m0s"}`, `POST /peers/unban application/json {"id":"` + one + `"}`,
	}, asked)
	fails(t, exitUsage, "0 arguments, want: tandem peers ban ID", "peers", "ban")
	fails(t, exitUsage, "want more than 0", "peers", "ban", "x", "--for", "-1s", "--rpc", node.URL)

	answer.Bans = nil
	require.Contains(t, tandem(t, "peers", "bans", "--rpc", node.URL).out, "no peer is banned")
}
