// Package pipeline is the single writer of applied state: it verifies blocks,
// executes them and commits the result, and decides what is final.
//
// A block is applied once, in height order, whatever source it came from; what
// was applied before is dropped by hash. Several blocks share one atomic commit
// when many come at once. A block is final when its header and its data were
// seen on DA with the hashes of the applied block, and so were all before it.
//
// All writing methods are serialised. They may block for as long as the
// executor and the store do; readers (Snapshot, Next, Changed) never wait.
// Blocks must not change while and after they are handed over.
//
// When the proposer signed two headers for one height, both are kept as evidence,
// and what DA says first stands: by the policy the pipeline rolls stores, state
// and executor back to the last block that agrees, or it halts. See
// docs/adr/009-conflicts.md.
//
// It does not fetch blocks or read DA.
package pipeline
