package evnode

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

// newGenesis returns the genesis of a chain that starts now. Its proposer is the
// key named "proposer".
func newGenesis(id string, daStart uint64) block.Genesis {
	g := testutil.NewChain(id).Genesis
	g.StartTime, g.DAStartHeight = now(), daStart
	return g
}

// localDA is the project's own DA server, which is what an ev-node is pointed at
// in a devnet.
func localDA(t *testing.T, change func(*da.ServerConfig)) *da.Server {
	t.Helper()
	c := da.DefaultServer()
	c.Listen, c.BlockTime, c.EvNodeCompat = "127.0.0.1:0", pace, true
	if change != nil {
		change(&c)
	}
	s, err := da.NewServer(c, zap.NewNop())
	require.NoError(t, err)
	require.NoError(t, s.Listen(t.Context()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return s
}

func namespaces(header, data string) (headerNS, dataNS []byte) {
	derive := func(name string) []byte { return append(make([]byte, 19), sum([]byte(name))[:10]...) }
	return derive(header), derive(data)
}

// strangeTxs are transactions that the test application reads in ways of its own.
func strangeTxs() []string {
	return []string{
		"k1=v1", " a/b/../c = d = e ", "/x=1", "no equals sign", "=nothing", " \t=nothing", "empty=", "../1/k1=other", "k1=v2",
		"\xff\xfe=\x00", "\u00a0wide\u00a0=\u2003space\u2003", "trail/=1", "./dot=2", "k:=;",
	}
}

// A full node of ev-node follows a Tandem sequencer: the initial block and what
// it missed by range requests, the rest by gossip; and another one reads the
// chain from DA alone.
func TestEvNodeFollowsTandem(t *testing.T) {
	t.Parallel()
	const late, last = 90, 130
	g := newGenesis("follow-1", 0)
	server := localDA(t, nil)
	seq := start(t, spec{
		name: "sequencer", role: app.RoleSequencer, genesis: g, da: server.URL(), signer: signer.NewLocal(testutil.Key("proposer")),
		txs: []string{"first=block", "also=there"},
	})
	for i, tx := range strangeTxs() {
		seq.applied(uint64(2 + 2*i))
		seq.post(tx)
	}
	seq.applied(late)
	full := newEvNode(t, g.ChainID, seq.address())
	full.follow(t, g.InitialHeight)
	seq.applied(last)
	seq.post("last=tx")
	full.block(t, last)

	ledger := newLedger(g)
	for height := uint64(1); height <= last; height++ {
		b := full.block(t, height)
		h, d := seq.hashes(height)
		require.Equal(t, h, []byte(b.header.Hash()), "header %d", height)
		require.Equal(t, d, []byte(b.data.Hash()), "data %d", height)
		require.NoError(t, ledger.apply(b))
		require.Equal(t, string(ledger.roots[height]), seq.root(height), "root %d", height)
	}
	checkGossip(t, full, seq, last)

	headerNS, dataNS := namespaces("follow-1-headers", "follow-1-data")
	r := newReader(t, g, server.URL(), headerNS, dataNS)
	r.to(last)
	for _, b := range r.blocks {
		h, d := seq.hashes(b.header.Height())
		require.Equal(t, h, []byte(b.header.Hash()))
		require.Equal(t, d, []byte(b.data.Hash()))
		require.Equal(t, string(r.ledger.roots[b.header.Height()]), seq.root(b.header.Height()))
	}
	checkHints(t, full, seq, r, last)
	head, err := r.client.Header.NetworkHead(t.Context())
	require.NoError(t, err)
	at, err := r.client.Header.GetByHeight(t.Context(), head.Header.Height)
	require.NoError(t, err)
	require.Equal(t, head.Header.Height, at.Header.Height)
	require.Equal(t, head.Header.Time, at.Header.Time)
	checkAPI(t, seq, full.block(t, 1), r)
}

// checkAPI asks what clients of ev-node ask, in JSON over Connect.
func checkAPI(t *testing.T, seq *tandem, first evBlock, r *reader) {
	t.Helper()
	ask := func(method, body string) (int, map[string]any) {
		code, raw := seq.do(http.MethodPost, "/evnode.v1."+method, body)
		var out map[string]any
		require.NoError(t, json.Unmarshal([]byte(raw), &out), raw)
		return code, out
	}
	index := base64.StdEncoding.EncodeToString(sum(encode(first.header.signed())))
	var answers []map[string]any
	for _, body := range []string{`{"height":"1"}`, `{"hash":"` + index + `"}`} {
		code, out := ask("StoreService/GetBlock", body)
		require.Equal(t, http.StatusOK, code, out)
		answers = append(answers, out)
	}
	require.Equal(t, answers[0], answers[1])
	got := &pb.GetBlockResponse{}
	raw, err := json.Marshal(answers[0])
	require.NoError(t, err)
	require.NoError(t, protojson.Unmarshal(raw, got))
	require.Equal(t, encode(first.header.signed()), encode(got.GetBlock().GetHeader()))
	require.Equal(t, encode(plain(first.data)), encode(got.GetBlock().GetData()))
	require.Equal(t, []uint64{r.headerAt[1], r.dataAt[1]}, []uint64{got.GetHeaderDaHeight(), got.GetDataDaHeight()})
	for _, c := range []struct {
		method, body string
		code         int
	}{
		{"StoreService/GetState", `{}`, http.StatusOK},
		{"StoreService/GetMetadata", `{"key":"d"}`, http.StatusOK},
		{"StoreService/GetMetadata", `{"key":"rhb/1/h"}`, http.StatusOK},
		{"StoreService/GetMetadata", `{"key":"no such"}`, http.StatusNotFound},
		{"StoreService/GetBlock", `{"height":"1000000"}`, http.StatusNotFound},
		{"StoreService/GetBlock", `{}`, http.StatusBadRequest},
		{"StoreService/GetGenesisDaHeight", `{}`, http.StatusOK},
		{"StoreService/GetP2PStoreInfo", `{}`, http.StatusOK},
		{"P2PService/GetPeerInfo", `{}`, http.StatusOK},
		{"P2PService/GetNetInfo", `{}`, http.StatusOK},
		{"ConfigService/GetNamespace", `{}`, http.StatusOK},
		{"ConfigService/GetSignerInfo", `{}`, http.StatusOK},
	} {
		code, out := ask(c.method, c.body)
		require.Equal(t, c.code, code, "%s %s: %v", c.method, c.body, out)
	}
	_, out := ask("ConfigService/GetNamespace", `{}`)
	require.Equal(t, fmt.Sprintf("0x%x", r.headerNS), out["headerNamespace"])
	require.Equal(t, fmt.Sprintf("0x%x", r.dataNS), out["dataNamespace"])
	for path, want := range map[string]string{"/kv?key=wide": "space", "/kv?key=k:": ";"} {
		code, body := seq.do(http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, want, body)
	}
}

// checkGossip: header and data of every height were published, headers before
// data, hint 0 written out, signed by the node and nobody else.
func checkGossip(t *testing.T, n *evNode, seq *tandem, last uint64) {
	t.Helper()
	heard := map[string]map[uint64]bool{}
	for _, topic := range []string{"/follow-1-headerSync/header-sub/v0.0.1", "/follow-1-dataSync/header-sub/v0.0.1"} {
		heard[topic] = map[uint64]bool{}
		for _, msg := range n.gossiped(topic) {
			require.Equal(t, seq.network.ID(), msg.GetFrom())
			h, d := &pb.P2PSignedHeader{}, &pb.P2PData{}
			if strings.Contains(topic, "headerSync") {
				require.NoError(t, proto.Unmarshal(msg.Data, h))
				require.True(t, bytes.HasSuffix(msg.Data, []byte{0x20, 0}), "hint 0 is written")
				heard[topic][h.GetHeader().GetHeight()] = true
				continue
			}
			require.NoError(t, proto.Unmarshal(msg.Data, d))
			require.True(t, bytes.HasSuffix(msg.Data, []byte{0x18, 0}), "hint 0 is written")
			heard[topic][d.GetMetadata().GetHeight()] = true
		}
		require.Greater(t, len(heard[topic]), 10, topic)
		require.True(t, heard[topic][last], topic)
	}
	require.Empty(t, n.faulty)
}

// checkHints: ranges tell where blocks lie on DA.
func checkHints(t *testing.T, n *evNode, seq *tandem, r *reader, last uint64) {
	t.Helper()
	seq.final(last)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for height := uint64(1); height <= last; height++ {
		h, err := n.headers.client.GetByHeight(ctx, height)
		require.NoError(t, err)
		require.Equal(t, r.headerAt[height], h.hint(), "header %d", height)
		d, err := n.data.client.GetByHeight(ctx, height)
		require.NoError(t, err)
		require.Equal(t, r.dataAt[height], d.hint(), "data %d", height)
	}
	_, err := n.headers.client.GetByHeight(ctx, last+1_000_000)
	require.ErrorContains(t, err, "not found")
}
