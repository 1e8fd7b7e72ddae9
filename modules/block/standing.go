package block

// Standing says whether an address may sign a height. The state after a block
// names who signs the next one; further ahead nothing is sure.
type Standing uint8

// The standings of an address.
const (
	// Unproven: only the blocks in between can tell.
	Unproven Standing = iota
	// Expected: the state names it, or it is the newest one named and no block in
	// between is known to name another.
	Expected
	// Unexpected: the state names another.
	Unexpected
)
