package signer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

func newGuard(path string) *signer.Guard {
	return signer.NewGuard(path, signer.NewLocal(testutil.Key("proposer")).Address(), "chain")
}

func openGuard(tb testing.TB, path string) *signer.Guard {
	tb.Helper()
	g := newGuard(path)
	require.NoError(tb, g.Open())
	tb.Cleanup(func() { _ = g.Close() })
	return g
}

func mark(height uint64, payload string) block.Mark {
	return block.Mark{Height: height, Payload: block.Sum([]byte(payload))}
}

func memory(tb testing.TB, g *signer.Guard) block.Memory {
	tb.Helper()
	m, err := g.Signed(tb.Context())
	require.NoError(tb, err)
	return m
}

func TestGuardAllowsOnePayloadPerHeight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "state")
	g := openGuard(t, path)
	require.ErrorIs(t, g.Allow(mark(1, "a")), signer.ErrUncertain, "a missing file says nothing")
	require.NoError(t, g.Raise(t.Context(), block.Mark{}))
	require.NoError(t, g.Allow(mark(1, "a")))
	require.NoError(t, g.Allow(mark(1, "a")), "the same bytes again")
	require.ErrorIs(t, g.Allow(mark(1, "b")), signer.ErrSigned)
	require.NoError(t, g.Allow(mark(5, "c")), "blocks in between were fetched")
	require.ErrorIs(t, g.Allow(mark(4, "d")), signer.ErrSigned)
	require.ErrorContains(t, g.Allow(mark(4, "d")), path)
	require.NoError(t, g.Raise(t.Context(), mark(3, "e")), "a chain that is lower lowers nothing")
	require.Equal(t, block.Memory{Mark: mark(5, "c"), Certain: true}, memory(t, g))
	require.NoError(t, g.Close())
	require.ErrorIs(t, g.Allow(mark(6, "f")), signer.ErrNotOpen)

	require.NoError(t, g.Open())
	require.Equal(t, block.Memory{Mark: mark(5, "c"), Certain: true}, memory(t, g))
	require.ErrorIs(t, g.Allow(mark(5, "d")), signer.ErrSigned)
	require.NoError(t, g.Allow(mark(5, "c")))
}

// What an executor was found ahead with counts as signed, over restarts, and leaves
// what was not certain uncertain.
func TestGuardNotesWhatWasExecuted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	g := openGuard(t, path)
	require.NoError(t, g.Note(t.Context(), 77))
	require.NoError(t, g.Close())
	g = openGuard(t, path)
	require.Equal(t, block.Memory{Mark: block.Mark{Height: 77}}, memory(t, g))
	require.ErrorIs(t, g.Allow(mark(78, "a")), signer.ErrUncertain)
	require.NoError(t, g.Raise(t.Context(), mark(54, "head")))
	require.Equal(t, block.Memory{Mark: block.Mark{Height: 77}, Certain: true}, memory(t, g))
	require.ErrorIs(t, g.Allow(mark(77, "a")), signer.ErrSigned)
	require.NoError(t, g.Raise(t.Context(), mark(77, "pending")), "its bytes are known now")
	require.NoError(t, g.Allow(mark(77, "pending")))
	require.NoError(t, g.Note(t.Context(), 80))
	require.NoError(t, g.Close())
	require.Equal(t, block.Memory{Mark: block.Mark{Height: 80}, Certain: true}, memory(t, openGuard(t, path)))
}

func TestGuardIsOfOneKeyAndOneChainAndOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	g := openGuard(t, path)
	require.NoError(t, g.Raise(t.Context(), mark(1, "a")))
	require.ErrorContains(t, newGuard(path).Open(), "held by another process")
	require.NoError(t, g.Close())
	address := signer.NewLocal(testutil.Key("proposer")).Address()
	require.ErrorContains(t, signer.NewGuard(path, block.Address([]byte("other")), "chain").Open(), "belongs to the key with address "+address.String())
	err := signer.NewGuard(path, address, "other").Open()
	require.ErrorContains(t, err, "belongs to another chain")
	require.ErrorContains(t, err, path)
	openGuard(t, path)
}

// Every way to damage the file is found: it is an error that names the file, or the
// guard is uncertain, and never certain of less than was signed.
func TestGuardFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	g := openGuard(t, path)
	require.NoError(t, g.Raise(t.Context(), block.Mark{}))
	for h := range uint64(5) {
		require.NoError(t, g.Allow(mark(h+1, "a")))
	}
	require.NoError(t, g.Close())
	sound, err := os.ReadFile(path)
	require.NoError(t, err)
	try := func(what string, b []byte) {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		g := newGuard(path)
		if err := g.Open(); err != nil {
			require.ErrorContains(t, err, path, what)
			return
		}
		m := memory(t, g)
		require.True(t, !m.Certain || m.Mark == mark(5, "a"), what)
		require.NoError(t, g.Close())
	}
	for n := range len(sound) {
		try(fmt.Sprint("cut to ", n), sound[:n])
	}
	try("longer", append(slices.Clip(sound), 0))
	try("zeros", make([]byte, len(sound)))
	for slot := 0; slot < len(sound); slot += len(sound) / 2 {
		for i := range 184 {
			b := append([]byte(nil), sound...)
			b[slot+i] ^= 1
			try(fmt.Sprint("flipped byte ", slot+i), b)
		}
	}
	require.NoError(t, os.WriteFile(path, make([]byte, len(sound)), 0o600))
	require.ErrorContains(t, newGuard(path).Open(), "move it away")
}

// Every write that is cut short leaves either the old record or the new one, and the
// old one only as one that is not certain.
func TestGuardSurvivesTornWrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	g := openGuard(t, path)
	require.NoError(t, g.Raise(t.Context(), block.Mark{}))
	require.NoError(t, g.Allow(mark(1, "a")))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, g.Allow(mark(2, "b")))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	torn := filepath.Join(dir, "torn")
	for n := range after {
		require.NoError(t, os.WriteFile(torn, append(append([]byte(nil), after[:n]...), before[n:]...), 0o600))
		g := openGuard(t, torn)
		switch m := memory(t, g); {
		case m.Certain:
			require.Contains(t, []block.Mark{mark(1, "a"), mark(2, "b")}, m.Mark)
		default:
			require.Contains(t, []block.Mark{mark(1, "a"), mark(2, "b")}, m.Mark)
			require.ErrorIs(t, g.Allow(mark(3, "c")), signer.ErrUncertain)
			require.NoError(t, g.Raise(t.Context(), mark(1, "a")))
			require.NoError(t, g.Allow(mark(3, "c")))
		}
		require.NoError(t, g.Close())
	}
}

// Only what was written before the machine went down can be disowned, once, and
// nothing that was let through in this life.
func TestGuardDisownsAfterAPowerCutOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	g := openGuard(t, path)
	require.NoError(t, g.Raise(t.Context(), block.Mark{}))
	require.NoError(t, g.Allow(mark(1, "a")))
	require.ErrorIs(t, g.Disown(t.Context(), mark(1, "a")), signer.ErrSigned)
	require.NoError(t, g.Close())
	require.NoError(t, g.Open())
	require.False(t, memory(t, g).Disownable, "the process ended, the machine did not")
	require.ErrorIs(t, g.Disown(t.Context(), mark(1, "a")), signer.ErrSigned)
	require.NoError(t, g.Close())

	g.Reboot(block.Sum([]byte("the next run")))
	require.NoError(t, g.Open())
	require.True(t, memory(t, g).Disownable)
	require.ErrorIs(t, g.Disown(t.Context(), mark(1, "b")), signer.ErrSigned)
	require.NoError(t, g.Disown(t.Context(), mark(1, "a")))
	require.Equal(t, block.Memory{Certain: true}, memory(t, g))
	require.NoError(t, g.Allow(mark(1, "b")))
	require.False(t, memory(t, g).Disownable)
}

func TestGuardWithManyCallers(t *testing.T) {
	g := openGuard(t, filepath.Join(t.TempDir(), "state"))
	require.NoError(t, g.Raise(t.Context(), block.Mark{}))
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := map[uint64]map[string]bool{}
	for worker := range 8 {
		wg.Go(func() {
			for h := uint64(1); h <= 50; h++ {
				payload := fmt.Sprint("of worker ", worker)
				if err := g.Allow(mark(h, payload)); err != nil {
					if !errors.Is(err, signer.ErrSigned) {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				if allowed[h] == nil {
					allowed[h] = map[string]bool{}
				}
				allowed[h][payload] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for h, payloads := range allowed {
		require.Len(t, payloads, 1, "height %d", h)
	}
}

// Whatever is asked in whatever order, over restarts that tear the last write: no
// two payloads of one height are let through.
func TestGuardNeverLetsTwoThrough(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, strconv.Itoa(n))
		g := newGuard(path)
		require.NoError(t, g.Open())
		defer func() { _ = g.Close() }()
		released := map[uint64]block.Hash{}
		top := block.Mark{}
		require.NoError(t, g.Raise(t.Context(), top))
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			m := mark(rapid.Uint64Range(1, 8).Draw(t, "height"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "payload"))
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				require.NoError(t, g.Close())
				require.NoError(t, g.Open())
			case 1: // killed in the middle of a write that nobody waited for
				before, err := os.ReadFile(path)
				require.NoError(t, err)
				_ = g.Allow(m)
				after, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, g.Close())
				cut := rapid.IntRange(0, len(after)).Draw(t, "cut")
				require.NoError(t, os.WriteFile(path, append(append([]byte(nil), after[:cut]...), before[cut:]...), 0o600))
				require.NoError(t, g.Open())
				if known, err := g.Signed(t.Context()); err == nil && !known.Certain {
					require.ErrorIs(t, g.Allow(m), signer.ErrUncertain)
					require.NoError(t, g.Raise(t.Context(), top))
				}
			default:
				if g.Allow(m) != nil {
					continue
				}
				if have, ok := released[m.Height]; ok {
					require.Equal(t, have, m.Payload)
				}
				released[m.Height] = m.Payload
				if m.Height > top.Height {
					top = m
				}
			}
		}
	})
}

func TestGuardedSignerGuardsHeadersAlone(t *testing.T) {
	key := signer.NewLocal(testutil.Key("proposer"))
	s := signer.NewGuarded(key, filepath.Join(t.TempDir(), "state"), "c")
	require.NoError(t, s.Open())
	defer func() { _ = s.Close() }()
	require.NoError(t, s.Raise(t.Context(), block.Mark{}))
	chain := testutil.NewChain("c")
	fork := chain.Fork()
	b, other := chain.Next([]byte("a")), fork.Next([]byte("b"))
	for range 2 {
		for _, m := range []block.Message{block.HeaderMessage(b.Header), block.EnvelopeMessage(b.Header), block.DataMessage(b.Data)} {
			signature, err := s.Sign(t.Context(), m)
			require.NoError(t, err)
			require.Equal(t, key.Sign(m.Bytes()), signature)
		}
	}
	_, err := s.Sign(t.Context(), block.HeaderMessage(other.Header))
	require.ErrorIs(t, err, signer.ErrSigned)
	legacy := b.Header.Header
	legacy.Legacy.ConsensusHash = make([]byte, block.HashSize)
	_, err = s.Sign(t.Context(), block.HeaderMessage(block.NewSignedHeader(legacy, nil, b.Header.Signer)))
	require.ErrorIs(t, err, signer.ErrSigned, "another form of the same header")
}
