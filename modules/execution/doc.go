// Package execution is the boundary between the node and the application that
// runs on it, and holds the applications that ship with the node.
//
// An application implements [Executor], four methods, and as many of the
// optional interfaces ([HeightProvider], [FinalProvider], [RootProvider],
// [Rollbacker], [Keeper], [Resetter], [InfoProvider], [Submitter], [TxNotifier],
// [TxFilter], [HTTPProvider], [Lifecycle]) as it can keep; the node finds them by
// type assertion. The package executiontest checks any
// implementation against this contract:
//
//   - Deterministic. The root depends on the genesis and the blocks so far, not
//     on clocks, map order, restarts, or how blocks were grouped.
//   - Tolerant. A block may hold any bytes as transactions; what an application
//     cannot use it skips, the same way on every node, without an error.
//   - In order, one caller. The node calls InitChain, ExecuteTxs, SetFinal and
//     Rollback one at a time, ExecuteTxs with ascending heights without gaps.
//   - Repeatable. After a crash the node may hand over again what was executed
//     already; the result must be the same as the first time. The same holds for
//     SetFinal: the node writes down that a height is final after it has told the
//     application, so that none is left out, and one that died in between is told
//     again, unless the application implements [FinalProvider] and says how far
//     it was told.
//   - A prefix survives. After a crash the state is that of some executed height,
//     never something between two. It need not be the last one when the
//     application implements [HeightProvider]: the node replays the rest. A rollback
//     and a reset survive a power cut: what comes after them may be another chain.
//   - More survives. After a power cut the application may have executed more than
//     the node remembers, and is asked to roll back. A [Keeper] keeps the states
//     that may be asked for then; one that cannot roll back but is a [Resetter]
//     starts over.
//
// Two applications are kept on disk: "kv", a key-value store with a 32-byte
// authenticated root, and "evolve-kv", byte-compatible with the test application
// of ev-node. "noop" keeps nothing.
//
// It does not produce, verify or store blocks, and it does not open ports.
package execution
