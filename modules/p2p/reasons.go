package p2p

// Reason is why a peer loses points.
type Reason uint8

// What costs points. Who loses all of them is banned for a while.
const (
	// Invalid: bytes no honest peer makes, such as garbage or a wrong signature.
	Invalid Reason = iota
	// Relayed: the same, made by somebody else and passed on. FloodSub peers pass on
	// what they have not checked, in good faith, so it never bans.
	Relayed
	// Mismatch: a sound item that does not fit the chain as this node knows it.
	Mismatch
	// Unproven: the peer claimed a head and could not give what leads to it.
	Unproven
	// Stalled: a request ended without an answer. Slow and dying peers are no liars.
	Stalled
	// Flooded: messages of its own above the rate.
	Flooded
	// Repeated: gossip of its own that brings nothing, far more than honest peers send.
	Repeated
	// Operator: banned by hand.
	Operator

	reasons = iota
)

// BanScore is the score at which a peer is banned.
const BanScore = -100

// cost is what a reason costs, and the score below which it takes nothing more.
type cost struct{ points, floor float64 }

// cost returns the table of docs/limits.md.
func (r Reason) cost() cost {
	return [reasons]cost{
		Invalid:  {30, BanScore},
		Relayed:  {2, -50},
		Mismatch: {10, BanScore},
		Unproven: {15, -75},
		Stalled:  {5, -60},
		Flooded:  {1, BanScore},
		Repeated: {5, BanScore},
		Operator: {100, BanScore},
	}[r]
}

// String returns the reason as lists and metrics show it.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return [reasons]string{"invalid", "relayed", "mismatch", "unproven", "stalled", "flooded", "repeated", "operator"}[r]
}

// Reasons returns the names of all reasons.
func Reasons() []string {
	out := make([]string, reasons)
	for r := range Reason(reasons) {
		out[r] = r.String()
	}
	return out
}
