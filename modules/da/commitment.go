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
	root, err := inclusion.CreateCommitment(blob, merkleRoot, subtreeRootThreshold)
	if err != nil {
		return Commitment{}, fmt.Errorf("commitment: %w", err)
	}
	return Commitment(root), nil
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
	buf := make([]byte, 0, 1+len(left)+len(right))
	buf = append(buf, prefix)
	buf = append(buf, left...)
	sum := sha256.Sum256(append(buf, right...))
	return sum[:]
}
