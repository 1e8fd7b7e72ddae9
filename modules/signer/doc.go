// Package signer holds the keys of a node: the ed25519 key a sequencer signs
// blocks with (signer.json, encrypted) and the key a node is known by among
// peers (node_key.json), both in the formats of evolve-wire §5.7 and §7.3.
//
// It does not keep passphrases and never prints key material.
package signer
