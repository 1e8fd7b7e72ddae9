package syncer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/syncer"
)

func TestInvariant3_LevelNotEdge_RestartOnAQuietNetworkCatchesUpAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(100)
		r.sink.next = 86
		began := time.Now()
		r.start()
		synctest.Wait()
		require.Equal(t, uint64(101), r.sink.Next())
		require.Zero(t, time.Since(began))
		require.Zero(t, r.syncer.Stats().Events)
	})
}

func TestInvariant3_LevelNotEdge_LostEventsAreMadeUpByTheNext(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(89)
		r.start()
		synctest.Wait()
		r.fill(5) // 90 to 94: no event
		synctest.Wait()
		require.Equal(t, uint64(90), r.sink.Next())
		r.add(1, notifier.P2P)
		synctest.Wait()
		require.Equal(t, uint64(96), r.sink.Next())
	})
}

func TestInvariant3_LevelNotEdge_TheLastEventMayFindTheBufferFull(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.params.Config.EventBuffer = 1
		r.sink.slow = time.Second
		r.start()
		synctest.Wait()
		r.add(1, notifier.P2P)
		synctest.Wait() // it is busy with block 1
		for range 20 {
			r.add(1, notifier.P2P)
		}
		require.NotZero(t, r.events.Stats().Dropped)
		time.Sleep(time.Minute)
		require.Equal(t, uint64(22), r.sink.Next())
	})
}

// Between the look at the stores and the wait something always can happen.
func TestInvariant3_LevelNotEdge_WhatComesAfterTheLookEndsTheWait(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.start()
		synctest.Wait()
		r.data.sneakIn(func() { r.add(1, notifier.P2P) })
		r.events.Publish(notifier.Event{Type: notifier.Header})
		synctest.Wait()
		require.Equal(t, uint64(2), r.sink.Next())
	})
}

func TestInvariant8_QuietWhenIdle_NoWakeUpsAndNoTimer(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(10)
		r.start()
		time.Sleep(time.Second)
		before := r.syncer.Stats()
		time.Sleep(1000 * time.Hour)
		require.Equal(t, before, r.syncer.Stats())
		require.Zero(t, before.Wakeups)
		require.Equal(t, uint64(1), before.Fetches)
		require.Empty(t, r.logs.All())
	})
}

func TestOneFetchServesManyEvents(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.sink.slow = time.Second
		r.start()
		synctest.Wait()
		r.add(1, notifier.P2P)
		synctest.Wait()
		for range 40 {
			r.add(1, notifier.P2P)
		}
		time.Sleep(time.Minute)
		require.Equal(t, []call{{1, 1, block.SourceP2P}, {2, 41, block.SourceP2P}}, r.sink.seen())
		st := r.syncer.Stats()
		require.Equal(t, uint64(82), st.Events)
		require.Equal(t, uint64(2), st.Fetches)
		require.Equal(t, uint64(41), st.Blocks)
		require.LessOrEqual(t, st.Wakeups, uint64(2), "what came during the work is not a wake-up of its own")
	})
}

func TestFetchesAreBounded(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		blocks, headers, data int // limits
		want                  []call
	}{
		{"by the configuration", 4, 0, 0, []call{{1, 4, 1}, {5, 8, 1}, {9, 10, 1}}},
		{"by short ranges of headers", 512, 3, 0, []call{{1, 3, 1}, {4, 6, 1}, {7, 9, 1}, {10, 10, 1}}},
		{"by short ranges of data", 512, 0, 6, []call{{1, 6, 1}, {7, 10, 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				t := r.t
				r.params.Config.MaxBlocks, r.headers.most, r.data.most = tc.blocks, tc.headers, tc.data
				r.fill(10)
				r.start()
				synctest.Wait()
				require.Equal(t, tc.want, r.sink.seen())
			})
		})
	}
}

func TestReadsAheadWhileTheSinkIsBusy(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.params.Config.MaxBlocks, r.sink.slow = 4, time.Second
		r.fill(10)
		r.start()
		synctest.Wait()
		require.Empty(t, r.sink.seen())
		require.Equal(t, uint64(2), r.syncer.Stats().Fetches)
		r.sink.jump(6) // which makes what was read ahead useless
		time.Sleep(time.Minute)
		require.Equal(t, []call{{1, 4, block.SourceP2P}, {7, 10, block.SourceP2P}}, r.sink.seen())
		require.Equal(t, uint64(3), r.syncer.Stats().Fetches)
	})
}

func TestWaitsForBothHalvesAndSaysForWhich(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.start()
		synctest.Wait()
		require.Equal(t, "block 1", r.syncer.Stats().WaitingFor)
		r.addHeaders(r.headerView, 3, notifier.P2P)
		synctest.Wait()
		require.Equal(t, "data of 1", r.syncer.Stats().WaitingFor)
		r.addData(r.dataView, 2, notifier.P2P)
		synctest.Wait()
		require.Equal(t, uint64(3), r.sink.Next())
		require.Equal(t, "data of 3", r.syncer.Stats().WaitingFor)
		r.addData(r.dataView, 2, notifier.P2P)
		synctest.Wait()
		require.Equal(t, "header of 4", r.syncer.Stats().WaitingFor)
	})
}

func TestHeadersOnly(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.params.Data = nil
		r.start()
		synctest.Wait()
		require.Len(t, r.events.Stats().Subscriptions, 1)
		require.Equal(t, "header of 1", r.syncer.Stats().WaitingFor)
		r.addHeaders(r.headerView, 5, notifier.P2P)
		synctest.Wait()
		require.Equal(t, uint64(6), r.sink.Next())
		require.Equal(t, uint64(5), r.syncer.Stats().Head)
	})
}

func TestSourceTravelsFromAppendToApply(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(2) // nobody says where from
		r.start()
		synctest.Wait()
		for _, src := range []notifier.Source{notifier.Local, notifier.P2P, notifier.Local} {
			r.add(2, src)
			synctest.Wait()
		}
		require.Equal(t, []call{
			{1, 2, block.SourceP2P}, {3, 4, block.SourceDA}, {5, 6, block.SourceP2P}, {7, 8, block.SourceDA},
		}, r.sink.seen())
	})
}

func TestFollowsASinkThatMovesByItself(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.start()
		synctest.Wait()
		r.sink.jump(7) // the other source applied 1 to 7
		r.add(5, notifier.P2P)
		synctest.Wait()
		require.Empty(t, r.sink.seen(), "what the sink has is not served again")
		r.add(5, notifier.P2P)
		synctest.Wait()
		require.Equal(t, []call{{8, 10, block.SourceP2P}}, r.sink.seen())
	})
}

func TestInvariant10_Stops_WhereverItIs(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		bubble(t, func(r *rig) {
			t := r.t
			r.start()
			synctest.Wait()
			requireStopsAtOnce(t, r)
		})
	})
	t.Run("in a back-off", func(t *testing.T) {
		bubble(t, func(r *rig) {
			t := r.t
			r.fill(1)
			r.sink.failNext(errFlaky)
			r.start()
			synctest.Wait()
			requireStopsAtOnce(t, r)
		})
	})
	t.Run("in Apply", func(t *testing.T) {
		bubble(t, func(r *rig) {
			t := r.t
			r.fill(1)
			r.sink.slow = time.Hour
			r.start()
			synctest.Wait()
			requireStopsAtOnce(t, r)
		})
	})
	t.Run("before it began", func(t *testing.T) {
		bubble(t, func(r *rig) {
			t := r.t
			r.fill(1)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.NoError(t, syncer.New(r.params).Run(ctx))
			require.Empty(t, r.sink.seen())
		})
	})
}

func requireStopsAtOnce(t *testing.T, r *rig) {
	t.Helper()
	began := time.Now()
	require.NoError(t, r.stop())
	require.Zero(t, time.Since(began))
	require.Empty(t, r.events.Stats().Subscriptions)
}

func TestWithoutNotifierItStillCatchesUpOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.params.Notifier = nil
		r.fill(3)
		r.start()
		synctest.Wait()
		require.Equal(t, uint64(4), r.sink.Next())
	})
}
