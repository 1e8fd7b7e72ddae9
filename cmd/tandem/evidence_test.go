package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func TestEvidenceCommands(t *testing.T) {
	c := testutil.NewChain("evidence-chain")
	first := c.Blocks(6, 1)[0].Header
	e := block.Evidence{
		First:  block.Sighting{Header: c.Fork().Next().Header, Source: block.SourceP2P, Peer: "12D3KooWabc"},
		Second: block.Sighting{Header: c.Fork().Next([]byte("x")).Header, Source: block.SourceDA, DAHeight: 88, At: time.Unix(9, 0).UTC()},
	}
	answer := []block.Evidence{e}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/evidence" {
			_ = json.NewEncoder(w).Encode(answer)
		}
	}))
	defer node.Close()
	dir := t.TempDir()
	genesis, file := filepath.Join(dir, "genesis.json"), filepath.Join(dir, "evidence.json")
	require.NoError(t, c.Genesis.Save(genesis))
	tandem := func(args ...string) (int, string) {
		var out, errOut bytes.Buffer
		code := run(t.Context(), append(args, "--home", dir), &out, &errOut)
		return code, out.String() + errOut.String()
	}

	code, out := tandem("evidence", "list", "--rpc", node.URL)
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "DA 88")
	require.Contains(t, out, "p2p 12D3KooWabc")
	code, out = tandem("evidence", "export", "--rpc", node.URL)
	require.Equal(t, exitOK, code, out)
	require.NoError(t, os.WriteFile(file, []byte(out), 0o600))
	code, out = tandem("evidence", "verify", file, "--genesis", genesis)
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "block 7 of evidence-chain: proposer")

	answer = []block.Evidence{{Second: block.Sighting{Header: first}, Refuted: block.NewRefutation(block.ErrWrongAppHash, []byte("root"), "kv")}}
	code, out = tandem("evidence", "list", "--rpc", node.URL)
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "executor kv: app hash does not match the state after the previous block, want 726F6F74")
	code, exported := tandem("evidence", "export", "--rpc", node.URL)
	require.Equal(t, exitOK, code)
	require.NoError(t, os.WriteFile(file, []byte(exported), 0o600))
	code, out = tandem("evidence", "verify", file, "--genesis", genesis)
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "which takes executing the chain to confirm")

	forced := &block.LeftOut{DAHeight: 9, Index: 1, Epochs: 4}
	answer = []block.Evidence{
		{Second: answer[0].Second, Refuted: &block.Refutation{Rule: block.ErrForcedLeftOut, WantHash: block.Sum([]byte("tx")), Executor: "kv", Forced: forced}},
		{Second: answer[0].Second, Refuted: block.NewRefutation(block.ErrRefusedData, []byte("overdrawn\x1b[2J"), "kv")},
	}
	code, out = tandem("evidence", "list", "--rpc", node.URL)
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "a forced transaction is left out, "+block.Sum([]byte("tx")).Short()+" of DA 9, blob 1, after 4 epochs")
	require.Contains(t, out, `execution refuses the data, "overdrawn\x1b[2J"`)
	code, left := tandem("evidence", "export", "--rpc", node.URL)
	require.Equal(t, exitOK, code)
	both := filepath.Join(dir, "both.json")
	require.NoError(t, os.WriteFile(both, []byte(left), 0o600))
	code, out = tandem("evidence", "verify", both, "--genesis", genesis)
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "forced at DA height 9 (blob 1), 4 epochs later")
	require.Contains(t, out, "executor kv refuses that data")

	other := testutil.NewChain("other").Genesis
	require.NoError(t, other.Save(genesis))
	code, out = tandem("evidence", "verify", file, "--genesis", genesis)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "evidence 1 of 1 proves nothing: block 1: wrong chain id")
	code, out = tandem("evidence", "verify", file, "--genesis", genesis, "--proposer", "zz")
	require.Equal(t, exitUsage, code, out)
	require.NoError(t, os.WriteFile(file, []byte("[]"), 0o600))
	code, out = tandem("evidence", "verify", file, "--genesis", genesis)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "no evidence")
	answer = []block.Evidence{}
	code, out = tandem("evidence", "list", "--rpc", node.URL)
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "no proposer was caught")
}
