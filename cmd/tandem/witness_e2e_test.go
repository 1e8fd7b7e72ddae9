//go:build e2e && linux

package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
	"github.com/tandem-node/tandem/modules/rpc/evnodev1/evnodev1connect"
)

// header returns the hash of the header a node serves at a height, computed
// here from all its fields; empty when the node has none.
func (n *node) header(height uint64) string {
	ctx, cancel := context.WithTimeout(n.w.t.Context(), 5*time.Second)
	defer cancel()
	client := evnodev1connect.NewStoreServiceClient(http.DefaultClient, "http://"+n.rpc())
	resp, err := client.GetBlock(ctx, connect.NewRequest(&pb.GetBlockRequest{
		Identifier: &pb.GetBlockRequest_Height{Height: height},
	}))
	if err != nil {
		return ""
	}
	h := resp.Msg.GetBlock().GetHeader().GetHeader()
	local := block.Header{
		Version: block.Version{Block: h.GetVersion().GetBlock(), App: h.GetVersion().GetApp()},
		Height:  h.GetHeight(), Time: h.GetTime(), LastHeaderHash: h.GetLastHeaderHash(), DataHash: h.GetDataHash(),
		AppHash: h.GetAppHash(), ProposerAddress: h.GetProposerAddress(), ValidatorHash: h.GetValidatorHash(),
		ChainID: h.GetChainId(),
	}
	return local.ComputeHash().String()
}

// witness remembers every header anybody was seen with.
type witness struct {
	mu   sync.Mutex
	seen map[uint64]map[string][]string // height → hash → who
}

func newWitness() *witness { return &witness{seen: map[uint64]map[string][]string{}} }

func (v *witness) add(height uint64, hash, who string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen[height] == nil {
		v.seen[height] = map[string][]string{}
	}
	if !slices.Contains(v.seen[height][hash], who) {
		v.seen[height][hash] = append(v.seen[height][hash], who)
	}
}

// watch asks a node for every new header until the test ends, also while the
// node is killed and started again. It returns what stops it.
func (v *witness) watch(n *node) (stop func()) {
	ctx, cancel := context.WithCancel(n.w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(glance)
		defer tick.Stop()
		for next := uint64(1); ; {
			if hash := n.header(next); hash != "" { //nolint:contextcheck // it has the test's
				v.add(next, hash, n.name)
				next++
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// readNode remembers what a node has stored up to a height.
func (v *witness) readNode(n *node, to uint64) {
	n.w.t.Helper()
	for h := uint64(1); h <= to; h++ {
		hash := n.header(h)
		require.NotEmpty(n.w.t, hash, "%s has no header %d", n.name, h)
		v.add(h, hash, n.name)
	}
}

// readDA remembers all headers that were ever posted.
func (v *witness) readDA(d *daNode) {
	t := d.w.t
	t.Helper()
	cfg := da.Default()
	client, err := da.NewCelestia(d.url, cfg)
	require.NoError(t, err)
	defer client.Close()
	head, err := client.Head(t.Context())
	require.NoError(t, err)
	ns := da.NamespaceOf(d.w.chain + "-headers")
	for h := uint64(1); h <= head.Height; h++ {
		blobs, err := client.Blobs(t.Context(), h, ns)
		require.NoError(t, err)
		for _, b := range blobs {
			e, err := block.DecodeHeaderEnvelope(b.Data)
			require.NoError(t, err)
			require.NoError(t, e.Verify())
			v.add(e.Header.Height(), e.Header.Digest().String(), "da")
		}
	}
}

// verdict requires one header for every height, and returns the highest.
func (v *witness) verdict(t *testing.T) uint64 {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	heights := slices.Sorted(maps.Keys(v.seen))
	for i, h := range heights {
		require.Equal(t, uint64(i)+1, h, "no gaps")
		require.Len(t, v.seen[h], 1, "headers of height %d: %s", h, fmt.Sprint(v.seen[h]))
	}
	return heights[len(heights)-1]
}
