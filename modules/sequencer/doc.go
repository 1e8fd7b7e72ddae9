// Package sequencer makes the blocks of a chain and posts them to DA: the
// Producer turns the mempool into signed blocks at the chain's cadence, the
// Submitter posts headers and data, each in height order.
//
// The contract of the Producer: at most one header payload is ever signed per
// height, whatever the process dies in the middle of. The payload is written
// down before it is signed and taken up again, byte for byte, after a restart;
// nothing is broadcast before the chain has committed it to disk; and nothing
// is made while the stores hold blocks the chain has not applied yet.
// Transactions taken from the mempool are on disk until a block has them.
//
// The contract of the Submitter: nothing is posted twice as long as the first
// posting can be seen. A submission whose outcome is not known is looked for on
// DA by commitment before it is sent again, also after a restart.
//
// It does not verify, execute or store blocks: the Chain does.
package sequencer
