package beat_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/beat"
)

func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b beat.Beat
		time.Sleep(time.Hour)
		require.Zero(t, b.For(time.Now()), "idle since ever")
		b.Busy()
		time.Sleep(time.Minute)
		require.Equal(t, time.Minute, b.For(time.Now()))
		require.Zero(t, b.For(time.Now().Add(-time.Hour)), "a clock that was set back")
		b.Busy()
		time.Sleep(time.Second)
		require.Equal(t, time.Second, b.For(time.Now()), "the next item starts anew")
		b.Idle()
		time.Sleep(time.Hour)
		require.Zero(t, b.For(time.Now()))
		require.Zero(t, testing.AllocsPerRun(10, b.Busy))
	})
}

func BenchmarkBusy(b *testing.B) {
	var x beat.Beat
	b.ReportAllocs()
	for b.Loop() {
		x.Busy()
	}
}
