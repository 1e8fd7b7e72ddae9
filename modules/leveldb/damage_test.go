package leveldb_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// filled returns the configuration of a database with n records, all of them in
// the journal, as a killed process leaves it.
func filled(t *testing.T, n int) leveldb.Config {
	t.Helper()
	cfg := config(t)
	db := leveldb.New(cfg)
	require.NoError(t, db.Open())
	for i := range n {
		var b leveldb.Batch
		b.Put(fmt.Appendf(nil, "k%03d", i), bytes.Repeat([]byte{byte(i)}, 1000))
		require.NoError(t, db.Write(&b, true))
	}
	killed := copied(t, cfg)
	require.NoError(t, db.Close())
	return killed
}

// copied returns a copy of a database as it is now.
func copied(t *testing.T, cfg leveldb.Config) leveldb.Config {
	t.Helper()
	to := config(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(to.Path), 0o750))
	require.NoError(t, os.CopyFS(to.Path, os.DirFS(cfg.Path)))
	return to
}

func zeroPage(t *testing.T, path string, page int) {
	t.Helper()
	const size = 4096
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	clear(b[page*size : (page+1)*size])
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// damagedAt checks that one flipped byte of the journal is found.
func damagedAt(t *testing.T, cfg leveldb.Config, at int) {
	t.Helper()
	broken := copied(t, cfg)
	flip(t, file(t, broken, "*.log"), at)
	damaged(t, broken)
}

// file returns the one file of the database that matches pattern.
func file(t *testing.T, cfg leveldb.Config, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cfg.Path, pattern))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[at] ^= 0xff
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// damaged checks that Open refuses, again and again, and says where and what to
// do.
func damaged(t *testing.T, cfg leveldb.Config) {
	t.Helper()
	for range 2 {
		err := leveldb.New(cfg).Open()
		var corrupt *leveldb.CorruptionError
		require.ErrorAs(t, err, &corrupt)
		require.Equal(t, cfg.Path, corrupt.Path)
		require.ErrorContains(t, err, "'tandem repair'")
	}
}

func TestDamageInTheJournalIsNotSteppedOver(t *testing.T) {
	cfg := filled(t, 200)
	path := file(t, cfg, "*.log")
	flip(t, path, 40_000)
	damaged(t, cfg)
	require.FileExists(t, path, "for whoever looks into it")
}

func TestHoleInTheJournalIsNotSteppedOver(t *testing.T) {
	cfg := filled(t, 200)
	path := file(t, cfg, "*.log")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	clear(b[64<<10 : 96<<10])
	require.NoError(t, os.WriteFile(path, b, 0o600))
	damaged(t, cfg)
}

func TestDamagedManifest(t *testing.T) {
	cfg := filled(t, 1)
	flip(t, file(t, cfg, "MANIFEST-*"), 10)
	damaged(t, cfg)
}

func TestMissingCurrent(t *testing.T) {
	cfg := filled(t, 1)
	require.NoError(t, os.Remove(file(t, cfg, "CURRENT")))
	damaged(t, cfg)
}

// Close leaves nothing in the journal that the next Open would have to replay.
func TestCloseEmptiesTheJournal(t *testing.T) {
	cfg := config(t)
	db := leveldb.New(cfg)
	require.NoError(t, db.Open())
	put(t, db, "a", "1")
	require.NoError(t, db.Close())
	info, err := os.Stat(file(t, cfg, "*.log"))
	require.NoError(t, err)
	require.Zero(t, info.Size())
	opened(t, db)
	has, err := db.Has([]byte("a"))
	require.NoError(t, err)
	require.True(t, has)
}

func TestMissingTable(t *testing.T) {
	cfg := filled(t, 10)
	db := leveldb.New(cfg)
	require.NoError(t, db.Open())
	require.NoError(t, db.Close())
	require.NoError(t, os.Remove(file(t, cfg, "*.ldb")))
	damaged(t, cfg)
}

func TestDamagedTableIsNamedByReads(t *testing.T) {
	cfg := filled(t, 10)
	db := leveldb.New(cfg)
	require.NoError(t, db.Open())
	require.NoError(t, db.Close())
	flip(t, file(t, cfg, "*.ldb"), 100)
	opened(t, db)
	_, err := db.Get([]byte("k001"))
	var corrupt *leveldb.CorruptionError
	require.ErrorAs(t, err, &corrupt)
	require.ErrorContains(t, err, cfg.Path)
}

// What a killed process leaves at the end of the journal is not damage: all
// records but the last are there, for every place where the last may be cut.
func TestCutOffJournalOpens(t *testing.T) {
	cfg := filled(t, 70) // more than two journal blocks
	path := file(t, cfg, "*.log")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for cut := 1; cut < 1000; cut += 111 {
		dir := cfg
		dir.Path = filepath.Join(t.TempDir(), "db")
		require.NoError(t, os.CopyFS(dir.Path, os.DirFS(cfg.Path)))
		require.NoError(t, os.WriteFile(filepath.Join(dir.Path, filepath.Base(path)), whole[:len(whole)-cut], 0o600))
		db := leveldb.New(dir)
		require.NoError(t, db.Open(), "cut %d", cut)
		for i := range 70 {
			has, err := db.Has(fmt.Appendf(nil, "k%03d", i))
			require.NoError(t, err)
			require.Equal(t, i < 69, has, "cut %d record %d", cut, i)
		}
		require.NoError(t, db.Close())
	}
}

func TestZeroesBehindTheJournalAreNoDamage(t *testing.T) {
	cfg := filled(t, 10)
	f, err := os.OpenFile(file(t, cfg, "*.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(make([]byte, 100_000))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	opened(t, leveldb.New(cfg))
}
