package sequencer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/sequencer"
)

// sequence runs a submitter and a producer that knows of it.
func sequence(t *testing.T, p *process) (s *sequencer.Submitter, producer *sequencer.Producer, stop func()) {
	t.Helper()
	s = p.submitter()
	params := p.producerParams()
	params.Posted, params.Room = s, s.Largest
	producer = sequencer.NewProducer(params)
	stopped := []func() error{run(t, s.Run), run(t, producer.Run)}
	return s, producer, func() {
		for _, f := range stopped {
			require.NoError(t, f())
		}
	}
}

func tx(i, size int) []byte {
	return append(fmt.Appendf(nil, "k%d=", i), bytes.Repeat([]byte{'x'}, size)...)
}

// A block that the way to DA does not take does not end the process: the chain
// goes on until too much waits, it is said what is wrong, and once the limit is
// raised everything is posted.
func TestBlockThatDADoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.MaxPending = 40
		w.da.limit = 200_000
		p := w.process()
		s, producer, stop := sequence(t, p)
		after(3 * time.Second)
		w.offer(tx(1, 300_000))
		after(30 * time.Second)
		require.Greater(t, w.height(), uint64(30), "the chain goes on")
		require.Contains(t, p.reasons(), "data: data ")
		require.Contains(t, p.reasons(), "raise the limit")
		require.Contains(t, s.Stats().Data.Held, "too large")
		for i := range 60 {
			w.offer(tx(10+i, 10))
			after(2 * time.Second)
		}
		require.True(t, producer.Stats().Paused)
		require.Less(t, s.Largest(), 200_000, "the limit is known")
		require.Positive(t, s.Largest())

		stop() // it is known to the next process too
		p = w.process()
		s, producer, _ = sequence(t, p)
		after(time.Second)
		require.Less(t, s.Largest(), 200_000)
		require.Positive(t, s.Largest())
		require.Less(t, p.largestTx(), s.Largest(), "what cannot be posted is refused at the door")
		w.offer(tx(2, 300_000), tx(3, 60_000), tx(4, 60_000))
		w.da.set(func(d *fakeDA) { d.limit = 1_000_000 })
		after(2 * time.Minute)
		require.False(t, producer.Stats().Paused)
		require.Empty(t, p.reasons())
		require.Zero(t, s.Largest(), "what it took shows that the limit is gone")
		require.Zero(t, p.largestTx())
		h, d := s.Submitted()
		require.Greater(t, min(h, d), uint64(40))
	})
}

// Once a limit is known no block is made that is above it, and a transaction that
// fits none is dropped from the queue, not left in front of the others.
func TestBlocksStayBelowTheLearntLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.da.limit = 200_000
		for i := range 12 { // a batch of 300 kB
			w.withTxs(tx(i, 25_000))
		}
		p := w.process()
		s, producer, stop := sequence(t, p)
		after(2 * time.Minute)
		require.Positive(t, s.Largest())
		require.LessOrEqual(t, s.Largest(), 200_000)
		from := w.height()
		for i := range 40 {
			w.offer(tx(100+i, 30_000))
		}
		w.offer(tx(200, 300_000), tx(201, 100))
		after(5 * time.Minute)
		txs := 0
		for _, b := range w.made()[from:] {
			require.Less(t, b.Data.Size(), 200_000)
			txs += len(b.Data.Txs)
		}
		require.Equal(t, 41, txs, "all but the one that fits no block")
		require.Empty(t, s.Stats().Data.LastError)
		require.Zero(t, producer.Stats().QueuedTxs)
		stop()
	})
}

// withTxs applies one block.
func (w *world) withTxs(txs ...[]byte) {
	w.t.Helper()
	st := w.states[len(w.states)-1]
	var last []byte
	if len(w.blocks) > 0 {
		last = w.blocks[len(w.blocks)-1].Data.Hash()
	}
	w.add(st, txs, last)
}

// A limit that is lifted is found out: submissions grow again.
func TestLimitWidens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(100)
		w.da.limit = 3000
		s := w.process().submitter()
		run(t, s.Run)
		after(20 * time.Minute)
		w.settled(s)
		before := 0
		w.da.set(func(d *fakeDA) { d.limit, before = 0, len(d.submits) })
		w.grow(1000)
		after(time.Hour)
		w.settled(s)
		w.checkPosted(1)
		most := 0
		w.da.set(func(d *fakeDA) {
			for _, blobs := range d.submits[before:] {
				most = max(most, len(blobs))
			}
		})
		require.Greater(t, most, 15, "items of the largest submission")
	})
}

// With a gas limit that is fixed and too low for a whole batch less is sent at
// once, whoever set it, and the log says so.
func TestTooLittleGasIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(100)
		w.da.gas = 7
		p := w.process()
		s := p.submitter()
		run(t, s.Run)
		after(20 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
		require.NotZero(t, p.logs.FilterMessage("submission is too large for the DA layer, sending half").Len())
		require.Zero(t, s.Largest(), "gas says nothing about bytes")
	})
}

// A single item that the gas is not enough for is named.
func TestTooLittleGasForOneItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(3)
		w.da.script = fates(20, fate{err: da.ErrGas})
		p := w.process()
		s := p.submitter()
		run(t, s.Run)
		after(time.Minute)
		require.Contains(t, p.reasons(), "take gas out of da.submit_options")
		after(10 * time.Minute)
		w.settled(s)
		require.Empty(t, p.reasons())
	})
}

// A failure that lasts is a problem, and none once it is over.
func TestFailuresThatLastAreProblems(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		reason string
		soon   bool
	}{
		"auth":        {da.ErrAuth, "give da.auth_token write rights", true},
		"funds":       {da.ErrFunds, "fund the account", true},
		"busy":        {da.ErrBusy, "da.address", false},
		"unavailable": {da.ErrUnavailable, "da.address", false},
		"other":       {errors.New("something new"), "da.address", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.grow(3)
				w.da.script = fates(1000, fate{err: c.err})
				p := w.process()
				s := p.submitter()
				run(t, s.Run)
				after(time.Second)
				require.Equal(t, c.soon, p.reasons() != "")
				after(5 * time.Minute)
				require.Contains(t, p.reasons(), c.reason)
				require.Contains(t, p.reasons(), "header 1 and what follows cannot be posted")
				require.NotEmpty(t, s.Stats().Header.Held)
				w.da.set(func(d *fakeDA) { d.script = nil })
				after(5 * time.Minute)
				w.settled(s)
				require.Empty(t, p.reasons())
				require.Empty(t, s.Stats().Header.Held)
			})
		})
	}
}

// A sequencer whose blocks nobody takes stops making them by default.
func TestProductionIsBoundedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.da.script = nil
		p := w.process()
		s := p.submitter(func(sp *sequencer.SubmitterParams) { sp.Client = readOnly{p} })
		params := p.producerParams()
		params.Posted = s
		run(t, s.Run)
		run(t, sequencer.NewProducer(params).Run)
		after(24 * time.Hour)
		require.Equal(t, sequencer.Default().MaxPending, w.height())
	})
}

// readOnly refuses to post.
type readOnly struct{ *process }

func (readOnly) Submit(_ context.Context, _ da.Namespace, _ [][]byte) (uint64, error) {
	return 0, da.ErrAuth
}
