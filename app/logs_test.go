package app_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/names"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// TestLevelsChangeWhileTheNodeRuns: one module at debug, over the node's own API.
func TestLevelsChangeWhileTheNodeRuns(t *testing.T) {
	server, out := newDA(t), &lockedBuffer{}
	s := on(setup(t, app.RoleSequencer), server)
	var err error
	s.Log, s.Levels, err = telemetry.NewLogger(telemetry.LogConfig{Level: "info", Format: "json"}, out)
	require.NoError(t, err)
	n := begin(t, s, nil)
	n.awaitApplied(2)
	require.False(t, out.has("block applied"))

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+n.server.Address()+"/log/level",
		strings.NewReader(`{"levels":{"pipeline":"debug"}}`))
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	n.awaitApplied(n.pipeline.Snapshot().Applied() + 2)
	require.True(t, out.has(`"logger":"pipeline"`))
	require.True(t, out.has("block applied"))
	require.False(t, out.has("block made"), "of the sequencer, which is still at info")
}

// TestLogKeysAreTheSameEverywhere reads the source: heights, hashes and sources have
// one key each, and hashes are cut alike.
func TestLogKeysAreTheSameEverywhere(t *testing.T) {
	others := map[string]string{
		"block": names.LogHeight, "block_height": names.LogHeight, "h": names.LogHeight, "block_hash": names.LogHash, "header_hash": names.LogHash,
		"digest": names.LogHash, "src": names.LogSource, "origin": names.LogSource, "traceID": names.LogTraceID, "trace": names.LogTraceID,
		"span": names.LogSpanID, "daHeight": names.LogDAHeight, "da": names.LogDAHeight,
	}
	seen := map[string]int{}
	for _, dir := range []string{"../modules", "../cmd", "../telemetry", "."} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				key, call := fieldOf(n)
				if key == "" {
					return true
				}
				seen[key]++
				require.Empty(t, others[key], "%s: the key %q is spelt otherwise", path, key)
				if key == names.LogHash {
					value, ok := call.Args[1].(*ast.CallExpr)
					require.True(t, ok, path)
					short, ok := value.Fun.(*ast.SelectorExpr)
					require.True(t, ok && short.Sel.Name == "Short", "%s: a hash is logged by its first digits", path)
				}
				return true
			})
			return nil
		}))
	}
	for _, key := range []string{names.LogHeight, names.LogHash, names.LogSource, names.LogDAHeight} {
		require.NotZero(t, seen[key], key)
	}
}

// fieldOf returns the key of a call like zap.Uint64("height", 1).
func fieldOf(n ast.Node) (string, *ast.CallExpr) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return "", nil
	}
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", nil
	}
	pkg, ok := fun.X.(*ast.Ident)
	key, literal := call.Args[0].(*ast.BasicLit)
	if !ok || pkg.Name != "zap" || !literal {
		return "", nil
	}
	return strings.Trim(key.Value, `"`), call
}
