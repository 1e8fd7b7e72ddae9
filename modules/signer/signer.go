package signer

import (
	"context"
	"crypto/ed25519"

	"github.com/tandem-node/tandem/modules/block"
)

// Local signs with a key in memory whatever it is given.
type Local struct {
	key ed25519.PrivateKey
}

// NewLocal returns a signer for key.
func NewLocal(key ed25519.PrivateKey) *Local { return &Local{key: key} }

// Sign returns the 64-byte ed25519 signature of message.
func (l *Local) Sign(message []byte) []byte { return ed25519.Sign(l.key, message) }

// Public returns the raw 32-byte public key.
func (l *Local) Public() []byte { return l.key[ed25519.SeedSize:] }

// Address returns the address blocks name as their proposer.
func (l *Local) Address() block.Hash { return block.Address(l.Public()) }

// Guarded signs with a key in memory what its guard allows.
type Guarded struct {
	*Guard

	key *Local
}

// NewGuarded returns the signer of a chain that remembers in the file at path what
// it signed. It must be opened first.
func NewGuarded(key *Local, path, chainID string) *Guarded {
	return &Guarded{Guard: NewGuard(path, key.Address(), chainID), key: key}
}

// Public returns the raw 32-byte public key.
func (g *Guarded) Public() []byte { return g.key.Public() }

// Sign returns the 64-byte ed25519 signature of m. A header is on the disk as the
// newest signed one when its signature is returned.
func (g *Guarded) Sign(_ context.Context, m block.Message) ([]byte, error) {
	if m.Kind() == block.MessageHeader {
		if err := g.Allow(m.Mark()); err != nil {
			return nil, err
		}
	}
	return g.key.Sign(m.Bytes()), nil
}
