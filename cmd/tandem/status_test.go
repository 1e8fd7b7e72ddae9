package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/telemetry/problems"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func followerStatus() rpc.Status {
	return rpc.Status{
		Version: "v1.2.3", Role: "full", ChainID: "test-chain", Genesis: "0123456789ABCDEF", NodeID: "12D3KooWAbc",
		Heads:   rpc.Heads{Header: 120, Data: 119, Applied: 118, Final: 100, P2P: 121, DA: 101},
		Applied: rpc.Applied{StateRoot: "ab12", Source: "p2p", At: now.Add(-1234 * time.Millisecond)},
		Final:   rpc.Final{HeaderDA: 40, DataDA: 41},
		Lag:     rpc.Lag{Blocks: 2, Final: 18, Rate: 3.25},
		P2P:     rpc.P2P{Enabled: true, Peers: 3, ChainPeers: 2, Target: 121},
		DA:      rpc.DA{Enabled: true, Head: 44, Cursor: 45, LastOK: now.Add(-400 * time.Millisecond), Error: "connection refused"},

		WaitingFor: "data of block 119",
	}
}

func TestPrintStatus(t *testing.T) {
	tests := []struct {
		name   string
		change func(*rpc.Status)
		want   string
	}{
		{"follower", func(*rpc.Status) {}, `
chain        test-chain, genesis 01234567
node         full, tandem v1.2.3, 12D3KooWAbc
applied      118, 1.2s ago, from p2p
final        100, header at DA 40, data at DA 41
stored       headers to 120, data to 119
p2p          head 121, 3 peers, 2 of the chain
da           head 101, read to DA 44 of 44, last answer 400ms ago, last error: connection refused
lag          2 blocks to the head, 18 to final, 3.2 blocks/s
state root   ab12
waiting for  data of block 119
`},
		{"catching up on both", func(s *rpc.Status) {
			s.Lag.Seconds, s.Lag.ETA = 7.4, 61
			s.P2P.Progress = rpc.Source{
				Head: 121, Lag: 2, Unit: "blocks", Seconds: 7.4, LastProgress: now.Add(-time.Second), Rate: 0.5, ETA: 4,
				WaitingFor: "2 blocks from 2 peers",
			}
			s.DA.Progress = rpc.Source{
				Head: 101, Lag: 900, Unit: "DA heights", Seconds: 5400, LastProgress: now, Rate: 100, ETA: 9, WaitingFor: "data of 119, header seen at DA 43",
			}
			s.DA.Head, s.DA.Error, s.WaitingFor = 944, "", "data of 119, header seen at DA 43"
		}, `
chain        test-chain, genesis 01234567
node         full, tandem v1.2.3, 12D3KooWAbc
applied      118, 1.2s ago, from p2p
final        100, header at DA 40, data at DA 41
stored       headers to 120, data to 119
p2p          head 121, 3 peers, 2 of the chain; 2 blocks to go (7s behind), 4s left, 0.5/s, last progress 1s ago; waits for 2 blocks from 2 peers
da           head 101, read to DA 44 of 944, last answer 400ms ago; 900 DA heights to go (1h30m0s behind), 9s left, 100.0/s, last progress 0s ago; waits for data of 119, header seen at DA 43
lag          2 blocks to the head (7s behind), 1m1s left, 18 to final, 3.2 blocks/s
state root   ab12
waiting for  data of 119, header seen at DA 43
`},
		{"two DA endpoints", func(s *rpc.Status) {
			s.DA.Endpoints = []rpc.DAEndpoint{
				{Address: "http://a", Posting: true, Head: 40, Lag: 4, Latency: 0.0123, Failures: 3, Lies: 1, Error: "timeout"},
				{Address: "http://b", Reading: true, Head: 44, Latency: 0.2},
				{Address: "http://c"},
			}
		}, `
chain        test-chain, genesis 01234567
node         full, tandem v1.2.3, 12D3KooWAbc
applied      118, 1.2s ago, from p2p
final        100, header at DA 40, data at DA 41
stored       headers to 120, data to 119
p2p          head 121, 3 peers, 2 of the chain
da           head 101, read to DA 44 of 44, last answer 400ms ago, last error: connection refused
da endpoint  http://a, posted to, head 40, answers in 12ms, 4 behind, 3 failures, 1 lies, last error: timeout
da endpoint  http://b, read from, head 44, answers in 200ms
da endpoint  http://c
lag          2 blocks to the head, 18 to final, 3.2 blocks/s
state root   ab12
waiting for  data of block 119
`},
		{"sequencer", func(s *rpc.Status) {
			s.Role, s.WaitingFor, s.DA.Error = "sequencer", "", ""
			s.Sequencer = &rpc.Sequencer{Produced: 9, SubmittedHeader: 110, SubmittedData: 109, Error: "no funds"}
		}, `
chain        test-chain, genesis 01234567
node         sequencer, tandem v1.2.3, 12D3KooWAbc
applied      118, 1.2s ago, from p2p
final        100, header at DA 40, data at DA 41
stored       headers to 120, data to 119
p2p          head 121, 3 peers, 2 of the chain
da           head 101, read to DA 44 of 44, last answer 400ms ago
lag          2 blocks to the head, 18 to final, 3.2 blocks/s
sequencer    9 made since start, on DA: headers to 110, data to 109, last error: no funds
state root   ab12
waiting for  nothing
`},
		{"light", func(s *rpc.Status) {
			s.Role, s.Heads.Data, s.WaitingFor, s.DA = "light", 0, "", rpc.DA{Enabled: true, Error: "connection refused"}
		}, `
chain        test-chain, genesis 01234567
node         light, tandem v1.2.3, 12D3KooWAbc
applied      118, 1.2s ago, from p2p
final        100, header at DA 40, data at DA 41
stored       headers to 120
p2p          head 121, 3 peers, 2 of the chain
da           no answer yet, last error: connection refused
lag          2 blocks to the head, 18 to final, 3.2 blocks/s
state root   ab12
waiting for  nothing
`},
		{"just started, no source", func(s *rpc.Status) {
			s.Heads, s.Applied, s.Final, s.Lag, s.P2P, s.DA = rpc.Heads{}, rpc.Applied{}, rpc.Final{}, rpc.Lag{}, rpc.P2P{}, rpc.DA{}
		}, `
chain        test-chain, genesis 01234567
node         full, tandem v1.2.3, 12D3KooWAbc
applied      0
final        0
stored       headers to 0, data to 0
p2p          off
da           off
lag          0 blocks to the head, 0 to final, 0.0 blocks/s
state root   nothing
waiting for  data of block 119
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := followerStatus()
			tt.change(&s)
			var out strings.Builder
			require.NoError(t, printStatus(&out, s, now))
			require.Equal(t, strings.TrimPrefix(tt.want, "\n"), out.String())
		})
	}
}

// TestStatusNamesEveryProblem asks a running node with the command: whatever kind of
// problem there is, it is named with its reason and its age.
func TestStatusNamesEveryProblem(t *testing.T) {
	home := newSequencer(t)
	loaded, err := app.Load(app.Sources{Home: home})
	require.NoError(t, err)
	setup, err := app.Prepare(t.Context(), app.PrepareParams{Home: home, Version: "test", Config: loaded.Config, LogTo: io.Discard})
	require.NoError(t, err)
	var (
		board  *problems.Board
		server *rpc.Server
	)
	node := fxtest.New(t, app.Node(setup, fx.Populate(&board, &server)))
	defer node.RequireStart().RequireStop()
	for _, kind := range problems.Kinds() {
		for _, unready := range []bool{false, true} {
			reason := fmt.Sprintf("what is wrong with %s", kind)
			board.Report(problems.Problem{Kind: kind, Subject: "test", Reason: reason, Unready: unready})
			r := tandem(t, "status", "--rpc", server.Address())
			require.Equal(t, exitOK, r.code, r.err)
			require.Regexp(t, fmt.Sprintf(`(?m)^problem +%s: %s, for \S+$`, kind, reason), r.out)
			board.Clear(kind, "test")
			require.NotContains(t, tandem(t, "status", "--rpc", server.Address()).out, reason)
		}
	}
}

func TestStatusAndTxAskTheNode(t *testing.T) {
	var sent []string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"chain_id":"from-the-wire","role":"full"}`))
	})
	mux.HandleFunc("POST /tx", func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		if string(body) == "bad" {
			http.Error(w, "want key=value", http.StatusBadRequest)
			return
		}
		sent = append(sent, string(body))
		w.WriteHeader(http.StatusAccepted)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, address := range []string{server.URL, strings.TrimPrefix(server.URL, "http://")} {
		r := tandem(t, "status", "--rpc", address)
		require.Equal(t, exitOK, r.code, r.err)
		require.Contains(t, r.out, "chain        from-the-wire")
		require.JSONEq(t, `{"chain_id":"from-the-wire","role":"full"}`, tandem(t, "status", "--json", "--rpc", address).out)
	}
	r := tandem(t, "tx", "--rpc", server.URL, "a=1", "b=2")
	require.Equal(t, exitOK, r.code)
	require.Equal(t, fmt.Sprintf("accepted %s\naccepted %s\n", block.Sum([]byte("a=1")), block.Sum([]byte("b=2"))), r.out)
	require.Equal(t, []string{"a=1", "b=2"}, sent)
	fails(t, exitFailed, `transaction "bad": `, "tx", "--rpc", server.URL, "bad")
	fails(t, exitFailed, "has no /tx", "tx", "--rpc", server.URL+"/elsewhere", "a=1")
}
