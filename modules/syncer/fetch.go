package syncer

import (
	"context"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// ahead is a range that is read while the sink is busy with the one before.
type ahead struct {
	from   uint64
	done   chan struct{} // closed when the fields below are set
	blocks []block.Block
	err    error
}

// readAhead starts to read from next, unless that is above head: at the tip
// there is nothing to read ahead.
func (s *Syncer) readAhead(ctx context.Context, next, head uint64) {
	if next > head {
		return
	}
	a := &ahead{from: next, done: make(chan struct{})}
	s.ahead = a
	go func() {
		defer close(a.done)
		a.blocks, a.err = s.fetch(ctx, next, head)
	}()
}

// dropAhead waits for the read ahead, which ends with its context at the latest,
// and forgets it.
func (s *Syncer) dropAhead() {
	if s.ahead != nil {
		<-s.ahead.done
		s.ahead = nil
	}
}

// take returns what was read ahead if it is what the sink wants, and otherwise
// reads.
func (s *Syncer) take(ctx context.Context, next, head uint64) ([]block.Block, error) {
	a := s.ahead
	s.dropAhead()
	if a != nil && a.from == next && a.err == nil {
		return a.blocks, nil
	}
	return s.fetch(ctx, next, head)
}

// fetch returns blocks from next on, at least one, none above head.
func (s *Syncer) fetch(ctx context.Context, next, head uint64) ([]block.Block, error) {
	s.count.fetches.Add(1)
	last := s.last(next, head)
	ctx, span := s.tracer.Start(ctx, names.SpanFetch, blocktrace.Range(next, last))
	blocks, err := s.readPairs(ctx, next, last+1)
	endFetch(span, len(blocks), err)
	return blocks, err
}

// last returns the last height of a fetch from next on.
func (s *Syncer) last(next, head uint64) uint64 {
	return min(head, next+uint64(s.cfg.MaxBlocks)-1) //nolint:gosec // positive, see Config.Validate
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
	_, span := s.tracer.Start(ctx, names.SpanPair, blocktrace.Range(from, to-1))
	blocks := pair(from, headers, data)
	span.End()
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
