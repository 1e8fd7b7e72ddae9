package daworker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

func TestP2PIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(20, 1)
		require.NoError(t, e.headers.put(testutil.Headers(bs)...))
		require.NoError(t, e.data.put(testutil.DataOf(bs)...))
		appends := e.headers.writes() + e.data.writes()
		for i, b := range bs {
			e.da.put(uint64(i/3+1), e.body(b))
			e.da.put(uint64(i/2+1), e.header(b))
		}
		w, stop := e.run(t)
		e.requireAll(t, bs)
		require.Equal(t, appends, e.headers.writes()+e.data.writes())
		require.Equal(t, w.Status().Cursor, e.sink.at())
		require.NoError(t, stop())
	})
}

// Data read from DA waits in memory until its header comes over P2P, also while
// DA is away.
func TestHeaderComesOverP2P(t *testing.T) {
	for _, outage := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv()
			bs := e.chain.Blocks(5, 1)
			for i, b := range bs {
				e.da.put(uint64(i+1), e.body(b))
			}
			w, stop := e.run(t)
			require.LessOrEqual(t, e.sink.at(), uint64(1))
			if outage {
				e.da.set(func() {
					e.da.head, e.da.fail = 9, func(h uint64) error {
						if h > 0 {
							return da.ErrUnavailable
						}
						return nil
					}
				})
				time.Sleep(10 * time.Second)
			}
			require.NoError(t, e.headers.put(testutil.Headers(bs)...))
			w.Wake()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.Equal(t, uint64(5), e.data.Height())
			for _, b := range bs {
				require.NotZero(t, e.sink.where(b.Height(), block.KindData, b.Data.Commitment()))
			}
			require.Equal(t, uint64(6), e.sink.at())
			require.NoError(t, stop())
		})
	}
}

// P2P and DA tell different stories: DA's is reported, nothing stored is
// replaced, and after a rollback DA's is what is appended.
func TestT1_ConflictIsReportedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		common := e.chain.Blocks(2, 1)
		fork := e.chain.Fork()
		theirs := []block.Block{fork.Next([]byte("p2p")), fork.Next([]byte("p2p too"))}
		ours := e.chain.Blocks(3, 1)
		require.NoError(t, e.headers.put(testutil.Headers(append(slices.Clone(common), theirs...))...))
		require.NoError(t, e.data.put(testutil.DataOf(append(slices.Clone(common), theirs...))...))
		all := append(slices.Clone(common), ours...)
		for i, b := range all {
			e.da.put(uint64(i+1), e.header(b), e.body(b))
		}
		w, stop := e.run(t)
		require.Equal(t, theirs[1].Header.Digest(), e.headers.at(4).Digest())
		require.NotZero(t, e.sink.where(3, block.KindHeader, ours[0].Header.Digest()))
		require.NotZero(t, w.Status().Stats.Conflicts)
		require.Contains(t, w.Status().WaitingFor, "does not follow")
		e.headers.truncate(2)
		e.data.truncate(2)
		w.Wake()
		synctest.Wait()
		e.requireAll(t, all)
		w.Rewind(1)
		synctest.Wait()
		e.requireAll(t, all)
		require.Equal(t, uint64(6), e.sink.at())
		require.NoError(t, stop())
	})
}

// refereed is a Sink that rolls the stores back once, as the pipeline does, and
// says where to read again.
type refereed struct {
	*fakeSink
	e    *env
	to   uint64
	from uint64
	got  []*block.SignedHeader
}

type rolledBackError struct{ from uint64 }

func (r rolledBackError) Error() string    { return "rolled back" }
func (r rolledBackError) RewindTo() uint64 { return r.from }

func (s *refereed) Include(ctx context.Context, incs []block.Inclusion, read block.DAPositions) error {
	for _, i := range incs {
		if i.Header == nil {
			continue
		}
		s.got = append(s.got, i.Header)
		if len(s.got) == 1 {
			s.e.headers.truncate(s.to)
			s.e.data.truncate(s.to)
			return errors.Join(s.fakeSink.Include(ctx, incs, block.DAPositions{Floor: s.from, Scanned: s.from}), rolledBackError{s.from})
		}
	}
	return s.fakeSink.Include(ctx, incs, read)
}

// T1: the Sink gets the contested header itself, and when it rolls back the worker
// reads again from where it says.
func TestT1_RollbackByTheSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		common := e.chain.Blocks(2, 1)
		fork := e.chain.Fork()
		theirs := append(slices.Clone(common), fork.Next([]byte("p2p")), fork.Next([]byte("p2p too")))
		all := append(slices.Clone(common), e.chain.Blocks(3, 1)...)
		require.NoError(t, e.headers.put(testutil.Headers(theirs)...))
		require.NoError(t, e.data.put(testutil.DataOf(theirs)...))
		for i, b := range all {
			e.da.put(uint64(i+1), e.header(b), e.body(b))
		}
		sink := &refereed{fakeSink: e.sink, e: e, to: 2, from: 2}
		e.params.Sink = sink
		w, stop := e.run(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		e.requireAll(t, all)
		require.Equal(t, all[2].Header.Digest(), sink.got[0].Digest())
		require.Len(t, sink.got, 1, "nothing is contested any more")
		require.NotZero(t, w.Status().Stats.WalkBacks)
		require.Empty(t, w.Status().LastErr, "a rollback is no failure")
		require.NoError(t, stop())
	})
}

// Our clock is late: an honest header looks as if from the future. It waits, it
// is not junk.
func TestLateClockLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		start := time.Now()
		e.params.Now = func() time.Time { return e.chain.Genesis.StartTime.Add(time.Since(start) - time.Hour) }
		bs := e.chain.Blocks(3, 1)
		e.da.put(1, e.header(bs[0]), e.body(bs[0]), e.header(bs[1]), e.body(bs[1]), e.header(bs[2]), e.body(bs[2]))
		w, stop := e.run(t)
		require.Zero(t, e.headers.Height())
		require.LessOrEqual(t, e.sink.at(), uint64(1))
		require.Contains(t, w.Status().WaitingFor, "the time of header 1")
		e.ends(t, time.Hour, bs, stop)
	})
}

// The proposer of later heights becomes known only as blocks are applied.
func TestUnknownProposerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Proposers = proposers(func(height uint64) []byte {
			if height > e.data.Height()+1 {
				return nil
			}
			return e.chain.Genesis.ProposerAddress
		})
		bs := e.chain.Blocks(6, 1)
		e.postEach(bs)
		w, stop := e.run(t)
		for range bs {
			w.Wake()
			synctest.Wait()
		}
		e.requireAll(t, bs)
		require.NoError(t, stop())
	})
}

func TestBareHeadersUntilAnEnvelopeWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := []block.Block{e.chain.Next(), e.chain.Next(), e.chain.Next()}
		bare := func(b block.Block) da.Blob { return blob(headerNS(), b.Header.Encode()) }
		forged := block.HeaderEnvelope{Header: bs[0].Header, Signature: make([]byte, 64)}.Encode()
		e.da.put(1, blob(headerNS(), forged))
		e.da.put(2, bare(bs[0]))
		e.da.put(3, e.header(bs[1]))
		e.da.put(4, bare(bs[2]))
		w, stop := e.run(t)
		require.Equal(t, uint64(2), e.headers.Height())
		require.Equal(t, uint64(2), e.sink.where(1, block.KindHeader, bs[0].Header.Digest()))
		require.Equal(t, uint64(1), w.Status().Stats.JunkByReason["envelope"])
		require.Equal(t, uint64(1), w.Status().Stats.JunkByReason["signature"])
		require.NoError(t, stop())
	})
}

// What was posted before there were envelopes counts whenever it is read again.
func TestBareHeadersAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := []block.Block{e.chain.Next(), e.chain.Next(), e.chain.Next()}
		e.da.put(1, blob(headerNS(), bs[0].Header.Encode()))
		e.da.put(2, blob(headerNS(), bs[1].Header.Encode()))
		e.da.put(3, e.header(bs[2]))
		w, stop := e.run(t)
		e.requireAll(t, bs)
		e.headers.truncate(0)
		e.data.truncate(0)
		w.Rewind(1)
		synctest.Wait()
		e.requireAll(t, bs)
		require.Zero(t, w.Status().Stats.JunkByReason["envelope"])
		require.NoError(t, stop())
	})
}

// The proposer posts two headers for one height: the first in DA order that
// links stands, both are reported, nothing holds the cursor.
func TestT1_TwoHeadersOnDA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(2, 1)
		fork := e.chain.Fork()
		second := fork.Next([]byte("second"))
		bs = append(bs, e.chain.Next([]byte("first")), e.chain.Next())
		loose := second.Header.Header
		loose.LastHeaderHash = make([]byte, 32)
		unlinked := testutil.Sign(e.chain.Key, loose)
		e.da.put(1, e.header(bs[0]), e.body(bs[0]), blob(headerNS(), testutil.Envelope(e.chain.Key, unlinked)))
		e.da.put(2, e.header(bs[2]), e.header(second), e.body(second), e.body(bs[2]))
		e.da.put(3, e.header(bs[3]), e.header(bs[1]), e.body(bs[1]))
		_, stop := e.run(t)
		e.requireAll(t, bs)
		for _, h := range []*block.SignedHeader{unlinked, second.Header} {
			require.NotZero(t, e.sink.where(3, block.KindHeader, h.Digest()))
		}
		require.Equal(t, uint64(4), e.sink.at())
		require.NoError(t, stop())
	})
}

// P2P stored headers that were read here before their proposer was proven.
func TestUnprovenUntilStoredByP2P(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Proposers = proposers(func(height uint64) []byte {
			if height > e.headers.Height() {
				return nil
			}
			return e.chain.Genesis.ProposerAddress
		})
		bs := e.chain.Blocks(6, 1)
		require.NoError(t, e.headers.put(testutil.Headers(bs[:3])...))
		e.postEach(bs)
		w, stop := e.run(t)
		require.NoError(t, e.headers.put(testutil.Headers(bs)...))
		w.Wake()
		synctest.Wait()
		e.requireAll(t, bs)
		require.NoError(t, stop())
	})
}
