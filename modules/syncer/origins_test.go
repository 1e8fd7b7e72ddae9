package syncer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
)

func TestOriginsRememberTheFirstToTell(t *testing.T) {
	var o origins
	require.Equal(t, block.SourceP2P, o.of(1), "unknown")
	o.note(3, block.SourceDA)
	o.note(2, block.SourceP2P) // told before
	o.note(5, block.SourceDA)
	o.note(6, block.SourceP2P)
	require.Len(t, o.runs, 2)
	require.Equal(t, block.SourceDA, o.of(1))
	require.Equal(t, block.SourceDA, o.of(5))
	require.Equal(t, block.SourceP2P, o.of(6))
	require.Equal(t, block.SourceP2P, o.of(7))
	o.forget(6)
	require.Equal(t, []run{{6, block.SourceP2P}}, o.runs)
}

// The runs agree with a plain map from height to the first source, as long as
// they are within their bound, and never grow beyond it.
func TestOriginsMatchTheirModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			o     origins
			first = map[uint64]block.Source{}
			top   uint64
			next  uint64 = 1
		)
		for range rapid.IntRange(1, 100).Draw(t, "notes") {
			height := rapid.Uint64Range(1, 60).Draw(t, "height")
			src := rapid.SampledFrom([]block.Source{block.SourceP2P, block.SourceDA}).Draw(t, "source")
			o.note(height, src)
			for h := top + 1; h <= height; h++ {
				first[h] = src
			}
			top = max(top, height)
			if rapid.Bool().Draw(t, "forget") {
				next = rapid.Uint64Range(next, top+1).Draw(t, "next")
				o.forget(next)
			}
			for h := next; h <= top; h++ {
				require.Equal(t, first[h], o.of(h), "height %d", h)
			}
		}
	})
}

func TestOriginsAreBounded(t *testing.T) {
	var o origins
	for h := range uint64(10 * maxRuns) {
		o.note(h+1, block.Source(h%2+1))
	}
	require.Len(t, o.runs, maxRuns)
}

func TestBackOffDoublesWithinItsBounds(t *testing.T) {
	r := retry{least: 100 * time.Millisecond, most: time.Second}
	var got []time.Duration
	for range 6 {
		got = append(got, r.delay()/time.Millisecond)
	}
	require.Equal(t, []time.Duration{100, 200, 400, 800, 1000, 1000}, got)
	for range 1000 {
		require.InDelta(t, 1, jitter(time.Second).Seconds(), 0.1)
	}
}

func TestConfig(t *testing.T) {
	require.NoError(t, Default().Validate())
	for want, change := range map[string]func(*Config){
		"max_blocks is 0, want at least 1":                  func(c *Config) { c.MaxBlocks = 0 },
		"event_buffer is 0, want at least 1":                func(c *Config) { c.EventBuffer = 0 },
		"retry_min is 0s, want more than 0s":                func(c *Config) { c.RetryMin = 0 },
		"retry_max is 1ms, want at least retry_min (100ms)": func(c *Config) { c.RetryMax = time.Millisecond },
	} {
		c := Default()
		change(&c)
		require.EqualError(t, c.Validate(), want)
	}
}
