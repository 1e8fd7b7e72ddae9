package exchange

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func (s *serving) streams() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.guests {
		n += g.streams
	}
	return n
}

func (s *serving) slotsTaken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.running)
}

// at is a connection from an address.
type at string

func (at) LocalMultiaddr() ma.Multiaddr    { return ma.StringCast("/ip4/127.0.0.1/tcp/1") }
func (a at) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast(string(a)) }

var _ network.ConnMultiaddrs = at("")

const (
	lan   = at("/ip4/10.0.0.1/tcp/1")
	other = at("/ip6/2001:db8::1/udp/1/quic-v1")
)

// desk is a serving under test in a bubble.
type desk struct {
	serving

	t *testing.T
}

func newDesk(t *testing.T, slots, bytes int) *desk {
	t.Helper()
	d := &desk{t: t}
	d.init(Config{Serve: slots, ServePeer: 24, ServeBytes: bytes})
	return d
}

func (d *desk) ask(p peer.ID, from at) *reply {
	d.t.Helper()
	r, ok := d.open(from, p, func() {})
	require.True(d.t, ok)
	return r
}

// served waits for a slot as a request does, and returns how long it took.
func (d *desk) served(r *reply) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 5*time.Second)
	defer cancel()
	began := time.Now()
	err := d.acquire(ctx, r)
	return time.Since(began), err
}

// fill takes all free slots for peers whose answers are not read.
func (d *desk) fill(n int, name func(i int) peer.ID, from at) {
	d.t.Helper()
	for i := range n {
		_, err := d.served(d.ask(name(i), from))
		require.NoError(d.t, err)
	}
}

func TestTorture_SlotsOfAnswersThatAreNotReadGiveWay(t *testing.T) {
	for name, tc := range map[string]struct {
		peers int // that hold the slots
		from  at
		most  time.Duration // until another peer is served
	}{
		"two identities":  {peers: 2, from: lan, most: heavySlice + lookAgain},
		"one per slot":    {peers: 32, from: lan, most: idleSlice + lookAgain},
		"from one subnet": {peers: 32, from: other, most: heavySlice + lookAgain},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, 32, 64<<20)
				d.fill(32, func(i int) peer.ID { return peer.ID(fmt.Sprint("enemy", i%tc.peers)) }, tc.from)
				honest := d.ask("honest", lan)
				took, err := d.served(honest)
				require.NoError(t, err)
				require.LessOrEqual(t, took, tc.most)
				d.shut(honest)
			})
		})
	}
}

// A peer that did not read an answer is known for it for a while: it gives way sooner
// than others, and waits for them.
func TestSlowPeersGiveWaySooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, 1, 64<<20)
		d.fill(1, func(int) peer.ID { return "enemy" }, lan)
		wait := func(p peer.ID) time.Duration {
			r := d.ask(p, lan)
			took, err := d.served(r)
			require.NoError(t, err)
			d.shut(r)
			return took
		}
		require.InDelta(t, idleSlice, wait("honest"), float64(lookAgain))
		d.fill(1, func(int) peer.ID { return "enemy" }, lan)
		require.InDelta(t, slowSlice, wait("honest"), float64(lookAgain))
		time.Sleep(slowTime)
		d.fill(1, func(int) peer.ID { return "enemy" }, lan)
		require.InDelta(t, idleSlice, wait("honest"), float64(lookAgain), "forgotten")
	})
}

// An answer that moves keeps its slot for as long as no share is passed, and what is
// evicted while it moves is not held against its peer.
func TestSlowButSteadyAnswersKeepTheirSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, 2, 64<<20)
		a, b := d.ask("a", lan), d.ask("b", lan)
		for _, r := range []*reply{a, b} {
			_, err := d.served(r)
			require.NoError(t, err)
		}
		for range 8 { // 128 kB/s
			time.Sleep(time.Second)
			a.sent.Add(128 << 10)
			b.sent.Add(128 << 10)
		}
		third := d.ask("c", lan)
		took, err := d.served(third)
		require.NoError(t, err)
		require.Greater(t, took, time.Second)
		require.False(t, d.guests["a"].slow.After(time.Now()))
		require.EqualValues(t, 1, d.evicted.Load())
		for _, r := range []*reply{a, b, third} {
			d.shut(r)
		}
		require.Empty(t, d.running)
		require.Empty(t, d.subnets)
		require.Zero(t, d.busy)
	})
}

// Those who hold least are next, whatever the order they came in; slow peers are last.
func TestFreeSlotsGoToThoseWhoHoldLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, 2, 64<<20)
		first, second := d.ask("a", lan), d.ask("a", lan)
		for _, r := range []*reply{first, second} {
			_, err := d.served(r)
			require.NoError(t, err)
		}
		d.ask("slow", lan).guest.slow = time.Now().Add(time.Hour)
		order := make(chan peer.ID, 3)
		for _, p := range []peer.ID{"slow", "a", "b"} {
			go func() {
				r := d.ask(p, lan)
				defer d.shut(r)
				if _, err := d.served(r); err == nil {
					order <- p
				}
				time.Sleep(time.Millisecond)
			}()
			synctest.Wait()
		}
		d.shut(first)
		synctest.Wait()
		require.EqualValues(t, "b", <-order)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, "a", <-order)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, "slow", <-order)
		d.shut(second)
		time.Sleep(time.Minute)
	})
}

func TestServedBytesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mb = 1 << 20
		d := newDesk(t, 32, 60*mb)
		run := func(p peer.ID) *reply {
			r := d.ask(p, lan)
			_, err := d.served(r)
			require.NoError(t, err)
			return r
		}
		a, b := run("a"), run("b")
		require.True(t, d.take(a, 30*mb))
		require.False(t, d.take(a, mb), "its share")
		require.True(t, d.take(b, 30*mb))
		c := run("c")
		require.True(t, d.take(c, mb), "the first always fits")
		require.False(t, d.take(c, mb))
		time.Sleep(heavySlice) // a and b hold more than a third
		require.True(t, d.take(c, mb))
		require.True(t, d.take(c, 10*mb))
		require.LessOrEqual(t, d.size(), int64(60*mb))
		for _, r := range []*reply{a, b, c} {
			d.shut(r)
		}
		require.Zero(t, d.size())
		late := d.ask("d", lan)
		require.False(t, d.take(late, 1), "without a slot")
		d.shut(late)
	})
}

func TestBusyServersSaySoBeforeTheyAreTakenForDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, 1, 1<<20)
		d.fill(1, func(int) peer.ID { return "a" }, lan)
		for r := range d.running {
			r.sent.Add(1 << 40) // it moves
		}
		late := d.ask("b", lan)
		took, err := d.served(late)
		require.ErrorIs(t, err, errBusy)
		require.Equal(t, 5*time.Second, took)
		d.shut(late)
		require.Empty(t, d.waiting)
	})
}

func TestGuestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, 1, 1<<20)
		open := d.ask("open", lan)
		for i := range 3 * mostGuests {
			r := d.ask(peer.ID(strconv.Itoa(i)), lan)
			if i%2 == 0 {
				d.stalled(r)
			}
			d.shut(r)
		}
		require.LessOrEqual(t, len(d.guests), mostGuests)
		require.Same(t, open.guest, d.guests["open"])
	})
}

// A request that waits for its turn when everything ends leaves nothing behind.
func TestLimiterForgetsWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limiter
		l.init(1, 2)
		require.True(t, l.acquire(t.Context(), "a"))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() { ended <- l.acquire(ctx, "b") }()
		synctest.Wait()
		cancel()
		require.False(t, <-ended)
		require.NotContains(t, l.peers, peer.ID("b"))
		l.release("a")
		require.Empty(t, l.peers)
	})
}

// What an answer was cut by is let go of.
func TestCutAnswersHoldWhatTheyCount(t *testing.T) {
	c := testutil.NewChain(chainID)
	cfg := Default()
	cfg.ServeBytes = 1 << 20
	e := NewData(DataParams{Genesis: c.Genesis, Config: cfg, Headers: newStore[*block.SignedHeader](), Store: newStore[*block.Data]()})
	items := testutil.DataOf([]block.Block{c.Next(make([]byte, 256<<10)), c.Next(make([]byte, 256<<10)), c.Next(make([]byte, 256<<10))})
	r, ok := e.serving.open(lan, "slow reader", func() {})
	require.True(t, ok)
	require.NoError(t, e.serving.acquire(t.Context(), r))
	kept, err := e.afford(r, items)
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, 1, cap(kept))
	require.NotSame(t, &items[0], &kept[0], "the list of the rest is not held")
	require.EqualValues(t, items[0].Held(), e.serving.size())
}
