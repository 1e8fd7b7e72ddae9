package names_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/names"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

// page writes the table for people.
func page() string {
	var b strings.Builder
	b.WriteString(`# Metrics

What ` + "`/metrics`" + ` of a node serves, beside those of the Go runtime (` + "`go_*`" + `) and of the process (` + "`process_*`" + `). A
series that has nothing to count yet, or that belongs to another role or to a source that is off, is absent. ` + "`metrics.endpoint`" + `
pushes the same to an OTLP collector. Exemplars of histograms come with it, and with the OpenMetrics format, which Prometheus asks for.

Written by ` + "`make generate`" + ` from ` + "`telemetry/names/table.go`" + `.

| metric | type | unit | labels | means |
|---|---|---|---|---|
`)
	for _, m := range names.Metrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Type, m.Unit, strings.Join(m.Labels, ", "), m.Meaning)
	}
	return b.String()
}

// TestMetricsPage: docs/metrics.md is the table. Rewrite it with
// go test ./telemetry/names -update.
func TestMetricsPage(t *testing.T) {
	const path = "../../docs/metrics.md"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(page()), 0o600))
	}
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, page(), string(have), "run make generate")
}

func TestTableOfMetrics(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range names.Metrics() {
		require.False(t, seen[m.Name], "%s stands twice", m.Name)
		seen[m.Name] = true
		require.Regexp(t, `^tandem_[a-z0-9_]+$`, m.Name)
		require.Contains(t, []string{names.Gauge, names.Counter, names.Histogram}, m.Type, m.Name)
		require.NotEmpty(t, m.Unit, m.Name)
		require.Regexp(t, `^[^|\n]+\.$`, m.Meaning, m.Name)
		require.Equal(t, m.Type == names.Counter, strings.HasSuffix(m.Name, "_total"), m.Name)
	}
}
