package signer

import (
	"context"
	"crypto/ed25519"

	"github.com/tandem-node/tandem/modules/block"
)

// Local signs with a key in memory.
type Local struct {
	key ed25519.PrivateKey
}

// NewLocal returns a signer for key.
func NewLocal(key ed25519.PrivateKey) *Local { return &Local{key: key} }

// Sign returns the 64-byte ed25519 signature of message. It never blocks; the
// context is there for signers that ask a remote service.
func (l *Local) Sign(_ context.Context, message []byte) ([]byte, error) {
	return ed25519.Sign(l.key, message), nil
}

// Public returns the raw 32-byte public key.
func (l *Local) Public() []byte { return l.key[ed25519.SeedSize:] }

// Address returns the address blocks name as their proposer.
func (l *Local) Address() block.Hash { return block.Address(l.Public()) }
