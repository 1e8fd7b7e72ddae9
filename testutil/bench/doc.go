// Command bench measures the node, whole and in parts, and holds it beside what
// it is compared with. It prints one table, writes it as JSON, and draws plots.
//
//	go run ./testutil/bench                    everything, 5 runs each
//	go run ./testutil/bench -list              what there is
//	go run ./testutil/bench -run p2p -runs 3   a part of it
//	go run ./testutil/bench -quick             one short run each: does it work?
//
// A node whose CPU time or memory is measured runs in a process of its own: this
// program, started again. All processes share the loopback interface and the
// cores of one machine; CPU seconds are those of the process under test. Nothing
// fails because it is slow.
package main
