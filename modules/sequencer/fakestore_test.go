package sequencer_test

import (
	"context"
	"slices"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func (p *process) SaveQueue(_ context.Context, q block.QueueChange) error {
	return p.call("save queue", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changeQueue(q)
		return nil
	})
}

// changeQueue insists on a change that fits the queue as it is.
func (w *world) changeQueue(q block.QueueChange) {
	if q.Drop < q.Keep {
		require.Equal(w.t, w.waitingAt, q.Drop)
		w.waiting, w.waitingAt = w.waiting[q.Keep-q.Drop:], q.Keep
	}
	if len(q.Txs) == 0 {
		return
	}
	if len(w.waiting) == 0 {
		w.waitingAt = q.At
	}
	require.Equal(w.t, w.waitingAt+uint64(len(w.waiting)), q.At)
	w.waiting = append(slices.Clone(w.waiting), q.Txs...)
}

func (p *process) Queue(context.Context) (first uint64, txs [][]byte, err error) {
	err = p.call("queue", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		first, txs = p.waitingAt, slices.Clone(p.waiting)
		return nil
	})
	return first, txs, err
}

func (p *process) SavePending(_ context.Context, b block.Block, q block.QueueChange, _ bool) error {
	return p.call("save pending", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changeQueue(q)
		// Through bytes, as a disk does it.
		h, err := block.DecodeSignedHeader(b.Header.Encode())
		require.NoError(p.t, err)
		d, err := block.DecodeData(b.Data.Encode())
		require.NoError(p.t, err)
		p.pending = &block.Block{Header: h, Data: d}
		return nil
	})
}

func (p *process) Pending(context.Context) (b block.Block, ok bool, err error) {
	err = p.call("pending", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.pending != nil {
			b, ok = *p.pending, true
		}
		return nil
	})
	return b, ok, err
}

func (p *process) Submitted() (uint64, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.submitted[0], p.submitted[1]
}

func (p *process) SaveSubmitted(_ context.Context, h, d uint64) error {
	return p.call("save submitted", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		require.GreaterOrEqual(p.t, h, p.submitted[0])
		require.GreaterOrEqual(p.t, d, p.submitted[1])
		p.submitted = [2]uint64{h, d}
		return nil
	})
}

func (p *process) Meta(key string) (v []byte, ok bool, err error) {
	err = p.call("meta", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		v, ok = p.meta[key]
		return nil
	})
	return v, ok, err
}

func (p *process) PutMeta(key string, v []byte) error {
	return p.call("put meta", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.meta[key] = slices.Clone(v)
		return nil
	})
}

// Inclusion is what the DA worker has read: all that DA has up to its head.
func (p *process) Inclusion(_ context.Context, height uint64) (block.Included, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	inc := p.included[height]
	if !p.unread && height >= p.genesis.InitialHeight && height-p.genesis.InitialHeight < uint64(len(p.blocks)) {
		b := p.blocks[height-p.genesis.InitialHeight]
		if at := p.da.find(testutil.Envelope(p.key, b.Header)); at > 0 && inc.HeaderDA == 0 {
			inc.HeaderDA, inc.HeaderHash = at, b.Header.Digest()
		}
		if at := p.da.find(testutil.DataBlob(p.key, b.Data)); at > 0 && inc.DataDA == 0 {
			inc.DataDA, inc.Commitment = at, b.Data.Commitment()
		}
	}
	if inc.HeaderDA == 0 && inc.DataDA == 0 {
		return inc, header.ErrNotFound
	}
	return inc, nil
}

func (p *process) DA() block.DAPositions { return block.DAPositions{} }

func (p *process) Final() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.final
}
