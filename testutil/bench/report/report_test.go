package report_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/testutil/bench/report"
)

func filled() *report.Report {
	r := &report.Report{Machine: report.ThisMachine(), Started: time.Unix(1_700_000_000, 0)}
	rate := report.Figure{Key: "rate", Name: "rate", Unit: "blocks/s", Least: 20_000, EvNode: "94"}
	for i, v := range []float64{12_345, 21_000, 30_000} {
		r.Add(rate, v, float64(i))
	}
	r.Add(report.Figure{Key: "late", Name: "latency", Unit: "ms", Most: 1}, 1.5, -1)
	r.Add(report.Figure{Key: "free", Name: "free", Unit: "ns"}, 0.25, -1)
	p := report.Plot{File: "growth", Title: "growth", XLabel: "blocks", YLabel: "blocks/s", LogX: true}
	r.Draw(p, report.Line{Name: "old", X: []float64{1}, Y: []float64{1}})
	r.Draw(p, report.Line{Name: "a", X: []float64{1e4, 1e5}, Y: []float64{1, 2}})
	r.Draw(p, report.Line{Name: "old", X: []float64{1e4, 1e5}, Y: []float64{3, 4}})
	return r
}

func TestTable(t *testing.T) {
	var b strings.Builder
	require.NoError(t, filled().Table(&b))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 5)
	cells := func(i int) []string {
		var out []string
		for c := range strings.SplitSeq(strings.Trim(lines[i], "|"), "|") {
			out = append(out, strings.TrimSpace(c))
		}
		return out
	}
	require.Equal(t, []string{"rate", "blocks/s", "21,000", "12,345–30,000", "1.00", "≥ 20,000", "yes", "94"}, cells(2))
	require.Equal(t, []string{"latency", "ms", "1.50", "", "", "≤ 1.00", "off ×1.50", ""}, cells(3))
	require.Equal(t, []string{"free", "ns", "0.250", "", "", "", "", ""}, cells(4))
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	name, err := filled().Save(filepath.Join(dir, "results"))
	require.NoError(t, err)
	require.Equal(t, "20231114T221320Z.json", filepath.Base(name))
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	var back report.Report
	require.NoError(t, json.Unmarshal(raw, &back))
	require.InDelta(t, 21_000, back.Rows[0].Median(), 0.1)
	require.NotContains(t, string(raw), dir)
	require.Positive(t, back.Machine.Cores)
}

func TestPlots(t *testing.T) {
	dir := t.TempDir()
	r := filled()
	require.Len(t, r.Plots, 1)
	require.Len(t, r.Plots[0].Lines, 2)
	require.Equal(t, []float64{3, 4}, r.Plots[0].Lines[1].Y)
	require.NoError(t, r.SavePlots(dir))
	svg, err := os.ReadFile(filepath.Join(dir, "growth.svg"))
	require.NoError(t, err)
	require.Contains(t, string(svg), "<svg")
	require.Contains(t, string(svg), "blocks/s")
}

func TestRefreshWritesFiguresIntoTheirRows(t *testing.T) {
	const document = `# Speed
Measured on something else.

| figure | unit | median | min–max | CPU s | target | reached | ev-node |
|---|---|---|---|---|---|---|---|
| rate | old |
| gone | kept as it is |

Words about the rate.
| rate | of no table of figures |
`
	r := filled()
	r.Machine = report.Machine{CPU: "a CPU", Cores: 2, MemoryGB: 24, Kernel: "6.1-vendor", Go: "go1", Load: 0.3}
	r.Runs = 3
	got, missing := r.Refresh(document, "bench/results/x.json")
	require.Equal(t, `# Speed
Measured on a CPU, 2 shared cores, 24 GB, kernel 6.1, go1; `+"`bench/results/x.json`"+` (load of the machine before: 0.3). Medians of 3 runs, with the least and the most.

| figure | unit | median | min–max | CPU s | target | reached | ev-node |
|---|---|---|---|---|---|---|---|
| rate | blocks/s | 21,000 | 12,345–30,000 | 1.00 | ≥ 20,000 | yes | 94 |
| gone | kept as it is |

Words about the rate.
| rate | of no table of figures |
`, got)
	require.Equal(t, []string{"latency", "free"}, missing)
	again, _ := r.Refresh(got, "bench/results/x.json")
	require.Equal(t, got, again)
}

func TestLoadReadsWhatSaveWrote(t *testing.T) {
	r := filled()
	r.Started = r.Started.UTC()
	name, err := r.Save(t.TempDir())
	require.NoError(t, err)
	back, err := report.Load(name)
	require.NoError(t, err)
	require.Equal(t, r, back)
	_, err = report.Load(filepath.Join(t.TempDir(), "none.json"))
	require.ErrorContains(t, err, "none.json")
}
