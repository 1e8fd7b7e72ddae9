package forced

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/testutil"
)

const (
	daTime = 6 * time.Second
	epoch  = 5 // DA heights
)

// world is a DA layer, a chain and what a process leaves on disk.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	head  uint64
	blobs map[uint64][][]byte
	down  error
	reads int

	chain  *testutil.Chain
	blocks []block.Block
	seen   map[uint64]block.Included
	final  uint64
	cursor uint64
	meta   map[string][]byte
	proofs []block.Evidence
	board  *problems.Board
	change chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, blobs: map[uint64][][]byte{}, chain: testutil.NewChain("forced"), seen: map[uint64]block.Included{},
		board: problems.New(), meta: map[string][]byte{}, change: make(chan struct{}),
	}
	w.chain.Genesis.DAEpochForcedInclusion = epoch
	return w
}

// at is the time of a DA height.
func (w *world) at(height uint64) time.Time {
	return w.chain.Genesis.StartTime.Add(time.Duration(height) * daTime)
}

func (w *world) Head(context.Context) (da.Head, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return da.Head{Height: w.head, Time: w.at(w.head)}, w.down
}

func (w *world) HeaderAt(_ context.Context, height uint64) (da.Head, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return da.Head{Height: height, Time: w.at(height)}, w.down
}

func (w *world) Blobs(_ context.Context, height uint64, ns ...da.Namespace) ([]da.Blob, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if height > w.head {
		return nil, da.ErrFuture
	}
	var out []da.Blob
	for _, b := range w.blobs[height] {
		out = append(out, da.Blob{Namespace: ns[0], Data: b})
	}
	return out, w.down
}

func (w *world) Submit(context.Context, da.Namespace, [][]byte) (uint64, error) { return 0, da.ErrBusy }

func (w *world) Watch(context.Context) (<-chan uint64, error) { return nil, da.ErrDisabled }

func (w *world) Headers(_ context.Context, from, _ uint64) ([]*block.SignedHeader, error) {
	if from < 1 || from > uint64(len(w.blocks)) {
		return nil, nil
	}
	return []*block.SignedHeader{w.blocks[from-1].Header}, nil
}

func (w *world) Data(_ context.Context, from, to uint64) ([]*block.Data, error) {
	if from < 1 || from > uint64(len(w.blocks)) {
		return nil, nil
	}
	return testutil.DataOf(w.blocks[from-1 : min(to-1, uint64(len(w.blocks)))]), nil
}

func (w *world) Meta(key string) ([]byte, bool, error) { v, ok := w.meta[key]; return v, ok, nil }

func (w *world) PutMeta(key string, value []byte) error {
	w.meta[key] = bytes.Clone(value)
	return nil
}

func (w *world) SaveEvidence(_ context.Context, e block.Evidence) (bool, error) {
	require.NoError(w.t, e.Verify(w.chain.Genesis))
	for _, have := range w.proofs {
		if have.ID() == e.ID() {
			return false, nil
		}
	}
	w.proofs = append(w.proofs, e)
	return true, nil
}

func (w *world) Applied() uint64          { return uint64(len(w.blocks)) }
func (w *world) Final() uint64            { return w.final }
func (w *world) DAScanned() uint64        { return w.cursor }
func (w *world) Changed() <-chan struct{} { return w.change }

func (w *world) Inclusion(_ context.Context, height uint64) (block.Included, error) {
	return w.seen[height], nil
}

func (w *world) params() Params {
	c := Default()
	return Params{
		Client: w, Namespace: da.NamespaceOf("forced"), Enabled: true, Genesis: w.chain.Genesis, Chain: w, Applied: w.Applied,
		Meta: w, Evidence: w, Executor: "test-executor", Config: c, Poll: daTime,
	}
}

// force posts transactions at a DA height.
func (w *world) force(height uint64, txs ...string) {
	for _, tx := range txs {
		w.blobs[height] = append(w.blobs[height], []byte(tx))
	}
}

// block makes a block at the time of a DA height, posted at another.
func (w *world) block(made, posted uint64, txs ...[]byte) {
	last := w.chain.Genesis.StartTime
	if n := len(w.blocks); n > 0 {
		last = w.blocks[n-1].Header.Time()
	}
	w.chain.Step = max(w.at(made).Sub(last), 0)
	b := w.chain.Next(txs...)
	w.blocks = append(w.blocks, b)
	w.seen[b.Height()] = block.Included{HeaderHash: b.Header.Digest(), HeaderDA: posted, Commitment: b.Data.Commitment(), DataDA: posted}
	w.final = b.Height()
}

func (w *world) state() block.State {
	st := block.GenesisState(w.chain.Genesis, nil)
	if n := len(w.blocks); n > 0 {
		st = st.Next(w.blocks[n-1].Header, block.ExecResult{})
	}
	return st
}

// produce makes a block of what a taker gives.
func (w *world) produce(t *Taker, most int) []string {
	w.t.Helper()
	txs, at, err := t.Take(w.t.Context(), w.state(), most)
	require.NoError(w.t, err)
	made := w.head
	if len(txs) > 0 {
		require.False(w.t, at.After(w.at(w.head)))
	}
	w.block(made, w.head+1, txs...)
	return texts(txs)
}

func texts(txs [][]byte) []string {
	var out []string
	for _, tx := range txs {
		out = append(out, string(tx))
	}
	return out
}

func (w *world) taker() *Taker {
	w.t.Helper()
	t := NewTaker(w.params())
	require.NoError(w.t, t.recall())
	require.NoError(w.t, t.round(w.t.Context(), true))
	return t
}

func (w *world) round(t *Taker) {
	w.t.Helper()
	require.NoError(w.t, t.round(w.t.Context(), false))
}

func TestEpochs(t *testing.T) {
	e := epochs{first: 3, length: 5}
	require.Equal(t, uint64(0), e.ended(6))
	require.Equal(t, uint64(1), e.ended(7))
	require.Equal(t, uint64(1), e.ended(11))
	require.Equal(t, uint64(2), e.ended(12))
	require.Equal(t, uint64(0), e.of(7))
	require.Equal(t, uint64(1), e.of(8))
	require.Equal(t, uint64(8), e.start(1))
	require.Equal(t, uint64(12), e.end(1))
	require.Equal(t, uint64(1), epochsOf(block.Genesis{}).first, "celestia has no height 0")
}

// Transactions come at the end of their epoch, in DA order, within the bytes of a
// block, and stay until a block has them.
func TestTakerTakesInOrder(t *testing.T) {
	w := newWorld(t)
	w.force(2, "c", "a")
	w.force(4, "b", "", "a")
	w.force(7, "late")
	w.block(0, 1)
	w.head = 4
	taker := w.taker()
	require.Empty(t, w.produce(taker, 100), "the epoch has not ended")
	w.head = 5
	w.round(taker)
	require.Equal(t, []string{"c", "a"}, w.produce(taker, 2*3), "two fit")
	txs, at, err := taker.Take(t.Context(), w.state(), 100)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, texts(txs), "what is forced twice is taken once, what is empty never")
	require.Equal(t, w.at(5), at)
	again, _, err := taker.Take(t.Context(), w.state(), 1)
	require.NoError(t, err)
	require.Equal(t, txs, again, "it was not applied; and one is always taken")
	w.produce(taker, 100)
	require.Empty(t, w.produce(taker, 100))
	w.head = 10
	w.round(taker)
	require.Equal(t, []string{"late"}, w.produce(taker, 100))
	require.Empty(t, w.produce(taker, 100))
	require.Zero(t, taker.Stats().Waiting)
	require.Zero(t, taker.Stats().Bytes)
}

// The time of a block is that of the epoch's end, less a millisecond for each
// transaction that has to wait.
func TestTakerTime(t *testing.T) {
	w := newWorld(t)
	w.force(1, "a", "b", "c")
	w.block(0, 1)
	w.head = 5
	taker := w.taker()
	_, at, err := taker.Take(t.Context(), w.state(), 3)
	require.NoError(t, err)
	require.Equal(t, w.at(5).Add(-2*time.Millisecond), at)
}

// A restart neither loses nor repeats, wherever it falls and whatever the
// checkpoint was worth.
func TestTakerRestart(t *testing.T) {
	for _, keep := range []string{"all", "none"} {
		t.Run(keep, func(t *testing.T) {
			w := newWorld(t)
			var want, got []string
			for height := uint64(1); height <= 20; height++ {
				for i := range height % 4 {
					tx := fmt.Sprintf("%d-%d", height, i)
					w.force(height, tx)
					want = append(want, tx)
				}
			}
			w.block(0, 1)
			for w.head = 1; w.head < 40; w.head++ {
				if keep == "none" {
					clear(w.meta)
				}
				taker := w.taker() // a process of its own for every block
				got = append(got, w.produce(taker, 2*6)...)
			}
			require.Equal(t, want, got)
		})
	}
}

// Bytes that are forced again within an epoch are included once, wherever they lie and
// whenever the sequencer starts again.
func TestForcedAgainIsTakenOnce(t *testing.T) {
	for name, copies := range map[string][]uint64{"one DA height": {2, 2}, "two DA heights": {2, 4}, "all of them": {1, 2, 2, 3, 4, 5}} {
		for _, restart := range []string{"never", "with the checkpoint", "without"} {
			for _, most := range []int{1, 100} { // one a block, or all in one
				t.Run(fmt.Sprintf("%s, restart %s, %d bytes a block", name, restart, most), func(t *testing.T) {
					w := newWorld(t)
					w.force(1, "first")
					for _, height := range copies {
						w.force(height, "again")
					}
					w.force(5, "last")
					w.block(0, 1)
					var taker *Taker
					var got []string
					for w.head = 4; w.head < 3*epoch; w.head++ {
						if restart == "without" {
							clear(w.meta)
						}
						if taker == nil || restart != "never" {
							taker = w.taker()
						}
						w.round(taker)
						got = append(got, w.produce(taker, most)...)
					}
					require.Equal(t, []string{"first", "again", "last"}, got)
					require.Zero(t, taker.Stats().Waiting)
				})
			}
		}
	}
}

// A node that takes over knows what the one before has taken.
func TestTakerTakesOver(t *testing.T) {
	w := newWorld(t)
	w.force(2, "a", "b", "c")
	w.block(0, 1)
	w.head = 5
	first := w.taker()
	require.Equal(t, []string{"a", "b"}, w.produce(first, 6))
	clear(w.meta)
	w.head = 7
	second := w.taker()
	require.Equal(t, []string{"c"}, w.produce(second, 100))
}

func TestTakerCatchesUp(t *testing.T) {
	w := newWorld(t)
	w.force(2, "a")
	w.force(8, "b")
	w.block(0, 1)
	w.head = 12
	taker := w.taker()
	require.True(t, taker.Only())
	require.Equal(t, []string{"a"}, w.produce(taker, 100), "epochs are not mixed: each has its time")
	require.Equal(t, []string{"b"}, w.produce(taker, 100))
	w.round(taker)
	_, _, err := taker.Take(t.Context(), w.state(), 100)
	require.NoError(t, err)
	w.round(taker)
	require.False(t, taker.Only())
}

// Until DA was asked nobody knows what was missed, and the mempool waits.
func TestTakerBeforeItKnows(t *testing.T) {
	for name, answer := range map[string]struct {
		head uint64
		down error
	}{
		"no epoch ended":  {head: epoch - 1},
		"an epoch missed": {head: epoch},
		"da is disabled":  {down: da.ErrDisabled},
		"da is away":      {down: errors.New("away")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.head, w.down = answer.head, answer.down
				taker := NewTaker(w.params())
				require.True(t, taker.Only())
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- taker.Run(ctx) }()
				synctest.Wait()
				require.False(t, taker.Only(), "nothing was forced")
				cancel()
				require.NoError(t, <-done)
			})
		})
	}
	p := newWorld(t).params()
	p.Enabled = false
	require.False(t, NewTaker(p).Only())
}

// While DA is away the sequencer goes on with its mempool.
func TestTakerWithoutDA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.block(0, 1)
		w.force(2, "a")
		w.head, w.down = 12, errors.New("away")
		taker := NewTaker(w.params())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- taker.Run(ctx) }()
		synctest.Wait()
		require.False(t, taker.Only())
		require.Contains(t, taker.Stats().Error, "away")
		w.mu.Lock()
		w.down = nil
		w.mu.Unlock()
		time.Sleep(2 * daTime)
		synctest.Wait()
		require.True(t, taker.Only())
		require.True(t, taker.Pending())
		cancel()
		require.NoError(t, <-done)
	})
}

func TestTakerIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.force(uint64(i%5)+1, fmt.Sprintf("%d-%s", i, bytes.Repeat([]byte{'x'}, 1000)))
	}
	w.block(0, 1)
	w.head = 10
	p := w.params()
	p.Config.PendingBytes = 10_000
	taker := NewTaker(p)
	require.NoError(t, taker.round(t.Context(), true))
	var got []string
	for range 60 {
		require.LessOrEqual(t, taker.Stats().Bytes, 10_000+20*1400, "the budget and one DA height")
		got = append(got, w.produce(taker, 3000)...)
		w.round(taker)
	}
	require.Len(t, got, 100)
}

// What the executor would not call a transaction is nobody's duty.
func TestInvalidIsSkipped(t *testing.T) {
	w := newWorld(t)
	w.force(1, "junk", "a=b", string(make([]byte, block.MaxForcedTxBytes+1)), "c=d")
	w.block(0, 1)
	w.head = 5
	p := w.params()
	p.Valid = func(_ context.Context, txs [][]byte) ([]bool, error) {
		out := make([]bool, len(txs))
		for i, tx := range txs {
			out[i] = bytes.ContainsRune(tx, '=')
		}
		return out, nil
	}
	taker := NewTaker(p)
	require.NoError(t, taker.round(t.Context(), true))
	require.Equal(t, []string{"a=b", "c=d"}, w.produce(taker, 100))
}
