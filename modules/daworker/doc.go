// Package daworker follows a chain on its data-availability layer: it reads
// every DA height from a persisted cursor, keeps what the proposer signed, pairs
// headers with the data they commit to, appends both to the stores and reports
// what was seen where.
//
// The contract:
//
//   - Every DA height is read, in order; several are in flight at a time. The
//     head stream of a DA endpoint only wakes the worker up, it is never read from.
//   - Two positions are persisted. The floor never passes a DA height that holds
//     something of the proposer's that is not in the stores yet, and is near its
//     chain: a node killed at any instruction reads again from there. The scan
//     position is the height below which everything was read and handed over; it
//     goes back only with a rollback, or where DA says that heights do not exist.
//   - What must be on DA and was not seen is searched for, by reading again, with
//     growing pauses.
//   - Headers count only when the expected proposer signed them. Data counts only
//     when such a header commits to it, whoever posted it and whatever its
//     metadata says.
//   - Anyone may post into the namespaces. Junk is counted by reason, costs time
//     linear in its bytes, holds no memory beyond a fixed budget and holds
//     neither position back.
//   - Peers' hints where a header lies are looked at while its data is missing
//     here. They move no cursor, and what is found by them is not reported.
//
// What gives way when a budget is exceeded: of the proposer's pending items, the
// highest block heights are dropped and read again, by walking the cursor back,
// once there is room; of strangers' items, the oldest are dropped, and the cursor
// walks back once per block that could not be completed.
//
// It does not execute, does not decide conflicts (it hands both headers to the Sink) and does not move the final
// head: that is the Sink's business.
package daworker
