package daworker

import "github.com/tandem-node/tandem/modules/block"

// A header that execution has refuted is not stored again while this process runs,
// but what DA says of its height counts: it is reported as seen. It stays pending,
// and so holds the floor, for the next process has to judge it anew.

// reported is the refuted header that was reported last.
type reported struct {
	hash block.Hash
	da   uint64
}

// reportRefuted reports the first header of a height on DA, among those that
// follow prev, if it is one that execution has refuted.
func (a *assembler) reportRefuted(prev *block.SignedHeader, height uint64) {
	for _, i := range a.pending.headers[height] {
		if i.hinted || !a.follows(prev, i.header) {
			continue
		}
		this := reported{i.header.Digest(), i.da}
		if a.p.Refuted(this.hash) && a.told != this {
			a.told = this
			a.include(height, block.KindHeader, this.hash, i.da)
		}
		return
	}
}

// follows reports whether a header of the proposer's links to prev, which is nil
// at the initial height.
func (a *assembler) follows(prev, next *block.SignedHeader) bool {
	switch {
	case a.p.Proposers.Judge(next.Height(), next.Header.ProposerAddress) != block.Expected: // replaced since it was read
		return false
	case prev == nil:
		return len(next.Header.LastHeaderHash) == 0
	}
	return block.VerifyLink(prev, next) == nil
}
