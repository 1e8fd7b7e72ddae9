package evnode

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/testutil"
)

// commands returns the tandem commands in the shell blocks of a section of a page.
func commands(t *testing.T, page, section string) [][]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../docs", page))
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(raw), "\n## "+section+"\n")
	require.True(t, ok, "%s has a section %q", page, section)
	text, _, _ = strings.Cut(text, "\n## ")
	var found [][]string
	shell := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			shell = strings.HasPrefix(line, "```sh")
		}
		if words := strings.Fields(line); shell && len(words) > 0 && words[0] == "tandem" {
			found = append(found, words[1:])
		}
	}
	return found
}

// buildDir holds the program if this run built it; TestMain removes it.
var buildDir string

// program returns the tandem binary: the one TANDEM_BINARY names, or one built for this run.
var program = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("TANDEM_BINARY"); given != "" {
		return given, nil
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "tandem-pages"); err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, "tandem")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/tandem").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// learner follows a page on a machine of its own: a directory, and an environment
// in which nodes find free ports and keep the pace of the test.
type learner struct {
	t   *testing.T
	dir string
	env []string
	// values replaces the example values of the page.
	values map[string]string
}

func newLearner(t *testing.T, values map[string]string) *learner {
	t.Helper()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TANDEM_") })
	return &learner{t: t, dir: t.TempDir(), values: values, env: append(env, "NO_COLOR=1", "TANDEM_LOG_FORMAT=json", "TANDEM_RPC_ADDRESS=127.0.0.1:0",
		"TANDEM_P2P_LISTEN_ADDRESSES=/ip4/127.0.0.1/tcp/0", "TANDEM_P2P_DHT=false", "TANDEM_DA_WORKER_POLL_INTERVAL="+pace.String(),
		"TANDEM_SEQUENCER_SUBMIT_DA_BLOCK_TIME="+pace.String())}
}

func (f *learner) command(ctx context.Context, args []string) *exec.Cmd {
	f.t.Helper()
	path, err := program()
	require.NoError(f.t, err)
	args = slices.Clone(args)
	for i, arg := range args {
		if value, ok := f.values[arg]; ok {
			args[i] = value
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = f.dir, f.env
	return cmd
}

// step runs a command of the page to its end.
func (f *learner) step(args []string) string {
	f.t.Helper()
	out, err := f.command(f.t.Context(), args).CombinedOutput()
	require.NoError(f.t, err, "%v: %s", args, out)
	return string(out)
}

// steps runs the commands of a section. A 'start' is left running until the test ends
// and has to be the last one.
func (f *learner) steps(section [][]string) *running {
	f.t.Helper()
	require.NotEmpty(f.t, section)
	last := len(section) - 1
	for _, args := range section[:last] {
		f.step(args)
	}
	require.Equal(f.t, "start", section[last][0])
	return f.start(section[last])
}

// running is a node as a process, and its log.
type running struct {
	t       *testing.T
	api     string
	address string // for peers

	mu      sync.Mutex
	log     []byte
	changed chan struct{}
}

func (f *learner) start(args []string) *running {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	cmd := f.command(ctx, args)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = soon
	r := &running{t: f.t, changed: make(chan struct{})}
	cmd.Stderr = r
	require.NoError(f.t, cmd.Start())
	f.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 0 || f.t.Failed() {
			f.t.Errorf("%v ended with exit code %d, log:\n%s", args, code, r.log)
		}
	})
	r.address = regexp.MustCompile(`"(/ip4/127\.0\.0\.1/tcp/\d+/p2p/\w+)"`).FindStringSubmatch(r.logged("listening for peers"))[1]
	r.api = regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(r.logged("serving"))[1]
	return r
}

// Write takes the log of the process.
func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, p...)
	close(r.changed)
	r.changed = make(chan struct{})
	return len(p), nil
}

// logged waits for a message and returns its line.
func (r *running) logged(msg string) (line string) {
	r.t.Helper()
	changed := func() <-chan struct{} { r.mu.Lock(); defer r.mu.Unlock(); return r.changed }
	testutil.Await(r.t, soon, changed, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for l := range strings.Lines(string(r.log)) {
			if strings.Contains(l, `"msg":"`+msg+`"`) && strings.HasSuffix(l, "\n") {
				line = l
			}
		}
		return line != ""
	})
	return line
}

// until asks for the status of the node until it is as wanted.
func (r *running) until(what string, ok func(rpc.Status) bool) rpc.Status {
	r.t.Helper()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var s rpc.Status
	testutil.AwaitElse(r.t, soon, func() <-chan time.Time { return tick.C }, func() bool {
		resp, err := http.Get("http://" + r.api + "/status")
		require.NoError(r.t, err)
		defer resp.Body.Close()
		s = rpc.Status{}
		require.NoError(r.t, json.NewDecoder(resp.Body).Decode(&s))
		return ok(s)
	}, func() string { return fmt.Sprintf("%s: %+v", what, s) })
	return s
}

func (r *running) applied(height uint64) {
	r.t.Helper()
	r.until(fmt.Sprint("applied ", height), func(s rpc.Status) bool { return s.Heads.Applied >= height })
}

func (r *running) final(height uint64) {
	r.t.Helper()
	r.until(fmt.Sprint("final ", height), func(s rpc.Status) bool { return s.Heads.Final >= height })
}

// The example values of docs/evolve.md.
const (
	pagePeer   = "/ip4/127.0.0.1/tcp/7676/p2p/12D3KooWLcvpWLDSdx94WGaXEdgqstjGA8uSPmMPpwSdwxahyoFh"
	pageOther  = "/ip4/127.0.0.1/tcp/7677/p2p/12D3KooWLcvpWLDSdx94WGaXEdgqstjGA8uSPmMPpwSdwxahyoFh"
	pageDA     = "http://127.0.0.1:26658"
	pageHeader = "my-headers"
	pageData   = "my-data"
)

// saveGenesis writes genesis.json as ev-node's init does.
func saveGenesis(t *testing.T, p *producer, dir string) {
	t.Helper()
	raw, err := json.MarshalIndent(map[string]any{
		"chain_id": p.genesis.ChainID, "start_time": p.genesis.StartTime, "initial_height": p.genesis.InitialHeight,
		"proposer_address": p.genesis.ProposerAddress, "da_start_height": p.genesis.DAStartHeight, "da_epoch_forced_inclusion": 50,
	}, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "genesis.json"), raw, 0o600))
}

// The page "Join or take over an ev-node chain" does what it says: a follower
// comes to the head of an ev-node's chain and calls it final, and a sequencer goes
// on where the ev-node stopped, for an ev-node that follows.
func TestEvolvePage(t *testing.T) {
	t.Parallel()
	s := newSequencer(t, newProducer("page-1", 1), pageHeader, pageData)
	s.blocksOf(10)
	s.gossip(s.blocks...)
	heights := make([]uint64, 10)
	for i := range heights {
		heights[i] = uint64(i + 1)
	}
	s.postHeaders(heights[:8]...)
	s.postData(heights[:8]...)

	f := newLearner(t, map[string]string{pagePeer: s.node.address(t), pageDA: s.da.url})
	saveGenesis(t, s.producer, f.dir)
	follower := f.steps(commands(t, "evolve.md", "Follow"))
	follower.applied(10)
	follower.final(8)
	s.blocksOf(1)
	s.gossip(s.blocks[10])
	follower.applied(11)

	s.node.close() // for good; it posts what it has
	s.postHeaders(9, 10, 11)
	s.postData(9, 10, 11)
	follower.final(11)

	f.values[pageOther] = follower.address
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "key"), []byte(hex.EncodeToString(s.key)+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "passphrase"), []byte("secret\n"), 0o600))
	sequencer := f.steps(commands(t, "evolve.md", "Take over"))
	sequencer.applied(13)
	follower.applied(13)
	s.da.tick()
	follower.final(13)

	full := newEvNode(t, s.genesis.ChainID, sequencer.address)
	full.follow(t, 1)
	ledger := newLedger(s.genesis)
	for height := uint64(1); height <= 13; height++ {
		b := full.block(t, height)
		require.NoError(t, ledger.apply(b))
		if height <= 11 {
			require.Equal(t, s.blocks[height-1].header.Hash(), b.header.Hash(), "block %d is the ev-node's", height)
		}
	}
}

// The page without --execution.name: the node refutes the first block,
// and says which key to set.
func TestEvolvePageWithoutExecutor(t *testing.T) {
	t.Parallel()
	s := newSequencer(t, newProducer("page-2", 1), pageHeader, pageData)
	s.blocksOf(4)
	s.gossip(s.blocks...)
	s.da.tick()
	f := newLearner(t, map[string]string{pagePeer: s.node.address(t), pageDA: s.da.url})
	saveGenesis(t, s.producer, f.dir)
	section := commands(t, "evolve.md", "Follow")
	for i, args := range section {
		if at := slices.Index(args, "--execution.name"); at >= 0 {
			section[i] = slices.Delete(args, at, at+2)
		}
	}
	follower := f.steps(section)
	status := follower.until("a problem", func(s rpc.Status) bool { return len(s.Problems) > 0 })
	require.Zero(t, status.Heads.Applied)
	require.Contains(t, status.Problems[0].Reason, "execution.name kv")
	require.Contains(t, f.step([]string{"status", "--rpc", follower.api}), "execution.name")
}

// The page "Run on Celestia" does what it says: tokens with the rights it names, and
// its steps from an empty home to final blocks.
func TestCelestiaPage(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/celestia.md")
	require.NoError(t, err)
	page := string(raw)
	c := newCelestia(t)

	tokens := map[string]string{"read": c.readToken, "write": c.token}
	rows := regexp.MustCompile("(?m)^\\| (.+) \\| `(\\w+)` \\| `celestia light auth (\\w+)` \\|$").FindAllStringSubmatch(page, -1)
	require.Len(t, rows, 2)
	for _, row := range rows {
		role := app.RoleFull
		if strings.Contains(row[1], "sequencer") {
			role = app.RoleSequencer
		}
		require.Equal(t, row[2], row[3])
		_, wrong := checked(t, role, func(cfg *app.Config) { cfg.DA.Addresses, cfg.DA.AuthToken = []string{c.url}, tokens[row[2]] })
		require.Empty(t, wrong, row[0])
	}

	require.Contains(t, page, "TANDEM_DA_AUTH_TOKEN")
	f := newLearner(t, map[string]string{pageDA: c.url})
	f.env = append(f.env, "TANDEM_DA_AUTH_TOKEN="+c.token, "TANDEM_SIGNER_PASSPHRASE=secret")
	f.steps(commands(t, "celestia.md", "A new chain")).final(3)
	g, err := block.LoadGenesis(filepath.Join(f.dir, "seq/config/genesis.json"))
	require.NoError(t, err)
	require.Positive(t, g.DAStartHeight)
}

// The fees of the page are those of the formula it gives, at the lowest price.
func TestCelestiaPageFees(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/celestia.md")
	require.NoError(t, err)
	page := string(raw)
	const price = 0.004
	gas := func(blobs, shares int) float64 { return float64(75_000 + 700*blobs + 8*512*shares) }
	perDay := func(submissions, headers int) string {
		return fmt.Sprintf("about %.1f TIA", float64(submissions)*gas(headers, headers)*price/1e6)
	}
	const first, next = 478, 482 // bytes in the shares of a blob
	megabyte := 1 + (1_000_000-first+next-1)/next
	for _, row := range []string{
		"75,000 gas, 700 for each blob and 8 for each byte of its shares of 512 bytes",
		fmt.Sprintf("| one small blob | 79,796 | %.0f utia |", math.Ceil(gas(1, 1)*price)),
		fmt.Sprintf("| 1 MB | about %.1f million | about %.0f,300 utia |", gas(1, megabyte)/1e6, math.Floor(gas(1, megabyte)*price/1000)),
		"| 28,800 | 3 | " + perDay(28_800, 3) + " |", "| 1,440 | 60 | " + perDay(1440, 60) + " |",
	} {
		require.Contains(t, page, row)
	}
	require.InDelta(t, 79_796, gas(1, 1), 0)
}

// The methods, ports and limits of the page are those of the client and of its defaults.
func TestCelestiaPageNames(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/celestia.md")
	require.NoError(t, err)
	page := string(raw)
	require.Contains(t, page, "port 26658")
	require.Equal(t, "127.0.0.1:26658", da.DefaultServer().Listen)
	c := app.Default()
	require.Contains(t, page, fmt.Sprintf("`sequencer.max_pending` blocks (%d)", c.Sequencer.MaxPending))
	for _, key := range regexp.MustCompile("`((?:da|p2p|sequencer)\\.[a-z_.]+)`").FindAllStringSubmatch(page, -1) {
		require.NotNil(t, app.Flags().Lookup(key[1]), "%s is a key of the config", key[1])
	}
	options := regexp.MustCompile(`{"gas_price[^}]*}`).FindString(page)
	c.DA.Addresses, c.DA.SubmitOptions = []string{pageDA}, options
	require.NoError(t, c.DA.Validate())
}
