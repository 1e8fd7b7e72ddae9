package repair_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/repair"
)

func TestRollBack(t *testing.T) {
	for _, name := range executors() {
		w := newWorld(t, name, 30)
		w.applied(20, 10)
		done, err := repair.RollBack(t.Context(), w.p, repair.Rollback{To: 15})
		require.NoError(t, err)
		require.Equal(t, repair.Rolled{From: 20, To: 15, Final: 10, DAFloor: 20}, done)
		w.live(func(n *node) {
			require.Equal(t, w.at(15).Header.Digest(), n.Snapshot().AppliedHash)
			require.Equal(t, uint64(15), n.store.Headers().Height())
			require.Equal(t, uint64(15), n.store.Data().Height())
			w.level(n)
		})
		w.follows()
	}
}

// A rollback goes as far as it is told, also below what the executor has kept: that
// is given all blocks again.
func TestRollBackBelowWhatTheExecutorKeeps(t *testing.T) {
	for _, name := range executors() {
		w := newWorld(t, name, 40)
		w.applied(30, 30)
		w.applied(40, 40)
		done, err := repair.RollBack(t.Context(), w.p, repair.Rollback{To: 5, Force: true})
		require.NoError(t, err)
		require.True(t, done.Replays)
		require.Equal(t, uint64(5), done.Final)
		require.Equal(t, uint64(15), done.DAFloor)
		w.live(func(n *node) {
			require.Equal(t, uint64(5), n.Snapshot().Applied())
			w.level(n)
		})
		w.follows()
	}
}

func TestRollBackToTheBeginning(t *testing.T) {
	w := newWorld(t, "kv", 10)
	w.applied(5, 0)
	_, err := repair.RollBack(t.Context(), w.p, repair.Rollback{To: 0})
	require.NoError(t, err)
	w.live(func(n *node) { require.Zero(t, n.Snapshot().Applied()) })
	w.follows()
}

// Blocks that are stored and were not applied go too.
func TestRollBackOfStoredBlocks(t *testing.T) {
	w := newWorld(t, "kv", 10)
	w.applied(5, 0)
	w.live(func(n *node) {
		n.keep(t, w.blocks[5:7])
		require.Equal(t, uint64(7), n.store.Headers().Height())
	})
	_, err := repair.RollBack(t.Context(), w.p, repair.Rollback{To: 5})
	require.NoError(t, err)
	w.live(func(n *node) { require.Equal(t, uint64(5), n.store.Headers().Height()) })
	w.follows()
}

func TestRollBackRefuses(t *testing.T) {
	w := newWorld(t, "kv", 10)
	w.p.Produces, w.p.Signed = true, signed(8)
	w.applied(8, 4)
	for _, c := range []struct {
		r    repair.Rollback
		want string
	}{
		{repair.Rollback{To: 8, Force: true, Discard: true}, "nothing above it, the highest block here is 8"},
		{repair.Rollback{To: 3, Discard: true}, "block 4 is final, DA holds all blocks up to it; --force goes below it"},
		{repair.Rollback{To: 6}, "2 blocks (7 to 8) were made by this node and are not final"},
		{repair.Rollback{To: 2, Force: true}, "4 blocks (5 to 8) were made by this node and are not final"},
	} {
		_, err := repair.RollBack(t.Context(), w.p, c.r)
		var refused *repair.RefusedError
		require.ErrorAs(t, err, &refused)
		require.ErrorContains(t, err, c.want)
	}
	w.live(func(n *node) { require.Equal(t, uint64(8), n.Snapshot().Applied(), "nothing was changed") })
	done, err := repair.RollBack(t.Context(), w.p, repair.Rollback{To: 6, Discard: true})
	require.NoError(t, err)
	require.Equal(t, repair.Blocks{First: 7, Last: 8}, done.Discarded)
}

// What was concluded from blocks is forgotten with them where they may not come back.
func TestRollBackForgets(t *testing.T) {
	w := newWorld(t, "kv", 10)
	w.p.Forget = []string{"taken"}
	w.applied(8, 4)
	keep := func() (kept bool) {
		w.live(func(n *node) {
			_, ok, err := n.store.Meta("taken")
			require.NoError(t, err)
			kept = ok
		})
		return kept
	}
	w.live(func(n *node) { require.NoError(t, n.store.PutMeta("taken", []byte{1})) })
	_, err := repair.RollBack(t.Context(), w.p, repair.Rollback{To: 6})
	require.NoError(t, err)
	require.True(t, keep(), "a follower reads final blocks only")
	_, err = repair.RollBack(t.Context(), w.p, repair.Rollback{To: 2, Force: true})
	require.NoError(t, err)
	require.False(t, keep())
}

func TestRollBackOfARunningNode(t *testing.T) {
	w := newWorld(t, "kv", 5)
	w.applied(5, 0)
	w.live(func(n *node) {
		_, err := repair.RollBack(t.Context(), w.p, repair.Rollback{To: 2})
		require.ErrorIs(t, err, leveldb.ErrInUse)
		n.include(t, w.blocks...)
	})
}

// A rollback that was cut short after its decision is finished by the next start,
// and by the next rollback.
func TestRollBackIsFinishedByAStart(t *testing.T) {
	for _, again := range []bool{false, true} {
		w := newWorld(t, "kv", 10)
		w.applied(10, 2)
		w.live(func(n *node) { require.NoError(t, n.store.SaveRevert(t.Context(), block.Revert{To: 6, DACursor: 3})) })
		if again {
			_, err := repair.RollBack(t.Context(), w.p, repair.Rollback{To: 4})
			require.NoError(t, err)
		}
		w.live(func(n *node) {
			require.Equal(t, map[bool]uint64{false: 6, true: 4}[again], n.Snapshot().Applied())
			w.level(n)
		})
		w.follows()
	}
}
