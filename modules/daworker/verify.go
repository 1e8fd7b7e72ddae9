package daworker

import (
	"runtime"
	"sync"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

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

// verify checks the signatures of everything the proposer is said to have
// signed in a run of DA heights, together and on all cores, and drops what fails.
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
		n += len(f.headers) + len(f.data)
	}
	checks := make([]check, 0, n)
	for _, f := range group {
		for _, h := range f.headers {
			checks = append(checks, check{f: f, header: h})
		}
		for _, d := range f.data {
			if d.own {
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

// verifyBatch applies the rule of package block (ZIP-215) to all at once. The
// items' keys were matched with their addresses by classify.
func verifyBatch(checks []check) bool {
	v := batch{verifier: ed25519.NewBatchVerifierWithCapacity(2 * len(checks))}
	for i := range checks {
		if !v.add(&checks[i]) {
			return false
		}
	}
	if !v.verifier.VerifyBatchOnly(nil) {
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

// batch collects signatures, nearly all by one key, which is prepared once.
type batch struct {
	verifier *ed25519.BatchVerifier
	raw      string
	key      *ed25519.ExpandedPublicKey
}

func (b *batch) add(c *check) bool {
	if c.data != nil {
		s := &c.data.signed
		return b.entry(s.Signer, s.Data.Encode(), s.Signature)
	}
	h := c.header.header
	if !b.entry(h.Signer, h.Payload(), h.Signature) {
		return false
	}
	return len(c.header.envelope) == 0 || b.entry(h.Signer, h.Encode(), c.header.envelope)
}

func (b *batch) entry(signer block.Signer, message, signature []byte) bool {
	raw := signer.RawPubKey()
	if raw == nil {
		return false
	}
	if b.key == nil || string(raw) != b.raw {
		key, err := ed25519.NewExpandedPublicKey(raw)
		if err != nil {
			return false
		}
		b.key, b.raw = key, string(raw)
	}
	options := &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}
	b.verifier.AddExpandedWithOptions(b.key, message, signature, options)
	return true
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
