package da

import (
	"crypto/sha256"
	"fmt"
	"math/bits"

	"github.com/celestiaorg/go-square/v3/inclusion"
	"github.com/celestiaorg/go-square/v3/share"
)

// subtreeRootThreshold is fixed for every Celestia network.
const subtreeRootThreshold = 64

// Commit computes the commitment a blob of share version 0 has on chain. It
// needs no endpoint. Empty data has no commitment.
func Commit(ns Namespace, data []byte) (Commitment, error) {
	return commit(ns, data, share.ShareVersionZero, nil)
}

// commit is Commit for any share version; version 1 carries its signer in the shares.
func commit(ns Namespace, data []byte, version uint8, signer []byte) (Commitment, error) {
	id, err := share.NewNamespaceFromBytes(ns[:])
	if err != nil {
		return Commitment{}, fmt.Errorf("commitment: %w", err)
	}
	blob, err := share.NewBlob(id, data, version, signer)
	if err != nil {
		return Commitment{}, fmt.Errorf("commitment: %w", err)
	}
	shares, err := blob.ToShares()
	if err != nil {
		return Commitment{}, fmt.Errorf("commitment: %w", err)
	}
	width := inclusion.SubTreeWidth(len(shares), subtreeRootThreshold)
	sizes, err := inclusion.MerkleMountainRangeSizes(uint64(len(shares)), uint64(width)) //nolint:gosec // counts
	if err != nil {
		return Commitment{}, fmt.Errorf("commitment: %w", err)
	}
	roots := make([][]byte, len(sizes))
	for i, size := range sizes {
		roots[i] = namespacedRoot(ns, shares[:size])
		shares = shares[size:]
	}
	return Commitment(merkleRoot(roots)), nil
}

// namespacedRoot is the root of a namespaced Merkle tree whose leaves all have the
// same namespace: lowest and highest namespace, then the hash. The library makes
// a tree of any leaves, at six kilobytes of memory per blob, and a node makes
// one for every blob it reads.
func namespacedRoot(ns Namespace, shares []share.Share) []byte {
	out := append(append(make([]byte, 0, 2*NamespaceSize+sha256.Size), ns[:]...), ns[:]...)
	if len(shares) == 1 {
		return append(out, prefixedHash(0, ns[:], shares[0].ToBytes())...)
	}
	half := 1 << (bits.Len(uint(len(shares)-1)) - 1)
	return append(out, prefixedHash(1, namespacedRoot(ns, shares[:half]), namespacedRoot(ns, shares[half:]))...)
}

// merkleRoot is the RFC 6962 root with SHA-256.
func merkleRoot(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		sum := sha256.Sum256(nil)
		return sum[:]
	case 1:
		return prefixedHash(0, leaves[0], nil)
	}
	split := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	return prefixedHash(1, merkleRoot(leaves[:split]), merkleRoot(leaves[split:]))
}

// prefixedHash is the SHA-256 of a prefix byte and two parts.
func prefixedHash(prefix byte, left, right []byte) []byte {
	const usual = 1 + NamespaceSize + share.ShareSize
	buf := append(append(append(make([]byte, 0, usual), prefix), left...), right...)
	sum := sha256.Sum256(buf)
	return sum[:]
}
