package exchange

import (
	"bufio"
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// raw sends a frame and returns the bodies that come back; ok is false when the
// stream was reset.
func raw(t *testing.T, from *machine, to *headerNode, frame []byte) (bodies [][]byte, notFound, ok bool) {
	t.Helper()
	return rawOn(t, from, to.machine, to.ex.Protocol(), frame)
}

func rawOn(t *testing.T, from, to *machine, proto protocol.ID, frame []byte) (bodies [][]byte, notFound, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	s, err := from.host.NewStream(ctx, to.host.ID(), proto)
	require.NoError(t, err)
	require.NoError(t, s.SetDeadline(time.Now().Add(soon)))
	// The server may refuse before it has read everything.
	_, _ = s.Write(frame)
	_ = s.CloseWrite()
	r := bufio.NewReader(s)
	for {
		b, err := readFrame(r, nil, block.MaxFrameBytes, nil)
		if err != nil {
			return bodies, notFound, err.Error() == "EOF"
		}
		body, err := decodeResponse(b)
		if err != nil {
			require.ErrorIs(t, err, errNotFound)
			notFound = true
			continue
		}
		bodies = append(bodies, body)
	}
}

func frameRequest(fields ...byte) []byte { return protowire.AppendBytes(nil, fields) }

func TestServerRules(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(200, 0)
	n := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Hint = func(h uint64) uint64 { return h / 100 } })
	require.NoError(t, n.store.Append(t.Context(), testutil.Headers(bs[100:])...)) // tail 101
	m := newMachine(t)
	connect(t, m, n.machine)
	sum := block.Sum(bs[150].Header.Encode())
	for name, tc := range map[string]struct {
		frame    []byte
		first    uint64
		n        int
		notFound bool
		reset    bool
	}{
		"head":            {frame: request{amount: 1}.appendFrame(nil), first: 200, n: 1},
		"head, many":      {frame: request{amount: 65}.appendFrame(nil), first: 200, n: 1},
		"head, none":      {frame: request{}.appendFrame(nil), reset: true},
		"range":           {frame: request{origin: 110, amount: 64}.appendFrame(nil), first: 110, n: 64},
		"cut at the head": {frame: request{origin: 199, amount: 64}.appendFrame(nil), first: 199, n: 2},
		"above the head":  {frame: request{origin: 201, amount: 1}.appendFrame(nil), notFound: true},
		"below the tail":  {frame: request{origin: 50, amount: 64}.appendFrame(nil), notFound: true},
		"overflow":        {frame: request{origin: 1<<64 - 1, amount: 64}.appendFrame(nil), notFound: true},
		"hash":            {frame: request{hash: bs[150].Header.Hash(), hasHash: true, amount: 1}.appendFrame(nil), first: 151, n: 1},
		"index hash":      {frame: request{hash: sum[:], hasHash: true, amount: 1}.appendFrame(nil), first: 151, n: 1},
		"unknown hash":    {frame: request{hash: make([]byte, 32), hasHash: true, amount: 1}.appendFrame(nil), notFound: true},
		"65 items":        {frame: request{origin: 110, amount: 65}.appendFrame(nil), reset: true},
		"0 items":         {frame: request{origin: 110}.appendFrame(nil), reset: true},
		"no oneof":        {frame: frameRequest(0x18, 1), reset: true},
		"garbage":         {frame: frameRequest(0xff, 0xff), reset: true},
		"too long":        {frame: frameRequest(make([]byte, 2000)...), reset: true},
	} {
		before := n.store.ranges
		bodies, notFound, ok := raw(t, m, n, tc.frame)
		require.Equal(t, tc.reset, !ok, name)
		require.Equal(t, tc.notFound, notFound, name)
		require.Len(t, bodies, tc.n, name)
		if tc.n > 0 {
			h, err := block.DecodeSignedHeader(bodies[0])
			require.NoError(t, err, name)
			require.Equal(t, tc.first, h.Height(), name)
			require.Equal(t, tc.first/100, h.DAHint, name)
		} else {
			require.Equal(t, before, n.store.ranges, "%s: the store is not touched", name)
		}
	}
	empty := newHeaderNode(t, c, nil)
	connect(t, m, empty.machine)
	_, _, ok := raw(t, m, empty, request{amount: 1}.appendFrame(nil))
	require.False(t, ok, "head of an empty store")
}

// Data is found by its own hash, and by the hash ev-node has it under.
func TestServerDataByHash(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 1)
	n := newDataNode(t, c, bs[:4])
	require.NoError(t, n.store.Append(t.Context(), bs[4].Header)) // its data is not there
	m := newMachine(t)
	connect(t, m, n.machine)
	index := func(i int) []byte { h := block.Sum(bs[i].Header.Encode()); return h[:] }
	for name, tc := range map[string]struct {
		hash []byte
		want *block.Data
	}{
		"data hash":         {bs[2].Data.Hash(), bs[2].Data},
		"signed header":     {index(2), bs[2].Data},
		"without data":      {index(4), nil},
		"of nothing stored": {make([]byte, 32), nil},
		"no hash":           {[]byte{}, nil},
	} {
		bodies, notFound, ok := rawOn(t, m, n.machine, n.dx.Protocol(), request{hash: tc.hash, hasHash: true, amount: 1}.appendFrame(nil))
		require.True(t, ok, name)
		require.Equal(t, tc.want == nil, notFound, name)
		if tc.want != nil {
			require.Equal(t, [][]byte{tc.want.EncodeP2P()}, bodies, name)
		}
	}
}

func TestServerByteCap(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(64, 0)
	size := bs[10].Header.Size()
	n := newHeaderNode(t, c, bs, func(p *HeaderParams) { p.Config.ResponseBytes = 5*size + size/2 })
	m := newMachine(t)
	connect(t, m, n.machine)
	bodies, _, ok := raw(t, m, n, request{origin: 10, amount: 50}.appendFrame(nil))
	require.True(t, ok)
	require.Len(t, bodies, 5)
	small := newHeaderNode(t, c, bs, func(p *HeaderParams) { p.Config.ResponseBytes = 1 })
	connect(t, m, small.machine)
	bodies, _, ok = raw(t, m, small, request{origin: 10, amount: 50}.appendFrame(nil))
	require.True(t, ok)
	require.Len(t, bodies, 1, "one item always fits")
	// A client gets everything from it nevertheless.
	b := newHeaderNode(t, c, nil)
	connect(t, b.machine, n.machine)
	b.store.reaches(t, 64)
}

// Streams that are opened and left alone are as many as a peer's share, take no
// slot, and end.
func TestServerConcurrency(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(10, 0)
	n := newHeaderNode(t, c, bs, func(p *HeaderParams) {
		p.Config.Serve, p.Config.ServePeer = 1, 2
	})
	slow, other := newMachine(t), newMachine(t)
	connect(t, slow, n.machine)
	connect(t, other, n.machine)
	var held []network.Stream
	for range 2 {
		s, err := slow.host.NewStream(t.Context(), n.host.ID(), n.ex.Protocol())
		require.NoError(t, err)
		_, err = s.Write([]byte{4})
		require.NoError(t, err)
		held = append(held, s)
	}
	eventually(t, func() bool { return n.ex.serving.streams() == 2 }, "not held")
	require.Zero(t, n.ex.serving.slotsTaken())
	_, _, ok := raw(t, slow, n, request{amount: 1}.appendFrame(nil))
	require.False(t, ok, "over its share")
	_, _, ok = raw(t, other, n, request{amount: 1}.appendFrame(nil))
	require.True(t, ok, "others are served")
	for _, s := range held {
		_ = s.Reset()
	}
	eventually(t, func() bool { return n.ex.serving.streams() == 0 }, "still held")
	_, _, ok = raw(t, slow, n, request{amount: 1}.appendFrame(nil))
	require.True(t, ok)
}

func TestServerDeadline(t *testing.T) {
	c := testutil.NewChain(chainID)
	n := newHeaderNode(t, c, c.Blocks(1, 0), func(p *HeaderParams) { p.Config.ServeTimeout = 20 * time.Millisecond })
	m := newMachine(t)
	connect(t, m, n.machine)
	s, err := m.host.NewStream(t.Context(), n.host.ID(), n.ex.Protocol())
	require.NoError(t, err)
	_, err = s.Write([]byte{4})
	require.NoError(t, err)
	_, err = s.Read(make([]byte, 1))
	require.ErrorIs(t, err, network.ErrReset)
	eventually(t, func() bool { return n.ex.Stats().Refused == 1 }, "not counted")
}

// Strangers hold as many streams as they get, in every way that costs them nothing.
// Streams without a whole request hold no slot; answers that are not read lose theirs.
// A catch-up goes on beside them, from a server with few slots, and nobody blames it.
// How long it takes is measured by testutil/bench.
func TestTorture_SilentStreamsDoNotHoldUpCatchUp(t *testing.T) {
	const slots, blocks, strangers = 4, 3000, 3
	c := testutil.NewChain(chainID)
	bs := c.Blocks(blocks, 0)
	for name, tc := range map[string]struct {
		attack func(p *machine, n *headerNode)
		held   bool // the streams stay, each without a slot
	}{
		"silent": {func(p *machine, n *headerNode) { openTo(t, p, n) }, false},
		"half a request": {func(p *machine, n *headerNode) {
			_, _ = openTo(t, p, n).Write([]byte{4})
		}, true},
		"reset": {func(p *machine, n *headerNode) {
			s := openTo(t, p, n)
			_, _ = s.Write([]byte{4})
			_ = s.Reset()
		}, false},
		"not read": {func(p *machine, n *headerNode) {
			_, _ = openTo(t, p, n).Write(request{origin: 1, amount: maxItems}.appendFrame(nil))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newHeaderNode(t, c, bs, func(p *HeaderParams) { p.Config.Serve, p.Config.ServePeer = slots, slots })
			for range strangers {
				p := newMachine(t)
				connect(t, p, n.machine)
				for range 2 * slots {
					tc.attack(p, n)
				}
			}
			if tc.held {
				eventually(t, func() bool { return n.ex.serving.streams() == strangers*slots }, "not held")
				require.Zero(t, n.ex.serving.slotsTaken())
			}
			b := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Config.RequestTimeout = Default().RequestTimeout })
			connect(t, b.machine, n.machine)
			b.store.reaches(t, blocks)
			require.NoError(t, b.blames(n.host.ID()))
			eventually(t, func() bool { return n.ex.serving.slotsTaken() == 0 }, "slots are held after the catch-up")
		})
	}
}

// openTo opens a stream of the range protocol.
func openTo(t *testing.T, from *machine, to *headerNode) network.Stream {
	t.Helper()
	s, err := from.host.NewStream(t.Context(), to.host.ID(), to.ex.Protocol())
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	return s
}
