package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	header "github.com/celestiaorg/go-header"
	goheader "github.com/celestiaorg/go-header/store"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// measurePublish counts what telling 1 to 1,000 subscribers costs, and how long
// a consumer takes to hear of a write.
func measurePublish(ctx context.Context, s *session) error {
	for _, subscribers := range []int{1, 10, 100, 1000} {
		for _, open := range []func(int) (bus, error){notifierBus, fullBus, waitingBus, channelBus, waitingChannelBus, signalBus, libp2pBus} {
			if err := s.publish(open, subscribers); err != nil {
				return err
			}
		}
	}
	return s.hearing(ctx)
}

func (s *session) publish(open func(int) (bus, error), subscribers int) error {
	b, err := open(subscribers)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("publish/%s/%d", b.name, subscribers)
	f := report.Figure{Key: key, Name: fmt.Sprintf("publish to %d, %s", subscribers, b.name), Unit: "ns"}
	if b.name == "notifier" {
		f.Most = map[int]float64{1: 30, 10: 150, 100: 1000}[subscribers]
	}
	f.EvNode = map[string]string{
		"channel per subscriber/1": "32", "channel per subscriber/10": "160", "channel per subscriber/100": "1,450",
		"conflating signal/1": "20", "conflating signal/10": "130", "conflating signal/100": "1,400",
		"libp2p eventbus/1": "350", "libp2p eventbus/10": "2,500", "libp2p eventbus/100": "16,000",
	}[fmt.Sprintf("%s/%d", b.name, subscribers)]
	for range s.runs {
		calls := pick(s, 300_000, 10_000) / max(subscribers, 10) // some milliseconds each
		ns, allocs := perCall(b, max(calls*b.batch/room, 50))
		s.add(f, ns, noCPU)
		if b.name == "notifier" {
			s.add(report.Figure{Key: key + "/allocs", Name: f.Name + ": allocations", Unit: "per call"}, allocs, noCPU)
		}
	}
	s.point(report.Plot{
		File: "publish", Title: "Cost of one publish", XLabel: "subscribers", YLabel: "ns", LogX: true, LogY: true,
	}, b.name, float64(subscribers), s.median(key))
	if b.close == nil {
		return nil
	}
	return b.close()
}

// perCall publishes n times, a batch at once, and empties the buffers off the
// clock. Of all the times it takes the median: what else the machine does meanwhile
// falls out.
func perCall(b bus, n int) (ns, allocs float64) {
	var (
		took          []float64
		before, after runtime.MemStats
		mallocs       uint64
	)
	for done := 0; done < n; done += b.batch {
		runtime.ReadMemStats(&before)
		start := time.Now()
		for range b.batch {
			b.publish()
		}
		took = append(took, float64(time.Since(start).Nanoseconds())/float64(b.batch))
		runtime.ReadMemStats(&after)
		mallocs += after.Mallocs - before.Mallocs
		b.empty()
	}
	return quantile(took, half), float64(mallocs) / float64(b.batch*len(took))
}

// hearing measures from the begin of an Append to the moment a goroutine that
// waits for the height goes on: by the notifier, by waiting in GetByHeight, and by
// waiting in that of go-header's store.
func (s *session) hearing(ctx context.Context) error {
	n := pick(s, 2000, 100)
	_, chain, err := blocks(ctx, chainSpec{Blocks: n + 1, Executor: noop})
	if err != nil {
		return err
	}
	for _, open := range []func(context.Context) (hearer, error){byNotifier, byHeight, byGoHeader} {
		for range s.runs {
			h, err := open(ctx)
			if err != nil {
				return err
			}
			took, err := h.listen(ctx, chain)
			if err = errors.Join(err, h.close()); err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			s.add(report.Figure{Key: "hear/p50/" + h.name, Name: "write → consumer, " + h.name + ": p50", Unit: "µs"}, quantile(took, half), noCPU)
			s.addTail(report.Figure{Key: "hear/" + h.name, Name: "write → consumer, " + h.name, Unit: "µs"}, took)
		}
	}
	return nil
}

// hearer is a header store and a way to wait for it.
type hearer struct {
	name  string
	store header.Store[*block.SignedHeader]
	wait  func(ctx context.Context, height uint64) error
	close func() error
}

// listen appends the chain one by one, while a goroutine waits for each height.
func (h hearer) listen(ctx context.Context, chain []block.Block) ([]float64, error) {
	if err := h.store.Append(ctx, chain[0].Header); err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	if err := h.wait(ctx, chain[0].Height()); err != nil {
		return nil, err
	}
	type heard struct {
		at  time.Time
		err error
	}
	waiting, done := make(chan uint64), make(chan heard)
	go func() {
		for height := range waiting {
			err := h.wait(ctx, height)
			done <- heard{time.Now(), err}
		}
	}()
	defer close(waiting)
	var took []float64
	for _, b := range chain[1:] {
		waiting <- b.Height()
		if err := pause(ctx, 100*time.Microsecond); err != nil { // until it waits
			return nil, err
		}
		start := time.Now()
		if err := h.store.Append(ctx, b.Header); err != nil {
			return nil, fmt.Errorf("append: %w", err)
		}
		x := <-done
		if x.err != nil {
			return nil, x.err
		}
		took = append(took, float64(x.at.Sub(start))/float64(time.Microsecond))
	}
	return took, nil
}

func memoryStore(ctx context.Context) (*chainstore.Store, *leveldb.DB, error) {
	db := leveldb.NewMemory()
	if err := db.Open(); err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	store := chainstore.New(db, chainstore.Default(), zap.NewNop())
	return store, db, store.Open(ctx)
}

func byNotifier(ctx context.Context) (hearer, error) {
	store, db, err := memoryStore(ctx)
	n := notifier.New()
	sub := n.Subscribe(notifier.Types(notifier.Header))
	return hearer{
		name: "store and notifier", store: instrumented.Wrap[*block.SignedHeader](store.Headers(), n, notifier.Header),
		wait: func(ctx context.Context, _ uint64) error {
			select {
			case <-sub.Ready:
				for ok := true; ok; _, ok = sub.Next() {
				}
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		close: db.Close,
	}, err
}

func byHeight(ctx context.Context) (hearer, error) {
	store, db, err := memoryStore(ctx)
	return hearer{
		name: "store, GetByHeight", store: store.Headers(), close: db.Close,
		wait: func(ctx context.Context, height uint64) error {
			_, err := store.Headers().GetByHeight(ctx, height)
			return err //nolint:wrapcheck // names itself
		},
	}, err
}

func byGoHeader(ctx context.Context) (hearer, error) {
	store, err := goheader.NewStore[*block.SignedHeader](dssync.MutexWrap(ds.NewMapDatastore()))
	if err != nil {
		return hearer{}, fmt.Errorf("go-header: %w", err)
	}
	if err := store.Start(ctx); err != nil {
		return hearer{}, fmt.Errorf("go-header: %w", err)
	}
	return hearer{
		name: "go-header store, GetByHeight", store: store,
		close: func() error { return store.Stop(context.WithoutCancel(ctx)) },
		wait: func(ctx context.Context, height uint64) error {
			_, err := store.GetByHeight(ctx, height)
			return err //nolint:wrapcheck // names itself
		},
	}, nil
}
