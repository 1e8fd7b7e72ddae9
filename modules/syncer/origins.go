package syncer

import (
	"slices"

	"github.com/tandem-node/tandem/modules/block"
)

// maxRuns bounds how often the sources may alternate within what is not yet
// applied before the oldest change is forgotten.
const maxRuns = 128

// origins remembers which source announced which heights first, as far as
// events told: a hint for metrics and logs, on which nothing depends.
type origins struct {
	runs []run // ascending
}

// run says that the heights above the previous run, up to this one's end, came
// from one source.
type run struct {
	end uint64
	src block.Source
}

// note records that src announced everything up to height that was not yet
// announced.
func (o *origins) note(height uint64, src block.Source) {
	n := len(o.runs)
	switch {
	case n > 0 && height <= o.runs[n-1].end:
		return
	case n > 0 && o.runs[n-1].src == src:
		o.runs[n-1].end = height
		return
	case n == maxRuns:
		o.runs = slices.Delete(o.runs, 0, 1)
	}
	o.runs = append(o.runs, run{end: height, src: src})
}

// of returns who announced height, and P2P where nobody did: then it was in the
// store before this node started to listen, or the event was lost.
func (o *origins) of(height uint64) block.Source {
	for _, r := range o.runs {
		if height <= r.end {
			return r.src
		}
	}
	return block.SourceP2P
}

// forget drops what is known of heights below next.
func (o *origins) forget(next uint64) {
	n := 0
	for n < len(o.runs) && o.runs[n].end < next {
		n++
	}
	o.runs = slices.Delete(o.runs, 0, n)
}
