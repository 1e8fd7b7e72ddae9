package app_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/tandem-node/tandem/"

// allowed is the table of the architecture: what a package may import of ours.
// Every module may also use the leaves below telemetry and modules/internal (fxrun
// in its module.go alone). .golangci.yml says the same to editors.
func allowed() map[string][]string {
	return map[string][]string{
		"modules/block":            {},
		"modules/notifier":         {},
		"modules/leveldb":          {},
		"modules/p2p":              {},
		"modules/da":               {},
		"modules/progress":         {},
		"modules/profiling":        {},
		"modules/internal/durable": {},
		"modules/internal/fxrun":   {},
		"modules/internal/httprun": {},
		"modules/signer":           {"modules/block"},
		"modules/chainstore":       {"modules/block", "modules/leveldb"},
		"modules/exchange":         {"modules/block"},
		"modules/instrumented":     {"modules/notifier"},
		"modules/referee":          {"modules/notifier"},
		"modules/syncer":           {"modules/block", "modules/notifier"},
		"modules/daworker":         {"modules/block", "modules/da"},
		"modules/pipeline":         {"modules/block"},
		"modules/execution":        {"modules/block", "modules/leveldb"},
		"modules/forced":           {"modules/block", "modules/da"},
		"modules/sequencer":        {"modules/block", "modules/da"},
		"modules/repair":           {"modules/block", "modules/chainstore", "modules/execution", "modules/leveldb", "modules/pipeline"},
		"modules/rpc":              {"modules/block", "modules/rpc/evnodev1", "modules/rpc/evnodev1/evnodev1connect"},
	}
}

type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,GoFiles", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p listed
		require.NoError(t, dec.Decode(&p))
		all = append(all, p)
	}
	require.NotEmpty(t, all)
	return all
}

func TestImportRules(t *testing.T) {
	rules := allowed()
	seen := 0
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		rule, ok := rules[name]
		if ok {
			seen++
		}
		for _, imp := range p.Imports {
			require.False(t, imp == "testing" && !strings.HasSuffix(name, "test") && !strings.HasPrefix(name, "testutil"), "%s imports testing", name)
			ours, mine := strings.CutPrefix(imp, module)
			if !mine {
				continue
			}
			if strings.HasPrefix(ours, "app") {
				require.True(t, strings.HasPrefix(name, "cmd/") || name == "testutil/testnet" || name == "testutil/bench", "%s imports app", name)
			}
			if strings.HasPrefix(name, "modules/") || strings.HasPrefix(name, "telemetry") {
				require.False(t, strings.HasPrefix(ours, "cmd") || strings.HasPrefix(ours, "testutil") && !strings.HasSuffix(name, "test"), "%s imports %s", name, ours)
			}
			if ok && !strings.HasPrefix(ours, "modules/internal/") && !strings.HasPrefix(ours, "telemetry/") {
				require.True(t, slices.Contains(rule, ours), "%s must not import %s", name, ours)
			}
		}
	}
	require.Equal(t, len(rules), seen, "the table names packages that do not exist")
}

// TestBubblesAreSafe: whoever tests in bubbles imports what keeps them from
// crashing under the race detector.
func TestBubblesAreSafe(t *testing.T) {
	bubbles := 0
	for _, p := range packages(t) {
		imports := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		if slices.Contains(imports, "testing/synctest") {
			bubbles++
			require.Contains(t, imports, module+"testutil/bubble", "%s: see its documentation", p.ImportPath)
		}
	}
	require.NotZero(t, bubbles)
}

// TestGoleveldbIsPinned: the version is one without known faults; a dependency
// must not raise it unseen.
func TestGoleveldbIsPinned(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "github.com/syndtr/goleveldb").Output()
	require.NoError(t, err)
	require.Equal(t, "v1.0.1-0.20210819022825-2ae1ddf74ef7", strings.TrimSpace(string(out)))
}
