package pipeline_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/testutil"
)

// world is a chain, and a disk and an executor that outlive pipelines.
type world struct {
	t      testing.TB
	chain  *testutil.Chain
	roots  map[uint64][]byte
	blocks []block.Block // blocks[i] has height InitialHeight+i

	store  *memStore
	exec   *memExec
	events *recorder
	cfg    pipeline.Config
	board  *problems.Board
	faults *faults
	logs   *observer.ObservedLogs
	log    *zap.Logger
}

func newWorld(tb testing.TB, blocks int) *world {
	tb.Helper()
	f := &faults{}
	w := &world{
		t: tb, chain: testutil.NewChain("test"), roots: map[uint64][]byte{}, faults: f,
		store: newMemStore(f), events: &recorder{}, cfg: pipeline.Default(), board: problems.New(),
	}
	w.exec = newMemExec(f, w.store)
	core, logs := observer.New(zapcore.InfoLevel)
	w.log, w.logs = zap.New(core), logs
	w.roots[0] = genesisRoot(w.chain.Genesis)
	w.chain.Root = func(h uint64) []byte { return w.roots[h] }
	w.grow(w.chain, blocks)
	w.store.put(w.blocks...)
	return w
}

// grow makes blocks on c and records their roots; every third one is empty.
func (w *world) grow(c *testutil.Chain, n int) {
	for range n {
		var txs [][]byte
		if len(w.blocks)%3 != 2 {
			txs = [][]byte{fmt.Appendf(nil, "k%d=v", len(w.blocks)), []byte("junk")}
		}
		b := c.Next(txs...)
		w.roots[b.Height()] = nextRoot(w.roots[b.Height()-1], b.Height(), b.Data.Txs)
		w.blocks = append(w.blocks, b)
	}
}

func genesisRoot(g block.Genesis) []byte { r := sha256.Sum256([]byte(g.ChainID)); return r[:] }

func nextRoot(prev []byte, height uint64, txs [][]byte) []byte {
	s := sha256.New()
	s.Write(prev)
	_ = binary.Write(s, binary.BigEndian, height)
	for _, tx := range txs {
		s.Write(tx)
		s.Write([]byte{0})
	}
	return s.Sum(nil)
}

// now is a time at which all blocks of the tests are in the past.
func (w *world) now() time.Time { return w.chain.Genesis.StartTime.Add(24 * time.Hour) }

func (w *world) params() pipeline.Params {
	return pipeline.Params{
		Genesis: w.chain.Genesis, Store: w.store, Headers: headersOf{w.store}, Data: dataOf{w.store},
		Executor: w.exec.as(), Events: w.events, Now: w.now, Config: w.cfg, Log: w.log,
		ExecutorName: "test-executor", Board: w.board,
	}
}

// start opens a new pipeline over the same disk and executor.
func (w *world) start() *pipeline.Pipeline {
	w.t.Helper()
	p := pipeline.New(w.params())
	require.NoError(w.t, p.Open(w.ctx()))
	return p
}

func (w *world) ctx() context.Context {
	if t, ok := w.t.(*testing.T); ok {
		return t.Context()
	}
	return context.Background()
}

// at returns the block of a height.
func (w *world) at(height uint64) block.Block { return w.blocks[height-w.chain.Genesis.InitialHeight] }

// seen returns the inclusions of both halves of a block.
func seen(b block.Block, daHeight uint64) []block.Inclusion {
	return append(seenHeader(b, daHeight), seenData(b, daHeight)...)
}

func seenHeader(b block.Block, daHeight uint64) []block.Inclusion {
	return []block.Inclusion{{Height: b.Height(), Kind: block.KindHeader, Hash: b.Header.Digest(), DAHeight: daHeight}}
}

// seenData is empty for blocks without transactions, which are not posted.
func seenData(b block.Block, daHeight uint64) []block.Inclusion {
	if b.Header.IsEmpty() {
		return nil
	}
	return []block.Inclusion{{Height: b.Height(), Kind: block.KindData, Hash: b.Data.Commitment(), DAHeight: daHeight}}
}

var (
	errFault = errors.New("injected fault")
	errDead  = errors.New("the process is dead")
)

// faults decides which calls to the store and the executor go wrong. Calls are
// counted; one that has an effect is counted before and after it.
type faults struct {
	mu    sync.Mutex
	calls int
	at    int  // the call that goes wrong; 0 none
	crash bool // and all after it
	dead  bool
	ran   []string
}

func (f *faults) point(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errDead
	}
	f.calls++
	f.ran = append(f.ran, name)
	if f.at == 0 || f.calls != f.at {
		return nil
	}
	if f.crash {
		f.dead = true
		return errDead
	}
	return fmt.Errorf("%s: %w", name, errFault)
}

func (f *faults) reset(at int, crash bool) { *f = faults{at: at, crash: crash} }

// memExec is a persistent executor. It notes blocks that are executed although
// they were committed before.
type memExec struct {
	faults *faults
	store  *memStore
	base   uint64

	roots    map[uint64][]byte
	latest   uint64
	ran      []uint64 // heights in the order of execution
	again    []uint64 // of them, the ones that were committed already
	finals   []uint64
	rolled   []uint64
	proposer map[uint64][]byte
	onRun    func(block.Execution) error
	onFinal  func(uint64) error
	plain    bool   // knows no height
	stiff    bool   // cannot roll back
	twist    uint64 // the height after which it has another state than the chain
}

func newMemExec(f *faults, s *memStore) *memExec {
	return &memExec{faults: f, store: s, roots: map[uint64][]byte{}}
}

type withHeight struct{ *memExec }

func (e withHeight) LatestHeight(context.Context) (uint64, error) {
	return e.latest, e.faults.point("latest")
}

func (e withHeight) FinalHeight(context.Context) (uint64, error) {
	if len(e.finals) == 0 {
		return 0, e.faults.point("final height")
	}
	return e.finals[len(e.finals)-1], e.faults.point("final height")
}

type withRollback struct{ withHeight }

func (e withRollback) Rollback(_ context.Context, height uint64) error {
	if err := e.faults.point("before rollback"); err != nil {
		return err
	}
	maps.DeleteFunc(e.roots, func(h uint64, _ []byte) bool { return h > height })
	e.latest = min(e.latest, height)
	e.rolled = append(e.rolled, height)
	return e.faults.point("after rollback")
}

func (e *memExec) as() pipeline.Executor {
	switch {
	case e.plain:
		return e
	case e.stiff:
		return withHeight{e}
	}
	return withRollback{withHeight{e}}
}

func (e *memExec) InitChain(_ context.Context, g block.Genesis) ([]byte, error) {
	if err := e.faults.point("before init"); err != nil {
		return nil, err
	}
	e.base = g.InitialHeight - 1
	if e.roots[e.base] == nil {
		e.roots[e.base] = genesisRoot(g)
	}
	return e.roots[e.base], e.faults.point("after init")
}

func (e *memExec) ExecuteTxs(_ context.Context, x block.Execution) (block.ExecResult, error) {
	if err := e.faults.point("before execute"); err != nil {
		return block.ExecResult{}, err
	}
	if e.onRun != nil {
		if err := e.onRun(x); err != nil {
			return block.ExecResult{}, err
		}
	}
	e.ran = append(e.ran, x.Height)
	if x.Height <= e.store.applied() {
		e.again = append(e.again, x.Height)
	}
	if want := max(e.latest, e.base) + 1; !e.plain && x.Height != want {
		return block.ExecResult{}, fmt.Errorf("executor got block %d, wants %d", x.Height, want)
	}
	if !e.plain && string(x.PrevRoot) != string(e.roots[x.Height-1]) {
		return block.ExecResult{}, fmt.Errorf("block %d builds on another root", x.Height)
	}
	e.roots[x.Height] = nextRoot(x.PrevRoot, x.Height, x.Txs)
	if e.latest = x.Height; x.Height == e.twist {
		e.roots[x.Height] = []byte("another state")
	}
	res := block.ExecResult{StateRoot: e.roots[x.Height], NextProposer: e.proposer[x.Height]}
	return res, e.faults.point("after execute")
}

func (e *memExec) SetFinal(_ context.Context, height uint64) error {
	if err := e.faults.point("before final"); err != nil {
		return err
	}
	if e.onFinal != nil {
		if err := e.onFinal(height); err != nil {
			return err
		}
	}
	if height <= e.store.Final() {
		return fmt.Errorf("told twice that block %d is final", height)
	}
	e.finals = append(e.finals, height)
	return e.faults.point("after final")
}

// recorder is an Events that remembers.
type recorder struct {
	mu      sync.Mutex
	applied []uint64
	groups  []int
	sources []block.Source
	final   []uint64
	hashes  []block.Hash

	conflicts []block.Hash
	reverts   []uint64
}

func (r *recorder) Conflict(_ uint64, hash block.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conflicts = append(r.conflicts, hash)
}

func (r *recorder) Reverted(height uint64, _ *block.SignedHeader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reverts = append(r.reverts, height)
}

func (r *recorder) Applied(blocks []block.Block, src block.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range blocks {
		r.applied = append(r.applied, b.Height())
	}
	r.groups = append(r.groups, len(blocks))
	r.sources = append(r.sources, src)
}

func (r *recorder) Final(height uint64, hash block.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.final = append(r.final, height)
	r.hashes = append(r.hashes, hash)
}

// heights returns from..to.
func heights(from, to uint64) []uint64 {
	var out []uint64
	for h := from; h <= to; h++ {
		out = append(out, h)
	}
	return out
}

// isPermanent is how workers tell errors that stop the node.
func isPermanent(err error) bool {
	p, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && p.Permanent()
}

type edKey = ed25519.PublicKey

// upTo are the positions of a DA worker that reads a DA height next and has nothing
// left below; 0 is the caller that has none.
func upTo(next uint64) block.DAPositions { return block.DAPositions{Floor: next, Scanned: next} }
