package forced

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
)

func (w *world) watcher() *Watcher {
	w.t.Helper()
	x := NewWatcher(w.params(), w)
	require.NoError(w.t, x.recall())
	return x
}

// check has a watcher look at everything up to a DA height.
func (w *world) check(x *Watcher, upTo uint64) error {
	w.head, w.cursor = max(w.head, upTo), upTo+1
	return x.round(w.t.Context())
}

func bytesOf(txs ...string) [][]byte {
	var out [][]byte
	for _, tx := range txs {
		out = append(out, []byte(tx))
	}
	return out
}

// T3: an honest sequencer is never accused, whatever came first: the block by P2P
// or the transaction from DA, and with a restart at every step.
func TestT3_HonestSequencerIsNotAccused(t *testing.T) {
	for _, order := range []string{"live", "blocks first", "restarted"} {
		t.Run(order, func(t *testing.T) {
			w := newWorld(t)
			w.block(0, 1)
			for height := uint64(1); height <= 60; height++ {
				w.force(height, fmt.Sprintf("tx-%d", height))
			}
			taker, watcher := NewTaker(w.params()), w.watcher()
			for w.head = 1; w.head <= 100; w.head++ {
				require.NoError(t, taker.round(t.Context(), false))
				w.produce(taker, 30)
				if order == "blocks first" {
					continue
				}
				if order == "restarted" {
					watcher = w.watcher()
				}
				require.NoError(t, w.check(watcher, w.head))
			}
			require.NoError(t, w.check(watcher, 100))
			require.Zero(t, watcher.Stats().Waiting)
			require.Zero(t, watcher.Stats().Bytes)
		})
	}
}

// T3: what was in a block before anybody read that it was forced, since it came by
// the mempool as well, counts as taken, also after a restart.
func TestT3_TakenBeforeItsEpochIsRead(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		w := newWorld(t)
		w.force(2, "tx")
		w.block(0, 1)
		w.block(3, 3, bytesOf("tx")...)
		taker, watcher := NewTaker(w.params()), w.watcher()
		for w.head = 4; w.head < 60; w.head++ {
			if restarted {
				taker, watcher = w.taker(), w.watcher()
			}
			w.round(taker)
			require.Empty(t, w.produce(taker, 100), "it is taken once")
			require.NoError(t, w.check(watcher, w.head))
		}
		require.Zero(t, w.waits(watcher))
	}
}

// A sequencer that leaves one transaction out is found out, also when it takes
// later ones, by whoever looks, live or years after, and again after a restart.
func TestCensorIsFoundOut(t *testing.T) {
	for _, later := range []bool{false, true} {
		w := newWorld(t)
		w.force(2, "wanted")
		w.force(3, "favoured")
		w.block(0, 1)
		watcher := w.watcher()
		var err error
		for w.head = 6; w.head < 60 && err == nil; w.head++ {
			var txs [][]byte
			if later && w.head == 12 {
				txs = bytesOf("favoured")
			}
			w.block(w.head, w.head, txs...)
			err = w.check(watcher, w.head)
		}
		var censored *CensorError
		require.ErrorAs(t, err, &censored)
		require.Equal(t, Position{2, 0}, censored.At)
		require.Equal(t, block.Sum([]byte("wanted")), censored.Tx)
		require.Equal(t, uint64(4), censored.Epochs)
		require.False(t, censored.Permanent(), "the node goes on serving")
		require.Len(t, w.proofs, 1)
		e := w.proofs[0]
		require.Equal(t, &block.LeftOut{DAHeight: 2, Epochs: 4}, e.Refuted.Forced)
		require.Equal(t, censored.Tx, e.Refuted.WantHash)
		require.Equal(t, uint64(25), e.Second.DAHeight, "the newest block posted by then")
		require.Contains(t, err.Error(), "sequencer censors")
		head := w.head - 1
		require.Equal(t, uint64(25), head, "four epochs after its own")

		again := w.watcher()
		require.Equal(t, err, again.Held(), "before anything is checked after a restart")
		require.Equal(t, err, w.check(again, head), "after a restart")
		require.Len(t, w.proofs, 1)
		clear(w.meta)
		for w.head < 60 {
			w.head++
			w.block(w.head, w.head)
		}
		require.Equal(t, err, w.check(w.watcher(), 60), "from genesis")
	}
}

// leftOut returns a world in which a forced transaction was left out for too long,
// and what a watcher with a policy says of it.
func leftOut(t *testing.T, policy Policy) (*world, *Watcher, error) {
	t.Helper()
	w := newWorld(t)
	w.force(2, "wanted")
	w.block(0, 1)
	x := w.watching(policy)
	var err error
	for w.head = 6; w.head < 60 && err == nil; w.head++ {
		w.block(w.head, w.head)
		err = w.check(x, w.head)
	}
	require.ErrorAs(t, err, new(*CensorError))
	return w, x, err
}

func (w *world) watching(policy Policy) *Watcher {
	w.t.Helper()
	p := w.params()
	p.Config.Policy, p.Problems = policy, w.board
	x := NewWatcher(p, w)
	require.NoError(w.t, x.recall())
	return x
}

// Nothing above is applied, and the reason is on the board, until DA holds a block
// that has the transaction; also over restarts.
func TestCensoredChainGoesOnWhenDAHasTheTransaction(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		w, x, err := leftOut(t, PolicyWait)
		require.Equal(t, err, x.Held())
		applied := w.final
		more := func(posted uint64, txs ...[]byte) error {
			w.block(w.head, posted, txs...)
			w.final = applied // nothing is applied
			if restarted {
				x = w.watching(PolicyWait)
				require.Error(t, x.Held())
			}
			err := w.check(x, w.head)
			w.head++
			return err
		}
		for range 6 * epoch {
			require.Equal(t, err, more(w.head))
		}
		list := w.board.List()
		require.Len(t, list, 1)
		require.Equal(t, err.Error(), list[0].Reason)
		require.True(t, list[0].Unready)
		require.Equal(t, err, more(0, bytesOf("wanted")...), "peers have it, DA has not")
		require.Equal(t, err, more(w.head))
		late := applied + 6*epoch + 1
		in := w.seen[late]
		in.HeaderDA, in.DataDA = w.head, w.head
		w.seen[late] = in
		require.NoError(t, more(w.head))
		require.NoError(t, x.Held())
		require.Empty(t, w.board.List())
		for range 2 * epoch { // until the epoch in which it was taken has ended
			if restarted {
				x = w.watching(PolicyWait)
			}
			w.block(w.head, w.head)
			require.NoError(t, w.check(x, w.head))
			w.head++
		}
		require.Zero(t, w.waits(x))
		require.Len(t, w.proofs, 1, "that it came late does not excuse the blocks before")
	}
}

// By the policy halt the node ends once per transaction, and then serves.
func TestCensorHaltsOnce(t *testing.T) {
	w, _, err := leftOut(t, PolicyHalt)
	var censored *CensorError
	require.ErrorAs(t, err, &censored)
	require.True(t, censored.Permanent())
	for range 3 {
		x := w.watching(PolicyHalt)
		require.ErrorAs(t, x.Held(), &censored)
		require.False(t, censored.Permanent())
		require.ErrorAs(t, w.check(x, w.head), &censored)
		require.False(t, censored.Permanent(), "a restart does not end for the same transaction")
	}
	x := w.watching(PolicyWarn) // an operator's decision
	require.NoError(t, x.Held())
	require.NoError(t, w.check(x, w.head))
	require.Equal(t, uint64(1), x.Stats().Censored)
}

// By the policy warn the chain is followed, and the others are still checked.
func TestCensorWarn(t *testing.T) {
	w := newWorld(t)
	w.force(2, "one", "two")
	w.block(0, 1)
	p := w.params()
	p.Config.Policy = PolicyWarn
	x := NewWatcher(p, w)
	for w.head = 6; w.head < 80; w.head++ {
		w.block(w.head, w.head)
		require.NoError(t, w.check(x, w.head))
	}
	x.publish(nil)
	require.Equal(t, uint64(2), x.Stats().Censored)
	require.Contains(t, x.Stats().Last, "sequencer censors")
	require.Len(t, w.proofs, 2)
}

// A sequencer that posts nothing, since its way to DA is cut, is not accused for
// that time.
func TestSilentSequencerIsNotAccused(t *testing.T) {
	w := newWorld(t)
	w.force(2, "tx")
	w.block(0, 1)
	watcher := w.watcher()
	for w.head = 6; w.head < 200; w.head++ {
		require.NoError(t, w.check(watcher, w.head))
	}
	require.Equal(t, 1, w.waits(watcher))
	w.block(w.head, w.head, bytesOf("tx")...)
	require.NoError(t, w.check(watcher, w.head+epoch))
	require.Zero(t, w.waits(watcher))
}

func (w *world) waits(x *Watcher) int { x.publish(nil); return x.Stats().Waiting }

// More is forced than the blocks have room for: what is in order waits, and nobody
// is accused.
func TestFloodIsNoCensorship(t *testing.T) {
	w := newWorld(t)
	w.block(0, 1)
	for i := range 200 {
		w.force(uint64(i%5)+1, fmt.Sprintf("%03d", i))
	}
	p := w.params()
	p.Config.PendingBytes = 20 * entryBytes
	x, taker := NewWatcher(p, w), NewTaker(w.params())
	for w.head = 5; w.head < 120; w.head++ {
		require.NoError(t, taker.round(t.Context(), false))
		w.produce(taker, 2*5)
		require.NoError(t, w.check(x, w.head))
		require.LessOrEqual(t, x.book.bytes, p.Config.PendingBytes+40*entryBytes)
	}
	require.NoError(t, w.check(x, 125))
	require.Zero(t, w.waits(x))
}

// T11: 1,200 transactions in several blocks of one DA height leave nothing behind.
func TestT11_NothingIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	w.block(0, 1)
	var txs []string
	for i := range 1200 {
		txs = append(txs, fmt.Sprintf("tx-%d", i))
	}
	w.force(3, txs...)
	watcher := w.watcher()
	require.NoError(t, w.check(watcher, 5))
	require.Equal(t, 1200, w.waits(watcher))
	for i := 0; i < 1200; i += 200 {
		w.block(6, 7, bytesOf(txs[i:i+200]...)...) // six blocks, one DA height
	}
	require.NoError(t, w.check(watcher, 10))
	require.Zero(t, w.waits(watcher))
	require.Zero(t, watcher.book.bytes)
	require.Empty(t, watcher.book.waiting)
	require.Empty(t, watcher.book.entries)
	require.Less(t, len(w.meta[checkedKey]), 64)
}

// Nothing is judged before the blocks that DA shows are final here.
func TestWatcherWaitsForFinality(t *testing.T) {
	w := newWorld(t)
	w.force(2, "tx")
	w.block(0, 1)
	w.block(6, 6, bytesOf("tx")...)
	watcher := w.watcher()
	w.final = 1
	require.NoError(t, w.check(watcher, 20))
	require.Equal(t, uint64(1), watcher.epoch, "block 2 lies in the second epoch and is not final")
	w.final = 2
	require.NoError(t, w.check(watcher, 20))
	require.Equal(t, uint64(4), watcher.epoch)
	require.Zero(t, w.waits(watcher))
}
