package signer_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

func TestKeyFileOfEvNodeOpens(t *testing.T) {
	key, err := signer.Load("testdata/signer.json", []byte("secret"))
	require.NoError(t, err)
	public := "e3db40abfbe14bc9639e552a98963e8426cd7d8cc593fec1f86b889e3044b0e7"
	require.Equal(t, public, hex.EncodeToString(key.Public().(ed25519.PublicKey)))

	pub, err := signer.PublicOf("testdata/signer.json")
	require.NoError(t, err)
	require.Equal(t, public, hex.EncodeToString(pub))

	s := signer.NewLocal(key)
	require.Equal(t, "A23CB0D0379BDB8AB5E407606F3CD5911361DBD72ADE651728DD30F19B519DFD", s.Address().String())
	signature := s.Sign([]byte("m"))
	require.True(t, ed25519.Verify(pub, []byte("m"), signature))
}

func TestNodeKeyOfEvNodeOpens(t *testing.T) {
	key, err := signer.LoadNodeKey("testdata/node_key.json")
	require.NoError(t, err)
	require.Equal(t, "6G3UMGYlKpBwtq/7GzT3JYDuk4vnCu/wr3OgEgIAL7k=",
		base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config", "signer.json")
	key := testutil.Key("a")
	require.NoError(t, signer.Save(path, key, []byte("correct horse")))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(raw), base64.StdEncoding.EncodeToString(key)[:20], "the key is encrypted")

	got, err := signer.Load(path, []byte("correct horse"))
	require.NoError(t, err)
	require.Equal(t, key, got)

	_, err = signer.Load(path, []byte("battery staple"))
	require.ErrorIs(t, err, signer.ErrWrongPassphrase)
	require.ErrorIs(t, signer.Save(path, key, []byte("x")), signer.ErrExists)
	require.ErrorContains(t, signer.Save(path+"2", key, nil), "passphrase is empty")
}

func TestOldFormatWithoutSalt(t *testing.T) {
	// The old derivation of a passphrase of exactly 32 bytes is the passphrase itself.
	dir := t.TempDir()
	path := filepath.Join(dir, "signer.json")
	require.NoError(t, signer.Save(path, testutil.Key("a"), []byte("p")))
	var f map[string]any
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &f))
	delete(f, "salt")
	raw, err = json.Marshal(f)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	_, err = signer.Load(path, []byte("p"))
	require.ErrorIs(t, err, signer.ErrWrongPassphrase, "another derivation is used without salt")
}

func TestDamagedKeyFiles(t *testing.T) {
	sound, err := os.ReadFile("testdata/signer.json")
	require.NoError(t, err)
	tests := map[string]struct{ content, want string }{
		"not JSON":        {"hello", "not a key file"},
		"no nonce":        {`{"pub_key":"AA=="}`, "nonce has 0 bytes and public key 1, want 12 and 32"},
		"cut":             {string(sound[:100]), "not a key file"},
		"over the limit":  {strings.Repeat(" ", 70_000), "want at most 65536"},
		"foreign pub key": {strings.Replace(string(sound), "49tA", "49tB", 1), "do not belong together"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "signer.json")
			require.NoError(t, os.WriteFile(path, []byte(tt.content), 0o600))
			_, err := signer.Load(path, []byte("secret"))
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, path)
		})
	}
}

func TestNodeKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node_key.json")
	first, err := signer.LoadOrCreateNodeKey(path)
	require.NoError(t, err)
	again, err := signer.LoadOrCreateNodeKey(path)
	require.NoError(t, err)
	require.Equal(t, first, again)

	require.NoError(t, os.WriteFile(path, []byte(`{"priv_key":"AAAA","pub_key":""}`), 0o600))
	_, err = signer.LoadOrCreateNodeKey(path)
	require.ErrorContains(t, err, "private key has 3 bytes, want 64", "a damaged key is never replaced")
}

func TestPassphraseSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pass")
	require.NoError(t, os.WriteFile(file, []byte("  from file\n"), 0o600))
	t.Setenv(signer.EnvPassphrase, "from env")
	got, err := signer.Passphrase(file, nil, nil)
	require.NoError(t, err)
	require.Equal(t, "from file", string(got))
	got, err = signer.Passphrase("", nil, nil)
	require.NoError(t, err)
	require.Equal(t, "from env", string(got))

	require.NoError(t, os.Unsetenv(signer.EnvPassphrase))
	_, err = signer.Passphrase("", nil, nil)
	require.ErrorIs(t, err, signer.ErrNoPassphrase)
	_, err = signer.Passphrase(filepath.Join(t.TempDir(), "none"), nil, nil)
	require.ErrorContains(t, err, "signer.passphrase_file")
	require.NoError(t, os.WriteFile(file, []byte(" \n"), 0o600))
	_, err = signer.Passphrase(file, nil, nil)
	require.ErrorContains(t, err, "is empty")
}

func TestSignerSignsHeadersOthersAccept(t *testing.T) {
	s := signer.NewLocal(testutil.Key("a"))
	h := block.Header{Height: 1, Time: 1, ChainID: "c", ProposerAddress: block.NewSigner(s.Public()).Address}
	signature := s.Sign(h.Encode())
	require.NoError(t, block.NewSignedHeader(h, signature, block.NewSigner(s.Public())).Validate())
}

func FuzzKeyFile(f *testing.F) {
	sound, err := os.ReadFile("testdata/node_key.json")
	require.NoError(f, err)
	f.Add(sound)
	f.Add([]byte(`{"priv_key":null}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "key.json")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		key, err := signer.LoadNodeKey(path)
		if err == nil {
			require.Len(t, key, ed25519.PrivateKeySize)
		}
	})
}

// FuzzSignerFile: a damaged key file is an error, and never another key.
func FuzzSignerFile(f *testing.F) {
	sound, err := os.ReadFile("testdata/signer.json")
	require.NoError(f, err)
	passphrase, err := os.ReadFile("testdata/signer_passphrase.txt")
	require.NoError(f, err)
	want, err := signer.Load("testdata/signer.json", bytes.TrimSpace(passphrase))
	require.NoError(f, err)
	f.Add(sound)
	f.Add([]byte(`{"priv_key_encrypted":"","nonce":"AAAAAAAAAAAAAAAA"}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "signer.json")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		if key, err := signer.Load(path, bytes.TrimSpace(passphrase)); err == nil {
			require.Equal(t, want, key)
		}
		if public, err := signer.PublicOf(path); err == nil {
			require.Len(t, public, ed25519.PublicKeySize)
		}
	})
}
