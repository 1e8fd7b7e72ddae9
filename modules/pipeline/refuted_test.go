package pipeline_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// wrongAt returns a world of good blocks, and the blocks from a height on as a
// proposer signs them whose executor has another state after the block before.
func wrongAt(tb testing.TB, good int, height uint64) (w *world, wrong []block.Block) {
	tb.Helper()
	w = newWorld(tb, int(height)-1)
	bad := w.chain.Fork()
	bad.Root = func(uint64) []byte { return []byte("another state") }
	wrong = []block.Block{bad.Next([]byte("k=wrong")), bad.Next([]byte("k=more"))}
	w.grow(w.chain, good-len(w.blocks))
	return w, wrong
}

// hold makes the stores hold these blocks and nothing above.
func (w *world) hold(blocks []block.Block) {
	w.t.Helper()
	require.NoError(w.t, w.store.Truncate(w.ctx(), blocks[0].Height()-1))
	w.store.put(blocks...)
}

func refutedOn(board *problems.Board) []string {
	var out []string
	for _, p := range board.List() {
		if p.Kind == problems.Refuted && p.Unready {
			out = append(out, p.Reason)
		}
	}
	return out
}

// A signed, linked header with a wrong app hash is evidence and leaves the stores
// with all above it. It is not taken again, another one of its height is, and a
// node that meets it at every start never fails for it.
func TestRefutedHeaderIsEvidenceAndRemoved(t *testing.T) {
	for _, height := range []uint64{1, 4} {
		w, wrong := wrongAt(t, 6, height)
		for range 3 { // an old home that died of it starts over it
			w.hold(wrong)
			p := w.start()
			err := p.Apply(t.Context(), append(w.blocks[:height-1:height-1], wrong...), block.SourceP2P)
			require.ErrorAs(t, err, new(*pipeline.RevertedError))
			require.False(t, isPermanent(err))
			require.Equal(t, height-1, p.Snapshot().Applied())
			require.LessOrEqual(t, headersOf{w.store}.Height(), height-1)
			require.True(t, p.Refuted(wrong[0].Header.Digest()))
			require.False(t, p.Refuted(wrong[1].Header.Digest()), "nothing is known of those above")
			require.NotEmpty(t, p.Disputed())
			reasons := refutedOn(w.board)
			require.Len(t, reasons, 1)
			require.Contains(t, reasons[0], "execution.name test-executor")
			require.Contains(t, reasons[0], "waiting for another block")
			require.Len(t, w.store.proofs, 1)
			for _, e := range w.store.proofs {
				require.NotNil(t, e.Refuted)
				require.NoError(t, e.Verify(w.chain.Genesis))
				require.Equal(t, e.Refuted.Want, w.roots[height-1])
			}
			w.board.Clear(problems.Refuted, "block 1")
			w.board.Clear(problems.Refuted, "block 4")
		}

		p := w.start()
		require.NotEmpty(t, p.Disputed(), "a sequencer that starts again signs nothing in its place")
		w.hold(w.blocks[height-1:])
		require.NoError(t, p.Apply(t.Context(), w.blocks[height-1:], block.SourceP2P))
		require.Equal(t, uint64(6), p.Snapshot().Applied())
		require.Empty(t, refutedOn(w.board))
		require.Empty(t, p.Disputed())
		require.Len(t, w.store.proofs, 2, "the proposer signed two headers of this height, and one was wrong")
		for _, e := range w.store.proofs {
			require.NoError(t, e.Verify(w.chain.Genesis))
		}
	}
}

// DA's word: where it holds the refuted block nothing above is applied, whatever
// peers send, and a restart reads it again.
func TestRefutedHeaderOnDA(t *testing.T) {
	for name, before := range map[string]bool{"seen before it is executed": true, "seen after": false} {
		t.Run(name, func(t *testing.T) {
			w, wrong := wrongAt(t, 6, 4)
			w.hold(wrong)
			p := w.start()
			if before {
				require.NoError(t, p.Include(t.Context(), seenHeader(wrong[0], 20), upTo(21)))
			}
			require.Error(t, p.Apply(t.Context(), append(w.blocks[:3:3], wrong...), block.SourceP2P))
			if before {
				require.Contains(t, refutedOn(w.board)[0], "DA holds this block at its height 20")
			}
			err := p.Include(t.Context(), nil, upTo(22))
			require.ErrorAs(t, err, new(*pipeline.RevertedError), "DA is read again")
			require.NoError(t, p.Include(t.Context(), seenHeader(wrong[0], 20), upTo(30)))
			require.Equal(t, uint64(20), w.store.DA().Floor, "the next process judges it anew")
			reason := refutedOn(w.board)[0]
			for _, part := range []string{"DA holds this block at its height 20", "nothing above block 3 is applied", "the proposer is faulty", "execution.name"} {
				require.Contains(t, reason, part)
			}
			w.hold(w.blocks[3:])
			for range 2 {
				err = p.Apply(t.Context(), w.blocks[3:], block.SourceP2P)
				require.Error(t, err)
				require.False(t, isPermanent(err))
				require.Equal(t, uint64(3), p.Snapshot().Applied())
				require.NoError(t, p.Include(t.Context(), contested(wrong[0], 20), upTo(31)), "nothing is rolled back for it")
			}
			require.Equal(t, uint64(6), headersOf{w.store}.Height())
		})
	}
}

// The executor was the one at fault: once it is the right one, the block is
// accepted and the evidence goes.
func TestRefutedByAWrongExecutor(t *testing.T) {
	w := newWorld(t, 5)
	right := w.exec
	w.exec = newMemExec(w.faults, w.store)
	w.exec.roots[0] = []byte("genesis of another executor")
	p := w.start()
	require.ErrorAs(t, p.Apply(t.Context(), w.blocks, block.SourceP2P), new(*pipeline.RevertedError))
	require.Contains(t, refutedOn(w.board)[0], "execution.name test-executor")
	require.Len(t, w.store.proofs, 1)

	w.exec = right
	p = w.start()
	w.store.put(w.blocks...)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, uint64(5), p.Snapshot().Applied())
	require.Empty(t, w.store.proofs)
	require.Empty(t, p.Disputed())
}

// The state after the newest block is the executor's word alone: no header repeats
// it yet. A node whose executor was replaced goes on with what the new one says.
func TestNewestRootIsTheExecutorsWord(t *testing.T) {
	w := newWorld(t, 5)
	right := w.exec
	w.exec = newMemExec(w.faults, w.store)
	w.exec.twist = 3
	p := w.start()
	require.ErrorAs(t, p.Apply(t.Context(), w.blocks, block.SourceP2P), new(*pipeline.RevertedError))
	require.Equal(t, uint64(3), p.Snapshot().Applied())

	w.exec = right
	p = w.start()
	w.store.put(w.blocks...)
	require.NoError(t, p.Apply(t.Context(), w.blocks[p.Next()-1:], block.SourceP2P))
	require.Equal(t, uint64(5), p.Snapshot().Applied())
	require.Equal(t, w.roots[5], p.State().AppHash)
	require.Empty(t, w.store.proofs)
}

func TestRefutedHaltsOncePerHeader(t *testing.T) {
	w, wrong := wrongAt(t, 6, 4)
	w.cfg.Refuted = pipeline.RefutedHalt
	for i := range 2 {
		w.hold(wrong)
		p := w.start()
		require.Error(t, p.Apply(t.Context(), append(w.blocks[:3:3], wrong...), block.SourceP2P))
		require.Equal(t, i == 0, p.Conflicts().Halted != nil, "a restart does not end for the same header")
		require.Equal(t, uint64(3), headersOf{w.store}.Height())
	}
	w.cfg.Refuted = "shrug"
	require.ErrorContains(t, w.cfg.Validate(), "pipeline.refuted")
}

// What was made here cannot be refuted here, unless the executor changed its mind.
func TestOwnBlockIsNotEvidence(t *testing.T) {
	w, wrong := wrongAt(t, 6, 4)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks[:3], block.SourceP2P))
	err := p.Apply(t.Context(), wrong[:1], block.SourceLocal)
	require.ErrorContains(t, err, "not deterministic")
	require.False(t, isPermanent(err), "the node goes on serving")
	require.Empty(t, w.store.proofs)
	require.False(t, p.Refuted(wrong[0].Header.Digest()))
	require.Len(t, refutedOn(w.board), 1)
}

// A stored block that breaks another rule is removed as well, so that no start
// fails for it.
func TestBrokenStoredDataIsRemoved(t *testing.T) {
	w := newWorld(t, 5)
	good := w.at(4).Data
	w.store.data[4] = w.at(2).Data
	p := w.start()
	given := append([]block.Block{}, w.blocks...)
	given[3].Data = w.at(2).Data
	require.ErrorAs(t, p.Apply(t.Context(), given, block.SourceP2P), new(*pipeline.RevertedError))
	require.Equal(t, uint64(3), headersOf{w.store}.Height())
	require.Empty(t, w.store.proofs, "its header is sound")
	w.store.put(w.blocks[3:]...)
	w.store.data[4] = good
	require.NoError(t, p.Apply(t.Context(), w.blocks[3:], block.SourceP2P))
}

// Data that the executor refuses for good refutes its header as a wrong state root
// does: it is evidence, leaves the stores, and another block of its height is taken.
func TestRefusedDataIsEvidenceAndRemoved(t *testing.T) {
	w := newWorld(t, 3)
	bad := w.chain.Fork()
	wrong := []block.Block{bad.Next([]byte("k=overdrawn")), bad.Next([]byte("k=more"))}
	w.grow(w.chain, 3)
	for range 2 {
		w.board.Clear(problems.Refuted, "block 4")
		w.hold(wrong)
		p := w.start()
		w.exec.onRun = func(e block.Execution) error {
			if len(e.Txs) > 0 && string(e.Txs[0]) == "k=overdrawn" {
				return fmt.Errorf("transaction 0 overdraws k: %w", block.ErrRefusedData)
			}
			return nil
		}
		err := p.Apply(t.Context(), append(w.blocks[:3:3], wrong...), block.SourceP2P)
		require.ErrorAs(t, err, new(*pipeline.RevertedError))
		require.Equal(t, uint64(3), headersOf{w.store}.Height())
		require.True(t, p.Refuted(wrong[0].Header.Digest()))
		reason := refutedOn(w.board)[0]
		for _, part := range []string{"execution.name test-executor", "transaction 0 overdraws k", "waiting for another block 4", "the proposer is faulty"} {
			require.Contains(t, reason, part)
		}
		require.Len(t, w.store.proofs, 1)
		for _, e := range w.store.proofs {
			require.NoError(t, e.Verify(w.chain.Genesis))
			require.Equal(t, block.ErrRefusedData, e.Refuted.Rule)
			require.Contains(t, string(e.Refuted.Want), "overdraws k")
		}
	}
	w.board.Clear(problems.Refuted, "block 4")
	p := w.start()
	require.NotEmpty(t, p.Disputed())
	w.hold(w.blocks[3:])
	require.NoError(t, p.Apply(t.Context(), w.blocks[3:], block.SourceP2P))
	require.Equal(t, uint64(6), p.Snapshot().Applied())
	require.Empty(t, refutedOn(w.board))
}

// A node that restarted and stored a refuted header again, whose data nobody has any
// more, cannot judge it. Another header of the height replaces it.
func TestRefutedHeaderWithoutDataGivesWay(t *testing.T) {
	w := newWorld(t, 3)
	bad := w.chain.Fork()
	wrong := []block.Block{bad.Next([]byte("k=overdrawn"))}
	w.grow(w.chain, 3)
	w.exec.onRun = func(e block.Execution) error {
		if len(e.Txs) > 0 && string(e.Txs[0]) == "k=overdrawn" {
			return fmt.Errorf("transaction 0 overdraws k: %w", block.ErrRefusedData)
		}
		return nil
	}
	w.hold(wrong)
	require.Error(t, w.start().Apply(t.Context(), append(w.blocks[:3:3], wrong...), block.SourceP2P))

	other := &block.Conflict[*block.SignedHeader]{Height: 4, Have: wrong[0].Header, Got: w.at(4).Header}
	for _, judged := range []bool{true, false} {
		w.board.Clear(problems.Refuted, "block 4")
		w.hold(wrong)
		if !judged {
			w.hold([]block.Block{{Header: wrong[0].Header}})
		}
		p := w.start()
		require.NoError(t, p.Report(t.Context(), other, "peer"))
		require.Equal(t, !judged, p.Refuted(wrong[0].Header.Digest()), "where its data is here, execution decides")
		require.Equal(t, map[bool]uint64{true: 4, false: 3}[judged], headersOf{w.store}.Height())
	}
	p := w.start()
	w.hold(w.blocks[3:])
	require.NoError(t, p.Apply(t.Context(), w.blocks[3:], block.SourceP2P))
	require.Equal(t, uint64(6), p.Snapshot().Applied())
}

func TestRefusedDataOnDA(t *testing.T) {
	w := newWorld(t, 4)
	p := w.start()
	w.exec.onRun = func(e block.Execution) error {
		if e.Height == 4 {
			return fmt.Errorf("transaction 0 overdraws k: %w", block.ErrRefusedData)
		}
		return nil
	}
	require.Error(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.ErrorAs(t, p.Include(t.Context(), nil, upTo(22)), new(*pipeline.RevertedError))
	require.NoError(t, p.Include(t.Context(), seenHeader(w.at(4), 20), upTo(30)))
	reason := refutedOn(w.board)[0]
	for _, part := range []string{"overdraws k", "DA holds this block at its height 20", "nothing above block 3 is applied", "execution.name"} {
		require.Contains(t, reason, part)
	}
	require.Equal(t, uint64(20), w.store.DA().Floor, "the next process judges it anew")
}

// A block on which the executor panics ends the node once: it may be better after a
// restart. If it is not, the next process goes on serving.
func TestPanicOnABlockEndsTheNodeOnce(t *testing.T) {
	w := newWorld(t, 5)
	right := w.exec.onRun
	boom := func(e block.Execution) error {
		if e.Height == 4 {
			panic("index out of range")
		}
		return nil
	}
	for i := range 3 {
		w.hold(w.blocks[3:])
		p := w.start()
		w.exec.onRun = boom
		err := p.Apply(t.Context(), w.blocks, block.SourceP2P)
		require.ErrorContains(t, err, "executor panicked in ExecuteTxs of block 4: index out of range")
		require.Equal(t, i == 0, isPermanent(err), "a restart does not end for the same block")
		require.Equal(t, uint64(3), p.Snapshot().Applied())
		require.Error(t, p.Apply(t.Context(), w.blocks[3:], block.SourceP2P), "nothing is called any more")
		require.Len(t, w.store.proofs, 1)
		if i > 0 {
			require.ErrorIs(t, err, block.ErrRefusedData)
			require.Contains(t, refutedOn(w.board)[0], "a start tries again")
		}
	}
	p := w.start()
	w.exec.onRun = right
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, uint64(5), p.Snapshot().Applied())
	require.Empty(t, w.store.proofs, "the executor was at fault")
	require.Empty(t, p.Disputed())
}
