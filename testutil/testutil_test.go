package testutil_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/testutil"
)

// TestChainsAreValid holds the generated chains against the rules of blocks.
func TestChainsAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := testutil.Chains(1, 8, 4).Draw(t, "chain")
		var lastData []byte
		for i, b := range m.Blocks {
			require.NoError(t, block.Verify(m.StateBefore(i), b, b.Header.Time()))
			require.NoError(t, block.VerifyDataLink(b.Data, lastData))
			lastData = b.Data.Hash()
		}
	})
}

// TestMutationsBreakOneRule names the rule that every mutation breaks.
func TestMutationsBreakOneRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := testutil.Chains(2, 6, 4).Draw(t, "chain")
		i := rapid.IntRange(1, len(m.Blocks)-1).Draw(t, "block")
		if len(m.Blocks[i].Data.Txs) == 0 {
			t.Skip("an empty block has no data to change")
		}
		mutation := rapid.SampledFrom(testutil.Mutations()).Draw(t, "mutation")
		bad := mutation.Apply(m.Chain, m.Blocks[i])
		err := block.Verify(m.StateBefore(i), bad, m.Blocks[len(m.Blocks)-1].Header.Time())
		if mutation.Rule == "" {
			require.NoError(t, err)
			require.Error(t, block.VerifyDataLink(bad.Data, m.Blocks[i-1].Data.Hash()))
			return
		}
		require.ErrorIs(t, err, mutation.Rule, mutation.Name)
		require.NoError(t, block.Verify(m.StateBefore(i), m.Blocks[i], m.Blocks[len(m.Blocks)-1].Header.Time()), "the good one is as it was")
	})
}

// TestAnyItemsSurviveTheWire shows that the free generators make what the codec takes.
func TestAnyItemsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := testutil.AnySignedHeader().Draw(t, "header")
		back, err := block.DecodeSignedHeader(h.Encode())
		require.NoError(t, err)
		require.Equal(t, h.Digest(), back.Digest())
		d := testutil.AnyData().Draw(t, "data")
		got, err := block.DecodeData(d.Encode())
		require.NoError(t, err)
		require.Equal(t, d.Digest(), got.Digest())
	})
}

// spy is a testing.TB that notes what is done to it.
type spy struct {
	*testing.T
	failed   bool
	text     bytes.Buffer
	cleanups []func()
}

func (s *spy) Helper()          {}
func (s *spy) Failed() bool     { return s.failed }
func (s *spy) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }
func (s *spy) Errorf(format string, args ...any) {
	s.failed = true
	fmt.Fprintf(&s.text, format+"\n", args...)
}
func (s *spy) Error(args ...any) { s.failed = true; fmt.Fprintln(&s.text, args...) }
func (s *spy) Logf(format string, args ...any) {
	fmt.Fprintf(&s.text, format+"\n", args...)
}

func (s *spy) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}

func TestLogFailsOnWarnings(t *testing.T) {
	s := &spy{T: t}
	log := testutil.Log(s, testutil.AllowLog("peer is away"))
	log.Named("p2p").With(zap.String("a", "b")).Info("fine")
	log.Warn("peer is away", zap.Error(io.EOF))
	s.end()
	require.False(t, s.failed)
	require.Empty(t, s.text.String(), "silent when the test passes")

	s = &spy{T: t}
	logs := testutil.NewLogs(s)
	logs.Logger().Info("before")
	logs.Logger().With(zap.Int("height", 7)).Error("block lost", zap.Error(errors.New("disk")))
	logs.Logger().Warn("later allowed")
	require.Equal(t, 1, logs.Count("block lost"))
	s.end()
	require.True(t, s.failed)
	require.Contains(t, s.text.String(), "before")
	require.Contains(t, s.text.String(), `{"height": 7, "error": "disk"}`)
}

func TestLogIsBounded(t *testing.T) {
	s := &spy{T: t}
	log := testutil.Log(s)
	long := string(bytes.Repeat([]byte("x"), 64<<10))
	for range 200 {
		log.Info(long)
	}
	log.Error("end")
	s.end()
	require.Less(t, s.text.Len(), 5<<20)
	require.Contains(t, s.text.String(), "end")
}

func TestLeaksFindsWhatIsLeft(t *testing.T) {
	testutil.Leaks(t) // of this test itself, below
	s, stop := &spy{T: t}, make(chan struct{})
	testutil.Leaks(s)
	done := make(chan struct{})
	go func() { defer close(done); <-stop }()
	s.end()
	require.True(t, s.failed)
	close(stop)
	<-done
}

func TestLeaksInBubbleFindsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testutil.LeaksInBubble(t)
		s, stop := &spy{T: t}, make(chan struct{})
		testutil.LeaksInBubble(s)
		go func() { <-stop }()
		go func() { <-time.After(20 * time.Second) }() // ends in time
		s.end()
		require.True(t, s.failed)
		require.Contains(t, s.text.String(), "TestLeaksInBubbleFindsWhatIsLeft")
		close(stop)
	})
}

func TestAwaitSeesEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		changed := make(chan struct{}, 1)
		go func() {
			for range 5 {
				time.Sleep(time.Second)
				n.Add(1)
				changed <- struct{}{}
			}
		}()
		events := func() <-chan struct{} { return changed }
		start := time.Now()
		testutil.Await(t, time.Minute, events, func() bool { return n.Load() == 3 })
		require.Equal(t, 3*time.Second, time.Since(start))
		testutil.Never(t, 10*time.Second, events, func() bool { return n.Load() == 100 })
		require.EqualValues(t, 5, n.Load())
	})
}

type greeter interface{ Greet() string }

type polite string

func (p polite) Greet() string { return "good day, " + string(p) }

func TestReplaceAsReplacesTheInterface(t *testing.T) {
	var g greeter
	app := fx.New(fx.NopLogger,
		fx.Module("inner", fx.Provide(func() greeter { return polite("real") }), fx.Populate(&g)),
		testutil.ReplaceAs[greeter](polite("fake")),
	)
	require.NoError(t, app.Err())
	require.Equal(t, "good day, fake", g.Greet())
}

func TestSpans(t *testing.T) {
	s := testutil.NewSpans(t)
	_, open := s.Tracer().Start(t.Context(), "open", blocktrace.One(1))
	_, span := s.Tracer().Start(t.Context(), "a", blocktrace.One(1))
	span.End()
	require.Len(t, s.Ended("a"), 1)
	require.Equal(t, []string{"open"}, s.Open())
	open.End()
	require.Empty(t, s.Open())
}
