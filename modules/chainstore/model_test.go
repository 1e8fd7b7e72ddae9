package chainstore

import (
	"errors"
	"testing"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// model is what a store should hold, kept in maps.
type model struct {
	headers, data side
	state         uint64
	final         uint64
	da            block.DAPositions
	pending       bool
}

// side is one chain: which fork's item is stored at a height.
type side struct {
	at         map[uint64]int
	tail, head uint64
}

func (s *side) add(height uint64, fork int) {
	if len(s.at) == 0 {
		s.at = make(map[uint64]int)
		s.tail, s.head = height, height
	}
	s.at[height] = fork
	s.stretch()
}

func (s *side) stretch() {
	for s.has(s.head + 1) {
		s.head++
	}
	for s.has(s.tail - 1) {
		s.tail--
	}
}

func (s *side) has(height uint64) bool {
	_, ok := s.at[height]
	return ok
}

func (s *side) upTo(to uint64) {
	if to < s.tail {
		*s = side{}
		return
	}
	for height := range s.at {
		if height > to {
			delete(s.at, height)
		}
	}
	s.head = min(s.head, to)
}

const (
	modelHeights = 24
	modelShared  = 6
)

// machine drives a store and its model with the same random steps.
type machine struct {
	t      *rapid.T
	s      *Store
	m      model
	ledger *ledger
	forks  [2][]block.Block
}

func sameItem(height uint64, a, b int) bool { return a == b || height <= modelShared }

// draw returns heights to append and the fork they are taken from.
func (m *machine) draw(s *side) (heights []uint64, fork int) {
	fork = rapid.IntRange(0, 9).Draw(m.t, "fork") / 9
	if rapid.Bool().Draw(m.t, "at the head") {
		n := rapid.Uint64Range(1, 5).Draw(m.t, "n")
		for h := s.head + 1; h <= min(s.head+n, modelHeights); h++ {
			heights = append(heights, h)
		}
		return heights, fork
	}
	return rapid.SliceOfN(rapid.Uint64Range(1, modelHeights), 0, 5).Draw(m.t, "heights"), fork
}

// expect applies an append to the model and reports whether it must conflict.
func (s *side) expect(heights []uint64, fork int) bool {
	for _, h := range heights {
		if have, ok := s.at[h]; ok && !sameItem(h, have, fork) {
			return true
		}
	}
	for _, h := range heights {
		if !s.has(h) {
			s.add(h, fork)
		}
	}
	return false
}

func appendTo[H header.Header[H]](m *machine, c *Chain[H], s *side, item func(block.Block) H) {
	heights, fork := m.draw(s)
	items := make([]H, len(heights))
	for i, h := range heights {
		items[i] = item(m.forks[fork][h-1])
	}
	conflict := s.expect(heights, fork)
	err := c.Append(m.t.Context(), items...)
	_, refused := errors.AsType[*block.Conflict[H]](err)
	require.Equal(m.t, conflict, refused, "%v", err)
	require.True(m.t, refused || err == nil, "%v", err)
}

func headerOf(b block.Block) *block.SignedHeader { return b.Header }
func dataOf(b block.Block) *block.Data           { return b.Data }

func (m *machine) AppendHeaders(*rapid.T) { appendTo(m, m.s.Headers(), &m.m.headers, headerOf) }
func (m *machine) AppendData(*rapid.T)    { appendTo(m, m.s.Data(), &m.m.data, dataOf) }

func (m *machine) Commit(t *rapid.T) {
	n := rapid.Uint64Range(0, 3).Draw(t, "states")
	b := block.Batch{
		Final: rapid.Uint64Range(0, modelHeights).Draw(t, "final"), DA: block.DAPositions{
			Floor: rapid.Uint64Range(0, 9).Draw(t, "floor"), Scanned: rapid.Uint64Range(0, 9).Draw(t, "scanned"),
		},
		DropPending: rapid.Bool().Draw(t, "drop"), Sync: rapid.Bool().Draw(t, "sync"),
	}
	n = min(n, modelHeights-m.m.state)
	b.States = m.ledger.states[m.m.state : m.m.state+n]
	// Blocks go along only where they extend both chains.
	if head := m.m.headers.head; head == m.m.data.head && head+1 <= modelHeights && rapid.Bool().Draw(t, "block") {
		fork := 0
		if !m.m.headers.has(head+1) && !m.m.data.has(head+1) {
			b.Blocks = m.forks[fork][head : head+1]
			m.m.headers.add(head+1, fork)
			m.m.data.add(head+1, fork)
		}
	}
	require.NoError(t, m.s.Commit(t.Context(), b))
	m.m.state += n
	if b.Final != 0 {
		m.m.final = b.Final
	}
	if b.DA.Floor != 0 {
		m.m.da.Floor = b.DA.Floor
	}
	if b.DA.Scanned != 0 {
		m.m.da.Scanned = b.DA.Scanned
	}
	m.m.pending = m.m.pending && !b.DropPending
}

func (m *machine) Pending(t *rapid.T) {
	require.NoError(t, m.s.SavePending(t.Context(), m.forks[0][0], block.QueueChange{}, false))
	m.m.pending = true
}

func (m *machine) Truncate(t *rapid.T) {
	to := rapid.Uint64Range(0, modelHeights).Draw(t, "to")
	gone := m.m.state > to
	require.NoError(t, m.s.Truncate(t.Context(), to))
	m.m.headers.upTo(to)
	m.m.data.upTo(to)
	m.m.state, m.m.final = min(m.m.state, to), min(m.m.final, to)
	m.m.pending = m.m.pending && !gone
}

func (m *machine) Prune(t *rapid.T) {
	s := &m.m.headers
	if len(s.at) == 0 || s.head == s.tail {
		return
	}
	to := rapid.Uint64Range(s.tail, s.head).Draw(t, "below")
	require.NoError(t, m.s.Headers().DeleteRange(t.Context(), 1, max(to, 2)))
	for h := range s.at {
		if h < max(to, 2) {
			delete(s.at, h)
		}
	}
	s.tail = max(s.tail, to, 2)
	if len(s.at) == 0 {
		*s = side{}
	}
}

func (m *machine) Reopen(t *rapid.T) {
	require.NoError(t, m.s.db.Close())
	require.NoError(t, m.s.db.Open())
	m.s = New(m.s.db, m.s.cfg, zap.NewNop())
	require.NoError(t, m.s.Open(t.Context()))
}

func compare[H header.Header[H]](m *machine, c *Chain[H], s side, item func(block.Block) H) {
	t := m.t
	require.Equal(t, s.head, c.Height())
	ctx, ended := t.Context(), now(t)
	for h := uint64(1); h <= modelHeights; h++ {
		got, err := c.GetByHeight(ended, h)
		fork, stored := s.at[h]
		require.Equal(t, stored, err == nil, "height %d: %v", h, err)
		require.Equal(t, len(s.at) > 0 && h >= s.tail && h <= s.head, c.HasAt(ctx, h))
		for i := range m.forks {
			want := item(m.forks[i][h-1])
			byHash, err := c.Get(ctx, want.Hash())
			require.Equal(t, stored && sameItem(h, fork, i), err == nil, "height %d fork %d: %v", h, i, err)
			if err == nil {
				require.Equal(t, want.Hash(), byHash.Hash())
				require.Equal(t, want.Hash(), got.Hash())
			}
		}
	}
	if s.head == 0 {
		return
	}
	all, err := c.GetRange(ctx, s.tail, modelHeights+1)
	require.NoError(t, err)
	require.Len(t, all, int(s.head-s.tail+1))
}

// Check runs after every step.
func (m *machine) Check(t *rapid.T) {
	m.t = t
	compare(m, m.s.Headers(), m.m.headers, headerOf)
	compare(m, m.s.Data(), m.m.data, dataOf)
	st, err := m.s.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, m.m.state, st.LastHeight)
	require.Equal(t, m.m.final, m.s.Final())
	require.Equal(t, m.m.da, m.s.DA())
	_, ok, err := m.s.Pending(t.Context())
	require.NoError(t, err)
	require.Equal(t, m.m.pending, ok)
}

func TestStoreIsItsModel(t *testing.T) {
	l := newLedger(modelHeights, 1)
	one, two := forks(modelHeights, modelShared)
	rapid.Check(t, func(t *rapid.T) {
		cfg := Default()
		cfg.CacheBytes = rapid.SampledFrom([]int{0, 3000, 1 << 20}).Draw(t, "cache")
		db := leveldb.NewMemory()
		require.NoError(t, db.Open())
		defer db.Close()
		m := &machine{t: t, s: New(db, cfg, zap.NewNop()), ledger: l, forks: [2][]block.Block{one, two}}
		require.NoError(t, m.s.Open(t.Context()))
		require.NoError(t, m.s.SaveGenesis(t.Context(), l.Genesis, l.genesis))
		t.Repeat(rapid.StateMachineActions(m))
	})
}
