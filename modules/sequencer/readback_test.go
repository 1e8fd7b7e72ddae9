package sequencer_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// fates is a script of n submissions with one fate.
func fates(n int, f fate) (script []func() fate) {
	for range n {
		script = append(script, func() fate { return f })
	}
	return script
}

// reasons returns what a process reports about posting.
func (p *process) reasons() string {
	var out []string
	for _, x := range p.problems.List() {
		require.Equal(p.t, problems.Posting, x.Kind)
		out = append(out, x.Subject+": "+x.Reason)
	}
	return strings.Join(out, "\n")
}

// DA answers with a height and does not hold the blobs, whatever height that is:
// nothing counts as posted, and all is posted again, once.
func TestAnswerWithoutBlobsIsNotBelieved(t *testing.T) {
	for name, f := range map[string]fate{
		"the next height": {}, "an old height": {says: 3}, "far above the head": {says: 1 << 62}, "a little above the head": {says: 40},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.grow(9)
				w.da.script = fates(2, f)
				p := w.process()
				s := p.submitter()
				run(t, s.Run)
				after(12 * time.Second)
				h, d := s.Submitted()
				require.Zero(t, h, "an answer is not enough")
				require.Equal(t, uint64(1), d, "the first block is empty")
				after(6 * time.Minute)
				w.settled(s)
				w.checkPosted(1)
				require.Len(t, w.da.submits, 4)
				require.Equal(t, uint64(9), s.Stats().Header.Resent)
				require.Empty(t, p.reasons())
			})
		})
	}
}

// A layer that keeps on answering and never holds anything is named, and things go
// on when it does its work again.
func TestLayerThatLosesEverythingIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(3)
		w.da.script = fates(8, fate{})
		p := w.process()
		s := p.submitter()
		run(t, s.Run)
		after(90 * time.Second)
		require.Contains(t, p.reasons(), "header lost: the DA layer answers that header 1 lies at DA height")
		require.Contains(t, p.reasons(), "da.address")
		after(5 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
		require.Empty(t, p.reasons())
	})
}

// What lies on DA and is read late is not posted again, however late it is.
func TestReadLateIsNotPostedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.unread = true
		p := w.process()
		s := p.submitter()
		run(t, s.Run)
		for range 300 {
			w.grow(1)
			after(time.Second)
		}
		h, _ := s.Submitted()
		require.Zero(t, h, "the DA worker has read nothing")
		require.Equal(t, uint64(300), s.Stats().Header.Lag)
		w.mu.Lock()
		w.unread = false
		w.mu.Unlock()
		after(time.Minute)
		w.settled(s)
		w.checkPosted(1)
	})
}

// The answer came, and the process ended before it was read back: the next process
// finds what landed and sends what did not.
func TestRestartBeforeItIsReadBack(t *testing.T) {
	for name, f := range map[string]fate{"landed": {lands: []uint64{1}}, "lost": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.grow(9)
				w.unread = true
				w.da.script = fates(2, f)
				p := w.process()
				stop := run(t, p.submitter().Run)
				after(10 * time.Second)
				require.NoError(t, stop())
				require.Equal(t, [2]uint64{0, 1}, w.submitted)
				s := w.process().submitter()
				run(t, s.Run)
				after(2 * time.Minute)
				w.checkPosted(1)
				h, _ := s.Submitted()
				require.Zero(t, h)
				w.mu.Lock()
				w.unread = false
				w.mu.Unlock()
				after(time.Minute)
				w.settled(s)
				w.checkPosted(1)
			})
		})
	}
}

// What DA held and lost before it was read back, as in a reorganisation or behind
// another endpoint, is posted again.
func TestTakenAwayAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(9)
		w.unread = true
		s := w.process().submitter()
		run(t, s.Run)
		after(time.Minute)
		w.da.set(func(d *fakeDA) {
			for h := range d.at {
				d.lose(h)
			}
		})
		w.mu.Lock()
		w.unread = false
		w.mu.Unlock()
		after(5 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
	})
}

// liar is a client whose heads are wrong for a while.
type liar struct {
	da.Client

	lies     atomic.Int64 // how many are left
	head     uint64
	readable bool // it answers with nothing for heights that do not exist
}

func (l *liar) Head(ctx context.Context) (da.Head, error) {
	h, err := l.Client.Head(ctx)
	if err == nil && l.lies.Add(-1) >= 0 {
		h.Height = l.head
	}
	return h, err
}

func (l *liar) Blobs(ctx context.Context, height uint64, ns ...da.Namespace) ([]da.Blob, error) {
	blobs, err := l.Client.Blobs(ctx, height, ns...)
	if err != nil && l.readable {
		return nil, nil
	}
	return blobs, err
}

// One wrong head and one failed submission stop nothing, neither in the process
// that heard it nor in the next one, and nothing is posted twice.
func TestWrongHeadDoesNotStopPosting(t *testing.T) {
	lost := fate{err: fmt.Errorf("%w: cut off", da.ErrUnknown)}
	landed := fate{err: lost.err, lands: []uint64{1}}
	for name, f := range map[string]fate{"lost": lost, "landed": landed, "landed late": {err: lost.err, lands: []uint64{3}}, "busy": {err: da.ErrBusy}} {
		for _, head := range []uint64{1, 1 << 62, 60} {
			for _, readable := range []bool{false, true} {
				for _, lies := range []int64{1, 2, 6} {
					for _, restart := range []string{"none", "when it is honest", "while it lies"} {
						t.Run(fmt.Sprintf("%s head %d readable %v lies %d restart %s", name, head, readable, lies, restart), func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) {
								w := newWorld(t)
								w.grow(9)
								w.da.script = fates(2, f)
								p := w.process()
								lied := func(sp *sequencer.SubmitterParams) {
									l := &liar{Client: p, head: head, readable: readable}
									l.lies.Store(lies)
									sp.Client = l
								}
								s := p.submitter(lied)
								stop := run(t, s.Run)
								if restart != "none" {
									after(10 * time.Second)
									require.NoError(t, stop())
									p = w.process()
									s = p.submitter()
									if restart == "while it lies" {
										s = p.submitter(lied)
									}
									run(t, s.Run)
								}
								after(10 * time.Minute)
								w.settled(s)
								w.checkPosted(1)
							})
						})
					}
				}
			}
		}
	}
}

// A DA layer that starts at 1 again takes what the old one took, or was about to.
func TestDALayerThatStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(9)
		after(time.Hour)
		w.da.script = fates(2, fate{err: da.ErrUnknown})
		p := w.process()
		s := p.submitter()
		stop := run(t, s.Run)
		after(10 * time.Second)
		require.Contains(t, s.Stats().Header.Held, "the outcome of a submission, which may land on DA up to height")
		require.NoError(t, stop())
		w.da = newFakeDA(w.cfg.Submit.DABlockTime)
		s = w.process().submitter()
		run(t, s.Run)
		after(5 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
	})
}

// Where final blocks lie is not recorded. When they are posted to another DA layer,
// to which the chain has moved, the submitter looks for them itself.
func TestFinalBlocksOnAnotherDALayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(9)
		w.unread, w.final = true, 7
		s := w.process().submitter()
		run(t, s.Run)
		after(2 * time.Minute)
		h, d := s.Submitted()
		require.Equal(t, [2]uint64{7, 7}, [2]uint64{h, d}, "the others have to be read back")
		w.checkPosted(1)
	})
}

// A second submission turns out to be lost while what the first one lost is still to
// be sent again: both are sent again.
func TestLostWhileSendingLostItemsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.da.script = append(fates(8, fate{}), fates(12, fate{err: da.ErrUnavailable})...)
		p := w.process()
		s := p.submitter()
		run(t, s.Run)
		for range 4 {
			w.grow(2)
			after(4 * time.Second)
		}
		after(6 * time.Minute)
		w.checkPosted(1)
		w.settled(s)
	})
}

// patient is a DA node that tells a wrong head for a while and lets a read of the
// height above its true head wait for the block, as Celestia does.
type patient struct {
	da.Client
	d     *fakeDA
	until time.Time
	head  uint64
}

// Head implements da.Client.
func (c *patient) Head(ctx context.Context) (da.Head, error) {
	h, err := c.Client.Head(ctx)
	if time.Now().Before(c.until) {
		h.Height = c.head
	}
	return h, err
}

// Blobs implements da.Client.
func (c *patient) Blobs(ctx context.Context, height uint64, namespaces ...da.Namespace) ([]da.Blob, error) {
	switch now := c.d.now(); {
	case height == now+1:
		select {
		case <-time.After(c.d.period):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case height > now && time.Now().Before(c.until):
		return nil, nil
	}
	return c.Client.Blobs(ctx, height, namespaces...)
}

// Looking for a lost submission up to a wrong head does not go on for as long as DA
// takes to get there.
func TestLookUpToAWrongHeadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(3)
		w.da.script = fates(2, fate{err: da.ErrUnknown})
		p := w.process()
		stop := run(t, p.submitter().Run)
		after(time.Second)
		require.NoError(t, stop())
		p = w.process()
		s := p.submitter(func(sp *sequencer.SubmitterParams) {
			sp.Client = &patient{Client: p, d: w.da, until: time.Now().Add(12 * time.Second), head: 400}
		})
		run(t, s.Run)
		after(6 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
	})
}
