package exchange

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
)

// Why an item that is not bad cannot be taken now.
var (
	errUnproven = errors.New("proposer of this height is not known yet")
	errNoHeader = errors.New("its header is not known")
	errFar      = errors.New("too far ahead")
	errFull     = errors.New("no room for more answers")
	errRefuted  = errors.New("execution here refutes it")
)

// span is a run of heights that is fetched, or made from headers, as one.
type span struct {
	from, to uint64                // [from, to)
	heads    []*block.SignedHeader // data only: the headers of the heights
	synth    bool                  // made from heads, not fetched
	first    bool                  // it comes next: there is always room for it
	got      *atomic.Int64         // counts the bytes of the answer as they come; may be nil
}

// rules is where headers and data differ.
type rules[H Item[H]] interface {
	// decode reads a body as it came from the wire.
	decode(b []byte) (H, error)
	// weight returns what a body takes in memory once it is decoded.
	weight(b []byte) int
	// same reports whether two items are interchangeable on the wire.
	same(a, b H) bool
	// vet checks what can be checked of a gossiped item before it may wait.
	vet(item H) error
	// ready reports whether await need not wait.
	ready(item H) bool
	// await returns what check needs to judge a gossiped item that was vetted,
	// waiting for it if it must.
	await(ctx context.Context, item H) ([]*block.SignedHeader, error)
	// check judges items by themselves, all but their links. heads are the
	// headers of the same heights, for data. It returns how many, from the front,
	// are good, and what is wrong with the next.
	check(items []H, heads []*block.SignedHeader) (int, error)
	// link checks that next follows prev; prev is zero before the first item.
	link(prev, next H) error
	// mend returns item linked to prev, when the link is not part of what proves
	// it.
	mend(prev, item H, heads []*block.SignedHeader) (H, bool)
	// plan cuts at most a few hundred of the heights [from, to) into spans, each at
	// most maxItems wide.
	plan(ctx context.Context, from, to uint64) ([]span, error)
	// synth makes the items of a span that is not fetched. prev is zero before
	// the first item.
	synth(prev H, heads []*block.SignedHeader) []H
	// indexed returns the height of an item that peers may know by another hash
	// than its own.
	indexed(ctx context.Context, hash []byte) (height uint64, ok bool)
	// hint returns the DA hint of an item, 0 for none.
	hint(item H) uint64
	// hinted returns the item with this DA hint and no other.
	hinted(item H, hint uint64) H
	// stop says that an item of a peer cannot be judged now: the peer is not asked for
	// it, nor for what is above, until that may have changed or the time has come.
	stop(p peer.ID, item H, until time.Time)
	// held returns until when stop keeps a peer from being asked for a height; zero
	// when it does not. It must not block.
	held(p peer.ID, height uint64, now time.Time) time.Time
	// stopped returns when what stop was called for may be over; nil and zero when
	// nothing is held back.
	stopped() (<-chan struct{}, time.Time)
	// passed returns, once, what stop was called for below a height.
	passed(next uint64) []wall
	// target returns the height to reach, or false when claims decide it.
	target() (uint64, bool)
}

// innocent reports whether err says nothing bad about who sent the item.
func innocent(err error) bool {
	return errors.Is(err, errUnproven) || errors.Is(err, errFull) || errors.Is(err, errNoHeader) || errors.Is(err, errFar) ||
		errors.Is(err, errRefuted) ||
		errors.Is(err, block.ErrFutureTime) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
