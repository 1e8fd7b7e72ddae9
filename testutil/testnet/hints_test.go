package testnet_test

import (
	"context"
	"math"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// readTime is what one DA height takes in these tests, one after the other.
const readTime = 500 * time.Millisecond

// counted is a slow DA client that counts what is read.
type counted struct {
	da.Client
	mu    sync.Mutex
	reads map[uint64]int // by DA height
}

// Blobs implements da.Client.
func (c *counted) Blobs(ctx context.Context, height uint64, namespaces ...da.Namespace) ([]da.Blob, error) {
	c.mu.Lock()
	c.reads[height]++
	c.mu.Unlock()
	select {
	case <-time.After(readTime):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return c.Client.Blobs(ctx, height, namespaces...)
}

// count returns how many reads there were, and of how many heights.
func (c *counted) count() (reads, heights int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.reads {
		reads += n
	}
	return reads, len(c.reads)
}

// slowDA adds a follower that reads DA slowly, and counts.
func slowDA(n *testnet.Net, name string, peers ...*testnet.Node) (*testnet.Node, *counted) {
	c := &counted{Client: n.DA.Client(), reads: map[uint64]int{}}
	x := n.Full(testnet.Name(name), testnet.Peers(peers...),
		testnet.With(fx.Decorate(func(da.Client) da.Client { return c })),
		testnet.Change(func(c *app.Config) { c.DAWorker.InFlight, c.DAWorker.MaxInFlight = 1, 1 }))
	return x, c
}

// farUp is a chain that begins at DA height 600: blocks with transactions, each at a
// height of its own, and nothing after.
func farUp(n *testnet.Net, blocks int) (seq *testnet.Node, head uint64) {
	const before = 600
	time.Sleep(before * n.DATime())
	seq = n.Sequencer(testnet.Unchecked())
	for i := range blocks {
		seq.Put("k"+strconv.Itoa(i), "v")
		time.Sleep(2 * n.DATime())
	}
	seq.WaitFinal(seq.Applied(), time.Minute)
	return seq, seq.Applied()
}

// A follower whose peers have the headers and not the data reads DA where they say
// that a block lies. One whose peers do not say has to read everything from the
// beginning. What is final both learn by reading everything.
func TestHintsSaveTheScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Lazy(24*time.Hour))
		seq, head := farUp(n, 12)
		knows := n.Light(testnet.Name("knows"), testnet.Peers(seq))
		knows.WaitFinal(head, time.Minute)
		silent := n.Light(testnet.Name("silent"), testnet.Peers(seq), testnet.NoDA())
		silent.WaitApplied(head, time.Minute)

		told, few := slowDA(n, "told", knows)
		blind, many := slowDA(n, "blind", silent)
		told.WaitApplied(head, 2*time.Minute)
		reads, _ := few.count()
		require.GreaterOrEqual(t, told.Worker.Status().Stats.HintsUsed, uint64(10))
		require.Less(t, told.Worker.Status().Cursor, uint64(300), "the scan is not there")
		require.Zero(t, told.Final(), "only the scan makes final")
		require.Less(t, blind.Applied(), head)
		require.Zero(t, blind.Worker.Status().Stats.HintsUsed)

		blind.WaitApplied(head, time.Hour)
		all, _ := many.count()
		t.Logf("%d reads with hints, %d without", reads, all)
		require.Greater(t, all, 600)
		require.Less(t, 3*reads, all)
		n.WaitFinal(head, time.Hour)
		n.SameRoots(head)
		for _, x := range []*testnet.Node{told, blind} {
			require.Empty(t, x.Network.Stats().Offences, x.Name())
		}
	})
}

// Many peers send honest headers with hints that lie, in a flood. Few of them are
// looked at, less and less often, and cost who sent them; none that points above the
// head is, for who gave it may know more than the DA node here. Blocks are applied as their
// data comes, the cursor goes its way, and nothing is final before the scan was there.
func TestHintsThatLie(t *testing.T) {
	for name, lie := range map[string]func(h uint64) uint64{
		"far":       func(uint64) uint64 { return 1 << 40 },
		"nonsense":  func(uint64) uint64 { return math.MaxUint64 },
		"elsewhere": func(h uint64) uint64 { return 300 + h }, // below the head, and the header is not there
		"drifting":  func(h uint64) uint64 { return 10_000 * h },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { hintsThatLie(t, lie, name == "elsewhere") })
		})
	}
}

func hintsThatLie(t *testing.T, lie func(h uint64) uint64, below bool) {
	t.Helper()
	n := testnet.New(t, testnet.Lazy(24*time.Hour))
	seq, head := farUp(n, 20)
	victim, reads := slowDA(n, "victim")
	info, err := peer.AddrInfoFromString(victim.Address())
	require.NoError(t, err)
	var bodies [][]byte
	liars := map[peer.ID]bool{}
	for h := uint64(1); h <= head; h++ { // one liar per block
		bodies = append(bodies, seq.Header(h).WithDAHint(lie(h)).EncodeP2P())
		p := n.Stranger()
		p.Serve(stream.Headers, stream.Honest(1, bodies...))
		require.NoError(t, p.Connect(t.Context(), *info))
		for range 3 {
			for _, body := range bodies {
				require.NoError(t, p.Gossip(t.Context(), stream.Headers, body))
			}
		}
		_, err := victim.Headers.GetByHeight(t.Context(), h) // waits
		require.NoError(t, err)
		liars[p.ID()] = true
	}

	late := n.Stranger()
	require.NoError(t, late.Connect(t.Context(), *info))
	const apart = 5 * time.Second
	for h := uint64(1); h <= head-3; h++ { // the data, and with it another hint to look at
		d, err := seq.Data.GetByHeight(t.Context(), h)
		require.NoError(t, err)
		require.NoError(t, late.Gossip(t.Context(), stream.Data, d.EncodeP2P()))
		time.Sleep(apart)
		require.Equal(t, h, victim.Applied())
	}
	s := victim.Worker.Status()
	require.LessOrEqual(t, s.Cursor, uint64(250), "it does not drift")
	require.Zero(t, victim.Final())

	victim.WaitFinal(head, time.Hour)
	n.SameRoots(head)
	wrong := victim.Worker.Status().Stats.HintsUseless
	all, heights := reads.count()
	t.Logf("%d reads of %d heights, %d hints of %d looked at", all, heights, wrong, head)
	require.Zero(t, victim.Worker.Status().Stats.HintsUsed)
	require.Equal(t, below, wrong >= 2, "%d were looked at", wrong)
	require.LessOrEqual(t, wrong, head/2, "the waits in between get longer")
	require.LessOrEqual(t, all-heights, int(wrong), "one read each at most")
	require.Equal(t, wrong, victim.Network.Stats().Offences[p2p.Unproven.String()])
	blamed := uint64(0)
	for _, one := range victim.Network.Peers() {
		if one.Score < 0 {
			require.True(t, liars[one.ID])
			require.Equal(t, map[string]uint64{p2p.Unproven.String(): 1}, one.Offences, "it can be seen what it did, once")
			blamed++
		}
	}
	require.Equal(t, wrong, blamed)
}
