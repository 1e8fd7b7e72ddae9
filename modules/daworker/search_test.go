package daworker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/testutil"
)

// hidingDA leaves blobs out of its answers.
type hidingDA struct {
	*fakeDA
	hide func(height uint64, blobs []da.Blob) []da.Blob // nil hides nothing
}

func (h *hidingDA) Blobs(ctx context.Context, height uint64, ns ...da.Namespace) ([]da.Blob, error) {
	blobs, err := h.fakeDA.Blobs(ctx, height, ns...)
	h.set(func() {
		if h.hide != nil {
			blobs = h.hide(height, blobs)
		}
	})
	return blobs, err
}

// hidings are the ways to leave out blobs.
func hidings() map[string]func(height uint64, blobs []da.Blob) []da.Blob {
	return map[string]func(height uint64, blobs []da.Blob) []da.Blob{
		"all":         func(uint64, []da.Blob) []da.Blob { return nil },
		"the first":   func(_ uint64, blobs []da.Blob) []da.Blob { return blobs[min(1, len(blobs)):] },
		"the last":    func(_ uint64, blobs []da.Blob) []da.Blob { return blobs[:max(len(blobs), 1)-1] },
		"every other": func(h uint64, blobs []da.Blob) []da.Blob { return blobs[:len(blobs)*int(h%2)] },
		"other blobs": func(uint64, []da.Blob) []da.Blob {
			return []da.Blob{blob(headerNS(), []byte("not of this chain"))}
		},
	}
}

// DA hides blobs for a while. Whether blocks come from peers meanwhile or from nowhere,
// all is seen soon after it answers honestly, also after a restart, and the scan
// position never goes back.
func TestHiddenBlobsAreFound(t *testing.T) {
	for name, hide := range hidings() {
		for _, how := range []string{"", " with peers", " and a restart", " on a light node"} {
			t.Run(name+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { hiddenBlobsAreFound(t, hide, how) })
			})
		}
	}
}

func hiddenBlobsAreFound(t *testing.T, hide func(uint64, []da.Blob) []da.Blob, how string) {
	t.Helper()
	e := newEnv()
	h := &hidingDA{fakeDA: e.da}
	e.params.Client, e.params.Marks, e.params.Problems = h, e.marks(), problems.New()
	if how == " on a light node" {
		e.params.HeadersOnly, e.params.Data = true, nil
	}
	bs := e.chain.Blocks(40, 1)
	w, stop := e.run(t)
	for i, b := range bs {
		switch i {
		case 20:
			h.set(func() { h.hide = hide })
		case 25:
			h.set(func() { h.hide = nil })
		}
		e.da.put(uint64(i+1), e.header(b), e.body(b))
		if how == " with peers" {
			require.NoError(t, e.headers.put(b.Header))
			require.NoError(t, e.data.put(b.Data))
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		require.Equal(t, uint64(i+2), w.Status().Scanned)
		if i == 26 && how == " and a restart" {
			require.NoError(t, stop())
			w, stop = e.run(t)
		}
	}
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	require.Equal(t, uint64(40), e.params.Marks.Final())
	require.Equal(t, block.DAPositions{Floor: 41, Scanned: 41}, e.sink.positions())
	require.Empty(t, e.params.Problems.List())
	require.Less(t, len(e.da.reads()), 200)
	require.NoError(t, stop())
}

// What is never found is searched for less and less often, and no search goes further
// down than the blocks below were seen.
func TestSearchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		h := &hidingDA{fakeDA: e.da, hide: func(height uint64, blobs []da.Blob) []da.Blob {
			if height == 2000 {
				return nil
			}
			return blobs
		}}
		e.params.Client, e.params.Marks, e.params.Problems = h, e.marks(), problems.New()
		bs := e.chain.Blocks(60, 1)
		for i, b := range bs {
			e.da.put(uint64(1981+i), e.header(b), e.body(b))
		}
		w, stop := e.run(t)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		reads := e.da.reads()
		require.Less(t, w.Status().Stats.WalkBacks, uint64(40), "in a day")
		first := slices.Index(reads[2040:], 1) // far below only after several searches
		require.Greater(t, first, 4*60)
		require.Equal(t, uint64(2041), w.Status().Scanned)
		require.NoError(t, stop())
	})
}

// A final height that stands is a problem while it stands, whatever the reason, and
// none for less than blocks need to get on DA.
func TestStandingFinalIsAProblem(t *testing.T) {
	for name, hide := range hidings() {
		if name == "every other" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv()
				h := &hidingDA{fakeDA: e.da}
				e.params.Client, e.params.Marks, e.params.Problems = h, e.marks(), problems.New()
				bs := e.chain.Blocks(60, 1)
				_, stop := e.run(t)
				for i, b := range bs {
					if i == 10 {
						h.set(func() { h.hide = hide })
					}
					require.NoError(t, e.headers.put(b.Header))
					require.NoError(t, e.data.put(b.Data))
					e.da.put(uint64(i+1), e.header(b), e.body(b))
					time.Sleep(6 * time.Second)
					synctest.Wait()
					list := e.params.Problems.List()
					switch {
					case i < 25:
						require.Empty(t, list)
					case i > 35:
						require.Len(t, list, 1)
						require.Equal(t, problems.Finality, list[0].Kind)
						require.Contains(t, list[0].Reason, "final stays at 10")
						require.Contains(t, list[0].Reason, "block 11 was not found on DA")
					}
				}
				h.set(func() { h.hide = nil })
				time.Sleep(30 * time.Minute) // as long as the lie took, at most twice
				synctest.Wait()
				require.Empty(t, e.params.Problems.List())
				require.NoError(t, stop())
			})
		})
	}
}

// A node that cannot read a DA height tries again within one round, and says all the
// same that final stands.
func TestStandingFinalIsAProblemWhileReadsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Marks, e.params.Problems = e.marks(), problems.New()
		_, stop := e.run(t)
		for i, b := range e.chain.Blocks(60, 1) {
			if i == 10 {
				e.da.set(func() { e.da.fail = func(uint64) error { return errors.New("index is broken") } })
			}
			require.NoError(t, e.headers.put(b.Header))
			require.NoError(t, e.data.put(b.Data))
			e.da.put(uint64(i+1), e.header(b), e.body(b))
			time.Sleep(6 * time.Second)
		}
		list := e.params.Problems.List()
		require.Len(t, list, 1)
		require.Equal(t, problems.Finality, list[0].Kind)
		require.Contains(t, list[0].Reason, "DA is not read: ")
		require.Contains(t, list[0].Reason, "index is broken")
		e.da.set(func() { e.da.fail = nil })
		time.Sleep(10 * time.Minute)
		require.Empty(t, e.params.Problems.List())
		require.NoError(t, stop())
	})
}

// What looks like the chain and is by another proposer is the mark of a wrong genesis file.
func TestHeadersOfAnotherProposerAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Marks, e.params.Problems = e.marks(), problems.New()
		e.params.Proposers = proposers(func(uint64) []byte { return make([]byte, 32) })
		e.postEach(e.chain.Blocks(20, 1))
		_, stop := e.run(t)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		list := e.params.Problems.List()
		require.Len(t, list, 1)
		require.Equal(t, problems.Namespace, list[0].Kind)
		require.Contains(t, list[0].Reason, "20 headers of another proposer, is the genesis file that of the chain?")
		require.NoError(t, stop())
	})
}

// Namespaces that hold nothing of the chain are named, with peers and without, when
// one is wrong or both are.
func TestWrongNamespacesAreNamed(t *testing.T) {
	wrong := da.Namespace{28: 9}
	for name, c := range map[string]struct {
		header, data, peers bool // header and data: is wrong
		want                []string
	}{
		"header, alone":      {header: true, want: []string{"nothing of this chain in namespace chain-headers"}},
		"both, alone":        {header: true, data: true, want: []string{"nothing of this chain in namespaces chain-headers, chain-data"}},
		"header, with peers": {header: true, peers: true, want: []string{"nothing of this chain in namespace chain-headers"}},
		"both, with peers":   {header: true, data: true, peers: true, want: []string{"nothing of this chain in namespaces chain-headers, chain-data"}},
		"data, with peers":   {data: true, peers: true, want: []string{"no data of this chain in namespace chain-data"}},
		"data, alone":        {data: true, want: []string{"no data of this chain in namespace chain-data"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv()
				e.params.Marks, e.params.Problems = e.marks(), problems.New()
				e.params.HeaderName, e.params.DataName = "chain-headers", "chain-data"
				if c.header {
					e.params.HeaderNS = wrong
				}
				if c.data {
					e.params.DataNS = da.Namespace{28: 8}
				}
				bs := e.chain.Blocks(20, 1)
				e.postEach(bs)
				if c.peers {
					require.NoError(t, e.headers.put(testutil.Headers(bs)...))
					require.NoError(t, e.data.put(testutil.DataOf(bs)...))
				}
				_, stop := e.run(t)
				time.Sleep(finalLeast / 2)
				synctest.Wait()
				require.Empty(t, e.params.Problems.List(), "a chain that begins has nothing on DA either")
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				list := e.params.Problems.List()
				require.Len(t, list, 1)
				require.Equal(t, problems.Namespace, list[0].Kind)
				for _, want := range c.want {
					require.Contains(t, list[0].Reason, want)
				}
				require.NoError(t, stop())
			})
		})
	}
}
