package telemetry_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/names"
)

func newLog(t *testing.T, levels ...string) (*zap.Logger, *telemetry.Levels, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	log, l, err := telemetry.NewLogger(telemetry.LogConfig{Level: "info", Levels: levels, Format: "json"}, &out)
	require.NoError(t, err)
	return log, l, &out
}

// said returns what was logged since the last call.
func said(out *bytes.Buffer) string {
	defer out.Reset()
	var words []string
	for line := range strings.Lines(out.String()) {
		_, rest, _ := strings.Cut(line, `"msg":"`)
		word, _, _ := strings.Cut(rest, `"`)
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestModulesHaveLevelsOfTheirOwn(t *testing.T) {
	log, levels, out := newLog(t, "syncer=debug", "p2p=error")
	speak := func() {
		log.Debug("node-debug")
		log.Info("node-info")
		log.Named("syncer").With(zap.Int("n", 1)).Debug("syncer-debug")
		log.Named("follower").Named("syncer").Debug("follower-debug")
		log.Named("p2p").Warn("p2p-warn")
		log.Named("p2p").Error("p2p-error")
	}
	speak()
	require.Equal(t, "node-info syncer-debug follower-debug p2p-error", said(out))

	require.NoError(t, levels.Set(telemetry.LevelSettings{Level: "debug", Levels: map[string]string{"syncer": "warn", "p2p": ""}}))
	speak()
	require.Equal(t, "node-debug node-info p2p-warn p2p-error", said(out))
	require.Equal(t, telemetry.LevelSettings{Level: "debug", Levels: map[string]string{"syncer": "warn"}}, levels.Settings())

	require.Error(t, levels.Set(telemetry.LevelSettings{Level: "info", Levels: map[string]string{"nobody": "debug"}}))
	require.Error(t, levels.Set(telemetry.LevelSettings{Level: "info", Levels: map[string]string{"syncer": "loud"}}))
	require.Equal(t, "debug", levels.Settings().Level, "what is wrong changes nothing")
}

func TestGuardsSeeTheLowestLevel(t *testing.T) {
	log, levels, _ := newLog(t)
	require.False(t, log.Core().Enabled(zap.DebugLevel))
	require.NoError(t, levels.Set(telemetry.LevelSettings{Levels: map[string]string{"pipeline": "debug"}}))
	require.True(t, log.Core().Enabled(zap.DebugLevel))
	require.Nil(t, log.Check(zap.DebugLevel, "no"))
	require.NotNil(t, log.Named("pipeline").Check(zap.DebugLevel, "yes"))
}

func TestLevelsOverHTTP(t *testing.T) {
	_, levels, _ := newLog(t)
	do := func(method, from, body string) (int, string) {
		r := httptest.NewRequest(method, "/log/level", strings.NewReader(body))
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		levels.ServeHTTP(w, r)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	code, answer := do(http.MethodPut, "127.0.0.1:5", `{"levels":{"syncer":"debug"}}`)
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"level":"info","levels":{"syncer":"debug"}}`, answer)
	code, answer = do(http.MethodPut, "[::1]:5", `{"level":"warn"}`)
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"level":"warn","levels":{"syncer":"debug"}}`, answer)

	for body, want := range map[string]string{
		`{"level":"loud"}`:                       `level is "loud", want debug, info, warn or error`,
		`{"levels":{"nobody":"info"}}`:           `there is no module "nobody", want one of chainstore, `,
		`{"volume":1}`:                           `unknown field "volume"`,
		`loud`:                                   "invalid character",
		`{"level":"` + strings.Repeat("x", 5000): "too large",
	} {
		code, answer = do(http.MethodPut, "127.0.0.1:5", body)
		require.Equal(t, http.StatusBadRequest, code)
		require.Contains(t, answer, want)
	}
	for _, from := range []string{"10.0.0.1:5", "nowhere", "[2001:db8::1]:5"} {
		code, _ = do(http.MethodPut, from, `{"level":"debug"}`)
		require.Equal(t, http.StatusForbidden, code)
	}
	code, answer = do(http.MethodGet, "10.0.0.1:5", "")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"level":"warn","levels":{"syncer":"debug"}}`, answer)
}

func TestAllModulesAreKnown(t *testing.T) {
	require.Equal(t, loggers(t), names.LogModules(), "the names in the code")
	log, levels, out := newLog(t)
	for _, module := range names.LogModules() {
		require.NoError(t, levels.Set(telemetry.LevelSettings{Levels: map[string]string{module: "debug"}}))
		log.Named(module).Debug(module)
		require.Equal(t, module, said(out))
	}
}

// loggers returns the names that stand in the code, sorted.
func loggers(t *testing.T) []string {
	t.Helper()
	named := regexp.MustCompile(`\.Named\("([a-z0-9]+)"\)`)
	var found []string
	for _, dir := range []string{"../app", "../cmd", "../modules", "../telemetry"} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			raw, err := os.ReadFile(path)
			for _, m := range named.FindAllStringSubmatch(string(raw), -1) {
				found = append(found, m[1])
			}
			return err
		}))
	}
	slices.Sort(found)
	return slices.Compact(found)
}
