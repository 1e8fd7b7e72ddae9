package syncer

import (
	"context"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
)

// fetch returns blocks from next on, at least one, none above head.
func (s *Syncer) fetch(ctx context.Context, next, head uint64) ([]block.Block, error) {
	s.count.fetches.Add(1)
	to := min(head, next+uint64(s.cfg.MaxBlocks)-1) + 1 //nolint:gosec // positive, see Config.Validate
	ctx, span := s.tracing.fetch(ctx, next, to)
	blocks, err := s.readPairs(ctx, next, to)
	endFetch(span, len(blocks), err)
	return blocks, err
}

func (s *Syncer) readPairs(ctx context.Context, from, to uint64) ([]block.Block, error) {
	headers, err := s.headers.GetRange(ctx, from, to)
	if err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	var data []*block.Data
	if s.data != nil {
		if data, err = s.data.GetRange(ctx, from, from+uint64(len(headers))); err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		headers = headers[:min(len(headers), len(data))]
	}
	blocks := pair(from, headers, data)
	if len(blocks) == 0 {
		return nil, fmt.Errorf("stores are at %d and returned nothing of [%d, %d)", s.head(), from, to)
	}
	return blocks, nil
}

// pair joins the halves of blocks for as long as both have the height that is
// due. Whether they belong together is for the sink to verify.
func pair(from uint64, headers []*block.SignedHeader, data []*block.Data) []block.Block {
	blocks := make([]block.Block, 0, len(headers))
	for i, h := range headers {
		b := block.Block{Header: h}
		if h.Height() != from+uint64(i) {
			break
		}
		if data != nil {
			if b.Data = data[i]; b.Data.Height() != h.Height() {
				break
			}
		}
		blocks = append(blocks, b)
	}
	return blocks
}
