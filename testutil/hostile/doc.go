// Package hostile holds a peer and a DA poster that do what no honest one does:
// forged heads far ahead, items that are unsigned, signed by others, oversized or
// torn, data that squats on heights and commitments, replays, and answers to range
// requests that lie. Tests aim them at nodes; the program below it does the same as
// a process of its own.
//
// A Forger makes the bytes, and has no key of the chain. Peer and Poster send them.
package hostile
