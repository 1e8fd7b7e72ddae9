package block

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// HashSize is the length of every hash on the wire, in bytes.
const HashSize = sha256.Size

// Hash is a SHA-256 digest. Its text form is upper-case hex.
type Hash [HashSize]byte

// Sum returns the SHA-256 digest of b.
func Sum(b []byte) Hash { return sha256.Sum256(b) }

// HashFromBytes returns b as a Hash, or an error that names its length when b
// does not have 32 bytes.
func HashFromBytes(b []byte) (Hash, error) {
	if len(b) != HashSize {
		return Hash{}, fmt.Errorf("hash has %d bytes, want %d", len(b), HashSize)
	}
	return Hash(b), nil
}

// ParseHash reads a hash from hex of either case.
func ParseHash(s string) (Hash, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return Hash{}, fmt.Errorf("hash %q: %w", s, err)
	}
	return HashFromBytes(b)
}

// IsZero reports whether the hash was never set.
func (h Hash) IsZero() bool { return h == Hash{} }

// String returns upper-case hex.
func (h Hash) String() string { return strings.ToUpper(hex.EncodeToString(h[:])) }

// Short returns the first eight hex digits, for logs and tables.
func (h Hash) Short() string { return h.String()[:8] }

// EmptyCommitment is the data commitment of a block without transactions:
// SHA-256 of a single zero byte (evolve-wire §2.3).
func EmptyCommitment() Hash {
	return Hash{
		0x6e, 0x34, 0x0b, 0x9c, 0xff, 0xb3, 0x7a, 0x98, 0x9c, 0xa5, 0x44, 0xe6, 0xbb, 0x78, 0x0a, 0x2c,
		0x78, 0x90, 0x1d, 0x3f, 0xb3, 0x37, 0x38, 0x76, 0x85, 0x11, 0xa3, 0x06, 0x17, 0xaf, 0xa0, 0x1d,
	}
}
