package rpc_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/rpc"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
	"github.com/tandem-node/tandem/modules/rpc/evnodev1/evnodev1connect"
	"github.com/tandem-node/tandem/testutil"
)

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// TestGetBlockAsJSON holds an answer against evolve-wire §8: uint64 as strings,
// bytes in base64, camelCase, zero fields omitted.
func TestGetBlockAsJSON(t *testing.T) {
	w := newWorld(t)
	first, second := w.chain.Next(), w.chain.Next([]byte("a=1"), []byte("b=2"))
	w.apply(first, second)
	w.include(40, first)

	code, got := w.call("StoreService/GetBlock", `{"height":"2"}`)
	require.Equal(t, http.StatusOK, code)
	h := second.Header
	stamp := strconv.FormatUint(h.Header.Time, 10)
	require.Equal(t, map[string]any{"block": map[string]any{
		"header": map[string]any{
			"header": map[string]any{
				"version": map[string]any{}, "height": "2", "time": stamp, "lastHeaderHash": b64(first.Header.Hash()),
				"dataHash": b64(h.Header.DataHash), "appHash": b64([]byte("root-1")),
				"proposerAddress": b64(w.chain.Genesis.ProposerAddress), "chainId": "c1",
			},
			"signature": b64(h.Signature),
			"signer":    map[string]any{"address": b64(h.Signer.Address), "pubKey": b64(h.Signer.PubKey)},
		},
		"data": map[string]any{
			"metadata": map[string]any{"chainId": "c1", "height": "2", "time": stamp, "lastDataHash": b64(first.Data.Hash())},
			"txs":      []any{b64([]byte("a=1")), b64([]byte("b=2"))},
		},
	}}, got, "not seen on DA yet: no DA heights")

	_, got = w.call("StoreService/GetBlock", `{"height":1}`)
	require.Equal(t, "40", got["headerDaHeight"])
	require.Equal(t, "40", got["dataDaHeight"], "empty data lies where its header does")
	w.include(41, second)
	_, got = w.call("StoreService/GetBlock", `{"height":"2"}`)
	require.Equal(t, "41", got["headerDaHeight"])
	require.Equal(t, "42", got["dataDaHeight"])
}

func TestGetBlockIdentifiers(t *testing.T) {
	w := newWorld(t)
	w.apply(w.chain.Blocks(3, 1)...)
	last := w.blocks[2].Header
	indexHash := sha256.Sum256(last.Encode())
	client := evnodev1connect.NewStoreServiceClient(w.http, w.url(""))
	for name, id := range map[string]*pb.GetBlockRequest{
		"height":                 {Identifier: &pb.GetBlockRequest_Height{Height: 3}},
		"latest":                 {Identifier: &pb.GetBlockRequest_Height{}},
		"header hash":            {Identifier: &pb.GetBlockRequest_Hash{Hash: last.Hash()}},
		"hash of the whole item": {Identifier: &pb.GetBlockRequest_Hash{Hash: indexHash[:]}},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := client.GetBlock(t.Context(), connect.NewRequest(id))
			require.NoError(t, err)
			raw, err := proto.Marshal(resp.Msg.GetBlock().GetHeader())
			require.NoError(t, err)
			require.Equal(t, last.Encode(), raw)
			raw, err = proto.Marshal(resp.Msg.GetBlock().GetData())
			require.NoError(t, err)
			require.Equal(t, w.blocks[2].Data.Encode(), raw)
		})
	}
	for name, tc := range map[string]struct {
		body string
		code int
		kind string
		text string
	}{
		"above":         {`{"height":"4"}`, http.StatusNotFound, "not_found", "block 4: header: not found, the latest is 3"},
		"far above":     {`{"height":"18446744073709551615"}`, http.StatusNotFound, "not_found", "not found"},
		"unknown hash":  {`{"hash":"` + b64(make([]byte, 32)) + `"}`, http.StatusNotFound, "not_found", "not found"},
		"short hash":    {`{"hash":"AAAA"}`, http.StatusNotFound, "not_found", "block 000000: "},
		"no identifier": {`{}`, http.StatusBadRequest, "invalid_argument", "no identifier: set height or hash"},
		"not JSON":      {`{`, http.StatusBadRequest, "invalid_argument", "unexpected"},
	} {
		t.Run(name, func(t *testing.T) {
			code, got := w.call("StoreService/GetBlock", tc.body)
			require.Equal(t, tc.code, code)
			require.Equal(t, tc.kind, got["code"])
			require.Contains(t, got["message"], tc.text)
		})
	}
}

func TestGetBlockBeforeTheFirst(t *testing.T) {
	w := newWorld(t)
	code, got := w.call("StoreService/GetBlock", `{"height":"0"}`)
	require.Equal(t, http.StatusNotFound, code)
	require.Equal(t, map[string]any{"code": "not_found", "message": "no block was applied yet"}, got)
	code, got = w.call("StoreService/GetState", `{}`)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, b64([]byte("root-0")), got["state"].(map[string]any)["appHash"])
}

// What the stores hold beyond the applied height is not served: it may yet turn
// out not to be the chain.
func TestGetBlockServesAppliedBlocksOnly(t *testing.T) {
	w := newWorld(t)
	w.apply(w.chain.Blocks(2, 1)...)
	next := w.chain.Next([]byte("c=3"))
	require.NoError(t, w.store.Headers().Append(t.Context(), next.Header))
	code, _ := w.call("StoreService/GetBlock", `{"height":"3"}`)
	require.Equal(t, http.StatusNotFound, code)
	code, _ = w.call("StoreService/GetBlock", `{"hash":"`+b64(next.Header.Hash())+`"}`)
	require.Equal(t, http.StatusNotFound, code)
	_, got := w.call("StoreService/GetBlock", `{"height":"0"}`)
	require.NotNil(t, got["block"])
}

// T2: what stands on DA for the height but is another block does not count.
func TestDAHeightsAreThoseOfTheServedBlock(t *testing.T) {
	w := newWorld(t)
	b := w.chain.Next([]byte("a=1"))
	w.apply(b)
	other := block.Sum([]byte("other"))
	require.NoError(t, w.store.Commit(t.Context(), block.Batch{Inclusions: []block.Inclusion{
		{Height: 1, Kind: block.KindHeader, Hash: other, DAHeight: 7},
		{Height: 1, Kind: block.KindData, Hash: other, DAHeight: 7},
	}}))
	_, got := w.call("StoreService/GetBlock", `{"height":"1"}`)
	require.NotContains(t, got, "headerDaHeight")
	require.NotContains(t, got, "dataDaHeight")
}

func TestLargestBlock(t *testing.T) {
	w := newWorld(t)
	const size = 5 << 20
	tx := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	w.apply(w.chain.Next(tx))
	for name, client := range map[string]evnodev1connect.StoreServiceClient{
		"connect":  evnodev1connect.NewStoreServiceClient(w.http, w.url("")),
		"json":     evnodev1connect.NewStoreServiceClient(w.http, w.url(""), connect.WithProtoJSON()),
		"grpc":     evnodev1connect.NewStoreServiceClient(w.h2, w.url(""), connect.WithGRPC()),
		"grpc-web": evnodev1connect.NewStoreServiceClient(w.http, w.url(""), connect.WithGRPCWeb()),
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := client.GetBlock(t.Context(), connect.NewRequest(&pb.GetBlockRequest{Identifier: &pb.GetBlockRequest_Height{Height: 1}}))
			require.NoError(t, err)
			require.Len(t, resp.Msg.GetBlock().GetData().GetTxs(), 1)
			require.True(t, bytes.Equal(tx, resp.Msg.GetBlock().GetData().GetTxs()[0]))
		})
	}
}

// TestAllProtocols asks everything over all ways in. The last one is how the
// reference's own client asks: gRPC, but over HTTP/1.1.
func TestAllProtocols(t *testing.T) {
	w := newWorld(t)
	w.apply(w.chain.Blocks(3, 2)...)
	w.include(40, w.blocks[0])
	for name, tc := range map[string]struct {
		client *http.Client
		opts   []connect.ClientOption
	}{
		"connect":          {w.http, nil},
		"connect h2c":      {w.h2, nil},
		"connect json":     {w.http, []connect.ClientOption{connect.WithProtoJSON()}},
		"grpc h2c":         {w.h2, []connect.ClientOption{connect.WithGRPC()}},
		"grpc-web":         {w.http, []connect.ClientOption{connect.WithGRPCWeb()}},
		"grpc-web h2c":     {w.h2, []connect.ClientOption{connect.WithGRPCWeb()}},
		"grpc gzip":        {w.h2, []connect.ClientOption{connect.WithGRPC(), connect.WithSendGzip()}},
		"grpc on http/1.1": {w.http, []connect.ClientOption{connect.WithGRPC()}},
	} {
		t.Run(name, func(t *testing.T) {
			store := evnodev1connect.NewStoreServiceClient(tc.client, w.url(""), tc.opts...)
			p2p := evnodev1connect.NewP2PServiceClient(tc.client, w.url(""), tc.opts...)
			cfg := evnodev1connect.NewConfigServiceClient(tc.client, w.url(""), tc.opts...)
			none := func() *connect.Request[emptypb.Empty] { return connect.NewRequest(&emptypb.Empty{}) }

			st, err := store.GetState(t.Context(), none())
			require.NoError(t, err)
			require.Equal(t, uint64(3), st.Msg.GetState().GetLastBlockHeight())
			da, err := store.GetGenesisDaHeight(t.Context(), none())
			require.NoError(t, err)
			require.Equal(t, uint64(40), da.Msg.GetHeight())
			meta, err := store.GetMetadata(t.Context(), connect.NewRequest(&pb.GetMetadataRequest{Key: "d"}))
			require.NoError(t, err)
			require.Equal(t, []byte{1, 0, 0, 0, 0, 0, 0, 0}, meta.Msg.GetValue())
			info, err := store.GetP2PStoreInfo(t.Context(), none())
			require.NoError(t, err)
			require.Len(t, info.Msg.GetStores(), 2)
			peers, err := p2p.GetPeerInfo(t.Context(), none())
			require.NoError(t, err)
			require.Equal(t, "12D3KooWpeer", peers.Msg.GetPeers()[0].GetId())
			net, err := p2p.GetNetInfo(t.Context(), none())
			require.NoError(t, err)
			require.Equal(t, "12D3KooWnode", net.Msg.GetNetInfo().GetId())
			ns, err := cfg.GetNamespace(t.Context(), none())
			require.NoError(t, err)
			require.Equal(t, headerNamespace, ns.Msg.GetHeaderNamespace())
			signer, err := cfg.GetSignerInfo(t.Context(), none())
			require.NoError(t, err)
			require.Equal(t, w.chain.Genesis.ProposerAddress, signer.Msg.GetAddress())

			_, err = store.GetBlock(t.Context(), connect.NewRequest(&pb.GetBlockRequest{}))
			require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
			_, err = store.GetBlock(t.Context(), connect.NewRequest(&pb.GetBlockRequest{Identifier: &pb.GetBlockRequest_Height{Height: 9}}))
			require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
			_, err = store.GetMetadata(t.Context(), connect.NewRequest(&pb.GetMetadataRequest{Key: "no"}))
			require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
		})
	}
}

func TestAnswersAsJSON(t *testing.T) {
	w := newWorld(t)
	w.apply(w.chain.Blocks(2, 1)...)
	w.include(40, w.blocks[0])
	at := func(b block.Block) string { return b.Header.Time().Format(time.RFC3339Nano) }
	for method, want := range map[string]string{
		"StoreService/GetState": `{"state":{"version":{},"chainId":"c1","initialHeight":"1","lastBlockHeight":"2","lastBlockTime":"` + at(w.blocks[1]) + `",
			"daHeight":"1","appHash":"` + b64([]byte("root-2")) + `","lastHeaderHash":"` + b64(w.blocks[1].Header.Hash()) + `",
			"nextProposerAddress":"` + b64(w.chain.Genesis.ProposerAddress) + `"}}`,
		"StoreService/GetGenesisDaHeight": `{"height":"40"}`,
		"StoreService/GetP2PStoreInfo": `{"stores":[
			{"label":"Header Store","height":"2",
			 "head":{"height":"2","hash":"` + b64(w.blocks[1].Header.Hash()) + `","time":"` + at(w.blocks[1]) + `"},
			 "tail":{"height":"1","hash":"` + b64(w.blocks[0].Header.Hash()) + `","time":"` + at(w.blocks[0]) + `"}},
			{"label":"Data Store","height":"2",
			 "head":{"height":"2","hash":"` + b64(w.blocks[1].Data.Hash()) + `","time":"` + at(w.blocks[1]) + `"},
			 "tail":{"height":"1","hash":"` + b64(w.blocks[0].Data.Hash()) + `","time":"` + at(w.blocks[0]) + `"}}]}`,
		"P2PService/GetPeerInfo": `{"peers":[{"id":"12D3KooWpeer","address":"/ip4/127.0.0.1/tcp/7677"}]}`,
		"P2PService/GetNetInfo": `{"netInfo":{"id":"12D3KooWnode","listenAddresses":["/ip4/127.0.0.1/tcp/7676/p2p/12D3KooWnode"],
			"connectedPeers":["12D3KooWpeer"]}}`,
		"ConfigService/GetNamespace":  `{"headerNamespace":"` + headerNamespace + `","dataNamespace":"` + dataNamespace + `"}`,
		"ConfigService/GetSignerInfo": `{"address":"` + b64(w.chain.Genesis.ProposerAddress) + `"}`,
	} {
		t.Run(method, func(t *testing.T) {
			r := w.do(http.MethodPost, "/evnode.v1."+method, "application/json", strings.NewReader(`{}`))
			require.Equal(t, http.StatusOK, r.code)
			require.JSONEq(t, want, string(r.body))
		})
	}
}

func TestGetMetadata(t *testing.T) {
	w := newWorld(t)
	first, second, third := w.chain.Next([]byte("a=1")), w.chain.Next(), w.chain.Next([]byte("b=2"))
	w.apply(first, second, third)
	for _, key := range []string{"d", "gdh", "last-submitted-header-height", "last-submitted-data-height", "rhb/1/h"} {
		code, got := w.call("StoreService/GetMetadata", `{"key":"`+key+`"}`)
		require.Equal(t, http.StatusNotFound, code, "%s before anything is on DA", key)
		require.Equal(t, "not_found", got["code"])
	}
	w.include(40, first, second)
	require.NoError(t, w.store.Commit(t.Context(), block.Batch{Inclusions: []block.Inclusion{
		{Height: 3, Kind: block.KindHeader, Hash: third.Header.Digest(), DAHeight: 44},
	}}))
	require.NoError(t, w.store.SaveSubmitted(t.Context(), 3, 2))
	for key, want := range map[string]uint64{
		"d": 2, "gdh": 40, "rhb/1/h": 40, "rhb/1/d": 41, "rhb/2/h": 40, "rhb/2/d": 40,
		"last-submitted-header-height": 3, "last-submitted-data-height": 2,
	} {
		code, got := w.call("StoreService/GetMetadata", `{"key":"`+key+`"}`)
		require.Equal(t, http.StatusOK, code, key)
		require.Equal(t, b64([]byte{byte(want), 0, 0, 0, 0, 0, 0, 0}), got["value"], key)
	}
	for _, key := range []string{"rhb/3/h", "rhb/3/d", "rhb/1", "rhb/1/x", "rhb/x/h", "rhb/0/h", "rhb/", "unknown"} {
		code, got := w.call("StoreService/GetMetadata", `{"key":"`+key+`"}`)
		require.Equal(t, http.StatusNotFound, code, key)
		require.Contains(t, got["message"], strconv.Quote(key))
	}
	code, got := w.call("StoreService/GetMetadata", `{}`)
	require.Equal(t, http.StatusBadRequest, code)
	require.Equal(t, "invalid_argument", got["code"])
}

// TestGenesisDAHeightIsField3 and nothing else is set before it is known.
func TestGenesisDAHeightIsField3(t *testing.T) {
	w := newWorld(t)
	code, got := w.call("StoreService/GetGenesisDaHeight", `{}`)
	require.Equal(t, http.StatusNotFound, code)
	require.Equal(t, "not_found", got["code"])
	w.apply(w.chain.Next())
	w.include(300, w.blocks[0])
	r := w.do(http.MethodPost, "/evnode.v1.StoreService/GetGenesisDaHeight", "application/proto", bytes.NewReader(nil))
	require.Equal(t, http.StatusOK, r.code)
	require.Equal(t, []byte{3 << 3, 0xac, 0x02}, r.body)
}

// A light node holds headers alone.
func TestLightNode(t *testing.T) {
	w := newWorld(t, func(p *rpc.Params) { p.Data = nil })
	first, second := w.chain.Next([]byte("a=1")), w.chain.Next()
	w.apply(first, second)
	require.NoError(t, w.store.Commit(t.Context(), block.Batch{Final: 2, Inclusions: []block.Inclusion{
		{Height: 1, Kind: block.KindHeader, Hash: first.Header.Digest(), DAHeight: 40},
		{Height: 2, Kind: block.KindHeader, Hash: second.Header.Digest(), DAHeight: 41},
	}}))
	code, got := w.call("StoreService/GetBlock", `{"height":"1"}`)
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, got["block"], "data")
	require.Equal(t, "40", got["headerDaHeight"])
	require.NotContains(t, got, "dataDaHeight", "it does not look for data")
	code, _ = w.call("StoreService/GetMetadata", `{"key":"rhb/1/d"}`)
	require.Equal(t, http.StatusNotFound, code)
	code, _ = w.call("StoreService/GetMetadata", `{"key":"rhb/2/d"}`)
	require.Equal(t, http.StatusOK, code)
	_, got = w.call("StoreService/GetP2PStoreInfo", `{}`)
	require.Len(t, got["stores"], 1)
}

func TestReflection(t *testing.T) {
	w := newWorld(t)
	client := grpcreflect.NewClient(w.h2, w.url(""), connect.WithGRPC()) // v1, or v1alpha where v1 is missing
	stream := client.NewStream(t.Context())
	names, err := stream.ListServices()
	require.NoError(t, err)
	var got []string
	for _, n := range names {
		got = append(got, string(n))
	}
	require.ElementsMatch(t, []string{
		evnodev1connect.StoreServiceName, evnodev1connect.P2PServiceName, evnodev1connect.ConfigServiceName,
	}, got)
	files, err := stream.FileContainingSymbol("evnode.v1.StoreService")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	_, err = stream.Close()
	require.NoError(t, err)

	// The older name, asked for by older tools: one request "list services".
	const list = "\x00\x00\x00\x00\x03\x3a\x01*"
	for _, version := range []string{"v1", "v1alpha"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			w.url("/grpc.reflection."+version+".ServerReflection/ServerReflectionInfo"), strings.NewReader(list))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/grpc")
		r := w.send(w.h2, req)
		require.Equal(t, http.StatusOK, r.code)
		require.Contains(t, string(r.body), "evnode.v1.ConfigService", version)
		require.Equal(t, "0", r.trailer.Get("Grpc-Status"))
	}
}

// TestVectors serves blocks of the reference and gets their bytes back.
func TestVectors(t *testing.T) {
	var file struct {
		Blocks []struct {
			SignedHeader   string `json:"signed_header"`
			Data           string `json:"data"`
			HeaderHash     string `json:"header_hash"`
			StoreIndexHash string `json:"store_index_hash"`
			Height         uint64 `json:"height"`
		} `json:"blocks"`
	}
	raw, err := os.ReadFile("../block/testdata/blocks.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Blocks)
	w := newWorld(t)
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	for _, v := range file.Blocks {
		h, err := block.DecodeSignedHeader(unhex(v.SignedHeader))
		require.NoError(t, err)
		d, err := block.DecodeData(unhex(v.Data))
		require.NoError(t, err)
		w.apply(block.Block{Header: h, Data: d})
	}
	client := evnodev1connect.NewStoreServiceClient(w.h2, w.url(""), connect.WithGRPC())
	for _, v := range file.Blocks {
		for _, id := range []*pb.GetBlockRequest{
			{Identifier: &pb.GetBlockRequest_Height{Height: v.Height}},
			{Identifier: &pb.GetBlockRequest_Hash{Hash: unhex(v.HeaderHash)}},
			{Identifier: &pb.GetBlockRequest_Hash{Hash: unhex(v.StoreIndexHash)}},
		} {
			resp, err := client.GetBlock(t.Context(), connect.NewRequest(id))
			require.NoError(t, err)
			got, err := proto.Marshal(resp.Msg.GetBlock().GetHeader())
			require.NoError(t, err)
			require.Equal(t, v.SignedHeader, hex.EncodeToString(got))
			got, err = proto.Marshal(resp.Msg.GetBlock().GetData())
			require.NoError(t, err)
			require.Equal(t, v.Data, hex.EncodeToString(got))
		}
	}
}

// Headers from before header minimisation keep the fields that are part of
// their hash.
func TestLegacyHeaderKeepsItsBytes(t *testing.T) {
	w := newWorld(t)
	b := w.chain.Next()
	h := b.Header.Header
	last, results := block.Sum([]byte("commit")), block.Sum([]byte("results"))
	h.Legacy = block.Legacy{LastCommitHash: last[:], LastResultsHash: results[:]}
	old := testutil.Sign(w.chain.Key, h)
	w.apply(block.Block{Header: old, Data: b.Data})
	client := evnodev1connect.NewStoreServiceClient(w.http, w.url(""))
	resp, err := client.GetBlock(t.Context(), connect.NewRequest(&pb.GetBlockRequest{Identifier: &pb.GetBlockRequest_Hash{Hash: old.Hash()}}))
	require.NoError(t, err)
	got, err := proto.Marshal(resp.Msg.GetBlock().GetHeader())
	require.NoError(t, err)
	require.Equal(t, old.Encode(), got)
}
