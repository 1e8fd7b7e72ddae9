package sequencer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/testutil"
)

// forcedOnce gives one forced transaction until it is in an applied block.
type forcedOnce struct {
	sequencer.NoForced
	w *world
}

func (o forcedOnce) Take(context.Context, block.State, int) ([][]byte, time.Time, error) {
	if slices.Contains(o.w.txs(), "forced") {
		return nil, time.Time{}, nil
	}
	return [][]byte{[]byte("forced")}, time.Time{}, nil
}

// A forced transaction that also waits in the queue, because a pending block that
// held it is not made, or because the mempool gave it too, gets into one block once.
func TestForcedTransactionIsMadeOnce(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"in a pending block that does not fit": func(w *world) {
			other := testutil.NewChain("another").Next([]byte("forced"), []byte("c=3"))
			w.pending = &other
		},
		"in the mempool":         func(w *world) { w.offer([]byte("forced"), []byte("c=3")) },
		"in the stored queue":    func(w *world) { w.waiting, w.waitingAt = [][]byte{[]byte("forced"), []byte("c=3")}, 7 },
		"last in a stored queue": func(w *world) { w.waiting, w.waitingAt = [][]byte{[]byte("c=3"), []byte("forced")}, 7 },
		"in the middle of it": func(w *world) {
			w.waiting = [][]byte{[]byte("c=3"), []byte("forced"), []byte("d=4")}
			w.cfg.MaxBlockBytes, w.cfg.MaxQueueBytes = 13, 100
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				prepare(w)
				params := w.process().producerParams()
				params.Forced = forcedOnce{w: w}
				stop := run(t, sequencer.NewProducer(params).Run)
				after(5 * time.Second)
				require.NoError(t, stop())
				require.Equal(t, "forced", w.txs()[0])
				require.Equal(t, 1, count(w.txs(), "forced"), fmt.Sprint(w.txs()))
				require.Contains(t, w.txs(), "c=3")
				require.Empty(t, w.waiting)
				w.checkChain()
			})
		})
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}
