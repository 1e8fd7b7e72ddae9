package block

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// Clock tolerances (evolve-wire §2.6, §2.9).
const (
	// MaxFuture is how far ahead of the clock a header may be.
	MaxFuture = 60 * time.Second
)

// Clock tells the time of the wall clock, which times of blocks and of DA headers are
// compared with. It can be set at any time, forth and back: what measures how long
// something takes uses time.Now and its monotonic reading.
type Clock func() time.Time

// MaxHeight is the highest height, and the latest time in nanoseconds, that a header
// or data may have. What is decoded is within it, so that sums of heights do not
// overflow, and times do not turn negative.
const MaxHeight = math.MaxInt64

// checkRange refuses heights and times that nothing can be computed from.
func checkRange(height, nanoseconds uint64) error {
	switch {
	case height > MaxHeight:
		return mismatch(ErrWrongHeight, height, height, fmt.Sprintf("at most %d", uint64(MaxHeight)))
	case nanoseconds > MaxHeight:
		return mismatch(ErrFutureTime, height, nanoseconds, fmt.Sprintf("at most %d", uint64(MaxHeight)))
	}
	return nil
}

// VerifyBasic checks what can be seen from the header alone, but not its
// signature: see SignedHeader.VerifySignature.
func VerifyBasic(h *SignedHeader, now time.Time) error {
	height := h.Height()
	switch {
	case len(h.Header.ProposerAddress) == 0:
		return violation(ErrNoProposer, height)
	case h.Header.Time == 0:
		return violation(ErrZeroTime, height)
	case h.Time().After(now.Add(MaxFuture)):
		return mismatch(ErrFutureTime, height, h.Time(), "at most "+now.Add(MaxFuture).UTC().String())
	case !hashOrNothing(h.Header.LastHeaderHash):
		return mismatch(ErrBadLength, height, len(h.Header.LastHeaderHash), "last_header_hash of 0 or 32 bytes")
	case !hashOrNothing(h.Header.DataHash):
		return mismatch(ErrBadLength, height, len(h.Header.DataHash), "data_hash of 0 or 32 bytes")
	case len(h.Signature) == 0:
		return violation(ErrNoSignature, height)
	}
	if err := h.Signer.check(height); err != nil {
		return err
	}
	if !bytes.Equal(h.Header.ProposerAddress, h.Signer.Address) {
		return mismatch(ErrProposerNotSigner, height, h.Header.ProposerAddress, h.Signer.Address)
	}
	return nil
}

func hashOrNothing(b []byte) bool { return len(b) == 0 || len(b) == HashSize }

// VerifyNext checks the header against the state after the block before it.
func VerifyNext(s State, h *SignedHeader) error {
	if err := verifySequence(s, h); err != nil {
		return err
	}
	if !bytes.Equal(h.Header.AppHash, s.AppHash) {
		return mismatch(ErrWrongAppHash, h.Height(), h.Header.AppHash, s.AppHash)
	}
	return nil
}

// VerifyNextHeader is VerifyNext for nodes that do not execute and so do not
// know the state root.
func VerifyNextHeader(s State, h *SignedHeader) error { return verifySequence(s, h) }

func verifySequence(s State, h *SignedHeader) error {
	height := h.Height()
	switch {
	case len(s.NextProposer) > 0 && !bytes.Equal(s.NextProposer, h.Header.ProposerAddress):
		return mismatch(ErrUnexpectedProposer, height, h.Header.ProposerAddress, s.NextProposer)
	case h.Header.ChainID != s.ChainID:
		return mismatch(ErrWrongChain, height, h.Header.ChainID, s.ChainID)
	case height != s.NextHeight():
		return mismatch(ErrWrongHeight, height, height, s.NextHeight())
	case s.Started() && h.Time().Before(s.LastTime):
		return mismatch(ErrTimeBackwards, height, h.Time(), s.LastTime)
	case !bytes.Equal(h.Header.LastHeaderHash, s.LastHeaderHash):
		return mismatch(ErrBrokenLink, height, h.Header.LastHeaderHash, s.LastHeaderHash)
	}
	return nil
}

// VerifyLink checks that next follows prev directly: chain, height, time and
// hash. It knows nothing of proposers; see VerifyNext.
func VerifyLink(prev, next *SignedHeader) error {
	height := next.Height()
	switch {
	case prev.Header.ChainID != next.Header.ChainID:
		return mismatch(ErrWrongChain, height, next.Header.ChainID, prev.Header.ChainID)
	case height != prev.Height()+1:
		return mismatch(ErrWrongHeight, height, height, prev.Height()+1)
	case next.Header.Time < prev.Header.Time:
		return mismatch(ErrTimeBackwards, height, next.Time(), prev.Time())
	case !bytes.Equal(next.Header.LastHeaderHash, prev.hash[:]):
		return mismatch(ErrBrokenLink, height, next.Header.LastHeaderHash, prev.hash)
	}
	return nil
}

// VerifyData checks that d belongs to h: the transactions by the commitment,
// the metadata by repetition.
func VerifyData(h *SignedHeader, d *Data) error {
	height := h.Height()
	m := d.Metadata
	switch {
	case m == nil:
		return violation(ErrNoMetadata, height)
	case m.ChainID != h.Header.ChainID:
		return mismatch(ErrDataChain, height, m.ChainID, h.Header.ChainID)
	case m.Height != height:
		return mismatch(ErrDataHeight, height, m.Height, height)
	case m.Time != h.Header.Time:
		return mismatch(ErrDataTime, height, m.Time, h.Header.Time)
	}
	return VerifyCommitment(h, d)
}

// VerifyCommitment checks the transactions alone. A header without data hash
// commits to no transactions.
func VerifyCommitment(h *SignedHeader, d *Data) error {
	want := h.Header.DataHash
	if h.IsEmpty() {
		empty := EmptyCommitment()
		want = empty[:]
	}
	if !bytes.Equal(want, d.commitment[:]) {
		return mismatch(ErrWrongCommitment, h.Height(), d.commitment, want)
	}
	return nil
}

// VerifyDataLink checks that d carries the hash of the data before it;
// lastDataHash is empty at the initial height.
func VerifyDataLink(d *Data, lastDataHash []byte) error {
	if d.Metadata == nil {
		return violation(ErrNoMetadata, d.Height())
	}
	if !bytes.Equal(d.Metadata.LastDataHash, lastDataHash) {
		return mismatch(ErrBrokenDataLink, d.Height(), d.Metadata.LastDataHash, lastDataHash)
	}
	return nil
}

// Verify checks a whole block against the state before it: basics, signature,
// sequence, data. It is the one gate before execution.
func Verify(s State, b Block, now time.Time) error {
	if err := VerifyBasic(b.Header, now); err != nil {
		return err
	}
	if err := VerifyNext(s, b.Header); err != nil {
		return err
	}
	if err := b.Header.VerifySignature(); err != nil {
		return err
	}
	return VerifyData(b.Header, b.Data)
}

// Validate implements header.Header: structure and signature. It leaves the
// clock to VerifyBasic's callers, which know it.
func (h *SignedHeader) Validate() error {
	if err := VerifyBasic(h, h.Time()); err != nil {
		return err
	}
	return h.VerifySignature()
}

// Verify implements header.Header. For adjacent headers the hash link is
// checked; of others only what go-header itself checks.
func (h *SignedHeader) Verify(next *SignedHeader) error {
	if next.Height() == h.Height()+1 {
		return VerifyLink(h, next)
	}
	return nil
}

// Validate implements header.Header: structure only, data carries no signature.
func (d *Data) Validate() error {
	m := d.Metadata
	switch {
	case m == nil:
		return violation(ErrNoMetadata, 0)
	case m.ChainID == "":
		return mismatch(ErrDataChain, m.Height, m.ChainID, "a chain id")
	case m.Height == 0:
		return mismatch(ErrDataHeight, m.Height, 0, "at least 1")
	case m.Time == 0:
		return violation(ErrZeroTime, m.Height)
	case !hashOrNothing(m.LastDataHash):
		return mismatch(ErrBadLength, m.Height, len(m.LastDataHash), "last_data_hash of 0 or 32 bytes")
	}
	return nil
}

// Verify implements header.Header. For adjacent items the hash link is checked.
func (d *Data) Verify(next *Data) error {
	if next.Height() == d.Height()+1 {
		return VerifyDataLink(next, d.hash[:])
	}
	return nil
}
