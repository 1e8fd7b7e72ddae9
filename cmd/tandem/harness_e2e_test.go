//go:build e2e && linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/rpc"
)

// Paces of the chains under test: quick, but not so that a busy machine cannot
// keep up.
const (
	blockTime = 250 * time.Millisecond
	daTime    = 400 * time.Millisecond
)

// world is one chain and its DA node. It has a loopback network of its own
// (127.x.y.0/24): every node keeps its ports over restarts and no two tests or
// runs meet.
type world struct {
	t       *testing.T
	dir     string
	chain   string
	network string
	hosts   int
	da      *daNode
	// mayFail holds messages that nodes of this test may log as errors.
	mayFail []string
	procs   []*process
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), chain: "chain-" + strings.ToLower(t.Name()), network: ownNetwork(t)}
	t.Cleanup(func() {
		for _, p := range w.procs {
			p.kill()
			lines, _ := p.printed(0)
			for _, line := range lines {
				e := parse(line)
				if e["level"] == "error" && !slices.Contains(w.mayFail, e.text("msg")) || strings.HasPrefix(line, "panic:") || strings.Contains(line, "DATA RACE") {
					t.Errorf("%s: %s", p.name, line)
				}
			}
		}
	})
	return w
}

// ownNetwork returns a loopback network that nobody else has until the test ends,
// also not another run of these tests: it is taken by a port on its last address.
func ownNetwork(t *testing.T) string {
	t.Helper()
	const tries, taken = 1000, ":7675"
	for range tries {
		network := fmt.Sprintf("127.%d.%d", 1+rand.N(250), rand.N(250))
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", network+".254"+taken)
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
			return network
		}
	}
	t.Fatal("no loopback network is free")
	return ""
}

func (w *world) launch(name string, args ...string) *process {
	w.t.Helper()
	p := launch(w.t, name, args...)
	w.procs = append(w.procs, p)
	return p
}

func (w *world) newIP() string {
	w.hosts++
	return fmt.Sprintf("%s.%d", w.network, w.hosts)
}

// daNode is the local DA node as a process.
type daNode struct {
	*process
	w   *world
	ip  string
	url string
}

func (w *world) newDA() *daNode {
	w.da = &daNode{w: w, ip: w.newIP()}
	w.da.url = "http://" + w.da.ip + ":26658"
	return w.da
}

func (d *daNode) start(flags ...string) {
	d.w.t.Helper()
	d.process = d.w.launch("da", append([]string{
		"da", "--home", d.w.dir, "--listen", d.ip + ":26658", "--block-time", daTime.String(),
	}, flags...)...)
	line := d.await(d.w.t, "DA node at ")
	require.Contains(d.w.t, line, d.url)
}

// control works the switches of the DA node. While it refuses everybody, an
// earlier outage has to end first.
func (d *daNode) control(body string) {
	d.w.t.Helper()
	// Connections that are kept from call to call end with outages and restarts,
	// which a caller may learn in the middle of its next call.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(d.w.t, patience, func() (bool, string) {
		resp, err := client.Post(d.url+"/control", "application/json", strings.NewReader(body))
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return false, err.Error()
		case err != nil && strings.Contains(body, "refuse"):
			return true, "" // it closes all connections, that of the caller too
		}
		require.NoError(d.w.t, err)
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		require.Equal(d.w.t, http.StatusOK, resp.StatusCode, string(answer))
		return true, ""
	})
}

// node is a home and the process that runs it, if any.
type node struct {
	*process
	w        *world
	name     string
	role     string
	home, ip string
	id       string
	address  atomic.Pointer[string] // of the API, as long as it is known
}

// rpc returns where the API of the running process is.
func (n *node) rpc() string {
	if a := n.address.Load(); a != nil {
		return *a
	}
	return "127.0.0.1:1" // nobody answers there
}

// sequencer makes the home of the world's sequencer, and so the chain.
func (w *world) sequencer(flags ...string) *node {
	w.t.Helper()
	pass := filepath.Join(w.dir, "passphrase")
	require.NoError(w.t, os.WriteFile(pass, []byte("secret\n"), 0o600))
	return w.init("sequencer", "sequencer", append([]string{
		"--chain-id", w.chain, "--da.address", w.da.url, "--signer.passphrase_file", pass,
		"--sequencer.block_time", blockTime.String(), "--sequencer.submit.da_block_time", daTime.String(),
		"--da_worker.poll_interval", daTime.String(),
	}, flags...)...)
}

// follower makes the home of a node that knows its sources by flags.
func (w *world) follower(name string, flags ...string) *node {
	w.t.Helper()
	return w.init(name, "full", append([]string{
		"--genesis", filepath.Join(w.dir, "sequencer", "config", "genesis.json"),
		"--da_worker.poll_interval", daTime.String(),
	}, flags...)...)
}

func (w *world) init(name, role string, flags ...string) *node {
	w.t.Helper()
	n := &node{w: w, name: name, role: role, home: filepath.Join(w.dir, name), ip: w.newIP()}
	r := command(w.t, append([]string{
		"init", "--home", n.home, "--role", role, "--rpc.address", n.ip + ":0",
		"--p2p.listen_addresses", "/ip4/" + n.ip + "/tcp/7676", "--log.format", "json",
	}, flags...)...)
	require.Equal(w.t, exitOK, r.code, r.err)
	n.id = field(w.t, command(w.t, "keys", "show", "--home", n.home).out, "node id")
	return n
}

// viaP2P is the flag for a static peer, viaDA that for the DA node.
func (n *node) viaP2P() string { return "--p2p.peers=/ip4/" + n.ip + "/tcp/7676/p2p/" + n.id }

func (d *daNode) viaDA() string {
	return "--da.address=" + d.url
}

const noPeers = "--p2p.disabled=true"

// start runs the node and returns once it serves.
func (n *node) start(flags ...string) {
	n.w.t.Helper()
	n.launch(flags...)
	n.ready()
}

func (n *node) launch(flags ...string) {
	n.w.t.Helper()
	n.address.Store(nil)
	n.process = n.w.launch(n.name, append([]string{"start", "--home", n.home}, flags...)...)
}

// ready waits until the node serves and learns its address from the log, as an
// operator would.
func (n *node) ready() {
	n.w.t.Helper()
	address := parse(n.await(n.w.t, `"msg":"serving"`)).text("address")
	n.address.Store(&address)
}

// stop ends the node cleanly and returns how long it took.
func (n *node) stop() time.Duration {
	n.w.t.Helper()
	return n.terminate(n.w.t, syscall.SIGTERM)
}

// get asks the node; the body is nil when it does not answer with 200.
func (n *node) get(path string) []byte {
	ctx, cancel := context.WithTimeout(n.w.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.rpc()+path, http.NoBody)
	require.NoError(n.w.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

// status is what the node knows; the zero value when it does not answer.
func (n *node) status() rpc.Status {
	n.w.t.Helper()
	var s rpc.Status
	if body := n.get("/status"); body != nil {
		require.NoError(n.w.t, json.Unmarshal(body, &s), string(body))
	}
	return s
}

func (n *node) applied() uint64 { return n.status().Heads.Applied }
func (n *node) final() uint64   { return n.status().Heads.Final }

// applies waits until the node has applied a height.
func (n *node) applies(height uint64) rpc.Status {
	n.w.t.Helper()
	var s rpc.Status
	eventually(n.w.t, patience, func() (bool, string) {
		s = n.status()
		return s.Heads.Applied >= height, fmt.Sprintf("%s shall apply %d, has %s", n.name, height, brief(s))
	})
	return s
}

// grows waits until the node has applied some more blocks.
func (n *node) grows(by uint64) rpc.Status {
	n.w.t.Helper()
	var from uint64
	eventually(n.w.t, patience, func() (bool, string) {
		s := n.status()
		from = s.Heads.Applied
		return s.ChainID != "", n.name + " does not answer"
	})
	return n.applies(from + by)
}

// finalizes waits until a height is final on the node.
func (n *node) finalizes(height uint64) {
	n.w.t.Helper()
	eventually(n.w.t, patience, func() (bool, string) {
		s := n.status()
		return s.Heads.Final >= height, fmt.Sprintf("%s shall have %d final, has %s", n.name, height, brief(s))
	})
}

// connects waits until the node has a peer at least.
func (n *node) connects() {
	n.w.t.Helper()
	eventually(n.w.t, patience, func() (bool, string) {
		s := n.status()
		return s.P2P.Peers > 0, n.name + " shall have a peer: " + brief(s)
	})
}

// isAlone waits until the node has no peer.
func (n *node) isAlone() {
	n.w.t.Helper()
	eventually(n.w.t, patience, func() (bool, string) {
		s := n.status()
		return s.ChainID != "" && s.P2P.Peers == 0, n.name + " shall have no peers: " + brief(s)
	})
}

// send sends a transaction with the command, as a user would.
func (n *node) send(key, value string) {
	n.w.t.Helper()
	r := command(n.w.t, "tx", "--rpc", n.rpc(), key+"="+value)
	require.Equal(n.w.t, exitOK, r.code, r.err)
}

// reads waits until the executor of the node answers a key with a value.
func (n *node) reads(key, value string) {
	n.w.t.Helper()
	eventually(n.w.t, patience, func() (bool, string) {
		got := n.get("/kv?key=" + key)
		return bytes.Equal(got, []byte(value)), fmt.Sprintf("%s reads %q as %q, want %q", n.name, key, got, value)
	})
}

func brief(s rpc.Status) string {
	return fmt.Sprintf("header %d, data %d, applied %d, final %d, peers %d, da %d %q, waiting for %q",
		s.Heads.Header, s.Heads.Data, s.Heads.Applied, s.Heads.Final, s.P2P.Peers, s.DA.Cursor, s.DA.Error, s.WaitingFor)
}

// agree watches nodes until all were seen at one height, and requires that
// those seen at one height have one state root.
func agree(t *testing.T, nodes ...*node) {
	t.Helper()
	seen := map[uint64]map[*node]string{}
	eventually(t, patience, func() (bool, string) {
		common := false
		for _, n := range nodes {
			s := n.status()
			if s.Heads.Applied == 0 || s.Applied.StateRoot == "" {
				continue
			}
			at := seen[s.Heads.Applied]
			if at == nil {
				at = map[*node]string{}
				seen[s.Heads.Applied] = at
			}
			at[n] = s.Applied.StateRoot
			for other, root := range at {
				require.Equal(t, root, at[n], "state roots of %s and %s at %d", other.name, n.name, s.Heads.Applied)
			}
			common = common || len(at) == len(nodes)
		}
		return common, fmt.Sprintf("no height at which all were seen, of %d", len(seen))
	})
}
