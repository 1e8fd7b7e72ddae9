package daworker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// assembler pairs headers with data, whatever order and DA heights they come
// in, and remembers what is to be reported. It belongs to the Run goroutine.
type assembler struct {
	p          Params
	rules      rules
	pending    *pending
	quarantine *quarantine
	unproven   *pending // of proposers whose standing is not proven
	wanted     *wanted
	strict     uint64              // lowest DA height with an envelope: bare headers above it do not count; 0 for none
	swept      uint64              // header height up to which pending items were compared with the store
	settled    uint64              // data height up to which pending data was let go
	missing    *block.SignedHeader // stored header whose data was not there at the last look

	told  reported
	incs  []block.Inclusion
	known map[block.Inclusion]int // where in incs; the key has neither DA height nor header

	stats Stats
	junk  junk
}

func newAssembler(p Params, r rules) *assembler {
	return &assembler{
		p: p, rules: r, pending: newPending(p.Config.PendingBytes), quarantine: newQuarantine(p.Config.QuarantineBytes),
		unproven: newPending(p.Config.QuarantineBytes),
		wanted:   newWanted(), known: make(map[block.Inclusion]int),
	}
}

// nearWindow is how far above the stored headers what the proposer signed may be to
// hold the floor. It posts in order, so that what is further up is a mistake or a
// trap, and is of no use before the chain is there.
const nearWindow = 8192

func (a *assembler) near(height uint64) bool {
	return height-min(height, a.p.Headers.Height()) <= nearWindow
}

// nearHeaders counts the heights with pending headers that hold the floor.
func (a *assembler) nearHeaders() int {
	n := 0
	for _, is := range a.pending.headers {
		if is[0].held {
			n++
		}
	}
	return n
}

// add takes over what was found at one DA height, signatures checked. It never
// fails: what cannot be judged now is kept. It reports whether anything there was
// signed by the proposer.
func (a *assembler) add(ctx context.Context, f *found) (own bool) {
	for _, h := range f.headers {
		if !h.bad {
			own = true
			a.addHeader(ctx, h)
		}
	}
	for _, h := range f.unknown {
		if !h.bad {
			a.judgeHeader(ctx, h)
		}
	}
	for _, d := range f.data {
		if !d.bad {
			own = own || d.own
			a.addData(ctx, d)
		}
	}
	a.junk.add(f.junk)
	a.stats.Heights++
	a.stats.Blobs += uint64(f.blobs) //nolint:gosec // a count
	a.stats.Bytes += uint64(f.bytes) //nolint:gosec // a count
	return own
}

// addHeader takes a header of the expected proposer with good signatures. It is
// reported as seen once a header of its height is stored: until then the proposer
// may turn out to be replaced, and what it signed to count for nothing.
func (a *assembler) addHeader(ctx context.Context, i *headerItem) {
	switch {
	case len(i.envelope) > 0 && (a.strict == 0 || i.da < a.strict):
		a.strict = i.da
	case len(i.envelope) == 0 && a.strict != 0 && i.da > a.strict:
		a.junk[junkEnvelope]++
		return
	}
	a.stats.Headers++
	h := i.header
	stored, err := a.storedHeader(ctx, h.Height())
	switch {
	case err != nil: // not known now; the next sweep compares
		a.pending.addHeader(i, a.near(h.Height()))
		a.swept = min(a.swept, h.Height()-1)
	case stored == nil && h.Height() > a.p.Headers.Height():
		a.pending.addHeader(i, a.near(h.Height()))
		a.swept = min(a.swept, h.Height()-1) // the store was rolled back
	case stored != nil && stored.Digest() != h.Digest():
		a.contest(i)
		a.pending.addHeader(i, false)
	default:
		a.include(h.Height(), block.KindHeader, h.Digest(), i.da)
	}
	a.pairHeader(ctx, i)
}

// contest tells of a header that differs from the stored one. It is reported in
// full, so that the Sink can keep the proof and decide, and stays at hand for as
// long as there is room: should the stores be rolled back below it, it is
// appended.
func (a *assembler) contest(i *headerItem) {
	a.stats.Conflicts++
	at := a.include(i.header.Height(), block.KindHeader, i.header.Digest(), i.da)
	a.incs[at].Header = i.header
	a.p.Log.Warn("header on da differs from the stored one",
		zap.Uint64("height", i.header.Height()), zap.Uint64("da_height", i.da), zap.String("hash", i.header.Digest().Short()))
}

// pairHeader looks for the data a header commits to among what came earlier.
func (a *assembler) pairHeader(ctx context.Context, i *headerItem) {
	if a.p.HeadersOnly || i.header.IsEmpty() {
		return
	}
	height, c := i.header.Height(), block.Hash(i.header.Header.DataHash)
	d := a.pending.match(c, height)
	if d != nil && d.hinted { // the scan has yet to read it
		a.wanted.add(height, c, i.da)
		return
	}
	if d == nil {
		d = a.takeData(c, height)
	}
	switch {
	case d == nil:
		a.wanted.add(height, c, i.da)
	case d.height == height && d.held: // the sweep reports it
		a.wanted.remove(height)
	default:
		a.accept(ctx, d, height)
	}
}

// addData takes data: the proposer's with a good signature, others' unchecked.
// It counts for every height whose header commits to it. The proposer's is also
// kept for the height it names as long as that header is not known.
func (a *assembler) addData(ctx context.Context, i *dataItem) {
	c := i.data.Commitment()
	heights := a.wanted.heights(c)
	named, known := a.namedHeader(ctx, i)
	if named && !slices.Contains(heights, i.height) {
		heights = append(heights, i.height)
	}
	if (len(heights) > 0 || i.own) && !i.verify() {
		a.junk[junkSignature]++
		return
	}
	for _, height := range heights {
		a.accept(ctx, i, height)
	}
	switch {
	case i.own && !known:
		a.pending.addData(i, a.near(i.height))
	case i.maybe && len(heights) == 0 && a.judgeData(ctx, i):
		return
	case len(heights) == 0 && !a.quarantine.addData(i):
		a.junk[junkSignature]++
		return
	}
	if i.own || len(heights) > 0 {
		a.stats.Data++
	}
}

// accept takes data for a height whose header commits to it. It holds the
// cursor unless only a contested header does.
func (a *assembler) accept(ctx context.Context, i *dataItem, height uint64) {
	own := &dataItem{data: i.data, da: i.da, height: height, own: i.own}
	stored, err := a.storedHeader(ctx, height)
	contested := err == nil && stored != nil && !commits(stored, i.data.Commitment())
	if err == nil && stored != nil && !contested {
		a.report(own, height)
	}
	a.wanted.remove(height)
	if contested || height > min(a.p.Data.Height(), a.p.Headers.Height()) {
		a.pending.addData(own, !contested && a.near(height))
		a.settled = min(a.settled, height-1) // the store was rolled back
	}
}

// report says that the data of a height was seen.
func (a *assembler) report(i *dataItem, height uint64) {
	if i.hinted {
		return
	}
	a.include(height, block.KindData, i.data.Commitment(), i.da)
	a.wanted.remove(height)
}

// namedHeader looks at the header of the height the metadata names: whether one
// commits to the data, and whether one is known that settles the question.
func (a *assembler) namedHeader(ctx context.Context, i *dataItem) (commit, known bool) {
	c := i.data.Commitment()
	for _, h := range a.pending.headers[i.height] {
		if commits(h.header, c) {
			return true, true
		}
	}
	h, err := a.storedHeader(ctx, i.height)
	switch {
	case err != nil: // not known now; the next sweep settles it
		a.swept = min(a.swept, i.height-1)
		return false, false
	case h == nil:
		return false, i.height <= a.p.Headers.Height()
	}
	return commits(h, c), true
}

func commits(h *block.SignedHeader, c block.Hash) bool {
	return string(h.Header.DataHash) == string(c[:])
}

// include notes what to report and returns where in a.incs it stands.
func (a *assembler) include(height uint64, kind block.Kind, hash block.Hash, daHeight uint64) int {
	key := block.Inclusion{Height: height, Kind: kind, Hash: hash}
	if at, ok := a.known[key]; ok {
		return at
	}
	at := len(a.incs)
	a.known[key] = at
	key.DAHeight = daHeight
	a.incs = append(a.incs, key)
	return at
}

// handedOver forgets what was reported.
func (a *assembler) handedOver() {
	a.incs = nil
	clear(a.known)
}

// storedHeader returns the header at a height, nil when the store has none.
func (a *assembler) storedHeader(ctx context.Context, height uint64) (*block.SignedHeader, error) {
	if height > a.p.Headers.Height() {
		return nil, nil //nolint:nilnil // absent is no error here
	}
	hs, err := a.p.Headers.GetRange(ctx, height, height+1)
	switch {
	case errors.Is(err, header.ErrNotFound):
		return nil, nil //nolint:nilnil // pruned or rolled back meanwhile
	case err != nil:
		return nil, fmt.Errorf("read header %d: %w", height, err)
	case len(hs) == 0:
		return nil, nil //nolint:nilnil // as above
	}
	return hs[0], nil
}

// sweep compares pending items with the headers the store took meanwhile, from
// here or from P2P: what is stored is done, what differs is contested, data
// whose header is now known is reported.
func (a *assembler) sweep(ctx context.Context) error {
	to := a.p.Headers.Height()
	a.swept = min(a.swept, to) // the store was rolled back
	held := slices.Concat(heldIn(a.swept, to, a.pending.headers), heldIn(a.swept, to, a.pending.claimed))
	slices.Sort(held)
	for _, height := range slices.Compact(held) {
		stored, err := a.storedHeader(ctx, height)
		if err != nil {
			return err
		}
		a.sweepHeaders(height, stored)
		a.sweepData(height, stored)
	}
	a.swept = to
	return nil
}

// sweepHeaders settles the pending headers of a height that is stored, or that
// is below what the store keeps (nil).
func (a *assembler) sweepHeaders(height uint64, stored *block.SignedHeader) {
	for _, i := range slices.Clone(a.pending.headers[height]) {
		switch {
		case stored == nil || i.header.Digest() == stored.Digest():
			a.pending.removeHeader(i)
			a.include(height, block.KindHeader, i.header.Digest(), i.da)
		case a.p.Proposers.Judge(height, i.header.Header.ProposerAddress) == block.Unexpected:
			a.pending.removeHeader(i) // its proposer was replaced before
			a.junk[junkProposer]++
		case i.held:
			a.pending.releaseHeader(i)
			a.contest(i)
		}
	}
}

// sweepData settles the data kept under the height of a stored header.
func (a *assembler) sweepData(height uint64, stored *block.SignedHeader) {
	for _, i := range slices.Clone(a.pending.claimed[height]) {
		switch {
		case stored != nil && commits(stored, i.data.Commitment()):
			a.report(i, height)
			if height <= a.p.Data.Height() {
				a.pending.removeData(i)
			}
		case a.claimedByPending(i):
			a.pending.releaseData(i)
		default:
			a.pending.removeData(i)
			if !i.hinted {
				_ = a.quarantine.addData(i) // its signature is known to be good
			}
		}
	}
}

// claimedByPending reports whether a contested header commits to the data.
func (a *assembler) claimedByPending(i *dataItem) bool {
	for _, h := range a.pending.headers[i.height] {
		if commits(h.header, i.data.Commitment()) {
			return true
		}
	}
	return false
}
