package block

import "fmt"

// Rule names one thing that must hold for a header or data item. It is the
// error to branch on: errors.Is(err, block.ErrBrokenLink).
type Rule string //nolint:errname // reads as what it is: block.ErrBrokenLink is a Rule

// The rules, in the order in which they are checked (evolve-wire §2.6).
const (
	ErrNoProposer         Rule = "proposer address is empty"
	ErrBadLength          Rule = "field has the wrong length"
	ErrZeroTime           Rule = "time is zero"
	ErrFutureTime         Rule = "time is too far in the future"
	ErrNoSignature        Rule = "signature is empty"
	ErrNoPubKey           Rule = "signer has no public key"
	ErrBadPubKey          Rule = "signer's public key is not an ed25519 key"
	ErrWrongSigner        Rule = "signer's address is not the hash of its public key"
	ErrProposerNotSigner  Rule = "proposer is not the signer"
	ErrBadSignature       Rule = "signature does not match"
	ErrUnexpectedProposer Rule = "unexpected proposer"
	ErrWrongChain         Rule = "wrong chain id"
	ErrWrongHeight        Rule = "wrong height"
	ErrTimeBackwards      Rule = "time is before the previous block"
	ErrBrokenLink         Rule = "last header hash does not match the previous header"
	ErrWrongAppHash       Rule = "app hash does not match the state after the previous block"
	ErrNoMetadata         Rule = "data has no metadata"
	ErrDataChain          Rule = "data is of another chain than the header"
	ErrDataHeight         Rule = "data is of another height than the header"
	ErrDataTime           Rule = "data has another time than the header"
	ErrWrongCommitment    Rule = "data does not match the header's data hash"
	ErrBrokenDataLink     Rule = "last data hash does not match the previous data"
	ErrRefusedData        Rule = "execution refuses the data"
	ErrForcedLeftOut      Rule = "a forced transaction is left out"
)

// Error makes a Rule usable as a sentinel.
func (r Rule) Error() string { return string(r) }

// Violation is a broken rule with the values that broke it.
type Violation struct { //nolint:errname // the field's word for a broken rule
	Rule   Rule
	Height uint64
	Got    string
	Want   string
}

// Error names the height, the rule, what was there and what was expected.
func (v *Violation) Error() string {
	if v.Got == "" && v.Want == "" {
		return fmt.Sprintf("block %d: %s", v.Height, v.Rule)
	}
	return fmt.Sprintf("block %d: %s: got %s, want %s", v.Height, v.Rule, v.Got, v.Want)
}

// Unwrap returns the rule.
func (v *Violation) Unwrap() error { return v.Rule }

func violation(r Rule, height uint64) error { return &Violation{Rule: r, Height: height} }

func mismatch(r Rule, height uint64, got, want any) error {
	return &Violation{Rule: r, Height: height, Got: text(got), Want: text(want)}
}

func text(v any) string {
	const most = 80
	s := fmt.Sprint(v)
	if b, ok := v.([]byte); ok {
		s = fmt.Sprintf("%X", b[:min(len(b), most)])
	}
	if len(s) > most {
		s = s[:most] + "…"
	}
	if s == "" {
		s = "nothing"
	}
	return s
}

// Conflict is two different items of one height where only one can stand.
type Conflict[H any] struct { //nolint:errname // the architecture's word for it
	Height uint64
	Have   H // what was kept first
	Got    H // what was refused
}

// Error names the height; the items are in Have and Got.
func (c *Conflict[H]) Error() string {
	return fmt.Sprintf("conflict at height %d: another item is already stored", c.Height)
}
