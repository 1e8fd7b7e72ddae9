package daworker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/problems"
)

const (
	// finalPolls and finalLeast say for how long the lowest block that is applied and
	// not final may stand before that is a problem.
	finalPolls = 20
	finalLeast = 10 * time.Second
)

// standing measures how long the final height has stood below the applied one.
type standing struct {
	height uint64 // the lowest block that is known and not final; 0 for none
	since  time.Time
	said   problems.Kind
}

// long reports whether a block has stood for longer than blocks need to get on DA;
// for height 0, whether nothing was known for as long.
func (s *standing) long(r *reader, height uint64) bool {
	return s.height == height && time.Since(s.since) >= r.finalWithin()
}

func (r *reader) finalWithin() time.Duration {
	return max(finalPolls*r.p.Config.PollInterval, finalLeast)
}

// lack is the lowest block that is known here, not final, and not wholly seen on DA.
type lack struct {
	height uint64 // 0 for none
	in     block.Included
}

func (r *reader) lacking(ctx context.Context) (lack, error) {
	m := r.p.Marks
	if m == nil {
		return lack{}, nil
	}
	height := max(m.Final()+1, r.p.Genesis.InitialHeight)
	if height > m.Applied() {
		height = r.asm.stalled() // DA alone feeds this node
	}
	if height == 0 {
		return lack{}, nil
	}
	in, err := m.Inclusion(ctx, height)
	if err != nil {
		return lack{}, fmt.Errorf("where block %d was seen on da: %w", height, err)
	}
	return lack{height: height, in: in}, nil
}

// judgeFinality reports when final stands, and when DA holds nothing of this chain.
// It is called after every round, and within one whenever the height that is next fails.
func (r *reader) judgeFinality(ctx context.Context) {
	l, err := r.lacking(ctx)
	if err != nil {
		return // asked again with the next round
	}
	s, now := &r.stands, time.Now()
	switch {
	case s.since.IsZero(), l.height != s.height, r.phase == PhaseCatchUp && r.again.began.IsZero(): // it moves, or what is read may hold it
		s.height, s.since = l.height, now
	}
	kind, reason := r.whyStanding(l)
	if kind != s.said && s.said != "" {
		r.p.Problems.Clear(s.said, "")
		r.p.Log.Info("what should be on da is seen there again", zap.String("was", string(s.said)))
		s.said = ""
	}
	if kind == "" {
		return
	}
	if s.said == "" {
		r.p.Log.Info("something that should be on da is not seen there", zap.String("reason", reason))
	}
	s.said = kind
	r.p.Problems.Report(problems.Problem{Kind: kind, Reason: reason})
}

// judgeClock reports a next header of the future, which is not taken before its time.
func (r *reader) judgeClock() {
	const subject = "headers on DA"
	h := r.asm.early()
	if h == nil {
		r.p.Problems.Clear(problems.Clock, subject)
		return
	}
	r.p.Problems.Report(problems.Early(subject, h.Height(), h.Time().String(), r.p.Now()))
}

// whyStanding says what is wrong, "" when nothing is.
func (r *reader) whyStanding(l lack) (problems.Kind, string) {
	stats := &r.asm.stats
	read := r.phase == PhaseHead && r.next > r.head.Height && r.head.Height > r.first
	switch {
	case !r.stands.long(r, l.height):
		return "", ""
	case l.height == 0:
		if read && r.p.Marks != nil && r.p.Marks.Applied() == 0 && r.p.Marks.Included() == 0 && stats.Headers == 0 {
			return problems.Namespace, r.nothingHere() // nothing came from peers either
		}
		return "", ""
	case read && stats.Headers == 0:
		return problems.Namespace, r.nothingHere()
	case read && l.in.HeaderDA != 0 && l.in.DataDA == 0 && stats.Data == 0 && !r.p.HeadersOnly:
		return problems.Namespace, fmt.Sprintf("read DA from height %d to its head %d: no data of this chain in namespace %s, though block %d, whose "+
			"header was seen at DA %d, has transactions; is namespaces.data that of the chain, and does da_start_height lie before it?",
			r.began, r.head.Height, r.p.DataName, l.height, l.in.HeaderDA)
	}
	return problems.Finality, r.standsBecause(l)
}

// nothingHere says that nothing of the chain was found.
func (r *reader) nothingHere() string {
	names := "namespace " + r.p.HeaderName
	if r.p.DataName != r.p.HeaderName && r.asm.stats.Data == 0 && !r.p.HeadersOnly {
		names = fmt.Sprintf("namespaces %s, %s", r.p.HeaderName, r.p.DataName)
	}
	text := fmt.Sprintf("read DA from height %d to its head %d: nothing of this chain in %s; ", r.began, r.head.Height, names)
	if n := r.asm.junk[junkProposer]; n > 0 {
		return text + fmt.Sprintf("%d headers of another proposer, is the genesis file that of the chain?", n)
	}
	return text + "are namespaces.header and namespaces.data those of the chain, and is da.address a node of its DA layer?"
}

// standsBecause says why no block becomes final.
func (r *reader) standsBecause(l lack) string {
	what := "the header"
	if l.in.HeaderDA != 0 {
		what = "the data"
	}
	text := fmt.Sprintf("final stays at %d for %s: %s of block %d was not found on DA", l.height-1,
		time.Since(r.stands.since).Round(time.Second), what, l.height)
	switch {
	case l.in.HeaderDA != 0 && (l.in.DataDA != 0 || r.p.HeadersOnly):
		text = fmt.Sprintf("final stays at %d for %s: block %d is on DA, and not as it was applied here, or the executor does not take it as final",
			l.height-1, time.Since(r.stands.since).Round(time.Second), l.height)
	case r.p.Marks.Included() > l.height:
		text += fmt.Sprintf(", though later ones to %d were", r.p.Marks.Included())
	}
	if r.lastErr != "" {
		return text + "; DA is not read: " + r.lastErr
	}
	return text + fmt.Sprintf(", read to DA height %d; does the sequencer post, and does a node of da.address hide blobs?", r.scanned-1)
}
