package block

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// Sighting is a signed header and how this node came by it.
type Sighting struct {
	Header   *SignedHeader
	Source   Source
	DAHeight uint64    // 0 when it was not seen on DA
	Peer     string    // who sent it; empty when not known
	At       time.Time // when it was found to be wrong
}

// Evidence is what a proposer signed and must not have signed. Without Refuted it
// is two headers for one height, of which First was kept here before. With Refuted
// it is one header, Second, that execution refutes; First is the header before it,
// and has no header at the initial height.
type Evidence struct {
	First, Second Sighting
	Refuted       *Refutation // nil for two headers of one height
}

// Refutation is what execution expected of a header in place of what it has.
type Refutation struct {
	// Rule is what does not hold: ErrWrongAppHash, ErrRefusedData or ErrForcedLeftOut.
	Rule Rule
	// Want is what was expected: in place of the header's app hash, the state root;
	// of data, why it is refused; of a forced transaction, nothing. It is at most
	// MaxWant bytes, and WantHash is the SHA-256 of all, or of the transaction.
	Want     []byte
	WantHash Hash
	// Executor is the configured name of the executor that says so.
	Executor string
	// Forced is where the transaction that was left out lies on DA; nil for other rules.
	Forced *LeftOut
}

// LeftOut is a forced transaction that is in no block up to the refuted one, which
// lies on DA. Its hash is the WantHash of the refutation.
type LeftOut struct {
	DAHeight uint64 // where it was forced
	Index    uint64 // among the blobs of the forced namespace at that height
	Epochs   uint64 // in which the sequencer posted blocks without it
}

// MaxWant bounds what is kept of an expected value: state roots may be texts of megabytes.
const MaxWant = 4 << 10

// NewRefutation returns the refutation of a header by the rule it breaks.
func NewRefutation(rule Rule, want []byte, executor string) *Refutation {
	return &Refutation{
		Rule: rule, Want: bytes.Clone(want[:min(len(want), MaxWant)]), WantHash: Sum(want),
		Executor: executor[:min(len(executor), maxExecutorBytes)],
	}
}

// Errors of evidence that proves nothing.
var (
	ErrNoPair      = errors.New("evidence lacks a header")
	ErrSamePair    = errors.New("both headers are the same")
	ErrOnePayload  = errors.New("both headers carry one signature over the same bytes")
	ErrNotRefuted  = errors.New("the header has the value that was expected")
	ErrUnknownRule = errors.New("the rule is not one that execution can refute a header by")
	ErrNotForced   = errors.New("the evidence does not say where the transaction was forced")
)

const (
	maxPeerBytes     = 128
	maxExecutorBytes = 64
)

// Height returns the height of the header, or headers, the evidence is about.
func (e Evidence) Height() uint64 { return e.Second.Header.Height() }

// ID names the pair of headers, whichever came first, or the refuted header.
func (e Evidence) ID() Hash {
	b := e.Second.Header.Digest()
	if r := e.Refuted; r != nil {
		id := append([]byte("refuted"), b[:]...)
		if r.Forced != nil { // a block may leave out several
			id = append(id, r.WantHash[:]...)
		}
		return Sum(id)
	}
	a := e.First.Header.Digest()
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return Sum(append(a[:], b[:]...))
}

// Complete reports, as an error, what the evidence needs and is missing.
func (e Evidence) Complete() error {
	if e.Second.Header == nil || e.First.Header == nil && e.Refuted == nil {
		return ErrNoPair
	}
	if r := e.Refuted; r != nil && r.Rule == ErrForcedLeftOut && r.Forced == nil {
		return ErrNotForced
	}
	return nil
}

// Verify checks that the evidence holds against the proposer of the genesis.
// It needs nothing else. Sources, peers and times are not part of the proof. Of a
// refuted header it shows that the proposer signed it, that it follows the header
// before it, and that its value is not the expected one. That the expected one is
// right, that the data is refused, or that no block up to this one has the forced
// transaction can only be shown with the chain up to there.
func (e Evidence) Verify(g Genesis) error { return e.VerifyBy(g, g.ProposerAddress) }

// VerifyBy is Verify for a height at which another proposer was in office.
func (e Evidence) VerifyBy(g Genesis, proposer []byte) error {
	if err := e.Complete(); err != nil {
		return err
	}
	if e.Refuted != nil {
		return e.verifyRefuted(g, proposer)
	}
	a, b := e.First.Header, e.Second.Header
	switch {
	case a.Digest() == b.Digest():
		return ErrSamePair
	case a.Height() != b.Height():
		return mismatch(ErrWrongHeight, b.Height(), b.Height(), a.Height())
	}
	for _, h := range []*SignedHeader{a, b} {
		if err := signedBy(h, g, proposer); err != nil {
			return err
		}
	}
	if bytes.Equal(a.signedBytes(), b.signedBytes()) {
		return ErrOnePayload
	}
	return nil
}

func (e Evidence) verifyRefuted(g Genesis, proposer []byte) error {
	prev, h := e.First.Header, e.Second.Header
	if err := signedBy(h, g, proposer); err != nil {
		return err
	}
	switch {
	case prev == nil && h.Height() != g.InitialHeight:
		return mismatch(ErrWrongHeight, h.Height(), h.Height(), fmt.Sprintf("%d, for evidence without the header before", g.InitialHeight))
	case prev != nil:
		if err := prev.Validate(); err != nil {
			return err
		}
		if err := VerifyLink(prev, h); err != nil {
			return err
		}
	}
	return e.Refuted.against(h)
}

// against checks that what the refutation says is not what the header has, as far
// as that shows without the chain.
func (r *Refutation) against(h *SignedHeader) error {
	switch {
	case r.Rule == ErrForcedLeftOut, r.Rule == ErrRefusedData:
		return nil
	case r.Rule != ErrWrongAppHash:
		return fmt.Errorf("%w: %w", ErrUnknownRule, r.Rule)
	case Sum(h.Header.AppHash) == r.WantHash:
		return ErrNotRefuted
	}
	return nil
}

// signedBy checks that a header is of this chain and signed by its proposer.
func signedBy(h *SignedHeader, g Genesis, proposer []byte) error {
	switch {
	case h.Header.ChainID != g.ChainID:
		return mismatch(ErrWrongChain, h.Height(), h.Header.ChainID, g.ChainID)
	case h.Height() < g.InitialHeight:
		return mismatch(ErrWrongHeight, h.Height(), h.Height(), fmt.Sprintf("at least %d", g.InitialHeight))
	case !bytes.Equal(h.Header.ProposerAddress, proposer):
		return mismatch(ErrUnexpectedProposer, h.Height(), h.Header.ProposerAddress, proposer)
	}
	return h.Validate()
}
