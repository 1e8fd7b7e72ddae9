package pipeline_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/testutil"
)

// deposed is a world in which block 3 hands over to the key named "second", while
// the old proposer goes on and what it signed is stored. The chain that counts is
// in right.
func deposed(tb testing.TB) (w *world, right []block.Block) {
	tb.Helper()
	w = newWorld(tb, 3)
	second := testutil.Key("second")
	address := block.NewSigner(second.Public().(edKey)).Address
	w.exec.proposer = map[uint64][]byte{3: address}
	honest := w.chain.Fork()
	w.grow(w.chain, 3)
	w.store.put(w.blocks[3:]...)
	genesis := w.chain.Genesis
	honest.Key, honest.Genesis.ProposerAddress = second, address
	for i := range 3 {
		right = append(right, honest.Next([]byte{byte(i)}, []byte("=right")))
		w.roots[right[i].Height()] = nextRoot(w.roots[right[i].Height()-1], right[i].Height(), right[i].Data.Txs)
	}
	w.chain.Genesis = genesis
	return w, right
}

// What a replaced proposer signed above the block that replaced it is removed,
// DA is read again, and the new one's blocks are taken.
func TestDeposedProposerIsPurged(t *testing.T) {
	w, right := deposed(t)
	p := w.start()
	require.NoError(t, p.Include(t.Context(), append(seen(w.at(1), 7), seen(w.at(5), 8)...), upTo(20)))
	require.Equal(t, block.Expected, p.Judge(5, w.chain.Genesis.ProposerAddress), "assumed to stay")
	require.Equal(t, block.Unproven, p.Judge(5, right[0].Header.Header.ProposerAddress))

	err := p.Apply(t.Context(), w.blocks, block.SourceP2P)
	var reverted *pipeline.RevertedError
	require.ErrorAs(t, err, &reverted)
	require.False(t, isPermanent(err))
	require.Equal(t, uint64(3), p.Snapshot().Applied())
	require.Equal(t, uint64(3), headersOf{w.store}.Height())
	require.Zero(t, p.Conflicts().Reverts, "nothing of the chain was rolled back")
	require.Equal(t, block.Unexpected, p.Judge(4, w.chain.Genesis.ProposerAddress))
	require.Equal(t, []uint64{4}, w.events.reverts)

	// The DA worker hears of it, once, and until then its cursor does not move.
	err = p.Include(t.Context(), nil, upTo(21))
	require.ErrorAs(t, err, &reverted)
	require.LessOrEqual(t, reverted.RewindTo(), uint64(8))
	require.LessOrEqual(t, w.store.DA().Floor, uint64(8))
	require.NoError(t, p.Include(t.Context(), nil, upTo(9)))

	w.store.put(right...)
	require.NoError(t, p.Apply(t.Context(), right, block.SourceDA))
	require.Equal(t, uint64(6), p.Snapshot().Applied())
	require.EqualValues(t, right[2].Header.Hash(), p.State().LastHeaderHash)
}

// The stale header lacks its data, so that it never comes to Apply: it goes all
// the same.
func TestDeposedHeaderWithoutData(t *testing.T) {
	w, right := deposed(t)
	p := w.start()
	require.ErrorAs(t, p.Apply(t.Context(), w.blocks[:3], block.SourceP2P), new(*pipeline.RevertedError))
	require.Equal(t, uint64(3), headersOf{w.store}.Height())

	// One that slips in later is removed when the new proposer's meets it.
	w.store.put(w.at(4))
	c := &block.Conflict[*block.SignedHeader]{Height: 4, Have: w.at(4).Header, Got: right[0].Header}
	require.NoError(t, p.Report(t.Context(), c, "peer"))
	require.Equal(t, uint64(3), headersOf{w.store}.Height())
	require.Empty(t, w.events.conflicts, "two proposers are no proof against one")
}

// After a crash between the block that names another proposer and the removal.
func TestDeposedProposerAfterCrash(t *testing.T) {
	for at := 1; ; at++ {
		w, right := deposed(t)
		p := w.start()
		w.faults.calls, w.faults.at, w.faults.crash = 0, at, true
		err := p.Apply(t.Context(), w.blocks, block.SourceP2P)
		require.Error(t, err)
		if isReverted(err) {
			require.Greater(t, at, 3, "there are faults to be had")
			return
		}
		w.faults.at, w.faults.crash, w.faults.dead = 0, false, false
		p = w.start()
		_ = p.Apply(t.Context(), w.blocks[:headersOf{w.store}.Height()], block.SourceP2P)
		require.Equal(t, uint64(3), headersOf{w.store}.Height(), "fault %d", at)
		w.store.put(right...)
		require.NoError(t, p.Apply(t.Context(), right, block.SourceP2P), "fault %d", at)
		require.Equal(t, uint64(6), p.Snapshot().Applied())
		require.Empty(t, w.exec.again)
	}
}

func isReverted(err error) bool {
	var r *pipeline.RevertedError
	return errors.As(err, &r)
}

// An executor that names what cannot be an address stops the node.
func TestNextProposerOfWrongLength(t *testing.T) {
	w := newWorld(t, 3)
	w.exec.proposer = map[uint64][]byte{2: bytes.Repeat([]byte{1}, 20)}
	err := w.start().Apply(t.Context(), w.blocks, block.SourceP2P)
	require.ErrorContains(t, err, "after block 2 the executor named a next proposer of 20 bytes")
	require.True(t, isPermanent(err))
}

// An executor that changes its mind about who comes next is found out.
func TestReplayNamesAnotherProposer(t *testing.T) {
	w, _ := deposed(t)
	require.Error(t, w.start().Apply(t.Context(), w.blocks, block.SourceP2P))
	w.exec.proposer = nil
	w.exec.latest = 0
	p := pipeline.New(w.params())
	err := p.Open(t.Context())
	require.ErrorContains(t, err, "replayed, block 3 names")
	require.True(t, isPermanent(err))
}

// The rewind that followed from a block, and not from what DA showed, is for the DA
// worker: a caller without positions neither hears of it nor takes it away.
func TestRewindIsForTheDAWorker(t *testing.T) {
	w, _ := deposed(t)
	p := w.start()
	require.NoError(t, p.Include(t.Context(), append(seen(w.at(1), 7), seen(w.at(5), 8)...), upTo(20)))
	require.ErrorAs(t, p.Apply(t.Context(), w.blocks, block.SourceP2P), new(*pipeline.RevertedError))
	require.LessOrEqual(t, w.store.DA().Floor, uint64(8))
	require.NoError(t, p.Include(t.Context(), seenHeader(w.at(2), 9), block.DAPositions{}))
	require.ErrorAs(t, p.Include(t.Context(), nil, upTo(21)), new(*pipeline.RevertedError))
	require.LessOrEqual(t, w.store.DA().Floor, uint64(8))
	require.NoError(t, p.Include(t.Context(), nil, upTo(8)), "once")
}
