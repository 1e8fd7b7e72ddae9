package testnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
)

// Tripwire makes a node that can be killed at a call of its stores or executor,
// with CrashAtCall.
func Tripwire() NodeOption {
	return func(s *spec) { s.tripwire = true }
}

// CrashAtCall kills the node at one of the next calls of its stores or executor:
// the count goes down before and after each. Nothing it does from then on is seen
// by anybody, but it has to be buried by Crash before it can start again.
func (x *Node) CrashAtCall(calls int) {
	require.True(x.net.t, x.spec.tripwire, "%s has no tripwire", x.Name())
	x.trip.arm(calls)
}

// Dead reports whether CrashAtCall has come true since the last start.
func (x *Node) Dead() bool {
	if x.trip == nil {
		return false
	}
	_, dead := x.trip.grave()
	return dead
}

// tripwire is that of one run of a node.
type tripwire struct {
	silence  func() // nothing the run still does is seen by anybody
	from, to string

	mu    sync.Mutex
	left  int
	fired bool
	home  string // as it was at that instant; empty when it could not be copied
}

func (t *tripwire) arm(calls int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.fired {
		t.left = calls
	}
}

// grave returns whether the run is over and what it left behind, if that is known.
func (t *tripwire) grave() (home string, dead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.home, t.fired
}

// pass is called where the node may die.
func (t *tripwire) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 || t.fired {
		return
	}
	if t.left--; t.left > 0 {
		return
	}
	t.fired = true
	t.silence()
	if copyHome(t.to, t.from) == nil {
		t.home = t.to
	}
}

// newTripwire is for the run that begins.
func (x *Node) newTripwire() *tripwire {
	port, key, link := x.port, x.signer, x.da
	return &tripwire{from: x.home, to: x.nextHome(), silence: func() {
		port.dead.Store(true)
		key.dead.Store(true)
		link.kill()
	}}
}

func (x *Node) nextHome() string {
	return fmt.Sprintf("%s-%d", filepath.Join(filepath.Dir(x.home), "home"), x.homes+1)
}

// copyHome copies files that others may still be writing, parents of what they
// lead to first: the chain's database before the executor's.
func copyHome(to, from string) error {
	const tries = 5
	var err error
	for range tries {
		if err = os.CopyFS(to, os.DirFS(from)); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err := os.RemoveAll(to); err != nil { // a file vanished meanwhile
			return err //nolint:wrapcheck // names the path
		}
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(to))
	}
	return nil
}

// tripwires puts the tripwire into the stores, below what announces their writes.
func (x *Node) tripwires() (outer, inner fx.Option) {
	pass := x.trip.pass
	return fx.Decorate(
			func(s app.Headers) app.Headers { return &trippedStore[*block.SignedHeader]{Store: s, pass: pass} },
			func(s app.Data) app.Data { return &trippedStore[*block.Data]{Store: s, pass: pass} },
		),
		fx.Decorate(func(s pipeline.Store) pipeline.Store { return &trippedState{Store: s, pass: pass} })
}

type trippedStore[H header.Header[H]] struct {
	header.Store[H]
	pass func()
}

// Append implements header.Store.
func (s *trippedStore[H]) Append(ctx context.Context, items ...H) error {
	s.pass()
	defer s.pass()
	return s.Store.Append(ctx, items...) //nolint:wrapcheck // a pass-through
}

type trippedState struct {
	pipeline.Store
	pass func()
}

// Commit implements pipeline.Store.
func (s *trippedState) Commit(ctx context.Context, b block.Batch) error {
	s.pass()
	defer s.pass()
	return s.Store.Commit(ctx, b) //nolint:wrapcheck // a pass-through
}

// Flushed says what the store says.
func (s *trippedState) Flushed() uint64 {
	return s.Store.(interface{ Flushed() uint64 }).Flushed() //nolint:forcetypeassert // it stands before the real one
}

// SaveEvidence implements pipeline.Store.
func (s *trippedState) SaveEvidence(ctx context.Context, e block.Evidence) (bool, error) {
	s.pass()
	defer s.pass()
	return s.Store.SaveEvidence(ctx, e) //nolint:wrapcheck // a pass-through
}

// SaveRevert implements pipeline.Store.
func (s *trippedState) SaveRevert(ctx context.Context, r block.Revert) error {
	s.pass()
	defer s.pass()
	return s.Store.SaveRevert(ctx, r) //nolint:wrapcheck // a pass-through
}

// Truncate implements pipeline.Store.
func (s *trippedState) Truncate(ctx context.Context, to uint64) error {
	s.pass()
	defer s.pass()
	return s.Store.Truncate(ctx, to) //nolint:wrapcheck // a pass-through
}
