package telemetry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/problems"
)

func readAlerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	parsed, errs := rulefmt.ParseFile("deploy/alerts.yaml", false)
	require.Empty(t, errs)
	require.Len(t, parsed.Groups, 1)
	return parsed.Groups[0].Rules
}

// TestAlerts: the rules are as Prometheus takes them, name series that exist, say how
// bad it is and what to do, and cover what should wake someone.
func TestAlerts(t *testing.T) {
	known := knownSeries(t)
	seen := map[string]bool{}
	for _, r := range readAlerts(t) {
		require.Regexp(t, `^Tandem[A-Za-z]+$`, r.Alert)
		require.False(t, seen[r.Alert], "%s stands twice", r.Alert)
		seen[r.Alert] = true
		_, err := known.check(r.Expr)
		require.NoError(t, err, r.Alert)
		require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
	}
	for _, name := range []string{"HeadStalled", "LagGrows", "Conflict", "DAErrors", "DeadLoop", "Isolated"} {
		require.True(t, seen["Tandem"+name], name)
	}
}

// TestAlertsFire lets every scene happen: troubles fire their alert, and first at the
// minute they say; what is no trouble is silent. Texts use labels that are there.
func TestAlertsFire(t *testing.T) {
	known := knownSeries(t)
	all, rules := scenes(), readAlerts(t)
	for name := range all {
		require.True(t, slices.ContainsFunc(rules, func(r rulefmt.Rule) bool { return r.Alert == name }), "no alert %s", name)
	}
	for _, r := range rules {
		var loud, quiet int
		for title, s := range all[r.Alert] {
			t.Run(r.Alert+"/"+title, func(t *testing.T) {
				at, who := firstFiring(run(t, known.series(t, s.series), r.Expr, 2*time.Hour), time.Duration(r.For))
				require.Equal(t, s.fires, at)
				for _, text := range r.Annotations {
					for _, label := range fields(`\$labels\.(\w+)`, text) {
						require.True(t, at == never || who.Has(label), "%s has no label %s", who, label)
					}
				}
			})
			if s.fires == never {
				quiet++
			} else {
				loud++
			}
		}
		require.Positive(t, loud, "no trouble is tried with %s", r.Alert)
		require.Positive(t, quiet, "nothing harmless is tried with %s", r.Alert)
	}
}

// TestAlertsOfProblems decides for every kind of problem whom it calls, and after how
// long: the one rule that fires for it has that severity. A kind that is not decided
// on here fails.
func TestAlertsOfProblems(t *testing.T) {
	type call struct {
		severity string
		after    time.Duration
	}
	now, soon, later := call{"page", time.Minute}, call{"page", 5 * time.Minute}, call{"ticket", 15 * time.Minute}
	decided := map[problems.Kind]call{
		problems.Disk: now, problems.Descriptors: now, problems.Refuted: now, problems.DAIdentity: now,
		problems.Clock: soon, problems.Signing: soon, problems.DAHead: soon, problems.Namespace: soon, problems.Finality: soon,
		problems.Posting: soon, problems.Forced: soon,
		problems.PeerKey: later, problems.DAEndpoint: later, problems.DAPruned: later,
	}
	known, rules := knownSeries(t), readAlerts(t)
	for _, kind := range problems.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			want, ok := decided[kind]
			require.True(t, ok, "decide who is called when there is a problem of kind %s", kind)
			var got []call
			for _, r := range rules {
				series := known.series(t, fmt.Sprintf(`tandem_problem{kind=%q} 0x5 1x60`, kind))
				if at, _ := firstFiring(run(t, series, r.Expr, 2*time.Hour), time.Duration(r.For)); at != never {
					got = append(got, call{r.Labels["severity"], at - 6*time.Minute})
				}
			}
			require.Equal(t, []call{want}, got)
		})
	}
}

// firstFiring returns when the first alert fires that an expression with this result
// makes: one whose series was there at every look for long enough.
func firstFiring(m promql.Matrix, hold time.Duration) (time.Duration, labels.Labels) {
	first, who := never, labels.EmptyLabels()
	for _, s := range m {
		var since, last time.Duration
		for i, p := range s.Floats {
			at := time.Duration(p.T) * time.Millisecond
			if i == 0 || at > last+every {
				since = at
			}
			last = at
			if at-since >= hold && (first == never || at < first) {
				first, who = at, s.Metric
			}
		}
	}
	return first, who
}
