// Package forced handles transactions that users post to the forced namespace of
// DA, which the sequencer has to take (evolve-wire §6.9, ADR 016).
//
// DA heights are cut into epochs. A [Taker] gives the sequencer the transactions of
// ended epochs in DA order; a [Watcher] finds out, from final blocks alone, whether
// they were taken. Both keep the same [book]: what was forced and not yet found in
// the chain. What it holds is a function of DA and the chain, and of nothing else:
// not of the source a block came from, nor of restarts.
//
// It does not execute, and it does not judge transactions beyond what their bytes
// alone tell.
package forced
