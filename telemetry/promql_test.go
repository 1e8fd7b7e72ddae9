package telemetry_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/names"
)

// every is the time between two readings of a series, and two looks at a rule. The
// first are at the zero of Unix time.
const every = time.Minute

// exposed is what a query has to know of a series.
type exposed struct {
	labels  []string // its own, without those Prometheus adds
	counter bool
}

// catalogue holds the series a query may name: those of the table, of runtime and
// process, and of Prometheus.
type catalogue map[string]exposed

func knownSeries(t *testing.T) catalogue {
	t.Helper()
	known := catalogue{"up": {}}
	for _, m := range names.Metrics() {
		if m.Type != names.Histogram {
			known[m.Name] = exposed{m.Labels, m.Type == names.Counter}
			continue
		}
		known[m.Name+"_bucket"] = exposed{append([]string{labels.BucketLabel}, m.Labels...), true}
		known[m.Name+"_sum"], known[m.Name+"_count"] = exposed{m.Labels, true}, exposed{m.Labels, true}
	}
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		known[f.GetName()] = exposed{counter: f.GetType() == dto.MetricType_COUNTER}
	}
	return known
}

// labelsOf returns the labels of all series that are named below a node of a query.
func (c catalogue) labelsOf(n parser.Node) []string {
	all := []string{labels.InstanceName, "job"}
	parser.Inspect(n, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			all = append(all, c[s.Name].labels...)
		}
		return nil
	})
	return all
}

// check parses a query and reports what in it is not exposed: series, and labels to
// choose, group and match by; and functions that are not for the type of a series.
func (c catalogue) check(query string) (parser.Expr, error) {
	expr, err := parser.ParseExpr(query)
	if err != nil {
		return nil, err
	}
	if len(parser.ExtractSelectors(expr)) == 0 {
		return nil, errors.New("it names no series")
	}
	var wrong []error
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		var used []string
		switch n := n.(type) {
		case *parser.VectorSelector:
			if _, ok := c[n.Name]; !ok {
				wrong = append(wrong, fmt.Errorf("no series %q", n.Name))
			}
			for _, m := range n.LabelMatchers {
				if m.Name != labels.MetricName {
					used = append(used, m.Name)
				}
			}
		case *parser.AggregateExpr:
			used = n.Grouping
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				used = append(n.VectorMatching.MatchingLabels, n.VectorMatching.Include...)
			}
		case *parser.Call:
			wrong = append(wrong, c.checkCall(n))
		}
		for _, label := range used {
			if !slices.Contains(c.labelsOf(n), label) {
				wrong = append(wrong, fmt.Errorf("no label %q in %s", label, n))
			}
		}
		return nil
	})
	return expr, errors.Join(wrong...)
}

// checkCall: a counter that goes down was reset, a gauge that does went down.
func (c catalogue) checkCall(call *parser.Call) error {
	counters := slices.Contains([]string{"increase", "rate", "irate"}, call.Func.Name)
	gauges := slices.Contains([]string{"delta", "idelta", "deriv", "predict_linear"}, call.Func.Name)
	for _, matchers := range parser.ExtractSelectors(call) {
		for _, m := range matchers {
			if s, ok := c[m.Value]; ok && m.Name == labels.MetricName && (counters && !s.counter || gauges && s.counter) {
				return fmt.Errorf("%s is not for %s", call.Func.Name, m.Value)
			}
		}
	}
	return nil
}

// sample is one reading.
type sample struct {
	chunks.Sample

	at    int64 // Unix milliseconds
	value float64
}

func (s sample) T() int64               { return s.at }
func (s sample) F() float64             { return s.value }
func (sample) Type() chunkenc.ValueType { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample    { return s }

// series reads lines as promtool takes them, a series and its readings, like
// tandem_peers 3x4 0x10. They must be of series that exist, with all their labels;
// those that Prometheus adds are added.
func (c catalogue) series(t *testing.T, lines string) []storage.Series {
	t.Helper()
	var all []storage.Series
	for line := range strings.Lines(lines) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		set, values, err := parser.ParseSeriesDesc(line)
		require.NoError(t, err, line)
		known, ok := c[set.Get(labels.MetricName)]
		require.True(t, ok, "no series like %s", line)
		own := slices.Collect(maps.Keys(set.Map()))
		require.ElementsMatch(t, append(known.labels, labels.MetricName), own, line)
		var readings []chunks.Sample
		for i, v := range values {
			if !v.Omitted {
				readings = append(readings, sample{at: int64(i) * every.Milliseconds(), value: v.Value})
			}
		}
		b := labels.NewBuilder(set)
		b.Set(labels.InstanceName, "node:7331").Set("job", "tandem")
		all = append(all, storage.NewListSeries(b.Labels(), readings))
	}
	return all
}

// selection gives series one after the other.
type selection struct {
	storage.SeriesSet // empty

	rest []storage.Series
	now  storage.Series
}

func (s *selection) At() storage.Series { return s.now }

func (s *selection) Next() bool {
	if len(s.rest) == 0 {
		return false
	}
	s.now, s.rest = s.rest[0], s.rest[1:]
	return true
}

// run evaluates a query at every reading from the first to one at a time.
func run(t *testing.T, data []storage.Series, query string, until time.Duration) promql.Matrix {
	t.Helper()
	find := func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		found := slices.DeleteFunc(slices.Clone(data), func(s storage.Series) bool {
			return slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels().Get(m.Name)) })
		})
		return &selection{SeriesSet: storage.EmptySeriesSet(), rest: found}
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	held := &storage.MockQueryable{MockQuerier: &storage.MockQuerier{SelectMockFunction: find}}
	q, err := engine.NewRangeQuery(t.Context(), held, nil, query, time.Unix(0, 0), time.Unix(0, 0).Add(until), every)
	require.NoError(t, err, query)
	defer q.Close()
	result := q.Exec(t.Context())
	require.NoError(t, result.Err, query)
	m, err := result.Matrix()
	require.NoError(t, err, query)
	return slices.Clone(m)
}

func TestQueriesAreChecked(t *testing.T) {
	known := knownSeries(t)
	_, err := known.check(`sum by (le) (rate(tandem_stage_seconds_bucket{stage="x"}[5m])) > 0`)
	require.NoError(t, err)
	for wrong, want := range map[string]string{
		`tandem_no_such_metric > 0`:                                  `no series "tandem_no_such_metric"`,
		`tandem_stage_seconds > 0`:                                   `no series "tandem_stage_seconds"`,
		`tandem_peers{source="p2p"}`:                                 `no label "source"`,
		`sum by (source) (tandem_peers)`:                             `no label "source"`,
		`tandem_peers / ignoring (kind) tandem_chain_peers`:          `no label "kind"`,
		`tandem_lag_blocks * on (job) group_left (kind) tandem_live`: `no label "kind"`,
		`rate(tandem_peers[5m]`:                                      "parse error",
		`max_of(tandem_peers)`:                                       "unknown function",
		`vector(1)`:                                                  "names no series",
		`increase(tandem_head_height[5m])`:                           "increase is not for tandem_head_height",
		`delta(tandem_conflicts_total[5m])`:                          "delta is not for tandem_conflicts_total",
	} {
		_, err := known.check(wrong)
		require.ErrorContains(t, err, want, wrong)
	}
}
