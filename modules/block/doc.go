// Package block holds the data model of a chain: headers, data, genesis and
// state, their canonical evnode.v1 encoding and hashes, and the pure rules that
// decide whether a block is valid.
//
// Values are immutable once built: hashes and encodings are computed once, on
// construction or decode, so that a value may be shared between goroutines.
// Decoders copy what they keep, bound it by bytes and never keep the input.
//
// It does not read clocks, disks or networks.
package block
