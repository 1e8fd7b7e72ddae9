package signer

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/argon2"

	"github.com/tandem-node/tandem/modules/internal/durable"
)

// Errors of key files.
var (
	// ErrWrongPassphrase means the file is sound but the passphrase does not open it.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrExists means a key file would be overwritten.
	ErrExists = errors.New("key file already exists")
)

// Parameters of the key derivation (evolve-wire §7.3).
const (
	saltBytes     = 16
	argonTime     = 3
	argonMemory   = 32 << 10 // KiB
	argonThreads  = 4
	keyBytes      = 32
	maxKeyFile    = 64 << 10
	keyFileMode   = 0o600
	keyFolderMode = 0o700
)

// keyFile is the JSON of signer.json.
type keyFile struct {
	PrivKeyEncrypted []byte `json:"priv_key_encrypted"`
	Nonce            []byte `json:"nonce"`
	PubKey           []byte `json:"pub_key"`
	Salt             []byte `json:"salt,omitempty"`
}

// Generate returns a new random ed25519 key.
func Generate() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return key, nil
}

// Save encrypts key with the passphrase and writes it to path, mode 0600. It
// never overwrites: ErrExists.
func Save(path string, key ed25519.PrivateKey, passphrase []byte) error {
	if len(passphrase) == 0 {
		return errors.New("signer key: the passphrase is empty")
	}
	salt, nonce := make([]byte, saltBytes), make([]byte, 12)
	_, _ = rand.Read(salt) // crypto/rand never fails
	_, _ = rand.Read(nonce)
	gcm, err := newGCM(derive(passphrase, salt))
	if err != nil {
		return err
	}
	public, _ := key.Public().(ed25519.PublicKey)
	return writeNew(path, keyFile{
		PrivKeyEncrypted: gcm.Seal(nil, nonce, key, nil), Nonce: nonce, PubKey: public, Salt: salt,
	})
}

// Replace is Save over a key file that may exist. The old one is kept beside it, and
// its path returned; at every moment there is a whole file at path.
func Replace(path string, key ed25519.PrivateKey, passphrase []byte) (old string, err error) {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("replace key: %w", err)
	}
	if err := Save(fresh, key, passphrase); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		old = fmt.Sprintf("%s.old-%d", path, n)
		err = os.Link(path, old)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		old, err = "", nil
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return "", fmt.Errorf("replace key: %w", err)
	}
	return old, nil
}

// Load decrypts the key file at path. A passphrase that does not open it gives
// ErrWrongPassphrase.
func Load(path string, passphrase []byte) (ed25519.PrivateKey, error) {
	var f keyFile
	if err := readJSON(path, &f); err != nil {
		return nil, err
	}
	if len(f.Nonce) != 12 || len(f.PubKey) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%s: nonce has %d bytes and public key %d, want 12 and %d",
			path, len(f.Nonce), len(f.PubKey), ed25519.PublicKeySize)
	}
	gcm, err := newGCM(derive(passphrase, f.Salt))
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, f.Nonce, f.PrivKeyEncrypted, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, ErrWrongPassphrase)
	}
	key, err := privateKey(plain, f.PubKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// PublicOf returns the public key of the key file at path, without passphrase.
func PublicOf(path string) (ed25519.PublicKey, error) {
	var f keyFile
	if err := readJSON(path, &f); err != nil {
		return nil, err
	}
	if len(f.PubKey) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%s: public key has %d bytes, want %d", path, len(f.PubKey), ed25519.PublicKeySize)
	}
	return f.PubKey, nil
}

// derive returns the AES key of a passphrase. Files without salt are of an old
// format that repeats the passphrase.
func derive(passphrase, salt []byte) []byte {
	if len(salt) > 0 {
		return argon2.IDKey(passphrase, salt, argonTime, argonMemory, argonThreads, keyBytes)
	}
	key := make([]byte, keyBytes)
	n := copy(key, passphrase)
	for i := n; i < keyBytes && len(passphrase) > 0; i++ {
		key[i] = passphrase[i%len(passphrase)] ^ byte(i&0xff)
	}
	return key
}

func newGCM(key []byte) (cipher.AEAD, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("signer key: %w", err)
	}
	gcm, err := cipher.NewGCM(c)
	if err != nil {
		return nil, fmt.Errorf("signer key: %w", err)
	}
	return gcm, nil
}

// privateKey checks that the 64 bytes are seed ‖ public key and belong together.
func privateKey(seedAndPublic, public []byte) (ed25519.PrivateKey, error) {
	if len(seedAndPublic) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("private key has %d bytes, want %d", len(seedAndPublic), ed25519.PrivateKeySize)
	}
	key := ed25519.NewKeyFromSeed(seedAndPublic[:ed25519.SeedSize])
	if !bytes.Equal(key, seedAndPublic) || !bytes.Equal(key[ed25519.SeedSize:], public) {
		return nil, errors.New("private and public key do not belong together")
	}
	return key, nil
}

func readJSON(path string, into any) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	if info.Size() > maxKeyFile {
		return fmt.Errorf("%s: has %d bytes, want at most %d", path, info.Size(), maxKeyFile)
	}
	b, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: not a key file: %w", path, err)
	}
	return nil
}

func writeNew(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	if err := durable.MkdirAll(filepath.Dir(path), keyFolderMode); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, keyFileMode) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}
