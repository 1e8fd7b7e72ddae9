package problems_test

import (
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/problems"
	_ "github.com/tandem-node/tandem/testutil/bubble"
)

func TestReportReplacesAndKeepsSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := problems.New()
		start := time.Now()
		b.Report(problems.Problem{Kind: problems.PeerKey, Subject: "b", Reason: "first"})
		b.Report(problems.Problem{Kind: problems.Clock, Reason: "behind", Unready: true})
		time.Sleep(time.Minute)
		b.Report(problems.Problem{Kind: problems.PeerKey, Subject: "b", Reason: "second"})
		b.Report(problems.Problem{Kind: problems.PeerKey, Subject: "a", Reason: "other"})
		require.Equal(t, []problems.Problem{
			{Kind: problems.Clock, Reason: "behind", Since: start, Unready: true},
			{Kind: problems.PeerKey, Subject: "a", Reason: "other", Since: start.Add(time.Minute)},
			{Kind: problems.PeerKey, Subject: "b", Reason: "second", Since: start},
		}, b.List())

		b.Clear(problems.PeerKey, "b")
		b.Clear(problems.PeerKey, "unknown")
		require.Len(t, b.List(), 2)

		b.Report(problems.Problem{Kind: problems.PeerKey, Subject: "b", Reason: "again"})
		require.Equal(t, start.Add(time.Minute), b.List()[2].Since, "a problem that passed and came back is new")
	})
}

func TestListIsACopy(t *testing.T) {
	b := problems.New()
	b.Report(problems.Problem{Kind: problems.Disk, Reason: "full"})
	b.List()[0].Reason = "changed"
	require.Equal(t, "full", b.List()[0].Reason)
}

func TestNilBoardIsEmpty(t *testing.T) {
	var b *problems.Board
	b.Report(problems.Problem{Kind: problems.Disk})
	b.Clear(problems.Disk, "")
	require.Empty(t, b.List())
}

// TestKindsAreAll: what iterates over the kinds, as tests of alerts do, misses none.
func TestKindsAreAll(t *testing.T) {
	source, err := os.ReadFile("problems.go")
	require.NoError(t, err)
	declared := regexp.MustCompile(`(?m)^\t\w+ +Kind = "(\w+)"`).FindAllSubmatch(source, -1)
	require.Len(t, problems.Kinds(), len(declared))
	for _, d := range declared {
		require.Contains(t, problems.Kinds(), problems.Kind(d[1]))
	}
}

func TestKindsAreDistinct(t *testing.T) {
	seen := map[problems.Kind]bool{}
	for _, k := range problems.Kinds() {
		require.False(t, seen[k], k)
		seen[k] = true
	}
}
