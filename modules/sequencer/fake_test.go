package sequencer_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/testutil"
)

// world is everything that outlives a process: the disk, the network, the DA
// layer and all that was ever signed.
type world struct {
	t       testing.TB
	genesis block.Genesis
	key     ed25519.PrivateKey
	cfg     sequencer.Config
	da      *fakeDA

	mu         sync.Mutex
	states     []block.State // genesis state first
	blocks     []block.Block
	extra      []*block.SignedHeader // stored above the applied chain
	pending    *block.Block
	waiting    [][]byte // the stored queue
	waitingAt  uint64   // position of its first
	submitted  [2]uint64
	meta       map[string][]byte
	included   map[uint64]block.Included // beside what the DA worker reads
	unread     bool                      // the DA worker reads nothing
	guard      *signer.Guard
	final      uint64
	payloads   map[uint64]map[string]int // header payloads signed, by height
	broadcast  []block.Block
	mempool    [][]byte
	getTxs     int
	offered    chan struct{}
	changed    chan struct{}
	applyErr   func(block.Block) error
	nextSigner func(height uint64) []byte
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	key := testutil.Key("proposer")
	address := block.Address(key.Public().(ed25519.PublicKey))
	g := block.Genesis{
		ChainID: "seq", StartTime: time.Now().UTC(), InitialHeight: 1,
		ProposerAddress: address[:], DAStartHeight: 1, DAEpochForcedInclusion: 50,
	}
	w := &world{
		t: tb, genesis: g, key: key, cfg: sequencer.Default(), meta: map[string][]byte{},
		included: map[uint64]block.Included{}, payloads: map[uint64]map[string]int{},
		offered: make(chan struct{}, 1), changed: make(chan struct{}),
		applyErr: func(block.Block) error { return nil }, nextSigner: func(uint64) []byte { return nil },
	}
	w.states = []block.State{block.GenesisState(g, []byte("root 0"))}
	w.cfg.Submit.DABlockTime = 6 * time.Second
	w.guard = signer.NewGuard(filepath.Join(tb.TempDir(), "state"), address, "seq")
	require.NoError(tb, w.guard.Open())
	tb.Cleanup(func() { _ = w.guard.Close() })
	w.da = newFakeDA(w.cfg.Submit.DABlockTime)
	return w
}

func (w *world) offer(txs ...[]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mempool = append(w.mempool, txs...)
	select {
	case w.offered <- struct{}{}:
	default:
	}
}

func (w *world) height() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.states[len(w.states)-1].LastHeight
}

// asked returns how often the mempool was read.
func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.getTxs
}

func (w *world) made() []block.Block {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.blocks)
}

// checkSignedOnce fails when two header payloads were signed for a height.
func (w *world) checkSignedOnce() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for h, ps := range w.payloads {
		require.Lenf(w.t, ps, 1, "height %d was signed with several payloads", h)
	}
}

// checkChain verifies every block again, and that only committed ones went out.
func (w *world) checkChain() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var lastData []byte
	for i, b := range w.blocks {
		require.NoError(w.t, block.Verify(w.states[i], b, b.Header.Time()))
		require.NoError(w.t, block.VerifyDataLink(b.Data, lastData))
		lastData = b.Data.Hash()
	}
	for _, b := range w.broadcast {
		require.Equal(w.t, w.blocks[b.Height()-w.genesis.InitialHeight].Header.Hash(), b.Header.Hash())
	}
}

var errCrash = crashed{}

type crashed struct{}

func (crashed) Error() string { return "the process died" }

func (crashed) Permanent() bool { return true }

// process is one incarnation of the node. It dies at its dieAt-th call of
// anything that can fail, before or after the call took effect.
type process struct {
	*world

	log      *zap.Logger
	logs     *observer.ObservedLogs
	problems *problems.Board
	dieAt    int

	largestTx func() int // what the mempool takes
	after     bool

	callMu sync.Mutex
	calls  int
	dead   bool
	diedIn string
}

func (w *world) process() *process {
	core, logs := observer.New(zap.DebugLevel)
	return &process{world: w, log: zap.New(core), logs: logs, problems: problems.New()}
}

func (p *process) count() int {
	p.callMu.Lock()
	defer p.callMu.Unlock()
	return p.calls
}

// call runs an effect, unless the process dies before it.
func (p *process) call(name string, effect func() error) error {
	p.callMu.Lock()
	defer p.callMu.Unlock()
	if p.dead {
		return errCrash
	}
	p.calls++
	if p.calls == p.dieAt {
		p.dead, p.diedIn = true, name
		if !p.after {
			return errCrash
		}
		_ = effect()
		return errCrash
	}
	return effect()
}

func (p *process) producer() *sequencer.Producer {
	return sequencer.NewProducer(p.producerParams())
}

func (p *process) producerParams() sequencer.ProducerParams {
	return sequencer.ProducerParams{
		Config: p.cfg, Genesis: p.genesis, Signer: p, Chain: p, Store: p, Headers: headers{p.world}, Data: datas{p.world},
		Executor: p, Broadcaster: p, Problems: p.problems, Log: p.log,
	}
}

// submitter is made of the process; change adjusts that.
func (p *process) submitter(change ...func(*sequencer.SubmitterParams)) *sequencer.Submitter {
	sp := sequencer.SubmitterParams{
		Config: p.cfg, Genesis: p.genesis, Signer: p, Chain: p, Store: p, Headers: headers{p.world}, Data: datas{p.world},
		Client: p, Namespaces: spaces, Problems: p.problems, Log: p.log,
	}
	for _, f := range change {
		f(&sp)
	}
	return sequencer.NewSubmitter(sp)
}

var spaces = sequencer.Namespaces{Header: namespace("h"), Data: namespace("d")}

func namespace(id string) (n da.Namespace) {
	copy(n[19:], id)
	return n
}

// run starts a worker and returns a function that stops it and returns its error.
func run(tb testing.TB, worker func(context.Context) error) (stop func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- worker(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	tb.Cleanup(func() { _ = stop() })
	return stop
}

// after lets (virtual) time pass and everything that happens in it happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (p *process) Public() []byte { return p.key.Public().(ed25519.PublicKey) }

func (p *process) Sign(_ context.Context, m block.Message) (sig []byte, err error) {
	err = p.call("sign", func() error {
		if m.Kind() == block.MessageHeader {
			if err := p.guard.Allow(m.Mark()); err != nil {
				return err
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.payloads[m.Height()] == nil {
				p.payloads[m.Height()] = map[string]int{}
			}
			p.payloads[m.Height()][string(m.Bytes())]++
		}
		sig = ed25519.Sign(p.key, m.Bytes())
		return nil
	})
	return sig, err
}

func (p *process) Signed(ctx context.Context) (m block.Memory, err error) {
	err = p.call("signed", func() (err error) { m, err = p.guard.Signed(ctx); return err })
	return m, err
}

func (p *process) Raise(ctx context.Context, m block.Mark) error {
	return p.call("raise", func() error { return p.guard.Raise(ctx, m) })
}

func (p *process) Sync(context.Context) error { return p.call("sync", func() error { return nil }) }

func (p *process) State() block.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.states[len(p.states)-1]
}

func (p *process) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *process) Apply(_ context.Context, bs []block.Block, src block.Source) error {
	return p.call("apply", func() error {
		require.Equal(p.t, block.SourceLocal, src)
		for _, b := range bs {
			if err := p.applyErr(b); err != nil {
				return err
			}
			if err := p.apply(b); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *world) apply(b block.Block) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.states[len(w.states)-1]
	if b.Height() <= st.LastHeight {
		have := w.blocks[b.Height()-w.genesis.InitialHeight]
		if string(have.Header.Hash()) != string(b.Header.Hash()) {
			return &block.Conflict[*block.SignedHeader]{Height: b.Height(), Have: have.Header, Got: b.Header}
		}
		return nil
	}
	// As the pipeline does it: who made the block has judged its time.
	if err := block.Verify(st, b, b.Header.Time()); err != nil {
		return err
	}
	root := sha256.Sum256(append(slices.Clone(st.AppHash), b.Data.Encode()...))
	w.states = append(w.states, st.Next(b.Header, block.ExecResult{StateRoot: root[:], NextProposer: w.nextSigner(b.Height())}))
	w.blocks = append(w.blocks, b)
	w.pending = nil
	w.extra = slices.DeleteFunc(w.extra, func(h *block.SignedHeader) bool { return h.Height() <= b.Height() })
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

func (p *process) GetTxs(_ context.Context, maxBytes int) (txs [][]byte, err error) {
	err = p.call("get txs", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.getTxs++
		p.mempool = slices.DeleteFunc(p.mempool, func(tx []byte) bool { return len(tx) > maxBytes })
		for len(p.mempool) > 0 && maxBytes-len(p.mempool[0]) >= 0 {
			maxBytes -= len(p.mempool[0])
			txs = append(txs, p.mempool[0])
			p.mempool = p.mempool[1:]
		}
		return nil
	})
	return txs, err
}

func (p *process) LimitTxs(most func() int) { p.largestTx = most }

func (p *process) TxsAvailable() <-chan struct{} { return p.offered }

func (p *process) Prepare(_ context.Context, b block.Block) (func() error, error) {
	return func() error {
		return p.call("broadcast", func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.broadcast = append(p.broadcast, b)
			return nil
		})
	}, nil
}

func (p *process) Head(context.Context) (h da.Head, err error) {
	err = p.call("head", func() (err error) { h, err = p.da.head(); return err })
	return h, err
}

func (p *process) HeaderAt(context.Context, uint64) (da.Head, error) {
	return da.Head{}, errors.New("not used")
}

func (p *process) Watch(context.Context) (<-chan uint64, error) { return nil, errors.New("not used") }

func (p *process) Blobs(_ context.Context, height uint64, ns ...da.Namespace) (bs []da.Blob, err error) {
	err = p.call("blobs", func() (err error) { bs, err = p.da.blobs(height, ns[0]); return err })
	return bs, err
}

// Submit dies like all other calls, but waits for the DA block outside the lock.
func (p *process) Submit(ctx context.Context, ns da.Namespace, blobs [][]byte) (at uint64, err error) {
	err = p.call("submit", func() error { at, err = p.da.submit(ns, blobs); return err })
	if err != nil || at == 0 {
		return 0, err
	}
	if at > p.da.now()+100 { // nobody waits for that
		return at, nil
	}
	if err := p.da.wait(ctx, at); err != nil {
		return 0, fmt.Errorf("%w: %w", da.ErrUnknown, err)
	}
	return at, p.call("submit returns", func() error { return nil })
}

type headers struct{ *world }

func (r headers) Height() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[len(r.states)-1].LastHeight + uint64(len(r.extra))
}

func (r headers) GetRange(_ context.Context, from, to uint64) ([]*block.SignedHeader, error) {
	out := testutil.Headers(r.slice(from, to))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.extra {
		if h.Height() >= from && h.Height() < to && h.Height() == from+uint64(len(out)) {
			out = append(out, h)
		}
	}
	return out, nil
}

type datas struct{ *world }

func (r datas) Height() uint64 { return r.height() }

func (r datas) GetRange(_ context.Context, from, to uint64) ([]*block.Data, error) {
	return testutil.DataOf(r.slice(from, to)), nil
}

// slice returns at most 100 blocks, as a store caps ranges.
func (w *world) slice(from, to uint64) []block.Block {
	w.mu.Lock()
	defer w.mu.Unlock()
	lo := from - w.genesis.InitialHeight
	hi := min(to-w.genesis.InitialHeight, uint64(len(w.blocks)), lo+100)
	return slices.Clone(w.blocks[min(lo, hi):hi])
}

// posted returns how often each height lies on DA, by kind.
func (w *world) posted() (hs, ds map[uint64]int) {
	w.da.mu.Lock()
	defer w.da.mu.Unlock()
	hs, ds = map[uint64]int{}, map[uint64]int{}
	for _, bs := range w.da.at {
		for _, b := range bs {
			if b.Namespace == spaces.Header {
				e, err := block.DecodeHeaderEnvelope(b.Data)
				require.NoError(w.t, err)
				require.NoError(w.t, e.Verify())
				hs[e.Header.Height()]++
				continue
			}
			s, err := block.DecodeSignedData(b.Data)
			require.NoError(w.t, err)
			require.NoError(w.t, s.Verify())
			ds[s.Data.Height()]++
		}
	}
	return hs, ds
}
