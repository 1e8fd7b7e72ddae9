package telemetry_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/names"
)

// knownMetrics returns the series a query may name, with their labels: the table,
// those of runtime and process, and what Prometheus adds.
func knownMetrics(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{"up": nil}
	for _, m := range names.Metrics() {
		if m.Type != names.Histogram {
			known[m.Name] = m.Labels
			continue
		}
		known[m.Name+"_bucket"] = append([]string{"le"}, m.Labels...)
		known[m.Name+"_sum"], known[m.Name+"_count"] = m.Labels, m.Labels
	}
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		known[f.GetName()] = nil
	}
	return known
}

// checkQuery reports what in a query is neither a known series, one of its labels,
// nor a word of the query language used here.
func checkQuery(known map[string][]string, expr string) []string {
	words := map[string]bool{}
	for w := range strings.FieldsSeq("and or unless by sum rate increase delta histogram_quantile label_values instance job") {
		words[w] = true
	}
	expr = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(expr, "")
	expr = regexp.MustCompile(`\[[^\]]*\]`).ReplaceAllString(expr, "")
	var bad []string
	series := 0
	idents := regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*`).FindAllString(expr, -1)
	for _, id := range idents {
		if labels, ok := known[id]; ok {
			series++
			for _, l := range labels {
				words[l] = true
			}
		}
	}
	for _, id := range idents {
		if _, ok := known[id]; !ok && !words[id] {
			bad = append(bad, id)
		}
	}
	if series == 0 || strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		bad = append(bad, "malformed: "+expr)
	}
	return bad
}

func TestQueriesAreChecked(t *testing.T) {
	known := knownMetrics(t)
	require.Empty(t, checkQuery(known, `sum by (le) (rate(tandem_stage_seconds_bucket{stage="x"}[5m])) > 0`))
	for _, wrong := range []string{
		`tandem_no_such_metric > 0`, `tandem_stage_seconds > 0`, `tandem_peers{source="p2p"}`, `rate(tandem_peers[5m]`, `max_of(tandem_peers)`, `1 > 0`,
	} {
		require.NotEmpty(t, checkQuery(known, wrong), wrong)
	}
}

// TestAlerts: the rules are of the form Prometheus takes, name series that exist, and
// cover what should wake someone.
func TestAlerts(t *testing.T) {
	known := knownMetrics(t)
	groups, _ := at(t, readYAML(t, "alerts.yaml"), "groups").([]any)
	require.Len(t, groups, 1)
	rules, _ := at(t, groups[0], "rules").([]any)
	seen := map[string]bool{}
	for _, rule := range rules {
		r, _ := rule.(map[string]any)
		name, _ := r["alert"].(string)
		require.Regexp(t, `^Tandem[A-Za-z]+$`, name)
		require.False(t, seen[name], "%s stands twice", name)
		seen[name] = true
		for key := range r {
			require.Contains(t, []string{"alert", "expr", "for", "labels", "annotations"}, key, name)
		}
		if wait, ok := r["for"]; ok {
			require.Regexp(t, `^\d+[sm]$`, wait, name)
		}
		expr, _ := r["expr"].(string)
		require.Empty(t, checkQuery(known, expr), "%s: %s", name, expr)
		require.Contains(t, []any{"page", "ticket"}, at(t, r, "labels", "severity"), name)
		require.NotEmpty(t, at(t, r, "annotations", "summary"), name)
		require.NotEmpty(t, at(t, r, "annotations", "description"), name)
	}
	for _, name := range []string{"HeadStalled", "LagGrows", "Conflict", "DAErrors", "DeadLoop", "Isolated"} {
		require.True(t, seen["Tandem"+name], name)
	}
}

// TestDashboard: panels do not overlap, and their queries name series that exist.
func TestDashboard(t *testing.T) {
	known := knownMetrics(t)
	raw, err := os.ReadFile("deploy/grafana/tandem.json")
	require.NoError(t, err)
	var board struct {
		UID        string
		Templating struct {
			List []struct{ Name, Query string }
		}
		Panels []struct {
			ID         int
			Title      string
			Datasource struct{ UID string }
			GridPos    struct{ X, Y, W, H int }
			Targets    []struct{ Expr, LegendFormat string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &board))
	require.NotEmpty(t, board.UID)
	sources, _ := at(t, readYAML(t, "grafana/datasources.yaml"), "datasources").([]any)
	var uids []any
	for _, s := range sources {
		uids = append(uids, at(t, s, "uid"))
	}
	require.Len(t, board.Templating.List, 1)
	require.Empty(t, checkQuery(known, board.Templating.List[0].Query))
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range board.Panels {
		require.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		require.Contains(t, uids, any(p.Datasource.UID), p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				require.Empty(t, cells[cell], "%s lies on another", p.Title)
				cells[cell] = p.Title
			}
		}
		for _, target := range p.Targets {
			require.Empty(t, checkQuery(known, target.Expr), "%s: %s", p.Title, target.Expr)
			require.Contains(t, target.Expr, `{instance=~"$instance"`, p.Title)
		}
	}
	require.Greater(t, len(board.Panels), 20)
}
