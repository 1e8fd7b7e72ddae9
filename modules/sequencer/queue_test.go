package sequencer

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// Whatever is offered comes out once, in order, in blocks within the bound.
func TestQueueProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(10, 300).Draw(t, "most")
		limit := rapid.IntRange(most, 10*most).Draw(t, "limit")
		q := newQueue(most, limit)
		var model [][]byte
		size, held := 0, 0
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "add") {
				var offer [][]byte
				for range rapid.IntRange(0, 5).Draw(t, "n") {
					tx := fmt.Appendf(nil, "%d", rapid.IntRange(0, 40).Draw(t, "tx"))
					tx = append(tx, make([]byte, rapid.IntRange(0, 200).Draw(t, "pad"))...)
					offer = append(offer, tx)
					known := false
					for _, m := range model {
						known = known || string(m) == string(tx)
					}
					if n := block.NewData(nil, [][]byte{tx}).Size(); !known && n <= most && held+heldTx(tx) <= limit {
						model = append(model, tx)
						size += n
						held += heldTx(tx)
					}
				}
				q.add(offer)
			} else {
				got := q.take(q.most)
				require.Equal(t, len(got) == 0, len(model) == 0, "a block takes at least one")
				require.LessOrEqual(t, block.NewData(nil, got).Size(), most)
				for i, tx := range got {
					require.Equal(t, model[i], tx)
					size -= block.FramedTx(tx)
					held -= heldTx(tx)
				}
				model = model[len(got):]
				if len(model) > 0 {
					require.Greater(t, block.NewData(nil, append(append([][]byte(nil), got...), model[0])).Size(), most, "a block is full")
				}
			}
			require.Equal(t, size, q.bytes)
			require.Equal(t, held, q.held)
			require.Len(t, q.txs, len(model))
			require.Len(t, q.known, len(model))
			require.Equal(t, len(model) == 0, q.empty())
		}
	})
}

// TestQueueFloodStaysWithinItsFigure: what an executor hands over takes the memory the
// queue says, whatever its size, and no more than its bound.
func TestQueueFloodStaysWithinItsFigure(t *testing.T) {
	for name, size := range map[string]int{"smallest": 4, "odd": 100, "large": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			const limit = 8 << 20
			q := newQueue(1<<20+100, limit)
			next := uint32(0)
			flood := func() {
				for before := q.dropped; q.dropped == before; next++ {
					tx := make([]byte, size)
					binary.BigEndian.PutUint32(tx, next)
					q.add([][]byte{tx})
				}
			}
			live := testutil.Live(func() any {
				flood()
				_ = q.take(q.most)
				flood()
				return q
			})
			testutil.CheckFigure(t, "queue", live, q.held)
			testutil.CheckFigure(t, "queue, to its bound", q.held, limit)
			require.LessOrEqual(t, q.held, limit)
		})
	}
}

func TestConfig(t *testing.T) {
	require.NoError(t, Default().Validate())
	for want, change := range map[string]func(*Config){
		"sequencer.block_time is 0s, want more than 0":                 func(c *Config) { c.BlockTime = 0 },
		"sequencer.lazy_interval is 1s, want more than block_time, 1s": func(c *Config) { c.Lazy, c.LazyInterval = true, c.BlockTime },
		"sequencer.poll_interval is 0s":                                func(c *Config) { c.PollInterval = 0 },
		"sequencer.max_block_bytes is 5242880, want 1 to 5241856":      func(c *Config) { c.MaxBlockBytes = block.MaxBlobBytes },
		"sequencer.max_queue_bytes is 1, want at least twice":          func(c *Config) { c.MaxQueueBytes = 1 },
		"sequencer.execute_tries is 0":                                 func(c *Config) { c.ExecuteTries = 0 },
		"sequencer.retry_delay is 0s":                                  func(c *Config) { c.RetryDelay = 0 },
		"sequencer.retry_max_delay is 0s":                              func(c *Config) { c.RetryMaxDelay = 0 },
		"sequencer.broadcast_timeout is 0s":                            func(c *Config) { c.BroadcastTimeout = 0 },
		"sequencer.start_grace is -1ns":                                func(c *Config) { c.StartGrace = -1 },
		"sequencer.ask_peers is -1ns":                                  func(c *Config) { c.AskPeers = -1 },
		"sequencer.submit.strategy is never, want time, size":          func(c *Config) { c.Submit.Strategy = "never" },
		"sequencer.submit.max_bytes is 0":                              func(c *Config) { c.Submit.MaxBytes = 0 },
		"sequencer.submit.max_delay is -1ns":                           func(c *Config) { c.Submit.MaxDelay = -1 },
		"sequencer.submit.min_items is 0":                              func(c *Config) { c.Submit.MinItems = 0 },
		"sequencer.submit.size_threshold is 2":                         func(c *Config) { c.Submit.SizeThreshold = 2 },
		"sequencer.submit.da_block_time is -1ns":                       func(c *Config) { c.Submit.DABlockTime = -1 },
		"sequencer.submit.reconcile_heights is 0, want at least 1":     func(c *Config) { c.Submit.ReconcileHeights = 0 },
	} {
		c := Default()
		change(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
}
