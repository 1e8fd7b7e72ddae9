package testnet

import (
	"bytes"
	"context"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// Check checks the invariants over all running nodes. It runs by itself at the
// end of a test.
func (n *Net) Check() {
	n.t.Helper()
	synctest.Wait() // what is under way at this instant comes to its end first
	posted := n.posted()
	var longest *Node
	for _, x := range n.nodes {
		if x.Running() && (longest == nil || x.Applied() > longest.Applied()) {
			longest = x
		}
	}
	for _, x := range n.nodes {
		if !x.Running() {
			continue
		}
		n.checkChain(x, longest)
		if !n.skipDA {
			n.checkFinal(x, posted)
		}
	}
}

// SkipDA leaves out the check that what is final lies on DA, for tests that replace
// the DA client.
func (n *Net) SkipDA() { n.skipDA = true }

// SameRoots checks that all running nodes have applied a height with the same
// header and, those that execute, the same state root after it.
func (n *Net) SameRoots(height uint64) {
	n.t.Helper()
	var root []byte
	var hash block.Hash
	for _, x := range n.nodes {
		if !x.Running() {
			continue
		}
		require.GreaterOrEqual(n.t, x.Applied(), height, x.Name())
		h := x.Header(height).Digest()
		if hash.IsZero() {
			hash = h
		}
		require.Equal(n.t, hash, h, "header %d of %s", height, x.Name())
		if !x.spec.role.Executes() {
			continue
		}
		if root == nil {
			root = x.Root(height)
		}
		require.Equal(n.t, root, x.Root(height), "state root of %s after %d", x.Name(), height)
	}
}

// checkChain: the applied chain is a prefix of the longest one and linked.
func (n *Net) checkChain(x, longest *Node) {
	n.t.Helper()
	var last *block.SignedHeader
	for height := n.Genesis.InitialHeight; height <= x.Applied(); height++ {
		h := x.Header(height)
		if want := longest.Header(height); h.Digest() != want.Digest() {
			n.t.Errorf("%s applied another block %d than %s", x.Name(), height, longest.Name())
		}
		if last != nil {
			if err := block.VerifyLink(last, h); err != nil {
				n.t.Errorf("%s: %v", x.Name(), err)
			}
		}
		if x.spec.role.Executes() && longest.spec.role.Executes() && !bytes.Equal(x.Root(height), longest.Root(height)) {
			n.t.Errorf("state roots of %s and %s differ after %d", x.Name(), longest.Name(), height)
		}
		last = h
	}
}

// checkFinal: what is final was applied and lies on DA with the same hash, where
// the node says that it saw it.
func (n *Net) checkFinal(x *Node, posted posted) {
	n.t.Helper()
	final := x.Final()
	if applied := x.Applied(); final > applied {
		n.t.Errorf("%s has %d final and only %d applied", x.Name(), final, applied)
		return
	}
	for height := n.Genesis.InitialHeight; height <= final; height++ {
		h := x.Header(height)
		in, err := x.Store.Inclusion(context.Background(), height)
		if err != nil {
			n.t.Errorf("%s has %d final, but not seen on DA: %v", x.Name(), height, err)
			continue
		}
		if !posted.headers[place{h.Digest(), in.HeaderDA}] {
			n.t.Errorf("%s has %d final, but its header is not on DA at %d", x.Name(), height, in.HeaderDA)
		}
		if !h.IsEmpty() && x.spec.role.Executes() && !posted.data[place{block.Hash(h.Header.DataHash), in.DataDA}] {
			n.t.Errorf("%s has %d final, but its data is not on DA at %d", x.Name(), height, in.DataDA)
		}
	}
}

// posted is what lies on DA, and where: headers with the signatures they need.
type posted struct {
	headers map[place]bool
	data    map[place]bool
}

type place struct {
	hash block.Hash
	da   uint64
}

// Namespaces returns where the chain's headers and data lie on DA.
func (n *Net) Namespaces() (header, data da.Namespace) {
	names := app.Namespaces{}.Of(n.Genesis.ChainID)
	return da.NamespaceOf(names.Header), da.NamespaceOf(names.Data)
}

// ForcedNamespace is the name under which nodes of a Net take forced transactions,
// where a test turns that on: see Forced.
const ForcedNamespace = "testnet-forced"

// Forced makes all nodes heed transactions that are forced through DA, in epochs
// of so many DA heights.
func Forced(epoch uint64) Option {
	return func(s *settings) {
		s.epoch = epoch
		s.change = append(s.change, func(c *app.Config) { c.Namespaces.Forced = ForcedNamespace })
	}
}

// Force posts transactions to the forced namespace and returns the DA height they
// are at.
func (n *Net) Force(txs ...string) uint64 {
	n.t.Helper()
	blobs := make([][]byte, len(txs))
	for i, tx := range txs {
		blobs[i] = []byte(tx)
	}
	height, err := n.DA.Client().Submit(context.Background(), da.NamespaceOf(ForcedNamespace), blobs)
	require.NoError(n.t, err)
	return height
}

// posted reads all of DA, whatever its switches say.
func (n *Net) posted() posted {
	n.t.Helper()
	require.NoError(n.t, n.DA.SetOutage(da.OutageNone))
	n.DA.ClearFailures()
	n.DA.SetLatency(0)
	ctx, client := context.Background(), n.DA.Client()
	header, data := n.Namespaces()
	p := posted{headers: map[place]bool{}, data: map[place]bool{}}
	status := n.DA.Status()
	for height := max(status.Tail, 1); height <= status.Height; height++ {
		blobs, err := client.Blobs(ctx, height, header, data)
		require.NoError(n.t, err)
		for _, b := range blobs {
			if e, err := block.DecodeHeaderEnvelope(b.Data); b.Namespace == header && err == nil &&
				e.Verify() == nil && e.Header.VerifySignature() == nil {
				p.headers[place{e.Header.Digest(), height}] = true
			}
			if d, err := block.DecodeSignedData(b.Data); b.Namespace == data && err == nil {
				p.data[place{d.Data.Commitment(), height}] = true
			}
		}
	}
	return p
}
