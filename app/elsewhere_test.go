package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/daworker"
)

func TestUnreadDA(t *testing.T) {
	const what = "DA to be read, where the chain may have blocks already"
	for name, c := range map[string]struct {
		status daworker.Status
		want   string
	}{
		"not configured": {daworker.Status{Phase: daworker.PhaseDisabled}, ""},
		"no answer yet":  {daworker.Status{Phase: daworker.PhaseStarting, Cursor: 1}, what},
		"unreachable":    {daworker.Status{Phase: daworker.PhaseFailing, LastErr: "refused"}, what + ": refused"},
		"reading": {
			daworker.Status{Phase: daworker.PhaseCatchUp, Cursor: 5, Head: da.Head{Height: 9}}, what + ": at DA height 5 of 9",
		},
		"the newest cannot be read yet": {
			daworker.Status{Phase: daworker.PhaseHead, Cursor: 9, Head: da.Head{Height: 9}}, what + ": at DA height 9 of 9",
		},
		"pruned": {
			daworker.Status{Phase: daworker.PhasePruned, Cursor: 1, LastErr: "DA height 1 is pruned"}, what + ": DA height 1 is pruned",
		},
		"a gap": {
			daworker.Status{Phase: daworker.PhaseHead, Cursor: 10, Head: da.Head{Height: 9}, Pending: daworker.Pending{Headers: 2}},
			what + ": what comes before 2 headers found there",
		},
		"read":                   {daworker.Status{Phase: daworker.PhaseHead, Cursor: 10, Head: da.Head{Height: 9}}, ""},
		"a chain without blocks": {daworker.Status{Phase: daworker.PhaseHead, Cursor: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, unreadDA(c.status)) })
	}
}
