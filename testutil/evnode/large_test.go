package evnode

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

// fill returns transactions that write nothing and fill a block of this many
// bytes, framing included. Each is of 1 MiB at most.
func fill(size int, mark string) []string {
	const framing, most = 4, 1 << 20
	var out []string
	for size > framing {
		n := min(size-framing, most)
		out = append(out, mark+strings.Repeat("x", n-len(mark)))
		size -= n + framing
		mark += "'"
	}
	return out
}

// The largest block a Tandem sequencer makes passes by ranges and DA, and one of a
// megabyte by gossip: they are within what an ev-node takes.
func TestLargestBlockFromTandem(t *testing.T) {
	t.Parallel()
	g := newGenesis("large-1", 1)
	server := localDA(t, nil)
	most := sequencer.Default().MaxBlockBytes
	seq := start(t, spec{
		name: "sequencer", role: app.RoleSequencer, genesis: g, da: server.URL(), signer: signer.NewLocal(testutil.Key("proposer")),
		change: func(c *app.Config) { c.Sequencer.BlockTime = 4 * pace }, txs: fill(most, "first"),
	})
	seq.applied(1)
	full := newEvNode(t, g.ChainID, seq.address())
	full.follow(t, 1)
	size := func(b evBlock) (n int) {
		for _, tx := range b.data.msg.GetTxs() {
			n += len(tx)
		}
		return n
	}
	first := full.block(t, 1)
	require.Greater(t, size(first), most-100, "the first block is full")
	for _, tx := range fill(1<<20, "second") {
		seq.post(tx)
	}
	height := uint64(2)
	for size(full.block(t, height)) < 1<<19 {
		height++
	}
	headerNS, dataNS := namespaces("large-1-headers", "large-1-data")
	r := newReader(t, g, server.URL(), headerNS, dataNS)
	r.to(height)
	require.Equal(t, first.data.Hash(), r.blocks[0].data.Hash())
	require.Equal(t, full.block(t, height).data.Hash(), r.blocks[height-1].data.Hash())
}

// A block with as many bytes as ev-node drains into one is too large for its own
// gossip, and comes by ranges.
func TestLargestBlockFromEvNode(t *testing.T) {
	t.Parallel()
	s := newSequencer(t, newProducer("large-2", 1), "large-2-headers", "large-2-data")
	s.next(now(), []string{"a=1"})
	s.next(now(), fill(5<<20+5*4, "full"))
	s.next(now(), []string{"b=2"})
	s.gossip(s.blocks...)
	n := start(t, spec{name: "p2p-only", role: app.RoleFull, genesis: s.genesis, peers: []string{s.node.address(t)}})
	n.applied(3)
	n.same(s.blocks, s.roots)
	n.unblamed()
	s.next(now(), fill(5<<20+5*4, "again"))
	s.next(now(), []string{"c=3"})
	s.gossip(s.at(4, 5)...)
	n.applied(5)
	n.same(s.blocks, s.roots)
	n.unblamed()
}
