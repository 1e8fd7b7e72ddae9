package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/telemetry"
)

// nodeSpec says what node a child runs. The home exists.
type nodeSpec struct {
	Home    string
	Config  map[string]string // keys of the config, beside the home's own file
	Until   uint64            // says "reached" once this height is applied; 0 never
	Final   bool              // it must be final too
	Commits bool              // keep the time of every commit
	Every   time.Duration     // take samples this far apart; 0 takes none
	Profile string            // write <Profile>.cpu and <Profile>.heap, of the time until Until is reached, or with Commits all of it
}

// nodeRun is a node in a child.
type nodeRun struct {
	spec     nodeSpec
	say      *speaker
	begin    usage
	pipeline *pipeline.Pipeline
	network  *p2p.Node
	events   *notifier.Notifier

	mu      sync.Mutex
	commits [][2]int64
	samples []sample
}

// nodeChild runs the node of the command line, the very same, until ctx ends.
func nodeChild(ctx context.Context, raw []byte, say *speaker, commands <-chan string) error {
	r := &nodeRun{say: say}
	if err := json.Unmarshal(raw, &r.spec); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	var env []string
	for key, value := range r.spec.Config {
		env = append(env, app.EnvName(key)+"="+value)
	}
	loaded, err := app.Load(app.Sources{Home: r.spec.Home, Env: env})
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	setup, err := app.Prepare(ctx, app.PrepareParams{Home: r.spec.Home, Version: "bench", Config: loaded.Config, LogTo: os.Stderr})
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	telemetry.RouteLibraries(setup.Log)
	app.LimitGarbage()
	done, err := profiled(r.spec.Profile)
	if err != nil {
		return err
	}
	r.begin = mine()
	a := fx.New(app.Node(setup, fx.Populate(&r.pipeline, &r.network, &r.events), fx.Invoke(r.listen)))
	if err := a.Start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	err = r.serve(ctx, a, commands, done)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.StopTimeout())
	defer cancel()
	return errors.Join(err, a.Stop(stopping))
}

// listen hears of every commit from the first on.
func (r *nodeRun) listen(lc fx.Lifecycle, n *notifier.Notifier) {
	if !r.spec.Commits {
		return
	}
	const room = 1 << 16
	sub := n.Subscribe(notifier.Types(notifier.Applied), notifier.Buffer(room))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-sub.Ready:
			}
			for e, ok := sub.Next(); ok; e, ok = sub.Next() {
				r.mu.Lock()
				r.commits = append(r.commits, [2]int64{int64(e.Height), e.Timestamp.UnixNano()}) //nolint:gosec // a height
				r.mu.Unlock()
			}
		}
	}()
	lc.Append(fx.StopHook(func() {
		close(stop)
		<-stopped
		sub.Close()
	}))
}

func (r *nodeRun) serve(ctx context.Context, a *fx.App, commands <-chan string, profile func() error) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := r.now(eventReady)
	for _, addr := range r.network.Addresses() {
		ready.Addrs = append(ready.Addrs, addr.String())
	}
	if err := r.say.say(ready); err != nil {
		return err
	}
	if r.spec.Every > 0 {
		wg.Go(func() { r.sample(ctx) })
	}
	reached := make(chan struct{})
	if r.spec.Until > 0 {
		wg.Go(func() { r.await(ctx, reached) })
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			if r.spec.Commits {
				return profile()
			}
			return nil
		case signal := <-a.Wait():
			return fmt.Errorf("the node stopped by itself, with code %d", signal.ExitCode)
		case <-reached:
			reached = nil
			m := r.now(eventReached)
			if !r.spec.Commits {
				err = profile()
			}
			if err := errors.Join(err, r.say.say(m)); err != nil {
				return err
			}
		case command := <-commands:
			if err := r.obey(command); err != nil {
				return err
			}
		}
	}
}

// obey carries out a command of the parent.
func (r *nodeRun) obey(command string) error {
	switch command {
	case "gc": // what is kept, without what waits to be swept
		runtime.GC()
		runtime.GC()
	case "report":
	default:
		return fmt.Errorf("unknown command %q", command)
	}
	return r.say.say(r.now(eventReport))
}

func (r *nodeRun) now(event string) message {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := message{
		Event: event, Begin: r.begin, Now: mine(), Height: r.pipeline.Snapshot().Applied(),
		Commits: r.commits, Samples: r.samples,
	}
	r.commits, r.samples = nil, nil
	return m
}

// await closes reached when the node is where it should be.
func (r *nodeRun) await(ctx context.Context, reached chan<- struct{}) {
	for {
		changed := r.pipeline.Changed()
		at := r.pipeline.Snapshot()
		if at.Applied() >= r.spec.Until && (!r.spec.Final || at.Final >= r.spec.Until) {
			close(reached)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (r *nodeRun) sample(ctx context.Context) {
	tick := time.NewTicker(r.spec.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		u := mine()
		r.mu.Lock()
		r.samples = append(r.samples, sample{
			Seconds: u.At.Sub(r.begin.At).Seconds(), Height: r.pipeline.Snapshot().Applied(), RSS: u.RSS,
		})
		r.mu.Unlock()
	}
}

// profiled starts a CPU profile, and returns what ends it and adds a heap
// profile. Without a path both do nothing.
func profiled(path string) (func() error, error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	f, err := os.Create(path + ".cpu") //nolint:gosec // from the command line
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		heap, err := os.Create(path + ".heap") //nolint:gosec // from the command line
		if err != nil {
			return errors.Join(fmt.Errorf("profile: %w", err), f.Close())
		}
		return errors.Join(pprof.Lookup("allocs").WriteTo(heap, 0), heap.Close(), f.Close())
	}, nil
}
