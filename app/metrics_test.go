package app_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/names"
)

// scrape returns what /metrics of a node serves.
func (n *running) scrape() map[string]*dto.MetricFamily {
	n.t.Helper()
	status, body := n.get("/metrics")
	require.Equal(n.t, http.StatusOK, status, string(body))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	require.NoError(n.t, err)
	return families
}

// TestExposedMetricsAreInTheTable, with its types and labels; and what the table
// lists is exposed by a sequencer that made final blocks.
func TestExposedMetricsAreInTheTable(t *testing.T) {
	s := setup(t, app.RoleSequencer)
	s.Config.Namespaces.Forced = "forced" // its figures are there only then
	n := begin(t, on(s, newDA(t)), nil)
	n.awaitFinal(2)
	table := map[string]names.Metric{}
	for _, m := range names.Metrics() {
		table[m.Name] = m
	}
	exposed := n.scrape()
	for name, family := range exposed {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") || name == "target_info" {
			continue
		}
		row, ok := table[name]
		require.True(t, ok, "%s is not in the table", name)
		require.Equal(t, row.Type, strings.ToLower(family.GetType().String()), name)
		require.Equal(t, row.Meaning, family.GetHelp(), name)
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
			require.ElementsMatch(t, row.Labels, labels, name)
		}
	}
	// What needs other nodes, or trouble.
	rare := []string{names.MetricJunk, names.MetricFaults, names.MetricGossip}
	for name := range table {
		if !slices.Contains(rare, name) {
			require.Contains(t, exposed, name)
		}
	}
	require.Contains(t, exposed, "go_goroutines")
	require.Contains(t, exposed, "process_resident_memory_bytes")
	var heads []string // alerts choose by them
	for _, m := range exposed[names.MetricHead].GetMetric() {
		heads = append(heads, m.GetLabel()[0].GetValue())
	}
	require.ElementsMatch(t, []string{"header", "data", "applied", "final", "p2p", "da"}, heads)
	applied := exposed[names.MetricBytes].GetMetric()
	require.Len(t, applied, 1)
	require.Equal(t, "local", applied[0].GetLabel()[0].GetValue())
	require.Positive(t, applied[0].GetCounter().GetValue())
	for _, m := range exposed[names.MetricDisk].GetMetric() {
		require.Positive(t, m.GetGauge().GetValue(), m.GetLabel())
	}
}

// TestMetricsArePushed: a collector gets what /metrics serves, at the latest when the
// node stops, and that while its parts still answer.
func TestMetricsArePushed(t *testing.T) {
	var pushed bytes.Buffer // read when the node has stopped
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := pushed.ReadFrom(r.Body)
		assert.NoError(t, err)
	}))
	defer collector.Close()
	s := setup(t, app.RoleSequencer)
	s.Config.Metrics = telemetry.MetricsConfig{Endpoint: strings.TrimPrefix(collector.URL, "http://"), Protocol: "http", Interval: time.Hour}
	s.Config.Tracing.InstanceID = "one"
	n := begin(t, on(s, newDA(t)), nil)
	n.awaitFinal(2)
	exposed := n.scrape()
	n.stop()
	for name := range exposed {
		if name != "target_info" { // it is the resource
			require.Contains(t, pushed.String(), name)
		}
	}
	require.Contains(t, pushed.String(), "service.instance.id")
}

// TestStagesOfAFollower: every stage of a block's path is measured.
func TestStagesOfAFollower(t *testing.T) {
	server := newDA(t)
	seq := setup(t, app.RoleSequencer)
	begin(t, on(seq, server), nil)
	full := setup(t, app.RoleFull)
	full.Genesis = seq.Genesis
	n := begin(t, on(full, server), nil)
	n.awaitApplied(2)
	n.awaitFinal(2)
	count := map[string]uint64{}
	for _, m := range n.scrape()[names.MetricStage].GetMetric() {
		count[m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
	}
	for _, stage := range []string{names.StageFetch, names.StageApply, names.StageFinal} {
		require.Positive(t, count[stage], stage)
	}
}

// TestSourcesThatAreOffHaveNoFigures: a node without peers by choice is not isolated,
// and without DA no block is late to become final.
func TestSourcesThatAreOffHaveNoFigures(t *testing.T) {
	lone := on(setup(t, app.RoleFull), newDA(t))
	lone.Config.P2P.Disabled = true
	byDA := begin(t, lone, nil).scrape()
	require.NotContains(t, byDA, names.MetricChainPeers)
	require.Contains(t, byDA, names.MetricFinalLag)
	byPeers := begin(t, setup(t, app.RoleFull), nil).scrape()
	require.Contains(t, byPeers, names.MetricChainPeers)
	require.NotContains(t, byPeers, names.MetricFinalLag)
}
