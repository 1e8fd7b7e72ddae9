package exchange

import (
	"context"
	"fmt"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
)

// dataRules judges data by the headers of the same heights, which are stored
// only when they were checked.
type dataRules struct {
	genesis block.Genesis
	headers header.Store[*block.SignedHeader]
	now     func() time.Time
	wait    time.Duration // for a header
	ahead   int           // heights ahead of the headers that are worth waiting
}

func (r *dataRules) decode(b []byte) (*block.Data, error) {
	return block.DecodeData(b) //nolint:wrapcheck // names itself
}

func (r *dataRules) weight(b []byte) int { return block.HeldData(b) }

func (r *dataRules) same(a, b *block.Data) bool { return a.Digest() == b.Digest() }

func (r *dataRules) vet(d *block.Data) error {
	if err := d.Validate(); err != nil {
		return err //nolint:wrapcheck // names the rule
	}
	height := d.Height()
	switch head := r.headers.Height(); {
	case d.ChainID() != r.genesis.ChainID:
		return &block.Violation{Rule: block.ErrDataChain, Height: height, Got: d.ChainID(), Want: r.genesis.ChainID}
	case height < r.genesis.InitialHeight:
		return &block.Violation{
			Rule: block.ErrDataHeight, Height: height, Got: decimal(height), Want: fmt.Sprintf("at least %d", r.genesis.InitialHeight),
		}
	case d.Time().After(r.now().Add(block.MaxFuture)):
		return &block.Violation{Rule: block.ErrFutureTime, Height: height, Got: d.Time().String()}
	case height > max(head, r.genesis.InitialHeight)+uint64(r.ahead): //nolint:gosec // a validated config value
		return fmt.Errorf("data %d, headers end at %d: %w", height, head, errFar)
	}
	return nil
}

func (r *dataRules) ready(d *block.Data) bool { return d.Height() <= r.headers.Height() }

func (r *dataRules) await(ctx context.Context, d *block.Data) ([]*block.SignedHeader, error) {
	height := d.Height()
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	h, err := r.headers.GetByHeight(ctx, height)
	if err != nil {
		return nil, fmt.Errorf("data %d: %w: %w", height, errNoHeader, err)
	}
	return []*block.SignedHeader{h}, nil
}

func (r *dataRules) check(items []*block.Data, heads []*block.SignedHeader) (int, error) {
	for i, d := range items {
		if err := block.VerifyData(heads[i], d); err != nil {
			return i, err //nolint:wrapcheck // names the height and the rule
		}
	}
	return len(items), nil
}

func (r *dataRules) link(prev, next *block.Data) error {
	if prev.IsZero() {
		return first(r.genesis, next, next.LastHeader(), block.ErrBrokenDataLink)
	}
	if next.Height() != prev.Height()+1 {
		return &block.Violation{
			Rule: block.ErrDataHeight, Height: next.Height(), Got: decimal(next.Height()), Want: decimal(prev.Height() + 1),
		}
	}
	return block.VerifyDataLink(next, prev.Hash()) //nolint:wrapcheck // names the height and the rule
}

// mend rebuilds parked data around its transactions, which its header proves.
// The link could not be judged when it came.
func (r *dataRules) mend(prev, d *block.Data, heads []*block.SignedHeader) (*block.Data, bool) {
	if len(heads) != 1 || heads[0].Height() != prev.Height()+1 {
		return d, false
	}
	return block.CanonicalData(heads[0], d.Txs, prev.Hash()), true
}

func (r *dataRules) plan(ctx context.Context, from, to uint64) ([]span, error) {
	const most = 4 * maxItems // heights at once; the rest is planned when there is room
	hs, err := r.headers.GetRange(ctx, from, min(to, from+most))
	if err != nil {
		return nil, fmt.Errorf("headers %d to %d: %w", from, to, err)
	}
	var out []span
	for i, h := range hs {
		empty := h.IsEmpty()
		last := len(out) - 1
		if last < 0 || out[last].synth != empty || len(out[last].heads) == maxItems {
			out = append(out, span{from: h.Height(), synth: empty})
			last++
		}
		out[last].to = h.Height() + 1
		out[last].heads = append(out[last].heads, hs[i])
	}
	return out, nil
}

func (r *dataRules) synth(prev *block.Data, heads []*block.SignedHeader) []*block.Data {
	out := make([]*block.Data, len(heads))
	var last []byte
	if !prev.IsZero() {
		last = prev.Hash()
	}
	for i, h := range heads {
		out[i] = block.EmptyData(h, last)
		last = out[i].Hash()
	}
	return out
}

func (r *dataRules) stop(peer.ID, *block.Data, time.Time) {}

func (r *dataRules) held(peer.ID, uint64, time.Time) time.Time { return time.Time{} }

func (r *dataRules) passed(uint64) []wall { return nil }

func (r *dataRules) stopped() (<-chan struct{}, time.Time) { return nil, time.Time{} }

func (r *dataRules) target() (uint64, bool) { return r.headers.Height(), true }

func (r *dataRules) indexed(ctx context.Context, hash []byte) (uint64, bool) {
	h, err := r.headers.Get(ctx, hash)
	if err != nil {
		return 0, false
	}
	return h.Height(), true
}

func (r *dataRules) hint(item *block.Data) uint64 { return item.DAHint }

func (r *dataRules) hinted(item *block.Data, hint uint64) *block.Data {
	if item.DAHint == hint {
		return item
	}
	return item.WithDAHint(hint)
}
