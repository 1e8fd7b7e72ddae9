package sequencer_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/sequencer"
)

func TestProductionPausesForDA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.MaxPending = 30
		w.da.down = true
		p := w.process()
		submitter := p.submitter()
		params := p.producerParams()
		params.Posted = submitter
		producer := sequencer.NewProducer(params)
		run(t, submitter.Run)
		run(t, producer.Run)
		after(time.Minute)
		require.Equal(t, uint64(30), w.height())
		require.True(t, producer.Stats().Paused)
		require.NotEmpty(t, submitter.Stats().Header.LastError)
		require.Equal(t, uint64(30), submitter.Stats().Header.Lag)
		w.da.set(func(d *fakeDA) { d.down = false })
		after(time.Minute)
		require.Greater(t, w.height(), uint64(60))
		require.False(t, producer.Stats().Paused)
		require.Equal(t, 1, p.logs.FilterMessage("nothing can be posted to the DA layer, trying again").FilterField(kindField(block.KindHeader)).Len())
		w.checkChain()
	})
}

// Only data that is not empty counts; headers may be far ahead.
func TestPauseCountsDataThatIsNotEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.MaxPending = 5
		posted := &fixedPosted{header: 1 << 40, changed: make(chan struct{})}
		params := w.process().producerParams()
		params.Posted = posted
		run(t, sequencer.NewProducer(params).Run)
		after(20500 * time.Millisecond)
		require.Equal(t, uint64(21), w.height())
		for i := range 8 {
			w.offer(fmt.Appendf(nil, "k%d=v", i))
			after(time.Second)
		}
		require.Equal(t, uint64(26), w.height())
		posted.set(22)
		after(20 * time.Second)
		require.Equal(t, uint64(27), w.height(), "which takes the three transactions that are left")
	})
}

type fixedPosted struct {
	mu           sync.Mutex
	header, data uint64
	changed      chan struct{}
}

func (f *fixedPosted) Submitted() (header, data uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.header, f.data
}

func (f *fixedPosted) Progress() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fixedPosted) set(data uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = data
	old := f.changed
	f.changed = make(chan struct{})
	close(old)
}

// A restart with more waiting than the limit must not stall for ever.
func TestRestartOverTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(100)
		w.cfg.MaxPending = 10
		p := w.process()
		s := p.submitter()
		params := p.producerParams()
		params.Posted = s
		producer := sequencer.NewProducer(params)
		run(t, producer.Run)
		after(time.Minute)
		require.True(t, producer.Stats().Paused)
		run(t, s.Run)
		after(time.Minute)
		require.Greater(t, w.height(), uint64(110))
	})
}
