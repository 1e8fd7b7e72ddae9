package block

import (
	"crypto/rand"
	"crypto/sha512"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

const (
	ed25519SignatureSize = 64
	halfSignature        = 32
	weightSize           = 16 // bytes of randomness per signature: 2^-128 to pass by chance
)

// Signed is a message with a signature that somebody is said to have made.
type Signed struct {
	Signer    Signer
	Message   []byte
	Signature []byte
}

// VerifyBatch reports whether all signatures are good, and all signers' keys
// hash to their addresses. It accepts exactly what single checks accept
// (ZIP-215), and costs a fraction of them when most are by one key, as on a
// chain: all terms of a key fold into one. It does not say which one is bad.
func VerifyBatch(items []Signed) bool {
	b := newBatch(len(items))
	for _, s := range items {
		if !b.add(s) {
			return false
		}
	}
	return b.check()
}

// batch is the sum over all signatures, each weighted with a random z:
//
//	8·( Σ z·R + Σ (z·k)·A − (Σ z·s)·B ) = 0   with k = SHA-512(R ‖ A ‖ message)
//
// The multiplication by the cofactor 8 is what makes it ZIP-215.
type batch struct {
	weights []byte
	keys    map[string]int // public key → its place in scalars and points
	base    scalar.Scalar  // Σ z·s

	scalars []*scalar.Scalar
	points  []*curve.EdwardsPoint
}

func newBatch(n int) *batch {
	b := &batch{
		weights: make([]byte, n*weightSize), keys: make(map[string]int, 1),
		scalars: make([]*scalar.Scalar, 0, n+2), points: make([]*curve.EdwardsPoint, 0, n+2),
	}
	_, _ = rand.Read(b.weights) // crypto/rand never fails
	return b
}

// add takes one signature into the sum. False means it is bad by itself.
func (b *batch) add(s Signed) bool {
	if s.Signer.check(0) != nil || len(s.Signature) != ed25519SignatureSize {
		return false
	}
	key, r := s.Signer.RawPubKey(), s.Signature[:halfSignature]
	at, ok := b.key(key)
	if !ok {
		return false
	}
	point, ok := decompress(r)
	if !ok {
		return false
	}
	var response, product scalar.Scalar
	if _, err := response.SetCanonicalBytes(s.Signature[halfSignature:]); err != nil {
		return false
	}
	z := b.weight()
	b.base.Add(&b.base, product.Mul(z, &response))
	product.Mul(z, challenge(r, key, s.Message))
	b.scalars[at].Add(b.scalars[at], &product)
	b.scalars, b.points = append(b.scalars, z), append(b.points, point)
	return true
}

// key returns the place of a public key, decompressing it the first time.
func (b *batch) key(raw []byte) (int, bool) {
	if at, ok := b.keys[string(raw)]; ok {
		return at, true
	}
	point, ok := decompress(raw)
	if !ok {
		return 0, false
	}
	b.keys[string(raw)] = len(b.points)
	b.scalars, b.points = append(b.scalars, scalar.New()), append(b.points, point)
	return len(b.points) - 1, true
}

// weight returns the next random factor.
func (b *batch) weight() *scalar.Scalar {
	var wide [scalar.ScalarSize]byte
	copy(wide[:], b.weights[:weightSize])
	b.weights = b.weights[weightSize:]
	z := scalar.New()
	_, _ = z.SetBits(wide[:]) // fails on wrong lengths only
	return z
}

func (b *batch) check() bool {
	if len(b.points) == 0 {
		return true
	}
	b.scalars = append(b.scalars, b.base.Neg(&b.base))
	b.points = append(b.points, curve.ED25519_BASEPOINT_POINT)
	sum := curve.NewEdwardsPoint().MultiscalarMulVartime(b.scalars, b.points)
	return sum.IsSmallOrder()
}

// decompress reads a point; encodings that are not canonical are accepted.
func decompress(raw []byte) (*curve.EdwardsPoint, bool) {
	var compressed curve.CompressedEdwardsY
	if _, err := compressed.SetBytes(raw); err != nil {
		return nil, false
	}
	p, err := curve.NewEdwardsPoint().SetCompressedY(&compressed)
	return p, err == nil
}

func challenge(r, key, message []byte) *scalar.Scalar {
	h := sha512.New()
	_, _ = h.Write(r)
	_, _ = h.Write(key)
	_, _ = h.Write(message)
	var digest [sha512.Size]byte
	k := scalar.New()
	_, _ = k.SetBytesModOrderWide(h.Sum(digest[:0])) // fails on wrong lengths only
	return k
}
