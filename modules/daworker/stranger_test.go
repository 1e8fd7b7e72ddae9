package daworker

import (
	"crypto/ed25519"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

// executing judges as the pipeline does while everything stored up to a height is
// executed and the proposer stays. Where light is set it is a node that executes
// nothing and is never told.
type executing struct {
	e     *env
	upTo  func() uint64
	light bool
}

func (j executing) Judge(height uint64, address []byte) block.Standing {
	switch {
	case string(address) == string(j.e.chain.Genesis.ProposerAddress):
		return block.Expected
	case !j.light && height <= j.upTo()+1:
		return block.Unexpected
	}
	return block.Unproven
}

func (j executing) Changed() <-chan struct{} { return nil }

// strangersHeader returns a header that a stranger signs, like another.
func strangersHeader(like *block.SignedHeader, height uint64) da.Blob {
	key := testutil.Key("stranger")
	h := like.Header
	h.Height, h.ProposerAddress = height, block.NewSigner(key.Public().(ed25519.PublicKey)).Address
	return blob(headerNS(), testutil.Envelope(key, testutil.Sign(key, h)))
}

// What a stranger, or a proposer that lies about its height, posts holds neither the
// floor nor the scan, on nodes that execute and on those that do not, whatever height
// it names.
func TestStrangersHoldNothing(t *testing.T) {
	for name, c := range map[string]struct {
		height uint64
		own    bool
	}{
		"stranger, near":              {height: 20},
		"stranger, next":              {height: 2},
		"stranger, within reach":      {height: 8000},
		"stranger, far":               {height: 1 << 60},
		"stranger, the last there is": {height: 1<<64 - 1},
		"proposer, far":               {height: 1 << 60, own: true},
	} {
		for _, light := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", light"}[light], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { strangersHoldNothing(t, c.height, c.own, light) })
			})
		}
	}
}

func strangersHoldNothing(t *testing.T, height uint64, own, light bool) {
	t.Helper()
	e := newEnv()
	e.params.Proposers = executing{e, e.data.Height, light}
	e.params.Marks = e.marks()
	if light {
		e.params.HeadersOnly, e.params.Data = true, nil
	}
	bs := e.chain.Blocks(300, 1)
	theirs := strangersHeader(bs[0].Header, height)
	if own {
		h := bs[0].Header.Header
		h.Height = height
		theirs = blob(headerNS(), testutil.Envelope(e.chain.Key, testutil.Sign(e.chain.Key, h)))
	}
	e.da.put(1, e.header(bs[0]), e.body(bs[0]), theirs)
	for i, b := range bs[1:] {
		e.da.put(uint64(i+2), e.header(b), e.body(b))
	}
	for range 3 { // also after restarts
		w, stop := e.run(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		s := w.Status()
		require.Equal(t, uint64(300), e.headers.Height())
		require.Equal(t, uint64(301), s.Scanned)
		require.Equal(t, uint64(301), s.Floor)
		require.Empty(t, s.WaitingFor)
		require.Zero(t, s.Pending.Headers)
		if height <= 300 {
			require.Zero(t, s.Pending.Quarantined, "it is refuted")
		}
		require.NoError(t, stop())
		require.Equal(t, block.DAPositions{Floor: 301, Scanned: 301}, e.sink.positions())
	}
	if n := len(e.da.reads()); n > 350 {
		t.Fatalf("%d DA heights were read for 300", n)
	}
}

// A header of the next proposer that links to the newest stored block holds the floor
// until that block is executed: a node that dies before finds it again. The scan goes
// on, and what comes of it does not depend on the restart.
func TestRotationAcrossARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(5, 1)
		second := testutil.Key("second")
		h := bs[4].Header.Header
		h.ProposerAddress = block.NewSigner(second.Public().(ed25519.PublicKey)).Address
		next := testutil.Sign(second, h)
		for i, b := range bs[:4] {
			e.da.put(uint64(i+1), e.header(b), e.body(b))
		}
		e.da.put(2, strangersHeader(bs[0].Header, 5)) // it links to nothing
		e.da.put(5, blob(dataNS(), testutil.DataBlob(second, bs[4].Data)))
		e.da.put(6, blob(headerNS(), testutil.Envelope(second, next)))
		e.da.put(60)
		var executed bool
		e.params.Proposers = proposersOf(func(height uint64, address []byte) block.Standing {
			switch first := string(address) == string(e.chain.Genesis.ProposerAddress); {
			case height < 5 && first, height >= 5 && executed && !first:
				return block.Expected
			case height >= 5 && !executed:
				return block.Unproven
			}
			return block.Unexpected
		})
		w, stop := e.run(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, uint64(61), w.Status().Scanned)
		require.NoError(t, stop())
		require.Equal(t, block.DAPositions{Floor: 5, Scanned: 61}, e.sink.positions())
		executed = true
		w, stop = e.run(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, next.Digest(), e.headers.at(5).Digest())
		require.Equal(t, uint64(5), e.data.Height())
		require.Equal(t, uint64(61), w.Status().Floor)
		require.NoError(t, stop())
	})
}

type proposersOf func(height uint64, address []byte) block.Standing

func (p proposersOf) Judge(height uint64, address []byte) block.Standing { return p(height, address) }
func (p proposersOf) Changed() <-chan struct{}                           { return nil }

// slowState names the proposers above what is applied late, and moves all the time
// meanwhile, or not at all.
type slowState struct {
	first   []byte
	until   time.Time
	mu      sync.Mutex
	changed chan struct{}
}

func (s *slowState) Judge(_ uint64, address []byte) block.Standing {
	if string(address) == string(s.first) || !time.Now().Before(s.until) {
		return block.Expected
	}
	return block.Unproven
}

func (s *slowState) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *slowState) move() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// While blocks are executed up to a rotation the worker waits, and is idle; when they
// are not, it reads on.
func TestWaitingForAProof(t *testing.T) {
	for _, moves := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv()
			s := &slowState{first: e.chain.Genesis.ProposerAddress, until: time.Now().Add(5 * time.Minute), changed: make(chan struct{})}
			e.params.Proposers = s
			bs := e.chain.Blocks(5, 1)
			second := testutil.Key("second")
			h := bs[4].Header.Header
			h.ProposerAddress = block.NewSigner(second.Public().(ed25519.PublicKey)).Address
			for i, b := range bs[:4] {
				e.da.put(uint64(i+1), e.header(b), e.body(b))
			}
			e.da.put(5, blob(headerNS(), testutil.Envelope(second, testutil.Sign(second, h))))
			w, stop := e.run(t)
			e.da.put(40)
			for range 290 {
				time.Sleep(time.Second)
				synctest.Wait()
				require.Less(t, w.Beat().For(time.Now()), 2*time.Second, "it is idle")
				if moves {
					s.move()
				}
			}
			require.Equal(t, uint64(4), e.headers.Height())
			require.Equal(t, uint64(5), w.Status().Floor, "a restart finds it")
			if !moves {
				require.Equal(t, uint64(41), w.Status().Cursor, "reading goes on")
			}
			time.Sleep(time.Minute)
			s.move()
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, uint64(5), e.headers.Height())
			require.NoError(t, stop())
		})
	}
}

// A header that execution has refuted is not taken from DA while the process runs, but
// reported as what DA holds at its height. It keeps the floor, so the next process
// finds it and, if its executor accepts it, goes on.
func TestRefutedHeaderIsNotTakenFromDA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(6, 1)
		wrong := bs[3].Header.Digest()
		e.postEach(bs)
		e.params.Refuted = func(h block.Hash) bool { return h == wrong }
		for range 2 {
			_, stop := e.run(t)
			time.Sleep(time.Hour)
			synctest.Wait()
			require.Equal(t, uint64(3), e.headers.Height())
			require.NoError(t, stop())
			require.LessOrEqual(t, e.sink.positions().Floor, uint64(4))
			e.sink.mu.Lock()
			require.Contains(t, e.sink.seen, block.Inclusion{Height: 4, Kind: block.KindHeader, Hash: wrong})
			e.sink.mu.Unlock()
		}
		e.params.Refuted = func(block.Hash) bool { return false }
		_, stop := e.run(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		e.requireAll(t, bs)
		require.NoError(t, stop())
	})
}
