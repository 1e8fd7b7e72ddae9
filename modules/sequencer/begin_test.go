package sequencer_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/testutil"
)

// OnDA and AtPeers make process an Elsewhere with nothing to look for.
func (p *process) OnDA() string    { return "" }
func (p *process) AtPeers() string { return "" }

// others is an Elsewhere whose answers are set.
type others struct {
	mu        sync.Mutex
	da, peers string
}

func (o *others) set(da, peers string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.da, o.peers = da, peers
}

func (o *others) OnDA() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.da
}

func (o *others) AtPeers() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.peers
}

func (p *process) besides(o *others) *sequencer.Producer {
	params := p.producerParams()
	params.Elsewhere = o
	return sequencer.NewProducer(params)
}

// A fresh database waits for DA without a bound, and says so.
func TestFirstBlockWaitsForDA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := &others{da: "DA to be read"}
		p := w.process()
		producer := p.besides(o)
		run(t, producer.Run)
		after(24 * time.Hour)
		require.Empty(t, w.payloads, "nothing was signed")
		require.Equal(t, "DA to be read", producer.Stats().WaitingFor)
		o.set("", "")
		after(time.Second)
		require.NotZero(t, w.height())
		require.Equal(t, 1, p.logs.FilterMessage("looking for blocks of the chain before one is made").Len())
	})
}

// With DA at hand the first block comes at once.
func TestFirstBlockIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := &others{da: "DA to be read"}
		run(t, w.process().besides(o).Run)
		after(30 * time.Millisecond)
		o.set("", "")
		after(50 * time.Millisecond)
		require.Equal(t, uint64(1), w.height())
	})
}

// Peers are waited for as long as the config says.
func TestFirstBlockWaitsForPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := &others{peers: "1 of 1 static peers"}
		p := w.process()
		producer := p.besides(o)
		run(t, producer.Run)
		after(w.cfg.AskPeers - time.Millisecond)
		require.Empty(t, w.payloads)
		require.Equal(t, "1 of 1 static peers", producer.Stats().WaitingFor)
		after(time.Second)
		require.NotZero(t, w.height())
		require.Equal(t, 1, p.logs.FilterMessage("going on without the heads of all peers").Len())
	})
}

// What is found elsewhere is waited for, and the chain goes on behind it; also
// when the process dies while it comes in.
func TestLostDatabaseSignsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := run(t, w.process().producer().Run)
		after(9500 * time.Millisecond)
		require.NoError(t, stop())
		lost := w.made()
		w.mu.Lock()
		w.states, w.blocks, w.pending, w.meta = w.states[:1], nil, nil, map[string][]byte{}
		w.mu.Unlock()

		o := &others{da: "DA to be read"}
		stop = run(t, w.process().besides(o).Run)
		after(time.Minute)
		for _, b := range lost[:4] {
			require.NoError(t, w.apply(b))
		}
		after(time.Minute)
		require.NoError(t, stop()) // in the middle: the database is no longer empty
		stop = run(t, w.process().besides(o).Run)
		after(time.Minute)
		require.Equal(t, uint64(4), w.height())
		w.mu.Lock()
		w.extra = testutil.Headers(lost[4:])
		w.mu.Unlock()
		o.set("", "") // read, and not all of it applied yet
		after(time.Minute)
		require.Equal(t, uint64(4), w.height())
		for _, b := range lost[4:] {
			require.NoError(t, w.apply(b))
		}
		after(5 * time.Second)
		require.NoError(t, stop())
		require.Greater(t, w.height(), uint64(len(lost)))
		w.checkSignedOnce()
		w.checkChain()
	})
}

// A database that has begun the chain asks nobody again: DA may be down then.
func TestRestartAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := run(t, w.process().besides(&others{}).Run)
		after(3 * time.Second)
		require.NoError(t, stop())
		height := w.height()
		run(t, w.process().besides(&others{da: "DA to be read", peers: "peers"}).Run)
		after(1500 * time.Millisecond)
		require.Greater(t, w.height(), height)
	})
}

func TestBeginUnchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.BeginUnchecked = true
		run(t, w.process().besides(&others{da: "DA to be read", peers: "peers"}).Run)
		synctest.Wait()
		require.Equal(t, uint64(1), w.height())
	})
}
