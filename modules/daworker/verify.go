package daworker

import (
	"runtime"
	"sync"

	"github.com/tandem-node/tandem/modules/block"
)

// check is one item whose signatures are to be checked: a header with its
// envelope, or data.
type check struct {
	f      *found
	header *headerItem
	data   *dataItem
	bad    bool
}

// verify checks the signatures of everything the proposer, or who may turn out to
// be it, is said to have signed in a run of DA heights, together and on all cores, and drops what fails.
// Data of others is left unchecked: most of it is never needed.
func verify(group []*found) {
	const perCore = 32
	checks := collect(group)
	parts := max(1, min(runtime.GOMAXPROCS(0), len(checks)/perCore))
	size := (len(checks) + parts - 1) / parts
	var wg sync.WaitGroup
	for from := size; from < len(checks); from += size {
		part := checks[from:min(from+size, len(checks))]
		wg.Go(func() { verifyPart(part) })
	}
	verifyPart(checks[:min(size, len(checks))])
	wg.Wait()
	drop(checks)
}

func collect(group []*found) []check {
	n := 0
	for _, f := range group {
		n += len(f.headers) + len(f.unknown) + len(f.data)
	}
	checks := make([]check, 0, n)
	for _, f := range group {
		for _, hs := range [][]*headerItem{f.headers, f.unknown} {
			for _, h := range hs {
				checks = append(checks, check{f: f, header: h})
			}
		}
		for _, d := range f.data {
			if d.own || d.maybe {
				checks = append(checks, check{f: f, data: d})
			}
		}
	}
	return checks
}

// verifyPart tries batches first. A batch that fails says nothing of its items,
// so they are then checked one by one; batches are small so that one forged item
// costs its neighbours little.
func verifyPart(checks []check) {
	const most = 64
	for len(checks) > 0 {
		part := checks[:min(most, len(checks))]
		checks = checks[len(part):]
		if len(part) > 1 && verifyBatch(part) {
			continue
		}
		for i := range part {
			part[i].bad = !part[i].verify()
		}
	}
}

func (c *check) verify() bool {
	if c.data != nil {
		return c.data.verify()
	}
	return verifyHeader(c.header)
}

// verifyHeader checks the header's signature and, when there is one, the envelope's.
func verifyHeader(i *headerItem) bool {
	if i.header.VerifySignature() != nil {
		return false
	}
	return len(i.envelope) == 0 || block.HeaderEnvelope{Header: i.header, Signature: i.envelope}.Verify() == nil
}

// verifyBatch checks all at once; block.VerifyBatch is cheap because nearly all
// is signed by one key.
func verifyBatch(checks []check) bool {
	all := make([]block.Signed, 0, 2*len(checks))
	for i := range checks {
		all = checks[i].appendTo(all)
	}
	if !block.VerifyBatch(all) {
		return false
	}
	for i := range checks {
		if h := checks[i].header; h != nil {
			h.header.Trust()
		} else {
			checks[i].data.signed = block.SignedData{}
		}
	}
	return true
}

// appendTo appends the item's signatures: one for data, up to two for a header.
func (c *check) appendTo(all []block.Signed) []block.Signed {
	if c.data != nil {
		s := &c.data.signed
		return append(all, block.Signed{Signer: s.Signer, Message: s.Data.Encode(), Signature: s.Signature})
	}
	h := c.header.header
	all = append(all, block.Signed{Signer: h.Signer, Message: h.Payload(), Signature: h.Signature})
	if len(c.header.envelope) == 0 {
		return all
	}
	return append(all, block.Signed{Signer: h.Signer, Message: h.Encode(), Signature: c.header.envelope})
}

// drop marks the items whose signature is wrong and counts them as junk.
func drop(checks []check) {
	for i := range checks {
		c := &checks[i]
		if !c.bad {
			continue
		}
		c.f.junk[junkSignature]++
		if c.header != nil {
			c.header.bad = true
		} else {
			c.data.bad = true
		}
	}
}
