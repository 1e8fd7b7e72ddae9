package da

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry/problems"
)

// kept is a Keeper in memory.
type kept struct {
	mu     sync.Mutex
	record []byte
	moved  int
	floor  uint64
	fail   error
}

func (k *kept) DAIdentity() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.record), k.fail
}

func (k *kept) KeepDAIdentity(record []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.record = record
	return k.fail
}

func (k *kept) MoveDA(record []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.record, k.floor = record, 0
	k.moved++
	return k.fail
}

func (k *kept) DAFloor() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.floor
}

// keepingPool is a pool of scripted endpoints that keeps what it follows.
func keepingPool(t *testing.T, k *kept, identity string, ends ...*scripted) *Pool {
	t.Helper()
	p := newPool(zap.NewNop())
	p.keeper, p.start, p.board = k, 5, problems.New()
	for i, e := range ends {
		p.add(strconv.Itoa(i), e)
	}
	require.NoError(t, p.Load(identity))
	return p
}

// daAt is an endpoint of a chain at a height, with a block every 6 s.
func daAt(chain, epoch string, height uint64) *scripted {
	return &scripted{head: Head{Height: height, Chain: chain, Time: time.Now()}, epoch: epoch}
}

// everything makes each kind of call and returns the errors.
func everything(ctx context.Context, p *Pool) []error {
	_, blobs := p.Blobs(ctx, 7) // before the head is told
	_, head := p.Head(ctx)
	_, header := p.HeaderAt(ctx, 7)
	_, batch := p.BlobsAt(ctx, []uint64{7})
	_, submit := p.Submit(ctx, NamespaceOf("a"), [][]byte{{1}})
	_, watch := p.Watch(ctx)
	return []error{head, header, blobs, batch, submit, watch}
}

// TestAnotherDALayerIsRefused: a home that was synced from one DA layer reads from
// no other and posts to no other, whatever way it is another one, says which is
// which, and goes on by itself when the right one is back.
func TestAnotherDALayerIsRefused(t *testing.T) {
	for name, other := range map[string]func() *scripted{
		"another chain":                func() *scripted { return daAt("other", "", 100) },
		"started over":                 func() *scripted { return daAt("da", "again", 3) },
		"started over, as high":        func() *scripted { return daAt("da", "again", 100) },
		"started over, higher":         func() *scripted { return daAt("da", "again", 5000) },
		"started over, without its id": func() *scripted { return daAt("", "again", 120) },
		"started over, the beginning is gone": func() *scripted {
			s := daAt("da", "again", 3)
			s.tail = 3
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &kept{floor: 60}
				end := daAt("da", "", 100)
				p := keepingPool(t, k, "", end)
				require.NotErrorIs(t, errors.Join(everything(t.Context(), p)...), ErrIdentity)
				was := p.Identity()
				require.Contains(t, was, "da@5:")

				wrong := other()
				wrong.head.Time = time.Now().Add(time.Minute)
				for range 2 { // while it runs, and after a restart
					p = keepingPool(t, k, "", wrong)
					for _, err := range everything(t.Context(), p) {
						require.ErrorIs(t, err, ErrIdentity)
						require.ErrorContains(t, err, was)
						require.True(t, NothingPosted(err))
					}
					list := p.board.List()
					require.Len(t, list, 1)
					require.Equal(t, problems.DAIdentity, list[0].Kind)
					require.True(t, list[0].Unready)
					require.Contains(t, list[0].Reason, was)
					require.Contains(t, list[0].Reason, "--da.identity="+p.all[0].offered)
					require.Equal(t, was, p.Identity())
				}
				p.all[0].client = end
				time.Sleep(2 * foreignRetry)
				require.NotErrorIs(t, errors.Join(everything(t.Context(), p)...), ErrIdentity)
				require.Empty(t, p.board.List())
				require.Zero(t, k.moved)
			})
		})
	}
}

// TestDALayerStartsOverUnderTheNode: the next head is enough, also when it is above
// all headers that are kept.
func TestDALayerStartsOverUnderTheNode(t *testing.T) {
	for _, height := range []uint64{2, 50} {
		synctest.Test(t, func(t *testing.T) { daStartsOver(t, height) })
	}
}

func daStartsOver(t *testing.T, height uint64) {
	t.Helper()
	end := daAt("da", "", 100)
	p := keepingPool(t, &kept{}, "", end)
	_, err := p.Head(t.Context())
	require.NoError(t, err)
	time.Sleep(proofLife / 2)
	end.set(func(c *scripted) { c.epoch, c.head = "again", Head{Height: height, Chain: "da", Time: time.Now()} })
	_, err = p.Head(t.Context())
	require.ErrorIs(t, err, ErrIdentity)
	before := end.count()
	_, err = p.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
	require.ErrorIs(t, err, ErrIdentity)
	require.Equal(t, before, end.count(), "nothing is posted")
}

// A layer that started over and is above the first header that is kept is known by
// its first head as well, told or pushed.
func TestDALayerStartsOverAboveTheBeginning(t *testing.T) {
	for _, pushed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			end := daAt("da", "", 100)
			p := keepingPool(t, &kept{}, "", end)
			_, err := p.Head(t.Context())
			require.NoError(t, err)
			time.Sleep(proofLife / 2)
			end.set(func(c *scripted) { c.epoch, c.head = "again", Head{Height: 30, Chain: "da", Time: time.Now()} })
			if pushed {
				require.True(t, p.heard(p.all[0], 30))
				_, err = p.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
			} else {
				_, err = p.Head(t.Context())
			}
			require.ErrorIs(t, err, ErrIdentity)
		})
	}
}

// TestDAIdentityMovesTheHome: the identity that the error names, set as
// da.identity, is followed from its beginning; nothing moves twice.
func TestDAIdentityMovesTheHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		p := keepingPool(t, k, "", daAt("da", "", 100))
		_, err := p.Head(t.Context())
		require.NoError(t, err)
		same := p.Identity()
		p = keepingPool(t, k, same, daAt("da", "", 100))
		_, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Zero(t, k.moved, "it is the one that is followed")

		p = keepingPool(t, k, same, daAt("da", "again", 100))
		_, err = p.Head(t.Context())
		require.ErrorIs(t, err, ErrIdentity)
		offered := p.all[0].offered
		for range 2 {
			k.floor = 50
			p = keepingPool(t, k, offered, daAt("da", "again", 100))
			require.Equal(t, 1, k.moved)
			_, err = p.Head(t.Context())
			require.NoError(t, err)
			require.Equal(t, offered, p.Identity())
		}
		require.Equal(t, uint64(50), k.floor, "a restart with the same da.identity moves nothing")
		p = keepingPool(t, k, "", daAt("da", "again", 100))
		_, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Error(t, Config{Addresses: []string{"http://x"}, Identity: "da"}.Validate())

		// A home without a record takes da.identity as it is, and nothing else.
		p = keepingPool(t, &kept{}, offered, daAt("da", "", 100))
		_, err = p.Head(t.Context())
		require.ErrorIs(t, err, ErrIdentity)
	})
}

// TestMostEndpointsNameTheDALayer: the quickest does not, nor the first in the
// config; what was kept does, whatever most say.
func TestMostEndpointsNameTheDALayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evil := daAt("da", "evil", 200)
		a, b := daAt("da", "", 100), daAt("da", "", 100)
		a.delay, b.delay = 50*time.Millisecond, 50*time.Millisecond
		k := &kept{}
		p := keepingPool(t, k, "", evil, a, b)
		h, err := p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(100), h.Height)
		list := p.board.List()
		require.Len(t, list, 1)
		require.Equal(t, "0", list[0].Subject)
		require.False(t, list[0].Unready, "the others do")
		require.Equal(t, problems.DAEndpoint, list[0].Kind)
		require.True(t, p.Endpoints()[0].Foreign)

		b.set(func(c *scripted) { c.epoch = "evil" })
		p = keepingPool(t, k, "", evil, a, b)
		h, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(100), h.Height)
		_, err = p.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
		require.NoError(t, err)
	})
	synctest.Test(t, func(t *testing.T) { // and without a keeper by the id alone
		p := newPool(zap.NewNop())
		for i := range 3 {
			c := &scripted{head: Head{Height: 100, Chain: "celestia"}, delay: 50 * time.Millisecond}
			if i == 2 {
				c.head.Chain, c.delay = "evil", 0
			}
			p.add(strconv.Itoa(i), c)
		}
		p.probe(t.Context())
		h, err := p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, "celestia", h.Chain)
	})
}

// TestNewerHeaderIsKept: a DA layer that is given another history from some height
// on is told from the one that was read, and one wrong answer leaves nothing behind.
func TestNewerHeaderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, end := &kept{floor: 60}, daAt("da", "", 100)
		p := keepingPool(t, k, "", end)
		tick := func() {
			time.Sleep(anchorEvery + time.Second)
			end.set(func(c *scripted) { c.head.Height, c.head.Time = c.head.Height+10, c.head.Time.Add(time.Minute) })
			_, err := p.Head(t.Context())
			require.NoError(t, err)
		}
		_, err := p.Head(t.Context())
		require.NoError(t, err)
		require.Len(t, p.record.Anchors, 1)
		tick()
		require.Len(t, p.record.Anchors, 2)
		require.Equal(t, uint64(59), p.record.Anchors[1].Height)
		k.floor = 80
		tick()
		k.fail = errors.New("disk")
		tick()
		require.Equal(t, uint64(59), p.record.Anchors[1].Height, "it could not be kept")
	})
}

// TestPrunedAnchorsAreNoReason: where all that was kept is gone from an endpoint
// the id and the times decide.
func TestPrunedAnchorsAreNoReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		_, err := keepingPool(t, k, "", daAt("da", "", 100)).Head(t.Context())
		require.NoError(t, err)
		late := daAt("da", "", 100_000)
		late.tail = 90_000
		time.Sleep(600_000 * time.Second)
		late.head.Time = time.Now()
		_, err = keepingPool(t, k, "", late).Head(t.Context())
		require.NoError(t, err)
	})
}

// TestIdentityText: what is shown is what is taken.
func TestIdentityText(t *testing.T) {
	for _, r := range []record{
		{Chain: "mocha-4", Anchors: []anchor{{Height: 7, Hash: "0AFF"}}},
		{Chain: "a@b:c", Anchors: []anchor{{Height: 7, Hash: "0AFF"}}},
		{Anchors: []anchor{{Height: 1, Time: time.Unix(5, 6).UTC()}}},
	} {
		got, err := parseIdentity(r.String())
		require.NoError(t, err)
		require.Equal(t, r.Chain, got.Chain)
		require.Equal(t, r.Anchors, got.Anchors)
		raw, err := got.encode()
		require.NoError(t, err)
		again, err := decodeRecord(raw)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, bad := range []string{"", "x", "x@y", "x@1", "x@1:", "x@0:AA", "x@1:tx"} {
		_, err := parseIdentity(bad)
		require.Error(t, err, bad)
	}
	_, err := decodeRecord([]byte(`{}`))
	require.Error(t, err)
	_, err = record{Anchors: []anchor{{Height: 1, Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}}}.encode()
	require.Error(t, err, "a time that no record can hold ends nothing")
}
