package testnet_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// TestReplaceDAAndExecutor shows how an application chain is tested with parts of
// its own: here a DA layer in thirty lines and an application that counts.
//
// A part is replaced beside the node (testnet.With, or next to app.Node in an
// fx.New of your own), never inside of it: what is replaced there is still wrapped
// by the node's decorators, so that fakes make the same events as the real parts.
// Consumers ask for interfaces, so it has to be replaced as the interface:
// testutil.ReplaceAs[da.Client](mine), which is
// fx.Replace(fx.Annotate(mine, fx.As(new(da.Client)))). A bare fx.Replace(mine)
// compiles, replaces nothing, and the test runs against the real part.
//
// Everything else is the node as it ships: the same graph, verification, gossip,
// stores and finality.
func TestReplaceDAAndExecutor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		shared := newMemoryDA(2 * time.Second)
		node := func(e execution.Executor) testnet.NodeOption {
			return testnet.With(
				testutil.ReplaceAs[da.Client](shared),
				testutil.ReplaceAs[execution.Executor](e),
			)
		}
		made, followed := &counter{reap: 3}, &counter{}
		n.Sequencer(node(made))
		full := n.Full(node(followed), testnet.NoP2P()) // it has your DA layer alone

		full.WaitApplied(10, time.Minute)
		full.WaitFinal(10, time.Minute)
		require.EqualValues(t, 3*10, followed.at(10), "three transactions per block")
		require.Equal(t, made.at(10), followed.at(10))
		require.Positive(t, shared.height())
		n.SkipDA() // the chain does not lie on the DA layer of testnet
	})
}

// counter is an application whose state is the number of its transactions. It has
// none of the optional parts: it cannot say how far it got nor go back, so the
// node takes it to be where the node is.
type counter struct {
	reap int // transactions that always wait

	mu     sync.Mutex
	counts map[uint64]uint64 // by height
	made   int
}

// InitChain implements execution.Executor.
func (c *counter) InitChain(_ context.Context, g block.Genesis) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = map[uint64]uint64{g.InitialHeight - 1: 0}
	return root(0), nil
}

// GetTxs implements execution.Executor.
func (c *counter) GetTxs(context.Context, int) ([][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var txs [][]byte
	for range c.reap {
		c.made++
		txs = append(txs, fmt.Appendf(nil, "tx %d", c.made))
	}
	return txs, nil
}

// ExecuteTxs implements execution.Executor.
func (c *counter) ExecuteTxs(_ context.Context, e block.Execution) (block.ExecResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[e.Height] = c.counts[e.Height-1] + uint64(len(e.Txs))
	return block.ExecResult{StateRoot: root(c.counts[e.Height])}, nil
}

// SetFinal implements execution.Executor.
func (c *counter) SetFinal(context.Context, uint64) error { return nil }

func (c *counter) at(height uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[height]
}

func root(count uint64) []byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, count))
	return sum[:]
}

// memoryDA is a DA layer that makes a block per interval, by the clock.
type memoryDA struct {
	start    time.Time
	interval time.Duration

	mu     sync.Mutex
	blocks map[uint64][]da.Blob
}

func newMemoryDA(interval time.Duration) *memoryDA {
	return &memoryDA{start: time.Now(), interval: interval, blocks: map[uint64][]da.Blob{}}
}

func (m *memoryDA) height() uint64 { return 1 + uint64(time.Since(m.start)/m.interval) }

// Head implements da.Client.
func (m *memoryDA) Head(ctx context.Context) (da.Head, error) { return m.HeaderAt(ctx, m.height()) }

// HeaderAt implements da.Client.
func (m *memoryDA) HeaderAt(_ context.Context, height uint64) (da.Head, error) {
	if height > m.height() {
		return da.Head{}, da.ErrFuture
	}
	return da.Head{Height: height, Time: m.start.Add(time.Duration(height-1) * m.interval)}, nil
}

// Blobs implements da.Client.
func (m *memoryDA) Blobs(_ context.Context, height uint64, namespaces ...da.Namespace) ([]da.Blob, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if height > m.height() {
		return nil, da.ErrFuture
	}
	var out []da.Blob
	for _, b := range m.blocks[height] {
		for _, ns := range namespaces {
			if b.Namespace == ns {
				out = append(out, b)
			}
		}
	}
	return out, nil
}

// Submit implements da.Client: the blobs are in the next block.
func (m *memoryDA) Submit(ctx context.Context, ns da.Namespace, blobs [][]byte) (uint64, error) {
	at := m.height() + 1
	m.mu.Lock()
	for _, data := range blobs {
		commitment, err := da.Commit(ns, data)
		if err != nil {
			m.mu.Unlock()
			return 0, err
		}
		m.blocks[at] = append(m.blocks[at], da.Blob{Namespace: ns, Data: data, Commitment: commitment})
	}
	m.mu.Unlock()
	select {
	case <-time.After(time.Until(m.start.Add(time.Duration(at-1) * m.interval))):
		return at, nil
	case <-ctx.Done():
		return 0, da.ErrUnknown
	}
}

// Watch implements da.Client: there is no stream, so the node polls.
func (m *memoryDA) Watch(context.Context) (<-chan uint64, error) { return nil, da.ErrDisabled }
