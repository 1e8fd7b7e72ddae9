package sequencer_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/testutil"
)

// grow applies n blocks; every second one has a transaction.
func (w *world) grow(n int) {
	w.t.Helper()
	for range n {
		w.mu.Lock()
		st := w.states[len(w.states)-1]
		var lastData []byte
		if len(w.blocks) > 0 {
			lastData = w.blocks[len(w.blocks)-1].Data.Hash()
		}
		w.mu.Unlock()
		var txs [][]byte
		if st.NextHeight()%2 == 0 {
			txs = [][]byte{fmt.Appendf(nil, "k=%d", st.NextHeight())}
		}
		w.add(st, txs, lastData)
	}
}

func (w *world) add(st block.State, txs [][]byte, lastData []byte) {
	w.t.Helper()
	c := block.Commit(txs)
	h := testutil.Sign(w.key, block.Header{
		Height: st.NextHeight(), Time: uint64(time.Now().UnixNano()), LastHeaderHash: st.LastHeaderHash, DataHash: c[:],
		AppHash: st.AppHash, ProposerAddress: w.genesis.ProposerAddress, ChainID: st.ChainID,
	})
	require.NoError(w.t, w.apply(block.Block{Header: h, Data: block.CanonicalData(h, txs, lastData)}))
}

// checkPosted checks that everything lies on DA, at most `most` times.
func (w *world) checkPosted(most int) {
	w.t.Helper()
	hs, ds := w.posted()
	for _, b := range w.made() {
		require.GreaterOrEqual(w.t, hs[b.Height()], 1, "header %d", b.Height())
		require.LessOrEqual(w.t, hs[b.Height()], most, "header %d", b.Height())
		if len(b.Data.Txs) == 0 {
			require.Zero(w.t, ds[b.Height()], "empty data %d", b.Height())
			continue
		}
		require.GreaterOrEqual(w.t, ds[b.Height()], 1, "data %d", b.Height())
		require.LessOrEqual(w.t, ds[b.Height()], most, "data %d", b.Height())
	}
}

func (w *world) settled(s *sequencer.Submitter) {
	w.t.Helper()
	h, d := s.Submitted()
	require.Equal(w.t, w.height(), h)
	require.Equal(w.t, w.height(), d)
	for _, l := range []sequencer.LaneStats{s.Stats().Header, s.Stats().Data} {
		require.Zero(w.t, l.Lag)
		require.Empty(w.t, l.LastError)
		require.Empty(w.t, l.WaitingFor)
	}
}

// What the node has already read back from DA is not posted again.
func TestKnownInclusionsAreNotPosted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(10)
		for _, b := range w.made()[:8] {
			w.included[b.Height()] = block.Included{
				HeaderHash: b.Header.Digest(), HeaderDA: 3, Commitment: b.Data.Commitment(), DataDA: 4,
			}
		}
		s := w.process().submitter()
		run(t, s.Run)
		after(time.Minute)
		w.settled(s)
		hs, ds := w.posted()
		require.Equal(t, map[uint64]int{9: 1, 10: 1}, hs)
		require.Equal(t, map[uint64]int{10: 1}, ds)
	})
}

func TestLargeBacklogGoesInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Submit.MaxBytes = 100_000
		w.da.limit = 100_000
		w.grow(1000)
		p := w.process()
		s := p.submitter()
		run(t, s.Run)
		after(10 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
		require.Zero(t, p.logs.FilterMessage("submission is too large for the DA layer, sending half").Len())
	})
}

// A long quiet chain is not read again from its beginning after a restart.
func TestEmptyDataIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 1000 {
			st := w.states[len(w.states)-1]
			var last []byte
			if len(w.blocks) > 0 {
				last = w.blocks[len(w.blocks)-1].Data.Hash()
			}
			w.add(st, nil, last)
		}
		p := w.process()
		s := p.submitter()
		stop := run(t, s.Run)
		synctest.Wait()
		_, d := s.Submitted()
		require.Equal(t, uint64(1000), d)
		require.NoError(t, stop())
		require.Equal(t, uint64(1000), w.submitted[1])
	})
}

// Headers of another proposer cannot be posted with this key.
func TestForeignHeadersArePassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(4)
		w.key = testutil.Key("the next proposer")
		s := w.process().submitter()
		run(t, s.Run)
		after(time.Minute)
		w.settled(s)
		hs, _ := w.posted()
		require.Empty(t, hs)
	})
}
