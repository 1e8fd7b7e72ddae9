package sequencer

import (
	"context"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
)

// backlog counts the blocks that wait for DA: headers, or data that is not
// empty, whichever are more. It counts no further than its limit.
type backlog struct {
	most    uint64 // the limit
	first   uint64 // initial height
	headers Reader[*block.SignedHeader]

	scanned uint64   // heights up to here were looked at
	data    []uint64 // heights with transactions whose data is not on DA, at most `most`
}

func (b *backlog) count(ctx context.Context, applied, header, data uint64) (uint64, error) {
	base := b.first - 1
	header, data = max(header, base), max(data, base)
	n := applied - min(header, applied)
	if waiting := applied - min(data, applied); n >= b.most || waiting < b.most {
		return n, nil // the exact count of data cannot change the outcome
	}
	for len(b.data) > 0 && b.data[0] <= data {
		b.data = b.data[1:]
	}
	if b.scanned > applied { // the chain was cut back
		b.scanned, b.data = data, nil
	}
	b.scanned = max(b.scanned, data)
	if err := b.scan(ctx, applied); err != nil {
		return 0, err
	}
	return max(n, uint64(len(b.data))), nil
}

func (b *backlog) scan(ctx context.Context, to uint64) error {
	const chunk = 256
	for b.scanned < to && uint64(len(b.data)) < b.most {
		hs, err := b.headers.GetRange(ctx, b.scanned+1, min(b.scanned+chunk, to)+1)
		if err != nil {
			return fmt.Errorf("read headers from %d: %w", b.scanned+1, err)
		}
		if len(hs) == 0 {
			return fmt.Errorf("header %d is not stored", b.scanned+1)
		}
		for _, h := range hs {
			if uint64(len(b.data)) == b.most {
				return nil
			}
			if !h.IsEmpty() {
				b.data = append(b.data, h.Height())
			}
			b.scanned = h.Height()
		}
	}
	return nil
}
