// Package executiontest checks an executor against the contract of package
// execution. An application runs it in a test of its own:
//
//	func TestContract(t *testing.T) {
//		executiontest.Run(t, func(t *testing.T, dir string) execution.Executor {
//			return myapp.New(dir)
//		})
//	}
//
// It does not measure speed and does not kill processes.
package executiontest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing" //nolint:depguard // for tests only
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/execution"
)

// Open returns a new executor on the state in dir, which is empty at first. The
// suite calls Open of an execution.Lifecycle, and closes what it opened before
// it opens the same directory again.
type Open func(t *testing.T, dir string) execution.Executor

// Suite is the contract. Its zero fields have defaults.
type Suite struct {
	Open Open
	// Txs returns the transactions of a block, the same at each call, as fresh
	// slices. The default mixes "key=value" with garbage.
	Txs func(height uint64) [][]byte
	// InitialHeight of the chain; 1 by default.
	InitialHeight uint64
}

// Run runs the suite with its defaults, and again on a chain that starts higher.
func Run(t *testing.T, open Open) {
	t.Helper()
	Suite{Open: open}.Run(t)
	t.Run("initial height 1000", func(t *testing.T) { Suite{Open: open, InitialHeight: 1000}.Run(t) })
}

// Run runs every check as a subtest.
func (s Suite) Run(t *testing.T) {
	t.Helper()
	if s.Txs == nil {
		s.Txs = DefaultTxs
	}
	s.InitialHeight = max(s.InitialHeight, 1)
	for _, c := range []struct {
		name  string
		check func(c *chain)
	}{
		{"InitChain may be repeated", initChain},
		{"two executors agree on every root", deterministic},
		{"garbage transactions are tolerated", garbage},
		{"transactions are not kept or changed", borrowed},
		{"a block may be handed over again", repeated},
		{"state survives a restart", reopened},
		{"LatestHeight follows", latestHeight},
		{"Rollback restores every height", rollback},
		{"SetFinal may be repeated", setFinal},
		{"mempool is first in, first out", mempool},
		{"mempool works beside execution", concurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(start(t, s)) })
	}
}

// Genesis is the chain the suite runs.
func Genesis(initialHeight uint64) block.Genesis {
	return block.Genesis{
		ChainID: "executiontest", StartTime: time.Unix(1_700_000_000, 0).UTC(), InitialHeight: initialHeight,
		ProposerAddress: bytes.Repeat([]byte{7}, block.HashSize), DAEpochForcedInclusion: 50,
	}
}

// DefaultTxs returns writes of shared and of new keys, garbage, or nothing.
func DefaultTxs(height uint64) [][]byte {
	switch height % 4 {
	case 0:
		return nil
	case 1:
		return Garbage()
	default:
		txs := [][]byte{fmt.Appendf(nil, "shared=%d", height)}
		for i := range height % 7 {
			txs = append(txs, fmt.Appendf(nil, "key-%d-%d=value %d", height, i, i))
		}
		return append(txs, []byte("no write"), fmt.Appendf(nil, "shared = %d again ", height))
	}
}

// Garbage returns transactions that are likely to trip a parser.
func Garbage() [][]byte {
	return [][]byte{
		nil,
		{},
		{0},
		{'='},
		[]byte("=value"), []byte("  = "), []byte("novalue"),
		{0xff, 0xfe, '=', 0xff},
		[]byte("a=b=c"),
		[]byte("../../x=1"), []byte("..=1"), []byte(".=1"), []byte("/=/"), []byte("\x00=\x00"), []byte("k="), []byte("\u2003k\u2003=\u2003"),
		bytes.Repeat([]byte{'='}, 1000), bytes.Repeat([]byte("long"), 5000), append(bytes.Repeat([]byte("k"), 5000), "=v"...),
	}
}

// chain drives one executor and remembers the roots.
type chain struct {
	t     *testing.T
	suite Suite
	dir   string
	exec  execution.Executor
	roots map[uint64][]byte // the genesis root below the initial height
	named map[uint64][]byte // next proposers, where a block named one
	next  uint64
}

func start(t *testing.T, s Suite) *chain {
	t.Helper()
	c := &chain{t: t, suite: s, dir: t.TempDir(), roots: make(map[uint64][]byte), named: make(map[uint64][]byte), next: s.InitialHeight}
	c.open()
	t.Cleanup(c.close)
	c.roots[s.InitialHeight-1] = c.init()
	return c
}

// twin returns another node of the same chain.
func (c *chain) twin() *chain { return start(c.t, c.suite) }

func (c *chain) open() {
	c.t.Helper()
	c.exec = c.suite.Open(c.t, c.dir)
	if l, ok := c.exec.(execution.Lifecycle); ok {
		require.NoError(c.t, l.Open(c.t.Context()))
	}
}

func (c *chain) close() {
	if l, ok := c.exec.(execution.Lifecycle); ok && c.exec != nil {
		require.NoError(c.t, l.Close())
	}
	c.exec = nil
}

func (c *chain) init() []byte {
	c.t.Helper()
	root, err := c.exec.InitChain(c.t.Context(), Genesis(c.suite.InitialHeight))
	require.NoError(c.t, err)
	return bytes.Clone(root)
}

func (c *chain) execute(height uint64) []byte {
	c.t.Helper()
	res, err := c.exec.ExecuteTxs(c.t.Context(), c.block(height))
	require.NoError(c.t, err, "height %d", height)
	if n := len(res.NextProposer); n != 0 {
		require.Equal(c.t, block.HashSize, n, "block %d names a next proposer of %d bytes", height, n)
	}
	if want, again := c.named[height]; again {
		require.True(c.t, bytes.Equal(want, res.NextProposer), "block %d names %X, and %X when executed again", height, want, res.NextProposer)
	}
	c.named[height] = bytes.Clone(res.NextProposer)
	return res.StateRoot
}

func (c *chain) block(height uint64) block.Execution {
	return block.Execution{
		Height: height, Time: time.Unix(1_700_000_000+int64(height), 0).UTC(), //nolint:gosec // small
		Txs: c.suite.Txs(height), PrevRoot: c.roots[height-1],
	}
}

// run executes n more blocks.
func (c *chain) run(n int) {
	c.t.Helper()
	for range n {
		root := c.execute(c.next)
		if want, again := c.roots[c.next]; again {
			require.True(c.t, bytes.Equal(want, root), "root of height %d changed when executed again: %X, then %X", c.next, want, root)
		}
		c.roots[c.next] = bytes.Clone(root)
		c.next++
	}
}

func sameRoots(t *testing.T, want, have *chain) {
	t.Helper()
	require.Len(t, have.roots, len(want.roots))
	for h, root := range want.roots {
		require.True(t, bytes.Equal(root, have.roots[h]), "root of height %d: %X on one, %X on the other", h, root, have.roots[h])
		require.True(t, bytes.Equal(want.named[h], have.named[h]), "block %d names %X on one, %X on the other", h, want.named[h], have.named[h])
	}
}

// restart opens the state anew and hands over the blocks it lacks, as the node
// does.
func (c *chain) restart() {
	c.t.Helper()
	c.close()
	c.open()
	require.True(c.t, bytes.Equal(c.roots[c.suite.InitialHeight-1], c.init()), "genesis root changed with a restart")
	if h, ok := c.exec.(execution.HeightProvider); ok {
		have, err := h.LatestHeight(c.t.Context())
		require.NoError(c.t, err)
		require.Less(c.t, have, c.next, "a height that was never executed")
		end := c.next
		c.next = max(have+1, c.suite.InitialHeight)
		c.run(int(end - c.next)) //nolint:gosec // small
	}
}

func initChain(c *chain) {
	t, s := c.t, c.suite
	genesis := c.roots[s.InitialHeight-1]
	require.True(t, bytes.Equal(genesis, c.init()), "root changed at the second call")
	c.run(5)
	require.True(t, bytes.Equal(genesis, c.init()), "root changed after blocks were executed")
	c.run(2)
	other := c.twin()
	require.True(t, bytes.Equal(genesis, other.roots[s.InitialHeight-1]), "root differs on another node")
}

func deterministic(c *chain) {
	t := c.t
	a, b := c, c.twin()
	a.run(40)
	for n := range 8 { // the other one is restarted in between and gets the same blocks
		b.run(5)
		if n%3 == 1 {
			b.restart()
		}
	}
	sameRoots(t, a, b)
}

func garbage(c *chain) {
	t := c.t
	c.suite.Txs = func(height uint64) [][]byte {
		all := Garbage()
		n := int(height) % len(all) //nolint:gosec // small
		return append(all[n:], all[:n]...)
	}
	a, b := c, c.twin()
	a.run(25)
	b.run(25)
	sameRoots(t, a, b)
}

func borrowed(c *chain) {
	t, s := c.t, c.suite
	control := c.twin()
	control.run(20)
	for range 20 {
		b := c.block(c.next)
		before := s.Txs(c.next)
		res, err := c.exec.ExecuteTxs(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, before, b.Txs, "transactions of height %d were changed", c.next)
		for _, tx := range b.Txs { // the node reuses the memory
			for i := range tx {
				tx[i] = 'x'
			}
		}
		c.roots[c.next], c.named[c.next] = res.StateRoot, res.NextProposer // not copies: they must not change
		c.next++
	}
	sameRoots(t, control, c)
}

func repeated(c *chain) {
	for range 12 {
		c.run(1)
		c.next--
		c.run(1) // compares the roots
	}
}

func reopened(c *chain) {
	t := c.t
	c.restart()
	for range 4 {
		c.run(3)
		c.restart()
	}
	control := c.twin()
	control.run(12)
	sameRoots(t, control, c)
}

func latestHeight(c *chain) {
	t := c.t
	h, ok := c.exec.(execution.HeightProvider)
	if !ok {
		t.Skip("not a HeightProvider")
	}
	have, err := h.LatestHeight(t.Context())
	require.NoError(t, err)
	require.Zero(t, have, "before the first block")
	for range 9 {
		c.run(1)
		have, err := h.LatestHeight(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.next-1, have)
	}
}

func rollback(c *chain) {
	t, s := c.t, c.suite
	r, ok := c.exec.(execution.Rollbacker)
	if !ok {
		t.Skip("not a Rollbacker")
	}
	const blocks = 13
	c.run(blocks)
	require.NoError(t, r.Rollback(t.Context(), c.next+5), "a height that was not executed")
	require.NoError(t, r.Rollback(t.Context(), c.next-1), "the height it is at")
	for back := uint64(1); back <= blocks; back++ {
		to := c.next - 1 - back
		require.NoError(t, c.exec.(execution.Rollbacker).Rollback(t.Context(), to))
		if h, ok := c.exec.(execution.HeightProvider); ok {
			have, err := h.LatestHeight(t.Context())
			require.NoError(t, err)
			want := to
			if to < s.InitialHeight {
				want = 0
			}
			require.Equal(t, want, have)
		}
		c.next = to + 1
		if back%4 == 0 {
			c.restart()
		}
		c.run(int(back)) // compares the roots
	}
}

func setFinal(c *chain) {
	t, s := c.t, c.suite
	c.run(10)
	for h := s.InitialHeight; h < s.InitialHeight+6; h++ {
		require.NoError(t, c.exec.SetFinal(t.Context(), h))
		require.NoError(t, c.exec.SetFinal(t.Context(), h), "again")
		if p, ok := c.exec.(execution.FinalProvider); ok {
			got, err := p.FinalHeight(t.Context())
			require.NoError(t, err)
			require.Equal(t, h, got)
		}
	}
	c.restart()
	require.NoError(t, c.exec.SetFinal(t.Context(), s.InitialHeight+5), "again after a restart")
	c.run(10)
	control := c.twin()
	control.run(20)
	sameRoots(t, control, c)
}

func mempool(c *chain) {
	t := c.t
	pool, ok := c.exec.(execution.Submitter)
	if !ok {
		t.Skip("not a Submitter")
	}
	get := func(maxBytes int) [][]byte {
		txs, err := c.exec.GetTxs(t.Context(), maxBytes)
		require.NoError(t, err)
		return txs
	}
	require.Empty(t, get(1<<20))
	var want [][]byte
	for i := range 10 {
		tx := fmt.Appendf(nil, "tx-%d=%d", i, i) // 6 bytes
		require.NoError(t, pool.Submit(t.Context(), tx))
		want = append(want, slices.Clone(tx))
		tx[0] = 'X' // the executor has a copy
	}
	require.Empty(t, get(0))
	require.Equal(t, want[:3], get(3*6+5))
	require.Equal(t, want[3:], get(1<<20))
	require.Empty(t, get(1<<20), "taken once")
}

func concurrent(c *chain) {
	t := c.t
	pool, ok := c.exec.(execution.Submitter)
	if !ok {
		t.Skip("not a Submitter")
	}
	const txs = 200
	ctx, done := context.WithCancel(t.Context())
	defer done()
	submitted := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < txs && err == nil; i++ {
			err = pool.Submit(ctx, fmt.Appendf(nil, "tx-%d=%d", i, i))
		}
		submitted <- err
	}()
	taken := 0
	for end := false; !end; {
		select {
		case err := <-submitted:
			require.NoError(t, err)
			end = true
		default:
		}
		c.run(1)
		got, err := c.exec.GetTxs(ctx, 64)
		require.NoError(t, err)
		taken += len(got)
	}
	for got := []([]byte){nil}; len(got) > 0; taken += len(got) {
		var err error
		got, err = c.exec.GetTxs(ctx, 64)
		require.NoError(t, err)
	}
	require.Equal(t, txs, taken)
}
