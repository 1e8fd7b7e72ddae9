package signer

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
)

// nodeKeyFile is the JSON of node_key.json (evolve-wire §5.7).
type nodeKeyFile struct {
	PrivKey []byte `json:"priv_key"` // seed ‖ public key
	PubKey  []byte `json:"pub_key"`
}

// LoadNodeKey reads the peer identity at path.
func LoadNodeKey(path string) (ed25519.PrivateKey, error) {
	var f nodeKeyFile
	if err := readJSON(path, &f); err != nil {
		return nil, err
	}
	key, err := privateKey(f.PrivKey, f.PubKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// SaveNodeKey writes a peer identity to path, mode 0600. It never overwrites.
func SaveNodeKey(path string, key ed25519.PrivateKey) error {
	public, _ := key.Public().(ed25519.PublicKey)
	return writeNew(path, nodeKeyFile{PrivKey: key, PubKey: public})
}

// LoadOrCreateNodeKey reads the peer identity at path, or makes one where none is.
func LoadOrCreateNodeKey(path string) (ed25519.PrivateKey, error) {
	key, err := LoadNodeKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = Generate(); err != nil {
		return nil, err
	}
	return key, SaveNodeKey(path, key)
}
