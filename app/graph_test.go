package app_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/testutil"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// setup is a node of a role on no network, in a fresh home.
func setup(t *testing.T, role app.Role) app.Setup {
	t.Helper()
	c := app.Default()
	c.Role = role.Name()
	c.RPC.Address = "127.0.0.1:0"
	c.P2P.ListenAddresses = []string{"/ip4/127.0.0.1/tcp/0"}
	c.P2P.DHT = false
	tracing, err := telemetry.NewTracing(t.Context(), c.Tracing, zap.NewNop())
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics()
	require.NoError(t, err)
	key, err := app.NodeKeyOf(testutil.Key("node"))
	require.NoError(t, err)
	return app.Setup{
		Role: role, Home: t.TempDir(), Version: "test", Config: c, Genesis: testutil.NewChain("c").Genesis,
		NodeKey: key, Signer: signer.NewGuarded(signer.NewLocal(testutil.Key("proposer")), filepath.Join(t.TempDir(), "state"), "graph"), Log: zap.NewNop(), Tracing: tracing, Metrics: metrics,
	}
}

func allRoles() []app.Role { return []app.Role{app.RoleFull, app.RoleSequencer, app.RoleLight} }

func TestGraphsAreComplete(t *testing.T) {
	for _, role := range allRoles() {
		require.NoError(t, fx.ValidateApp(app.Node(setup(t, role))), role.Name())
	}
}

// TestGoldenGraphs shows every change of the wiring in review. Rewrite with
// go test ./app -run Golden -update.
func TestGoldenGraphs(t *testing.T) {
	for _, role := range allRoles() {
		got, err := app.Graph(setup(t, role))
		require.NoError(t, err)
		path := filepath.Join("testdata", "graph-"+role.Name()+".dot")
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o750))
			require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		if string(want) != got { // require.Equal would print both in full
			t.Errorf("the graph of role %s changed:\n%s", role.Name(), difference(string(want), got))
		}
	}
}

// TestArchitectureShowsTheModules: the picture in the documentation is that of the
// code. Rewrite with go test ./app -run ArchitectureShows -update.
func TestArchitectureShowsTheModules(t *testing.T) {
	const path, open, end = "../docs/architecture.md", "```mermaid\n", "```"
	graph, err := app.GraphMermaid(setup(t, app.RoleSequencer))
	require.NoError(t, err)
	require.Contains(t, graph, "    leveldb\n", "needs no other module")
	for _, edge := range []string{"chainstore --> leveldb", "syncer --> pipeline", "pipeline --> chainstore", "daworker --> da", "sequencer --> exchange"} {
		require.Contains(t, graph, "    "+edge+"\n")
	}
	require.NotContains(t, graph, "leveldb -->")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(raw), open)
	require.True(t, ok)
	got, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+open+graph+end+after), 0o600))
		got = graph
	}
	if got != graph {
		t.Errorf("the modules of a sequencer are connected otherwise:\n%s", difference(got, graph))
	}
}

// difference returns the lines that only one of two texts has.
func difference(want, got string) string {
	var out []string
	for _, side := range []struct{ sign, text, other string }{{"-", want, got}, {"+", got, want}} {
		other := map[string]int{}
		for line := range strings.Lines(side.other) {
			other[line]++
		}
		for line := range strings.Lines(side.text) {
			if other[line]--; other[line] < 0 {
				out = append(out, side.sign+strings.TrimRight(line, "\n"))
			}
		}
	}
	return strings.Join(out, "\n")
}
