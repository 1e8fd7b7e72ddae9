package sequencer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/sequencer"
)

// belated gives one transaction for block 4, forced at a time long before block 3.
type belated struct {
	sequencer.NoForced
	forcedAt time.Time
}

func (b belated) Take(_ context.Context, st block.State, _ int) ([][]byte, time.Time, error) {
	if st.NextHeight() != 4 {
		return nil, time.Time{}, nil
	}
	return [][]byte{[]byte("forced")}, b.forcedAt, nil
}

// What is forced gives its block the time DA has it at, but never one before the
// last block's.
func TestForcedTimeNeverGoesBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		params := w.process().producerParams()
		params.Forced = belated{forcedAt: w.genesis.StartTime.Add(-time.Hour)}
		run(t, sequencer.NewProducer(params).Run)
		after(5500 * time.Millisecond)
		made := w.made()
		require.Greater(t, len(made), 4)
		require.Equal(t, [][]byte{[]byte("forced")}, made[3].Data.Txs)
		require.Equal(t, made[2].Header.Time(), made[3].Header.Time())
		w.checkChain()
	})
}
