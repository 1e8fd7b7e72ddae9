package exchange

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// state is a chain of terms as a node knows it that has applied some of it.
type state struct {
	mu      sync.Mutex
	applied uint64
	signer  func(height uint64) []byte
	changed chan struct{}
}

func newState(signer func(height uint64) []byte) *state {
	return &state{signer: signer, changed: make(chan struct{})}
}

func (s *state) apply(height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = height
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *state) Judge(height uint64, address []byte) block.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case bytes.Equal(s.signer(min(height, s.applied+1)), address):
		return block.Expected
	case height <= s.applied+1:
		return block.Unexpected
	}
	return block.Unproven
}

func (s *state) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// terms makes a chain whose signer changes every few blocks.
func terms(c *testutil.Chain, term, n int) ([]block.Block, func(height uint64) []byte) {
	first := c.Genesis.ProposerAddress
	second := block.NewSigner(testutil.Key("second").Public().(ed25519.PublicKey)).Address
	signer := func(height uint64) []byte {
		if (int(height)-1)/term%2 == 0 {
			return first
		}
		return second
	}
	own := c.Key
	var bs []block.Block
	for i := range n {
		c.Genesis.ProposerAddress, c.Key = signer(uint64(i+1)), own
		if !bytes.Equal(c.Genesis.ProposerAddress, first) {
			c.Key = testutil.Key("second")
		}
		bs = append(bs, c.Next(fmt.Appendf(nil, "%d", i)))
	}
	c.Genesis.ProposerAddress, c.Key = first, own
	return bs, signer
}

// A follower far behind fetches as far as the state proves, waits for it, and goes
// on; who serves the later headers is not blamed.
func TestRangesStopAtRotations(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs, signer := terms(c, 70, 400)
	served := newState(signer)
	served.apply(400)
	a := newHeaderNode(t, c, bs, func(p *HeaderParams) { p.Proposers = served })
	s := newState(signer)
	b := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Proposers, p.Config.RetryMax = s, time.Hour })
	connect(t, b.machine, a.machine)
	for at := uint64(70); at < 400; at += 70 {
		b.store.reaches(t, at)
		require.Equal(t, at, b.store.Height(), "nothing unproven is stored")
		requests := b.ex.Stats().Requests
		s.apply(at - 1) // the next term is not proven yet
		require.Equal(t, at, b.store.Height())
		require.LessOrEqual(t, b.ex.Stats().Requests, requests+2)
		s.apply(at)
	}
	b.store.reaches(t, 400)
	require.NoError(t, b.blames(a.host.ID()))
}

// Gossip of a proposer that is not proven yet is ignored, and fetched once it is,
// although nothing more is said.
func TestGossipAheadOfRotation(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs, signer := terms(c, 3, 4)
	served := newState(signer)
	served.apply(4)
	a := newHeaderNode(t, c, bs[:3], func(p *HeaderParams) { p.Proposers = served })
	s := newState(signer)
	s.apply(1)
	b := newHeaderNode(t, c, bs[:3], func(p *HeaderParams) { p.Proposers, p.Config.RetryMax = s, time.Hour })
	connect(t, b.machine, a.machine)
	meshed(t, a.ex, 1)
	require.NoError(t, a.ex.Broadcast(t.Context(), bs[3].Header))
	eventually(t, func() bool { return b.ex.Stats().Gossip["ignore_unproven"] == 1 }, "not judged unproven")
	require.Equal(t, uint64(3), b.store.Height())
	s.apply(3)
	b.store.reaches(t, 4)
	require.NoError(t, b.blames(a.host.ID()))
}

// What was parked while its proposer was taken to stay is judged again before it
// is stored.
func TestParkedHeaderOfReplacedProposer(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs, signer := terms(c, 3, 4)
	h := block.Header{
		Height: 4, Time: bs[2].Header.Header.Time + 1, LastHeaderHash: bs[2].Header.Hash(), DataHash: bs[2].Header.Header.DataHash,
		ProposerAddress: c.Genesis.ProposerAddress, ChainID: chainID,
	}
	s := newState(signer)
	n := newHeaderNode(t, c, bs[:2], func(p *HeaderParams) { p.Proposers = s })
	e := n.ex
	v, err := e.gossiped(t.Context(), testutil.Sign(c.Key, h), "stranger", func() {})
	require.NoError(t, err)
	require.Equal(t, acceptAhead, v)
	s.apply(3)
	v, err = e.gossiped(t.Context(), bs[2].Header, "peer", func() {})
	require.NoError(t, err)
	require.Equal(t, acceptNew, v)
	require.Equal(t, uint64(3), n.store.Height())
	v, err = e.gossiped(t.Context(), bs[3].Header, "peer", func() {})
	require.NoError(t, err)
	require.Equal(t, acceptNew, v)
}

// A header that execution has refuted is not taken from peers, by gossip or range, nor
// relayed; nobody is blamed for it, and the chain is taken up to it.
func TestRefutedHeaderIsNotTakenFromPeers(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(6, 1)
	wrong := bs[3].Header
	server := newHeaderNode(t, c, bs)
	n := newHeaderNode(t, c, bs[:1], func(p *HeaderParams) {
		quick(&p.Config)
		p.Refuted = func(h block.Hash) bool { return h == wrong.Digest() }
	})
	connect(t, n.machine, server.machine)
	n.store.reaches(t, 3)
	v, err := n.ex.place(t.Context(), wrong, "")
	require.ErrorIs(t, err, errRefuted)
	require.Equal(t, ignoreRefuted, v)
	require.Never(t, func() bool { return n.store.Height() > 3 }, 300*time.Millisecond, 10*time.Millisecond)
	n.mu.Lock()
	defer n.mu.Unlock()
	require.Empty(t, n.blamed)
}
