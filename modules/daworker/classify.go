package daworker

import (
	"bytes"
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// headerItem is a header read from DA.
type headerItem struct {
	header   *block.SignedHeader
	envelope []byte // envelope signature; empty for a bare header
	da       uint64 // DA height it was read at
	held     bool   // holds the persisted cursor back
	bad      bool   // a signature is wrong
	hinted   bool   // read out of turn: the scan has not been there
}

// size returns the bytes the header takes in memory.
func (i *headerItem) size() int { return i.header.Held() + len(i.envelope) }

// dataItem is data read from DA. Its metadata is a claim.
type dataItem struct {
	data   *block.Data
	signed block.SignedData // as read; cleared once the signature was checked
	signer []byte           // its address
	da     uint64
	height uint64 // block height it is kept under: by the metadata, then by the header that commits to it
	own    bool   // signed by the expected proposer
	maybe  bool   // signed by one whose standing is not proven
	held   bool
	bad    bool
	hinted bool
}

// size returns the bytes the data takes in memory, its signature and signer included.
func (i *dataItem) size() int { return i.data.Held() + 128 }

// shelfBytes is what an item takes beside its own bytes where it waits: its entries in
// maps and lists.
const shelfBytes = 256

// verify checks the signature, once.
func (i *dataItem) verify() bool {
	if i.signed.Data == nil {
		return true
	}
	if i.signed.Verify() != nil {
		return false
	}
	i.signed = block.SignedData{}
	return true
}

// found is what one DA height holds, in DA order.
type found struct {
	height  uint64
	headers []*headerItem // by the expected proposer
	unknown []*headerItem // by one whose standing is not proven
	data    []*dataItem
	junk    junk
	blobs   int
	bytes   int // as read
	kept    int // held in memory by headers and data
}

// rules are what blobs are judged by. They hold no state, so that several
// heights may be judged at once.
type rules struct {
	genesis          block.Genesis
	headerNS, dataNS da.Namespace
	proposers        Proposers
	ignoreData       bool
}

// classify sorts the blobs of one DA height into headers, data and junk. It
// checks everything but signatures, cheapest first, so that a blob which was not
// made for this chain costs no copy and no hash.
func (r rules) classify(height uint64, blobs []da.Blob, now time.Time) *found {
	f := &found{height: height, blobs: len(blobs)}
	repeats := newRepeats(len(blobs))
	for i := range blobs {
		f.bytes += len(blobs[i].Data)
		if why, ok := r.judge(f, repeats, &blobs[i], now); !ok {
			f.junk[why]++
		}
	}
	return f
}

func (r rules) judge(f *found, repeats repeats, b *da.Blob, now time.Time) (reason, bool) {
	switch {
	case b.Namespace != r.headerNS && b.Namespace != r.dataNS:
		return junkNamespace, false
	case len(b.Data) == 0 || len(b.Data) > block.MaxBlobBytes:
		return junkSize, false
	}
	looksHeader, looksData := peek(b.Data, r.genesis.ChainID)
	if !looksHeader && !looksData {
		return junkForeign, false
	}
	// What lies elsewhere is not seen by who reads one namespace only.
	looksHeader, looksData = looksHeader && b.Namespace == r.headerNS, looksData && b.Namespace == r.dataNS
	if !looksHeader && !looksData {
		return junkNamespace, false
	}
	if repeats.seen(b.Commitment) {
		return junkRepeat, false
	}
	if looksHeader {
		e, err := block.DecodeHeaderEnvelope(b.Data)
		if err == nil && e.Header.Height() > 0 && e.Header.ChainID() == r.genesis.ChainID {
			return r.header(f, e, now)
		}
	}
	if !looksData {
		return junkMalformed, false
	}
	s, err := block.DecodeSignedData(b.Data)
	if err != nil {
		return junkMalformed, false
	}
	return r.data(f, s)
}

func (r rules) header(f *found, e block.HeaderEnvelope, now time.Time) (reason, bool) {
	h := e.Header
	if h.Height() < r.genesis.InitialHeight {
		return junkHeight, false
	}
	standing := r.proposers.Judge(h.Height(), h.Header.ProposerAddress)
	if standing == block.Unexpected {
		return junkProposer, false
	}
	err := block.VerifyBasic(h, now)
	if errors.Is(err, block.ErrFutureTime) {
		// Our clock may be the one that is wrong: the header is kept and used
		// only when its time has come.
		err = block.VerifyBasic(h, h.Time())
	}
	if err != nil {
		return junkStructure, false
	}
	item := &headerItem{header: h, envelope: e.Signature, da: f.height}
	f.kept += item.size()
	if standing == block.Unproven {
		f.unknown = append(f.unknown, item)
	} else {
		f.headers = append(f.headers, item)
	}
	return 0, true
}

func (r rules) data(f *found, s block.SignedData) (reason, bool) {
	switch {
	case r.ignoreData:
		return 0, true
	case s.Data.ChainID() != r.genesis.ChainID:
		return junkForeign, false
	case s.Data.Height() < r.genesis.InitialHeight:
		return junkHeight, false
	case len(s.Data.Txs) == 0:
		return junkEmpty, false
	case len(s.Signature) == 0:
		return junkSignature, false
	}
	raw := s.Signer.RawPubKey()
	if raw == nil {
		return junkSignature, false
	}
	if address := block.Address(raw); !bytes.Equal(address[:], s.Signer.Address) {
		return junkSignature, false
	}
	standing := r.proposers.Judge(s.Data.Height(), s.Signer.Address)
	item := &dataItem{
		data: s.Data, signed: s, signer: s.Signer.Address, da: f.height, height: s.Data.Height(),
		own: standing == block.Expected, maybe: standing == block.Unproven,
	}
	f.kept += item.size()
	f.data = append(f.data, item)
	return 0, true
}

// peek reports, without copying, whether a blob names the chain where a header
// or where data would. It says yes to everything that decodes as one of them.
func peek(b []byte, chain string) (looksHeader, looksData bool) {
	each(b, func(num protowire.Number, inner []byte) {
		if num != 1 {
			return
		}
		each(inner, func(num protowire.Number, field []byte) {
			if num == 12 {
				looksHeader = looksHeader || string(field) == chain
			}
			if num == 1 {
				each(field, func(num protowire.Number, id []byte) {
					looksData = looksData || num == 1 && string(id) == chain
				})
			}
		})
	})
	return looksHeader, looksData
}

// each calls fn for the length-delimited fields of a message, up to the first
// that is broken.
func each(b []byte, fn func(num protowire.Number, v []byte)) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		var m int
		if typ == protowire.BytesType {
			var v []byte
			if v, m = protowire.ConsumeBytes(b[n:]); m >= 0 {
				fn(num, v)
			}
		} else {
			m = protowire.ConsumeFieldValue(num, typ, b[n:])
		}
		if m < 0 {
			return
		}
		b = b[n+m:]
	}
}

// repeats remembers the commitments of one DA height. One blob has no repeats.
type repeats map[da.Commitment]struct{}

func newRepeats(n int) repeats {
	if n < 2 {
		return nil
	}
	return make(repeats)
}

func (r repeats) seen(c da.Commitment) bool {
	if r == nil || c == (da.Commitment{}) {
		return false
	}
	if _, ok := r[c]; ok {
		return true
	}
	r[c] = struct{}{}
	return false
}
