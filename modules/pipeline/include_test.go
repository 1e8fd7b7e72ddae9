package pipeline_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
)

func TestInvariant2_FinalByHashOnDA(t *testing.T) {
	// Steps are done in order; "a" applies all blocks, others are inclusions.
	w := newWorld(t, 3)
	header, data := seenHeader(w.at(1), 10), seenData(w.at(1), 11)
	foreign := []block.Inclusion{{Height: 1, Kind: block.KindData, Hash: block.Sum([]byte("x")), DAHeight: 9}}
	tests := map[string]struct {
		steps [][]block.Inclusion // nil applies
		want  uint64
	}{
		"applied, header, data":              {[][]block.Inclusion{nil, header, data}, 1},
		"applied, data, header":              {[][]block.Inclusion{nil, data, header}, 1},
		"header, applied, data":              {[][]block.Inclusion{header, nil, data}, 1},
		"data, header, applied":              {[][]block.Inclusion{data, header, nil}, 1},
		"header alone":                       {[][]block.Inclusion{nil, header}, 0},
		"data alone":                         {[][]block.Inclusion{nil, data}, 0},
		"not applied":                        {[][]block.Inclusion{header, data}, 0},
		"twice":                              {[][]block.Inclusion{nil, header, header, data, data}, 1},
		"foreign data":                       {[][]block.Inclusion{nil, header, foreign}, 0},
		"foreign data before the right one":  {[][]block.Inclusion{nil, header, foreign, data}, 1},
		"foreign data before it is applied":  {[][]block.Inclusion{foreign, header, nil}, 0},
		"both, after a later one":            {[][]block.Inclusion{nil, seen(w.at(2), 9), header, data}, 2},
		"a later one only":                   {[][]block.Inclusion{nil, seen(w.at(2), 9)}, 0},
		"empty block needs the header only":  {[][]block.Inclusion{nil, header, data, seen(w.at(2), 12), seenHeader(w.at(3), 12)}, 3},
		"split and mixed over three heights": {[][]block.Inclusion{seenData(w.at(2), 1), seenHeader(w.at(3), 2), nil, data, seenHeader(w.at(2), 4), header}, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			p := w.start()
			for i, incs := range tt.steps {
				if incs == nil {
					require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
				} else {
					require.NoError(t, p.Include(t.Context(), incs, upTo(uint64(100+i))))
					require.Equal(t, uint64(100+i), w.store.cursor)
				}
			}
			s := p.Snapshot()
			require.Equal(t, tt.want, s.Final)
			require.Equal(t, heights(1, tt.want), w.exec.finals)
			require.Equal(t, heights(1, tt.want), w.events.final)
			require.Equal(t, tt.want, w.store.final)
			if tt.want > 0 {
				require.Equal(t, w.at(tt.want).Header.Digest(), s.FinalHash)
				require.Equal(t, s.FinalHash, w.events.hashes[tt.want-1])
			}

			s = w.start().Snapshot()
			require.Equal(t, tt.want, s.Final, "survives a restart")
			require.Equal(t, heights(1, tt.want), w.exec.finals)
		})
	}
}

func TestIncludeIsOneBatch(t *testing.T) {
	w := newWorld(t, 3)
	p := w.start()
	incs := slices.Concat(seen(w.at(1), 7), seen(w.at(2), 7), seen(w.at(1), 7), seenHeader(w.at(2), 8))
	require.NoError(t, p.Include(t.Context(), incs, upTo(9)))
	require.Len(t, w.store.batches, 1)
	require.Equal(t, uint64(9), w.store.batches[0].DA.Floor)
	require.Len(t, w.store.batches[0].Inclusions, 4)
	require.NoError(t, p.Include(t.Context(), incs, upTo(9)), "nothing new")
	require.NoError(t, p.Include(t.Context(), nil, upTo(0)))
	require.Len(t, w.store.batches, 1)
	require.NoError(t, p.Include(t.Context(), nil, upTo(10)))
	require.Len(t, w.store.batches, 2)
	require.NoError(t, p.Include(t.Context(), nil, upTo(5)), "a lower cursor is taken")
	require.Equal(t, uint64(5), w.store.cursor)
	require.Error(t, p.Include(t.Context(), []block.Inclusion{{Height: 1, Kind: block.KindHeader}}, upTo(11)))
}

func TestDAHeightOfState(t *testing.T) {
	w := newWorld(t, 3)
	p := w.start()
	require.NoError(t, p.Include(t.Context(), seen(w.at(2), 40), upTo(41)))
	require.NoError(t, p.Apply(t.Context(), w.blocks[:1], block.SourceP2P))
	require.Equal(t, uint64(1), p.Snapshot().State.DAHeight, "the genesis has it")
	require.NoError(t, p.Apply(t.Context(), w.blocks[1:], block.SourceDA))
	require.Equal(t, uint64(40), p.Snapshot().State.DAHeight)
}

// T2: a header that is not the applied one does not make its height final, and
// neither does anything that follows it on DA.
func TestT2_FalseFinality(t *testing.T) {
	w := newWorld(t, 4)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	bad := block.Inclusion{Height: 2, Kind: block.KindHeader, Hash: block.Sum([]byte("other")), DAHeight: 8}
	incs := slices.Concat(seen(w.at(1), 7), []block.Inclusion{bad}, seenData(w.at(2), 8), seen(w.at(3), 8))

	err := p.Include(t.Context(), incs, upTo(9))
	var e *pipeline.EquivocationError
	require.ErrorAs(t, err, &e)
	require.Equal(t, pipeline.EquivocationError{Height: 2, Applied: w.at(2).Header.Digest(), OnDA: bad.Hash, DAHeight: 8}, *e)
	require.False(t, isPermanent(err), "the header that makes it a proof is yet to come")
	require.Zero(t, w.store.cursor, "it is read again")
	require.Equal(t, uint64(7), w.store.incs[1].HeaderDA)
	require.Equal(t, uint64(8), w.store.incs[3].HeaderDA)
	require.Equal(t, uint64(1), p.Snapshot().Final)

	err = p.Include(t.Context(), seenHeader(w.at(2), 20), upTo(21))
	require.ErrorAs(t, err, &e, "first on DA stands")
	require.Equal(t, bad.Hash, e.OnDA)
	require.Equal(t, w.at(2).Header.Digest(), e.Applied)
	require.Equal(t, uint64(1), p.Snapshot().Final)
	require.Equal(t, []uint64{1}, w.exec.finals)

	p = w.start()
	require.NoError(t, p.Include(t.Context(), seen(w.at(4), 30), upTo(31)))
	require.Equal(t, uint64(1), p.Snapshot().Final, "a restart does not forget it")
}

func TestConflictOnDABeforeTheBlockIsApplied(t *testing.T) {
	w := newWorld(t, 3)
	p := w.start()
	onDA := block.Inclusion{Height: 2, Kind: block.KindHeader, Hash: block.Sum([]byte("other")), DAHeight: 8}
	require.NoError(t, p.Include(t.Context(), []block.Inclusion{onDA}, upTo(9)))
	for range 2 {
		err := p.Apply(t.Context(), w.blocks, block.SourceP2P)
		var e *pipeline.EquivocationError
		require.ErrorAs(t, err, &e)
		require.Equal(t, pipeline.EquivocationError{Height: 2, Applied: w.at(2).Header.Digest(), OnDA: onDA.Hash, DAHeight: 8}, *e)
		require.False(t, isPermanent(err), "the DA worker brings the other header")
		require.Equal(t, uint64(1), p.Snapshot().Applied())
		require.Equal(t, []uint64{1}, w.exec.ran)
	}
	require.Len(t, w.logs.FilterLevelExact(zapcore.WarnLevel).All(), 1, "logged once")
	require.Equal(t, []block.Hash{onDA.Hash}, w.events.conflicts, "so that the DA worker looks at once")
}

// T9: the first header on DA stands, wherever the second one turns up.
func TestT9_TwoHeadersOnDA(t *testing.T) {
	for name, applied := range map[string]int{"above the applied head": 0, "applied": 1, "final": 2} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			other := w.rival(1)
			p := w.start()
			if applied > 0 {
				require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
			}
			first := seenHeader(w.at(1), 5)
			if applied > 1 {
				first = seen(w.at(1), 5)
			}
			require.NoError(t, p.Include(t.Context(), first, upTo(6)))
			require.NoError(t, p.Include(t.Context(), append(contested(other, 7), seenHeader(w.at(2), 7)...), upTo(8)))
			require.Equal(t, uint64(8), w.store.cursor)
			require.Equal(t, uint64(5), w.store.incs[1].HeaderDA, "the first stands")
			require.Equal(t, w.at(1).Header.Digest(), w.store.incs[1].HeaderHash)
			require.Equal(t, uint64(7), w.store.incs[2].HeaderDA)
			require.Len(t, w.store.proofs, 1)
			require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
		})
	}
}

// Both headers in one DA height, in one call.
func TestT9_TwoHeadersInOneCall(t *testing.T) {
	w := newWorld(t, 1)
	p := w.start()
	require.NoError(t, p.Include(t.Context(), append(seenHeader(w.at(1), 5), contested(w.rival(1), 5)...), upTo(6)))
	require.Equal(t, w.at(1).Header.Digest(), w.store.incs[1].HeaderHash)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceDA))
}

func TestSetFinalOncePerHeightAcrossRestarts(t *testing.T) {
	w := newWorld(t, 9)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	for h := uint64(9); h >= 1; h-- {
		require.NoError(t, p.Include(t.Context(), seen(w.at(h), h), upTo(20+h)))
		if h == 5 {
			p = w.start()
		}
	}
	p = w.start()
	require.NoError(t, p.Include(t.Context(), seen(w.at(3), 50), upTo(51)))
	require.Equal(t, heights(1, 9), w.exec.finals)
	require.Equal(t, uint64(9), p.Snapshot().Final)
}

func TestSetFinalFailureIsTriedAgain(t *testing.T) {
	w := newWorld(t, 5)
	p := w.start()
	broken := errors.New("busy")
	w.exec.onFinal = func(h uint64) error {
		if h == 3 {
			return broken
		}
		return nil
	}
	var incs []block.Inclusion
	for _, b := range w.blocks {
		incs = append(incs, seen(b, 4)...)
	}
	require.NoError(t, p.Include(t.Context(), incs, upTo(5)))
	require.NoError(t, p.Apply(t.Context(), w.blocks[:4], block.SourceDA), "the blocks are applied all the same")
	require.Equal(t, uint64(4), p.Snapshot().Applied())
	require.Equal(t, uint64(2), p.Snapshot().Final)
	require.Equal(t, 1, w.logs.FilterMessage("final height not advanced, will try again").Len())
	require.ErrorIs(t, p.Include(t.Context(), nil, upTo(6)), broken)
	require.Equal(t, uint64(6), w.store.cursor)
	w.exec.onFinal = nil
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceDA))
	require.Equal(t, uint64(5), p.Snapshot().Final)
	require.Equal(t, heights(1, 5), w.exec.finals)
}

func TestSetFinalPanicIsNamed(t *testing.T) {
	w := newWorld(t, 2)
	p := w.start()
	w.exec.onFinal = func(uint64) error { panic("boom") }
	require.NoError(t, p.Include(t.Context(), seen(w.at(1), 4), upTo(5)))
	err := p.Apply(t.Context(), w.blocks, block.SourceDA)
	require.ErrorContains(t, err, "executor panicked in SetFinal of block 1: boom")
	require.True(t, isPermanent(err))
	require.Equal(t, uint64(2), p.Snapshot().Applied())
}

// Many heights become final at once, also beyond what is kept in memory.
func TestLongBacklogBecomesFinal(t *testing.T) {
	const n = 5000
	w := newWorld(t, n)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	var incs []block.Inclusion
	for _, b := range w.blocks[1:] {
		incs = append(incs, seen(b, 4)...)
	}
	require.NoError(t, p.Include(t.Context(), incs, upTo(5)))
	require.Equal(t, uint64(0), p.Snapshot().Final)
	before := len(w.store.batches)
	require.NoError(t, p.Include(t.Context(), seen(w.at(1), 5), upTo(6)))
	require.Equal(t, uint64(n), p.Snapshot().Final)
	require.Equal(t, heights(1, n), w.exec.finals)
	require.Equal(t, 1+5, len(w.store.batches)-before)
}

func TestHeadersOnly(t *testing.T) {
	w := newWorld(t, 6)
	w.cfg.HeadersOnly = true
	var light []block.Block
	for _, b := range w.blocks {
		light = append(light, block.Block{Header: b.Header})
	}
	with := w.params()
	with.Executor, with.Data = nil, nil
	p := pipeline.New(with)
	require.NoError(t, p.Open(t.Context()))
	require.NoError(t, p.Apply(t.Context(), light[:4], block.SourceP2P))
	require.Equal(t, w.at(4).Header.Header.AppHash, p.Snapshot().State.AppHash)
	require.Empty(t, w.exec.ran)

	bad := *w.at(5).Header
	bad.Header.LastHeaderHash = nil
	require.Error(t, p.Apply(t.Context(), []block.Block{{Header: block.NewSignedHeader(bad.Header, bad.Signature, bad.Signer)}}, block.SourceP2P))
	require.NoError(t, p.Apply(t.Context(), light, block.SourceP2P))

	require.NoError(t, p.Include(t.Context(), append(seenHeader(w.at(1), 3), seenHeader(w.at(2), 3)...), upTo(4)))
	require.NoError(t, p.Include(t.Context(), seenData(w.at(4), 3), upTo(5)))
	require.Equal(t, uint64(2), p.Snapshot().Final)
	require.Zero(t, w.store.incs[4].DataDA)
	require.Empty(t, w.exec.finals)

	p = pipeline.New(with)
	require.NoError(t, p.Open(t.Context()))
	require.Equal(t, uint64(6), p.Snapshot().Applied())
	require.Equal(t, uint64(2), p.Snapshot().Final)
}

// Blocks that are final and no longer kept are dropped without a comparison.
func TestPrunedBlocksAreDropped(t *testing.T) {
	w := newWorld(t, 3)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.NoError(t, p.Include(t.Context(), append(seen(w.at(1), 3), seen(w.at(2), 3)...), upTo(4)))
	delete(w.store.states, 1)
	p = w.start()
	require.NoError(t, p.Include(t.Context(), seen(w.at(1), 3), upTo(5)))
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceDA))
	require.Equal(t, uint64(5), w.store.cursor)
}
