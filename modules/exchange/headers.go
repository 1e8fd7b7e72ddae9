package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// headerRules judges headers by signature and proposer.
type headerRules struct {
	genesis   block.Genesis
	proposers Proposers
	refuted   func(block.Hash) bool // never nil
	now       func() time.Time
	walls     walls
	board     *problems.Board
	early     atomic.Pointer[block.SignedHeader] // the last of the proposer that was of the future
}

func (r *headerRules) decode(b []byte) (*block.SignedHeader, error) {
	return block.DecodeSignedHeader(b) //nolint:wrapcheck // names itself
}

func (r *headerRules) weight(b []byte) int { return block.HeldHeader(b) }

// same compares signatures too: the header hash does not cover them, and what is
// relayed unchecked must be what was checked.
func (r *headerRules) same(a, b *block.SignedHeader) bool {
	return a.Digest() == b.Digest() && bytes.Equal(a.Signature, b.Signature) && bytes.Equal(a.Signer.PubKey, b.Signer.PubKey) &&
		bytes.Equal(a.Signer.Address, b.Signer.Address)
}

func (r *headerRules) vet(*block.SignedHeader) error { return nil }

func (r *headerRules) ready(*block.SignedHeader) bool { return true }

func (r *headerRules) await(context.Context, *block.SignedHeader) ([]*block.SignedHeader, error) {
	return nil, nil
}

func (r *headerRules) check(items []*block.SignedHeader, _ []*block.SignedHeader) (int, error) {
	now := r.now()
	good, bad := len(items), error(nil)
	for i, h := range items {
		if err := r.basic(h, now); err != nil {
			good, bad = i, err
			break
		}
	}
	if n, err := block.VerifySignatures(items[:good]); err != nil {
		return n, err //nolint:wrapcheck // names the header and the rule
	}
	r.judgeClock(items, good, bad, now)
	return good, bad
}

// judgeClock reports a header of the future that the proposer has signed: nothing is
// taken from peers while the clock here is behind. It is over when a header as high
// passes, or the time has come.
func (r *headerRules) judgeClock(items []*block.SignedHeader, good int, bad error, now time.Time) {
	const subject = "headers from peers"
	if e := r.early.Load(); e != nil && (good > 0 && items[good-1].Height() >= e.Height() || !e.Time().After(now.Add(block.MaxFuture))) {
		r.early.Store(nil)
		r.board.Clear(problems.Clock, subject)
	}
	if !errors.Is(bad, block.ErrFutureTime) || r.proposer(items[good]) != nil || items[good].VerifySignature() != nil {
		return
	}
	h := items[good]
	r.early.Store(h)
	r.board.Report(problems.Early(subject, h.Height(), h.Time().String(), now))
}

func (r *headerRules) basic(h *block.SignedHeader, now time.Time) error {
	height := h.Height()
	switch {
	case h.ChainID() != r.genesis.ChainID:
		return &block.Violation{Rule: block.ErrWrongChain, Height: height, Got: h.ChainID(), Want: r.genesis.ChainID}
	case height < r.genesis.InitialHeight:
		return &block.Violation{
			Rule: block.ErrWrongHeight, Height: height,
			Got: decimal(height), Want: fmt.Sprintf("at least %d", r.genesis.InitialHeight),
		}
	}
	if err := block.VerifyBasic(h, now); err != nil {
		return err //nolint:wrapcheck // names the header and the rule
	}
	return r.standing(h)
}

// standing judges what is not in the header: whether its proposer is in office, and
// whether execution has refuted it.
func (r *headerRules) standing(h *block.SignedHeader) error {
	if r.refuted(h.Digest()) {
		return fmt.Errorf("header %d (%s): %w", h.Height(), h.Digest().Short(), errRefuted)
	}
	return r.proposer(h)
}

func (r *headerRules) proposer(h *block.SignedHeader) error {
	height := h.Height()
	switch r.proposers.Judge(height, h.Header.ProposerAddress) {
	case block.Expected:
		return nil
	case block.Unproven:
		return fmt.Errorf("header %d of %X: %w", height, h.Header.ProposerAddress, errUnproven)
	case block.Unexpected:
	}
	return &block.Violation{
		Rule: block.ErrUnexpectedProposer, Height: height,
		Got: fmt.Sprintf("%X", h.Header.ProposerAddress), Want: "the one the state names",
	}
}

func (r *headerRules) stop(p peer.ID, h *block.SignedHeader, until time.Time) {
	r.walls.set(p, h, until)
}

func (r *headerRules) held(p peer.ID, height uint64, now time.Time) time.Time {
	return r.walls.held(p, height, r.proposers, now)
}

func (r *headerRules) stopped() (<-chan struct{}, time.Time) {
	return r.walls.opens(r.proposers, time.Now())
}

func (r *headerRules) passed(next uint64) []wall { return r.walls.passed(next) }

func (r *headerRules) link(prev, next *block.SignedHeader) error {
	// What was parked or fetched may have been judged before the state moved on.
	if err := r.standing(next); err != nil {
		return err
	}
	if !prev.IsZero() {
		return block.VerifyLink(prev, next) //nolint:wrapcheck // names the header and the rule
	}
	return first(r.genesis, next, next.LastHeader(), block.ErrBrokenLink)
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// first checks the item no other comes before.
func first[H Item[H]](g block.Genesis, item H, last []byte, broken block.Rule) error {
	switch {
	case item.Height() != g.InitialHeight:
		return &block.Violation{
			Rule: block.ErrWrongHeight, Height: item.Height(),
			Got: decimal(item.Height()), Want: decimal(g.InitialHeight),
		}
	case len(last) != 0:
		return &block.Violation{Rule: broken, Height: item.Height(), Got: fmt.Sprintf("%X", last), Want: "nothing"}
	}
	return nil
}

func (r *headerRules) mend(_, item *block.SignedHeader, _ []*block.SignedHeader) (*block.SignedHeader, bool) {
	return item, false
}

func (r *headerRules) plan(_ context.Context, from, to uint64) ([]span, error) {
	const most = 8 // spans at once; the rest is planned when there is room
	var out []span
	for from < to && len(out) < most {
		end := min(to, from+maxItems)
		out = append(out, span{from: from, to: end})
		from = end
	}
	return out, nil
}

func (r *headerRules) synth(*block.SignedHeader, []*block.SignedHeader) []*block.SignedHeader {
	return nil
}

func (r *headerRules) target() (uint64, bool) { return 0, false }

func (r *headerRules) indexed(context.Context, []byte) (uint64, bool) { return 0, false }

func (r *headerRules) hint(item *block.SignedHeader) uint64 { return item.DAHint }

func (r *headerRules) hinted(item *block.SignedHeader, hint uint64) *block.SignedHeader {
	if item.DAHint == hint {
		return item
	}
	return item.WithDAHint(hint)
}
