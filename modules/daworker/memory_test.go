package daworker

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

// flood is a DA layer of which every height is full of strangers' data, made on
// demand, and of the proposer's headers whose data never comes.
type flood struct {
	da.Client
	heights uint64
	headers []da.Blob // one per height

	mu   sync.Mutex
	peak uint64 // heap in use, at any read
}

const (
	floodBlob  = 1 << 20
	floodBlobs = 4 // per height
)

func (f *flood) Head(context.Context) (da.Head, error) { return da.Head{Height: f.heights}, nil }

func (f *flood) Blobs(_ context.Context, height uint64, _ ...da.Namespace) ([]da.Blob, error) {
	public, _ := testutil.Key("stranger").Public().(ed25519.PublicKey)
	signer := block.NewSigner(public)
	out := []da.Blob{f.headers[height%uint64(len(f.headers))]}
	for i := range floodBlobs {
		tx := make([]byte, floodBlob)
		binary.BigEndian.PutUint64(tx, height*floodBlobs+uint64(i))
		d := block.NewData(&block.Metadata{ChainID: "torture", Height: height + 1, Time: 1}, [][]byte{tx})
		b := block.SignedData{Data: d, Signature: make([]byte, ed25519.SignatureSize), Signer: signer}.Encode()
		out = append(out, da.Blob{Namespace: dataNS(), Data: b})
	}
	if height%2 == 0 {
		f.sample()
	}
	return out, nil
}

// sample measures what is alive on the heap.
func (f *flood) sample() {
	f.mu.Lock()
	defer f.mu.Unlock()
	runtime.GC()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	f.peak = max(f.peak, live[0].Value.Uint64())
}

// A DA layer that sends as much as it can, 600 MiB here, makes a node hold no
// more than its budgets and the answers under way.
func TestSpam_FloodKeepsMemoryWithinItsBudgets(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 600 MiB")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	e := newEnv()
	least := 2 * block.MaxBlobBytes
	c := &e.params.Config
	c.PendingBytes, c.QuarantineBytes, c.PrefetchBytes = least, least, least
	c.InFlight, c.MaxInFlight = 4, 4
	bs := e.chain.Blocks(150, 1)
	f := &flood{heights: 150}
	for _, b := range bs {
		f.headers = append(f.headers, e.header(b))
	}
	e.params.Client = f
	f.sample()
	before := f.peak
	w := New(e.params)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	require.Eventually(t, func() bool { return w.Status().Cursor > f.heights }, 2*time.Minute, 10*time.Millisecond)
	s := w.Status()
	cancel()
	require.NoError(t, <-done)
	require.NotZero(t, s.Stats.Evicted)
	require.LessOrEqual(t, s.Pending.QuarantineBytes, c.QuarantineBytes)
	require.LessOrEqual(t, s.Pending.Bytes, c.PendingBytes)
	// An answer under way is there as bytes; what is decoded of it was made room for.
	underWay := c.MaxInFlight * (floodBlobs + 1) * floodBlob
	budget := c.PendingBytes + c.QuarantineBytes + c.PrefetchBytes + underWay
	held := int(f.peak - min(f.peak, before))
	t.Logf("read %d MiB, held %d MiB at most, budget %d MiB", s.Stats.Bytes>>20, held>>20, budget>>20)
	require.LessOrEqual(t, held, budget)
	// Of what the proposer signed there are headers only.
	require.LessOrEqual(t, budget-c.PendingBytes, held*3/2, "the budget is what a flood fills")
}
