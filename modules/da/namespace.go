package da

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// namespaceIDSize is the number of bytes of a version 0 namespace a user may choose.
const namespaceIDSize = 10

// NamespaceOf derives the namespace of a configured name: version 0, 18 zero
// bytes and the first 10 bytes of the name's SHA-256.
func NamespaceOf(name string) Namespace {
	var ns Namespace
	sum := sha256.Sum256([]byte(name))
	copy(ns[NamespaceSize-namespaceIDSize:], sum[:namespaceIDSize])
	return ns
}

// String returns the namespace as 0x and 58 hex digits.
func (n Namespace) String() string { return "0x" + hex.EncodeToString(n[:]) }

// Compare orders namespaces by their bytes, as DA blocks do.
func (n Namespace) Compare(other Namespace) int { return bytes.Compare(n[:], other[:]) }

// String returns the commitment in hex.
func (c Commitment) String() string { return hex.EncodeToString(c[:]) }
