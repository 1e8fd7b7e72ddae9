package app

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/sequencer"
)

func TestUnreadDA(t *testing.T) {
	const what = "DA to be read, where the chain may have blocks already"
	now := time.Now()
	lately := now.Add(-time.Second)
	for name, c := range map[string]struct {
		status daworker.Status
		source sequencer.DASource
		want   string
	}{
		"not configured": {daworker.Status{Phase: daworker.PhaseDisabled}, sequencer.DANone, ""},
		"no answer yet":  {daworker.Status{Phase: daworker.PhaseStarting, Cursor: 1}, sequencer.DAAway, what},
		"unreachable":    {daworker.Status{Phase: daworker.PhaseFailing, LastErr: "refused"}, sequencer.DAAway, what + ": refused"},
		"one failure":    {daworker.Status{Phase: daworker.PhaseFailing, LastErr: "reset", LastOK: lately}, sequencer.DAUnread, what + ": reset"},
		"reading": {
			daworker.Status{Phase: daworker.PhaseCatchUp, Cursor: 5, Head: da.Head{Height: 9}}, sequencer.DAUnread, what + ": at DA height 5 of 9",
		},
		"the newest cannot be read yet": {
			daworker.Status{Phase: daworker.PhaseHead, Cursor: 9, Head: da.Head{Height: 9}}, sequencer.DAUnread, what + ": at DA height 9 of 9",
		},
		"pruned": {
			daworker.Status{Phase: daworker.PhasePruned, Cursor: 1, LastErr: "DA height 1 is pruned", LastOK: lately}, sequencer.DAAway, what + ": DA height 1 is pruned",
		},
		"a gap": {
			daworker.Status{Phase: daworker.PhaseHead, Cursor: 10, Head: da.Head{Height: 9}, Pending: daworker.Pending{Headers: 2}},
			sequencer.DAUnread, what + ": what comes before 2 headers found there",
		},
		"read":                   {daworker.Status{Phase: daworker.PhaseHead, Cursor: 10, Head: da.Head{Height: 9}}, sequencer.DARead, ""},
		"a chain without blocks": {daworker.Status{Phase: daworker.PhaseHead, Cursor: 1}, sequencer.DARead, ""},
	} {
		t.Run(name, func(t *testing.T) {
			source, reason := unreadDA(c.status, now)
			require.Equal(t, c.source, source)
			require.Equal(t, c.want, reason)
		})
	}
}

func TestOutside(t *testing.T) {
	home := t.TempDir()
	require.False(t, outside(home, filepath.Join(home, "signer.state")))
	require.False(t, outside(home, filepath.Join(home, "..state", "signer")))
	require.True(t, outside(home, filepath.Join(filepath.Dir(home), "state")))
	require.True(t, outside(home, filepath.Join(t.TempDir(), "state")))
}
