package pipeline

import (
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// Snapshot is what was applied and final at one moment. It never changes; its
// slices must not be written to.
type Snapshot struct {
	State       block.State // after the newest applied block
	AppliedHash block.Hash  // zero before the first block
	AppliedAt   time.Time   // when it was committed here; zero until one was since start
	Source      block.Source
	Final       uint64 // 0 when nothing is final
	FinalHash   block.Hash
	Blocks      uint64        // applied since start
	Txs         uint64        // in them
	Executing   time.Duration // spent in the executor since start
	// By splits Blocks by where they came from.
	By [block.SourceLocal + 1]Share

	since uint64
}

// Share is what one source brought.
type Share struct{ Blocks, Bytes uint64 }

// Applied returns the newest applied height, 0 before the first block.
func (s Snapshot) Applied() uint64 { return applied(s.State) }

func applied(s block.State) uint64 {
	if !s.Started() {
		return 0
	}
	return s.LastHeight
}

// Snapshot returns the newest snapshot.
func (p *Pipeline) Snapshot() Snapshot { return *p.snap.Load() }

// Next returns the only height that may be applied next.
func (p *Pipeline) Next() uint64 { return p.snap.Load().State.NextHeight() }

// Changed returns a channel that is closed at the next change of Snapshot. Take
// the channel first, then read the snapshot: no change is missed.
func (p *Pipeline) Changed() <-chan struct{} {
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	if p.wake == nil {
		p.wake = make(chan struct{})
	}
	return p.wake
}

// next returns the snapshot of what is applied and final now. A zero time keeps
// when the newest block was applied.
func (p *Pipeline) next(src block.Source, at time.Time) *Snapshot {
	s := &Snapshot{
		State: p.state, AppliedAt: at, Source: src, Final: p.final.height, FinalHash: p.final.hash,
		Blocks: p.blocks, Txs: p.txs, Executing: p.executing, By: p.by, since: p.since,
	}
	copy(s.AppliedHash[:], p.state.LastHeaderHash)
	if at.IsZero() {
		s.AppliedAt = p.snap.Load().AppliedAt
	}
	return s
}

// publish makes a snapshot current, then wakes who waits for one.
func (p *Pipeline) publish(s *Snapshot) {
	p.snap.Store(s)
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
}
