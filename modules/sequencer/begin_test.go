package sequencer_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/testutil"
)

// Answers makes process an Elsewhere with nothing to look for.
func (p *process) Answers() sequencer.Answers { return sequencer.Answers{Alone: true} }

// others is an Elsewhere whose answers are set.
type others struct {
	mu   sync.Mutex
	a    sequencer.Answers
	asks int
}

func (o *others) set(a sequencer.Answers) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.a = a
}

func (o *others) Answers() sequencer.Answers {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asks++
	return o.a
}

// What others may have said.
var (
	daUnread = sequencer.Answers{DA: sequencer.DAUnread, DAReason: "DA to be read", Alone: true}
	daRead   = sequencer.Answers{DA: sequencer.DARead, Alone: true}
	nobody   = sequencer.Answers{DA: sequencer.DAAway, DAReason: "DA to be read", Static: 1, Missing: 1}
)

func (p *process) besides(o *others) *sequencer.Producer {
	params := p.producerParams()
	params.Elsewhere = o
	return sequencer.NewProducer(params)
}

// A fresh database waits for DA without a bound, and says so.
func TestFirstBlockWaitsForDA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := &others{a: daUnread}
		p := w.process()
		producer := p.besides(o)
		run(t, producer.Run)
		after(24 * time.Hour)
		require.Empty(t, w.payloads, "nothing was signed")
		require.Equal(t, "DA to be read", producer.Stats().WaitingFor)
		o.set(daRead)
		after(time.Second)
		require.NotZero(t, w.height())
		require.Equal(t, 1, p.logs.FilterMessage("looking for blocks of the chain before one is made").Len())
	})
}

// With DA at hand the first block comes at once.
func TestFirstBlockIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := &others{a: daUnread}
		run(t, w.process().besides(o).Run)
		after(30 * time.Millisecond)
		o.set(daRead)
		after(50 * time.Millisecond)
		require.Equal(t, uint64(1), w.height())
	})
}

// Peers are waited for as long as the config says.
func TestFirstBlockWaitsForPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := &others{a: sequencer.Answers{DA: sequencer.DARead, Static: 1, Missing: 1}}
		p := w.process()
		producer := p.besides(o)
		run(t, producer.Run)
		after(w.cfg.AskPeers - time.Millisecond)
		require.Empty(t, w.payloads)
		require.Equal(t, "1 of 1 static peers to tell what they have of the chain", producer.Stats().WaitingFor)
		after(time.Second)
		require.NotZero(t, w.height())
		require.Equal(t, 1, p.logs.FilterMessage("going on without all answers").Len())
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

		o := &others{a: daUnread}
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
		o.set(daRead) // read, and not all of it applied yet
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

// A restart asks everybody again, and goes on once somebody has answered.
func TestEveryRestartAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := run(t, w.process().besides(&others{a: daRead}).Run)
		after(3 * time.Second)
		require.NoError(t, stop())
		height := w.height()
		o := &others{a: nobody}
		p := w.process()
		board := problems.New()
		p.problems = board
		run(t, p.besides(o).Run)
		after(time.Hour)
		require.Equal(t, height, w.height(), "the home may be an old copy")
		require.Len(t, board.List(), 1)
		require.Equal(t, problems.Signing, board.List()[0].Kind)
		require.True(t, board.List()[0].Unready)
		require.Contains(t, board.List()[0].Reason, "1 of 1 static peers")
		o.set(sequencer.Answers{DA: sequencer.DAAway, DAReason: "DA to be read", Static: 1, Told: 1})
		after(3 * time.Second)
		require.Greater(t, w.height(), height, "one that answers is enough")
		require.Empty(t, board.List())
		w.checkSignedOnce()
	})
}

// What others are needed for, case by case.
func TestWhoHasToAnswer(t *testing.T) {
	away := sequencer.Answers{DA: sequencer.DAAway, DAReason: "DA"}
	for name, c := range map[string]struct {
		a     sequencer.Answers
		apart bool
		fresh bool
		wait  time.Duration // -1: for ever
	}{
		"DA and peers answered":                       {a: sequencer.Answers{DA: sequencer.DARead, Static: 1, Told: 1}},
		"DA answered, P2P is off":                     {a: daRead},
		"DA answered, a peer did not":                 {a: sequencer.Answers{DA: sequencer.DARead, Static: 2, Missing: 1, Told: 1}, wait: 10 * time.Second},
		"DA answered, no peer came":                   {a: sequencer.Answers{DA: sequencer.DARead}, wait: 10 * time.Second},
		"DA answered, a new chain":                    {a: sequencer.Answers{DA: sequencer.DARead}, fresh: true},
		"DA is still read, peers answered":            {a: sequencer.Answers{DA: sequencer.DAUnread, DAReason: "DA", Told: 3}, wait: -1},
		"DA is away, a peer answered":                 {a: sequencer.Answers{DA: sequencer.DAAway, DAReason: "DA", Told: 1}, wait: 10 * time.Second},
		"DA is away, a peer answered, a new chain":    {a: sequencer.Answers{DA: sequencer.DAAway, DAReason: "DA", Told: 1}, fresh: true, wait: -1},
		"nobody answered":                             {a: away, wait: -1},
		"nobody answered, the memory is kept apart":   {a: away, apart: true, wait: 10 * time.Second},
		"nobody answered, a new chain, memory apart":  {a: away, apart: true, fresh: true, wait: -1},
		"no DA, no peers are known":                   {a: sequencer.Answers{}, wait: 10 * time.Second},
		"no DA, P2P is off":                           {a: sequencer.Answers{Alone: true}},
		"no DA, a static peer did not answer":         {a: sequencer.Answers{Static: 1, Missing: 1}, wait: -1},
		"no DA, a new chain, a static peer is silent": {a: sequencer.Answers{Static: 1, Missing: 1}, fresh: true, wait: -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if !c.fresh {
					stop := run(t, w.process().besides(&others{a: daRead}).Run)
					after(time.Second)
					require.NoError(t, stop())
				}
				height := w.height()
				c.a.Apart = c.apart
				run(t, w.process().besides(&others{a: c.a}).Run)
				if c.wait < 0 {
					after(time.Hour)
					require.Equal(t, height, w.height())
					return
				}
				if c.wait > 0 {
					after(c.wait - time.Millisecond)
					require.Equal(t, height, w.height())
				}
				after(1500 * time.Millisecond)
				require.Greater(t, w.height(), height)
			})
		})
	}
}

// A copy of the database that is older than the signer's memory is not continued
// before the lost blocks are back, whoever answered.
func TestOldDatabaseWaitsForWhatWasSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := run(t, w.process().besides(&others{a: daRead}).Run)
		after(9500 * time.Millisecond)
		require.NoError(t, stop())
		lost := w.made()
		w.mu.Lock()
		w.states, w.blocks = w.states[:5], w.blocks[:4]
		w.mu.Unlock()
		p := w.process()
		p.problems = problems.New()
		stop = run(t, p.besides(&others{a: daRead}).Run)
		after(time.Hour)
		require.Equal(t, uint64(4), w.height())
		require.Contains(t, p.problems.List()[0].Reason, "blocks 5 to 10, which this key has signed")
		require.NoError(t, stop())
		stop = run(t, p.besides(&others{a: daRead}).Run) // a restart changes nothing
		for _, b := range lost[4:] {
			after(time.Minute)
			require.NoError(t, w.apply(b))
		}
		after(5 * time.Second)
		require.NoError(t, stop())
		require.Greater(t, w.height(), uint64(len(lost)))
		require.Empty(t, p.problems.List())
		w.checkSignedOnce()
		w.checkChain()
	})
}

// A signer that does not know what it has signed learns it from the chain, once all
// of that is applied and not before.
func TestUncertainSignerLearnsWhenCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		chain := &testutil.Chain{Genesis: w.genesis, Key: w.key, Root: func(uint64) []byte { return []byte("root 0") }}
		first := chain.Next()
		w.extra = []*block.SignedHeader{first.Header}
		run(t, w.process().besides(&others{a: daRead}).Run)
		after(time.Hour)
		memory, err := w.guard.Signed(t.Context())
		require.NoError(t, err)
		require.False(t, memory.Certain, "block 1 is stored and not applied")
		require.NoError(t, w.apply(first))
		after(1500 * time.Millisecond)
		require.Greater(t, w.height(), uint64(1))
		w.checkChain()
	})
}

// A pending block that was signed and no longer fits is never made anew with other
// bytes.
func TestSignedPendingBlockIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		p.dieAt = callOf(t, w, "apply")
		require.ErrorIs(t, untilDead(t, p, p.producer().Run), errCrash)
		w.states[0].AppHash = []byte("another root")
		p = w.process()
		p.problems = problems.New()
		run(t, p.producer().Run)
		after(time.Hour)
		require.Zero(t, w.height())
		require.Contains(t, p.problems.List()[0].Reason, "blocks 1 to 1")
		w.checkSignedOnce()
	})
}

func TestBeginUnchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.BeginUnchecked = true
		run(t, w.process().besides(&others{a: nobody}).Run)
		synctest.Wait()
		require.Equal(t, uint64(1), w.height())
	})
}

// The header of the block that was being made comes back from a peer. Its data is in
// this database alone, so nothing else is waited for.
func TestPendingBlockWhoseHeaderIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		p.dieAt = callOf(t, w, "apply")
		require.ErrorIs(t, untilDead(t, p, p.producer().Run), errCrash)
		w.extra = []*block.SignedHeader{w.pending.Header}
		run(t, w.process().producer().Run)
		after(3 * time.Second)
		require.Positive(t, w.height())
		w.checkSignedOnce()
		w.checkChain()
	})
}
