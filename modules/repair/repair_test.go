package repair_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/repair"
	"github.com/tandem-node/tandem/testutil"
)

// flip changes a byte in the middle of the newest file of a database that matches.
func (w *world) flip(dir, pattern string) {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(w.t, err)
	require.NotEmpty(w.t, found)
	path := found[len(found)-1]
	b, err := os.ReadFile(path)
	require.NoError(w.t, err)
	b[len(b)/3] ^= 0xff
	require.NoError(w.t, os.WriteFile(path, b, 0o600))
}

// edit changes records of a database behind the back of those that keep it.
func (w *world) edit(dir string, change func(db *leveldb.DB, b *leveldb.Batch)) {
	w.t.Helper()
	c := leveldb.Default()
	c.Path = dir
	db := leveldb.New(c)
	require.NoError(w.t, db.Open())
	var b leveldb.Batch
	change(db, &b)
	require.NoError(w.t, db.Write(&b, true))
	require.NoError(w.t, db.Close())
}

func recordAt(ns byte, height uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'c', ns}, height)
}

// inspect returns the findings, which must be of these kinds.
func (w *world) inspect(kinds ...repair.Kind) []repair.Finding {
	w.t.Helper()
	r, err := repair.Inspect(w.t.Context(), w.p)
	require.NoError(w.t, err)
	got := []repair.Kind{}
	for _, f := range r.Findings {
		got = append(got, f.Kind)
	}
	require.ElementsMatch(w.t, kinds, got, "%+v", r.Findings)
	return r.Findings
}

// mend fixes the home, which must then be whole.
func (w *world) mend(discard bool) {
	w.t.Helper()
	r, err := repair.Apply(w.t.Context(), w.p, discard)
	require.NoError(w.t, err, "%+v", r.Findings)
	require.NotEmpty(w.t, r.Findings)
	require.Zero(w.t, r.Left(), "%+v", r.Findings)
	w.inspect()
}

func TestRepairOfAWholeHome(t *testing.T) {
	w := newWorld(t, "kv", 10)
	w.inspect() // nothing there yet
	require.NoDirExists(t, w.p.DB.Path)
	w.applied(8, 4)
	w.inspect()
	r, err := repair.Apply(t.Context(), w.p, false)
	require.NoError(t, err)
	require.Empty(t, r.Findings)
	require.Equal(t, uint64(8), r.Applied)
	require.Equal(t, uint64(4), r.Final)
	require.Equal(t, uint64(8), r.Executed)
	w.follows()
}

func TestRepairOfARunningNode(t *testing.T) {
	w := newWorld(t, "kv", 5)
	w.applied(5, 0)
	w.live(func(n *node) {
		_, err := repair.Inspect(t.Context(), w.p)
		require.ErrorIs(t, err, leveldb.ErrInUse)
		_, err = repair.Apply(t.Context(), w.p, true)
		require.ErrorIs(t, err, leveldb.ErrInUse)
		n.include(t, w.blocks...)
	})
}

// A damaged database or executor is removed; the next start fetches the chain, and
// the executor, wherever it is, is brought to it.
func TestRepairOfDamagedFiles(t *testing.T) {
	for _, name := range executors() {
		for _, pattern := range []string{"*.ldb", "MANIFEST-*"} {
			for _, where := range []repair.Kind{repair.KindDatabase, repair.KindExecutor} {
				t.Run(name+" "+string(where)+" "+pattern, func(t *testing.T) {
					w := newWorld(t, name, 30)
					w.applied(25, 20)
					dir := map[repair.Kind]string{repair.KindDatabase: w.p.DB.Path, repair.KindExecutor: w.p.ExecutionDir}[where]
					w.flip(dir, pattern)
					f := w.inspect(where)[0]
					require.Contains(t, f.Problem, dir)
					require.Contains(t, f.Fix, "remove "+dir)
					require.DirExists(t, dir, "to look changes nothing")
					w.inspect(where)
					r, err := repair.Apply(t.Context(), w.p, false)
					require.NoError(t, err)
					require.True(t, r.Findings[0].Done)
					require.Zero(t, r.Left())
					w.follows()
				})
			}
		}
	}
}

// Records that break no checksum and still are wrong: what is above goes.
func TestRepairOfRecords(t *testing.T) {
	for name, damage := range map[string]func(w *world, b *leveldb.Batch){
		"header that cannot be read": func(_ *world, b *leveldb.Batch) { b.Put(recordAt('h', 12), []byte("junk")) },
		"header that is missing":     func(_ *world, b *leveldb.Batch) { b.Delete(recordAt('h', 12)) },
		"header of another chain":    func(w *world, b *leveldb.Batch) { b.Put(recordAt('h', 12), w.at(13).Header.Encode()) },
		"data that cannot be read":   func(_ *world, b *leveldb.Batch) { b.Put(recordAt('d', 12), []byte("junk")) },
		"data of another block": func(w *world, b *leveldb.Batch) {
			b.Put(recordAt('d', 12), block.CanonicalData(w.at(12).Header, [][]byte{[]byte("x=y")}, w.at(11).Data.Hash()).Encode())
		},
		"state that is missing": func(_ *world, b *leveldb.Batch) { b.Delete(recordAt('s', 12)) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, final := range []uint64{5, 18} {
				w := newWorld(t, "kv", 25)
				w.applied(20, final)
				w.edit(w.p.DB.Path, func(_ *leveldb.DB, b *leveldb.Batch) { damage(w, b) })
				f := w.inspect(repair.KindRecords)[0]
				require.Contains(t, f.Fix, "roll back to block 11")
				w.mend(false)
				w.live(func(n *node) { require.Equal(t, uint64(11), n.Snapshot().Applied()) })
				w.follows()
			}
		})
	}
}

// Where the first block is wrong, or what a start reads first, all is fetched again.
func TestRepairOfTheFirstRecords(t *testing.T) {
	for name, damage := range map[string]func(b *leveldb.Batch){
		"progress": func(b *leveldb.Batch) { b.Put([]byte("cmprogress"), []byte("junk")) },
		"heights":  func(b *leveldb.Batch) { b.Put([]byte("cmheaders"), []byte("junk")) },
		"newest":   func(b *leveldb.Batch) { b.Put(recordAt('s', 20), []byte("junk")) },
		"first":    func(b *leveldb.Batch) { b.Put(recordAt('h', 1), []byte("junk")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "kv", 25)
			w.applied(20, 5)
			w.edit(w.p.DB.Path, func(_ *leveldb.DB, b *leveldb.Batch) { damage(b) })
			w.inspect(repair.KindDatabase)
			w.mend(false)
			w.follows()
		})
	}
}

func TestRepairOfTheIndex(t *testing.T) {
	w := newWorld(t, "kv", 10)
	w.applied(10, 5)
	w.edit(w.p.DB.Path, func(db *leveldb.DB, b *leveldb.Batch) {
		for _, ns := range []byte{'H', 'D'} {
			it := db.NewIterator([]byte{'c', ns}, []byte{'c', ns + 1})
			defer it.Close()
			for it.Next() {
				b.Delete(it.Key())
			}
		}
	})
	require.Contains(t, w.inspect(repair.KindIndex)[0].Problem, "20 items")
	w.mend(false)
	w.live(func(n *node) {
		for _, b := range w.blocks {
			h, err := n.store.Headers().Get(t.Context(), b.Header.Hash())
			require.NoError(t, err)
			require.Equal(t, b.Height(), h.Height())
			d, err := n.store.Data().Get(t.Context(), b.Data.Hash())
			require.NoError(t, err)
			require.Equal(t, b.Height(), d.Height())
		}
	})
}

// An executor that is not where the chain is: repair does what a start does.
func TestRepairOfTheExecutorsPlace(t *testing.T) {
	for _, name := range executors() {
		for what, place := range map[string]func(w *world){
			"ahead": func(w *world) {
				old := filepath.Join(t.TempDir(), "copy")
				require.NoError(t, os.CopyFS(old, os.DirFS(w.p.DB.Path)))
				w.live(func(n *node) { n.take(t, w.blocks[15:20]) })
				require.NoError(t, os.RemoveAll(w.p.DB.Path))
				require.NoError(t, os.Rename(old, w.p.DB.Path))
			},
			"behind": func(w *world) {
				old := filepath.Join(t.TempDir(), "copy")
				require.NoError(t, os.CopyFS(old, os.DirFS(w.p.ExecutionDir)))
				w.live(func(n *node) { n.take(t, w.blocks[15:20]) })
				require.NoError(t, os.RemoveAll(w.p.ExecutionDir))
				require.NoError(t, os.Rename(old, w.p.ExecutionDir))
			},
			"on another fork": func(w *world) {
				other := newWorld(t, name, 0)
				other.blocks = other.story(other.chain, 15, "other")
				other.applied(15, 0)
				require.NoError(t, os.RemoveAll(w.p.ExecutionDir))
				require.NoError(t, os.Rename(other.p.ExecutionDir, w.p.ExecutionDir))
			},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				w := newWorld(t, name, 25)
				w.applied(15, 5)
				place(w)
				w.inspect(repair.KindLevel)
				w.mend(false)
				w.follows()
			})
		}
	}
}

// The executor of a sequencer that is ahead knows of blocks that may have been
// signed: a start tells the signer, repair does not touch it.
func TestRepairLeavesAheadToASequencersStart(t *testing.T) {
	w := newWorld(t, "kv", 25)
	w.p.Produces, w.p.Signed = true, signed(20)
	w.applied(20, 20)
	require.NoError(t, os.RemoveAll(w.p.DB.Path))
	w.live(func(*node) {})
	w.applied(15, 0) // the executor was rolled back by that start: put it ahead again
	old := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(old, os.DirFS(w.p.DB.Path)))
	w.live(func(n *node) { n.take(t, w.blocks[15:20]) })
	require.NoError(t, os.RemoveAll(w.p.DB.Path))
	require.NoError(t, os.Rename(old, w.p.DB.Path))
	f := w.inspect(repair.KindLevel)[0]
	require.Empty(t, f.Fix)
	require.Contains(t, f.Advice, "start the node")
	r, err := repair.Apply(t.Context(), w.p, true)
	require.NoError(t, err)
	require.Equal(t, 1, r.Left())
	w.follows()
}

// Data of another chain is removed.
func TestRepairOfAnExecutorOfAnotherChain(t *testing.T) {
	for _, name := range executors() {
		w := newWorld(t, name, 10)
		w.applied(5, 0)
		other := newWorld(t, name, 0)
		other.chain = testutil.NewChain("other")
		other.p.Genesis = other.chain.Genesis
		other.blocks = other.story(other.chain, 5, "a")
		other.applied(5, 0)
		require.NoError(t, os.RemoveAll(w.p.ExecutionDir))
		require.NoError(t, os.Rename(other.p.ExecutionDir, w.p.ExecutionDir))
		_, err := w.start()
		require.ErrorContains(t, err, "'tandem repair'")
		w.inspect(repair.KindExecutor)
		w.mend(false)
		w.follows()
	}
}

// forked makes a home that has applied a story to a height, and returns the blocks
// of another one that parts behind the common ones.
func forked(t *testing.T, name string, common, to uint64) (w *world, theirs []block.Block) {
	t.Helper()
	w = newWorld(t, name, 0)
	w.blocks = w.story(w.chain, int(common), "a")
	fork := w.chain.Fork()
	ours := w.story(w.chain, int(to-common), "ours")
	theirs = append(theirs, w.blocks...)
	theirs = append(theirs, w.story(fork, int(to-common), "theirs")...)
	w.blocks = append(w.blocks, ours...)
	return w, theirs
}

// The node halts because DA holds another block, and says to run repair, which rolls
// back to DA's block: the next start goes on with it.
func TestRepairFollowsDA(t *testing.T) {
	for _, name := range executors() {
		for _, produces := range []bool{false, true} {
			w, theirs := forked(t, name, 10, 20)
			w.p.Pipeline.Conflict = pipeline.PolicyHalt
			w.applied(20, 8)
			halted := func(err error) {
				var conflict *pipeline.EquivocationError
				require.ErrorAs(t, err, &conflict)
				require.ErrorContains(t, err, "'tandem repair --apply'")
			}
			w.live(func(n *node) {
				n.include(t, w.blocks[8:10]...)
				b := theirs[10]
				halted(n.Include(t.Context(), []block.Inclusion{{Height: 11, Kind: block.KindHeader, Hash: b.Header.Digest(), Header: b.Header, DAHeight: 21}},
					block.DAPositions{Floor: 22, Scanned: 22}))
			})
			w.live(func(n *node) { halted(n.Conflicts().Halted) }) // again and again

			w.p.Produces, w.p.Signed = produces, signed(20)
			require.Contains(t, w.inspect(repair.KindConflict)[0].Problem, "block 11 is "+w.at(11).Header.Digest().String()+" here, and DA holds "+theirs[10].Header.Digest().String())
			if produces {
				_, err := repair.Apply(t.Context(), w.p, false)
				require.ErrorContains(t, err, "would remove 10 blocks (11 to 20) that are not final")
				require.ErrorContains(t, err, "--discard-unposted")
				w.inspect(repair.KindConflict)
			}
			w.mend(produces)
			w.blocks = theirs
			w.live(func(n *node) {
				require.NoError(t, n.Conflicts().Halted)
				require.Equal(t, uint64(10), n.Snapshot().Applied())
				require.Equal(t, uint64(11), n.store.Headers().Height(), "DA's header is there before a peer can put back the other one")
			})
			w.follows()
		}
	}
}

// A header that names another state than the executor has does not outlive a repair.
func TestRepairRemovesARefutedHeader(t *testing.T) {
	w := newWorld(t, "kv", 25)
	w.applied(20, 5)
	fork := newWorld(t, "kv", 0)
	fork.blocks = fork.story(fork.chain, 20, "a")
	fork.chain.Root = func(uint64) []byte { return bytes.Repeat([]byte{7}, 32) }
	wrong := fork.chain.Next([]byte("x=y"))
	w.live(func(n *node) { n.keep(t, []block.Block{wrong}) })
	require.Contains(t, w.inspect(repair.KindRefuted)[0].Problem, "block 21")
	w.mend(false)
	w.follows()
}

// Evidence of a refuted header is for the operator to judge.
func TestRepairNamesRefutedHeaders(t *testing.T) {
	w := newWorld(t, "kv", 25)
	w.applied(20, 5)
	w.live(func(n *node) {
		_, err := n.store.SaveEvidence(t.Context(), block.Evidence{
			First: block.Sighting{Header: w.at(20).Header}, Second: block.Sighting{Header: w.at(21).Header},
			Refuted: block.NewRefutation(block.ErrWrongAppHash, []byte("other"), "wrong-executor"),
		})
		require.NoError(t, err)
	})
	f := w.inspect(repair.KindEvidence)[0]
	require.Contains(t, f.Problem, "refuted by the executor wrong-executor")
	require.Contains(t, f.Advice, "execution.name")
	w.follows() // as the advice says: with the chain's executor it goes on
	w.inspect()
}

// A chain that began with another executor needs that one.
func TestRepairNamesAnotherExecutor(t *testing.T) {
	w := newWorld(t, "kv", 10)
	w.applied(5, 0)
	w.p.Execution.Name = execution.NameEvolveKV
	_, err := w.start()
	var root *pipeline.RootError
	require.ErrorAs(t, err, &root)
	require.ErrorContains(t, err, "execution.name")
	f := w.inspect(repair.KindOther)[0]
	require.Empty(t, f.Fix)
	require.Contains(t, f.Advice, "set execution.name")
	w.p.Execution.Name = execution.NameKV
	w.follows()
}

func TestRepairFinishesARollback(t *testing.T) {
	w := newWorld(t, "kv", 10)
	w.applied(10, 2)
	w.live(func(n *node) { require.NoError(t, n.store.SaveRevert(t.Context(), block.Revert{To: 6, DACursor: 3})) })
	w.inspect(repair.KindRollback)
	w.mend(false)
	w.live(func(n *node) { require.Equal(t, uint64(6), n.Snapshot().Applied()) })
	w.follows()
}

// A sequencer's database is not removed as long as blocks may be in it alone.
func TestRepairKeepsASequencersOwnBlocks(t *testing.T) {
	for _, c := range []struct {
		pattern string
		final   uint64
		want    string // empty: nothing is lost
	}{
		{"*.ldb", 15, "would remove 5 blocks (16 to 20) that are not final"},
		{"*.ldb", 20, ""},
		{"MANIFEST-*", 20, "would remove blocks up to 20, which this key has signed; how many of them are not final cannot be read"},
	} {
		w := newWorld(t, "kv", 0)
		w.blocks = w.story(w.chain, 20, strings.Repeat("x", 10_000))
		w.p.Produces, w.p.Signed = true, signed(20)
		w.applied(20, c.final)
		w.flip(w.p.DB.Path, c.pattern)
		_, err := repair.Apply(t.Context(), w.p, false)
		if c.want == "" {
			require.NoError(t, err)
		} else {
			var refused *repair.RefusedError
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, c.want)
			require.DirExists(t, w.p.DB.Path)
			_, err = repair.Apply(t.Context(), w.p, true)
			require.NoError(t, err)
		}
		require.NoDirExists(t, w.p.DB.Path)
	}
	w := newWorld(t, "kv", 5)
	w.p.Produces, w.p.Signed = true, signed(0)
	w.applied(5, 5)
	w.flip(w.p.DB.Path, "MANIFEST-*")
	_, err := repair.Apply(t.Context(), w.p, false)
	require.ErrorContains(t, err, "would remove blocks that this key has signed; how many")
	w.p.Produces = false
	w.mend(false)
}
