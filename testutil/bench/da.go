package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

// daSpec says what DA node a child runs.
type daSpec struct {
	Home      string        // whose chain is posted before it is ready; empty posts nothing
	PerHeight int           // blocks per DA height
	BlockTime time.Duration // 0: no further DA blocks are made
	Latency   time.Duration // of every call, once it is ready
	Profile   string        // as for nodes, from when it is ready to its end
}

// daChild runs a DA node until ctx ends. The command "latency <duration>" sets
// the latency.
func daChild(ctx context.Context, raw []byte, say *speaker, commands <-chan string) error {
	var spec daSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	cfg := da.DefaultServer()
	cfg.Listen, cfg.Freeze = "127.0.0.1:0", spec.BlockTime == 0
	if spec.BlockTime > 0 {
		cfg.BlockTime = spec.BlockTime
	}
	server, err := da.NewServer(cfg, zap.NewNop())
	if err != nil {
		return fmt.Errorf("da: %w", err)
	}
	if err := fill(ctx, server, spec); err != nil {
		return errors.Join(err, server.Close()) //nolint:contextcheck // its own, short time
	}
	server.SetLatency(spec.Latency)
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	if err := say.say(message{Event: eventReady, URL: server.URL(), Height: server.Status().Height}); err != nil {
		return err
	}
	profile, err := profiled(spec.Profile)
	if err != nil {
		return err
	}
	for {
		select {
		case err := <-ended:
			return errors.Join(err, profile())
		case text := <-commands:
			var latency da.Span
			if err := latency.UnmarshalText([]byte(text)); err != nil {
				return fmt.Errorf("latency: %w", err)
			}
			server.SetLatency(time.Duration(latency))
			if err := say.say(message{Event: eventReport}); err != nil {
				return err
			}
		}
	}
}

// heightTime is the time from one posted DA height to the next, by their headers.
const heightTime = time.Second

// fill opens the server and puts the chain of a home on DA, as its sequencer would
// have done. The headers have the times of a chain that made a height every
// heightTime and made the last one now: clients refuse heads that are farther apart
// than the times of their headers allow.
func fill(ctx context.Context, server *da.Server, spec daSpec) error {
	if spec.Home == "" {
		return server.Listen(ctx) //nolint:wrapcheck // names itself
	}
	return withStore(ctx, spec.Home, func(store *chainstore.Store) error {
		top := store.Headers().Height()
		per := uint64(spec.PerHeight) //nolint:gosec // a small number
		left := (top + per - 1) / per
		begin := time.Now()
		server.SetClock(func() time.Time { return begin.Add(-time.Duration(left) * heightTime) }) //nolint:gosec // a count
		if err := server.Listen(ctx); err != nil {
			return fmt.Errorf("da: %w", err)
		}
		for from := uint64(1); from <= top; from += per {
			headers, data, err := blobs(ctx, store, from, min(from+per, top+1))
			if err != nil {
				return err
			}
			left--
			if err := produce(ctx, server, headers, data); err != nil {
				return fmt.Errorf("da: post block %d: %w", from, err)
			}
		}
		return nil
	})
}

// blobs are the envelopes of [from, to).
func blobs(ctx context.Context, store *chainstore.Store, from, to uint64) (headers, data [][]byte, err error) {
	key := testutil.Key("proposer")
	for height := from; height < to; height++ {
		h, err := store.Headers().GetByHeight(ctx, height)
		if err != nil {
			return nil, nil, fmt.Errorf("da: %w", err)
		}
		headers = append(headers, testutil.Envelope(key, h))
		if h.IsEmpty() {
			continue
		}
		d, err := store.Data().GetByHeight(ctx, height)
		if err != nil {
			return nil, nil, fmt.Errorf("da: %w", err)
		}
		data = append(data, testutil.DataBlob(key, d))
	}
	return headers, data, nil
}

// produce makes one DA block of these blobs.
func produce(ctx context.Context, server *da.Server, headers, data [][]byte) error {
	client := server.Client()
	posted := make(chan error, 2) // headers and data
	posts := 0
	for _, one := range []struct {
		name  string
		blobs [][]byte
	}{{headerSpace, headers}, {dataSpace, data}} {
		if len(one.blobs) == 0 {
			continue
		}
		posts++
		go func() {
			_, err := client.Submit(ctx, da.NamespaceOf(one.name), one.blobs)
			posted <- err
		}()
	}
	for server.Status().Pending < posts && len(posted) == 0 {
		runtime.Gosched()
	}
	_, err := server.Produce()
	for range posts {
		err = errors.Join(err, <-posted)
	}
	return err
}

// Where a chain called "bench" is posted.
const (
	headerSpace = "bench-headers"
	dataSpace   = "bench-data"
)
