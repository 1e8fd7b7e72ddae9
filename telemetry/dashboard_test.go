package telemetry_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// dashboard is what is checked of Grafana's format.
type dashboard struct {
	UID        string
	Templating struct {
		List []struct{ Name, Query string }
	}
	Panels []panel
}

type panel struct {
	ID         int
	Title      string
	Datasource struct{ UID string }
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct{ Expr, LegendFormat string }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	raw, err := os.ReadFile("deploy/grafana/tandem.json")
	require.NoError(t, err)
	var board dashboard
	require.NoError(t, json.Unmarshal(raw, &board))
	return board
}

// TestDashboardLayout: panels do not overlap, and have a source that is provisioned.
func TestDashboardLayout(t *testing.T) {
	board := readDashboard(t)
	require.NotEmpty(t, board.UID)
	sources, _ := at(t, readYAML(t, "grafana/datasources.yaml"), "datasources").([]any)
	var uids []any
	for _, s := range sources {
		uids = append(uids, at(t, s, "uid"))
	}
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
	}
	require.Greater(t, len(board.Panels), 20)
}

// TestDashboardQueries: each names series that exist, of the nodes that were chosen,
// and has a result when they are there. Its legend names what tells the lines apart.
func TestDashboardQueries(t *testing.T) {
	const chosen = "node.+"
	known, board := knownSeries(t), readDashboard(t)
	variables := []string{"$__rate_interval", "5m"}
	for _, v := range board.Templating.List {
		selector := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Query)
		require.Len(t, selector, 3, v.Query)
		expr, err := known.check(selector[1])
		require.NoError(t, err, v.Query)
		require.Contains(t, known.labelsOf(expr), selector[2], v.Query)
		variables = append(variables, "$"+v.Name, chosen)
	}
	replacer := strings.NewReplacer(variables...)
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			query := replacer.Replace(target.Expr)
			require.NotContains(t, query, "$", "%s: a variable that is not there", p.Title)
			expr, err := known.check(query)
			require.NoError(t, err, "%s: %s", p.Title, query)
			for _, matchers := range parser.ExtractSelectors(expr) {
				instance := labels.MustNewMatcher(labels.MatchRegexp, labels.InstanceName, chosen)
				require.True(t, slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.String() == instance.String() }), query)
			}
			lines := run(t, known.series(t, known.suiting(expr)), query, 10*every)
			require.NotEmpty(t, lines, "%s: %s", p.Title, query)
			for _, line := range lines {
				tells := line.Metric.MatchLabels(false, labels.MetricName, "job").Map()
				require.ElementsMatch(t, slices.Collect(maps.Keys(tells)), fields(`{{(\w+)}}`, target.LegendFormat), "%s: %s", p.Title, query)
			}
		}
	}
}

// suiting returns lines of series that a query finds.
func (c catalogue) suiting(expr parser.Expr) string {
	lines := map[string]bool{}
	for _, matchers := range parser.ExtractSelectors(expr) {
		values, name := map[string]string{}, ""
		for _, m := range matchers {
			if m.Name == labels.MetricName {
				name = m.Value
			} else if m.Type == labels.MatchEqual {
				values[m.Name] = m.Value
			}
		}
		for _, le := range []string{"1", "+Inf"} { // both are one for what is no histogram
			var own []string
			for _, label := range c[name].labels {
				value := values[label]
				if label == labels.BucketLabel {
					value = le
				} else if value == "" {
					value = "any"
				}
				own = append(own, fmt.Sprintf("%s=%q", label, value))
			}
			lines[fmt.Sprintf("%s{%s} 1+1x10\n", name, strings.Join(own, ","))] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(lines)), "")
}

// fields returns what the group of a pattern matches in a text.
func fields(pattern, text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}
