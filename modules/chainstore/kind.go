package chainstore

import (
	"github.com/tandem-node/tandem/modules/block"
)

// kind is what differs between the chain of headers and the chain of data.
type kind[H any] struct {
	name  string
	body  byte   // namespace of the items
	index byte   // namespace of the hashes
	mark  string // record of the span

	// encode returns the stored form. It may use scratch, which it returns for
	// the next call.
	encode func(h H, scratch []byte) (enc, next []byte)
	decode func(b []byte) (H, error)
	digest func(h H) block.Hash
	// alias is another hash by which the item is found, when there is one.
	alias func(enc []byte) (block.Hash, bool)
	size  func(h H) int // in memory
}

func headerKind() kind[*block.SignedHeader] {
	return kind[*block.SignedHeader]{
		name: "header", body: nsHeader, index: nsHeaderIndex, mark: markHeaders,
		encode: func(h *block.SignedHeader, scratch []byte) ([]byte, []byte) {
			enc := h.AppendTo(scratch[:0])
			return enc, enc
		},
		decode: func(b []byte) (*block.SignedHeader, error) {
			h, err := block.DecodeSignedHeader(b)
			if err == nil {
				h.Trust()
			}
			return h, err
		},
		digest: (*block.SignedHeader).Digest,
		// Other nodes ask for stored headers by the hash of the stored bytes.
		alias: func(enc []byte) (block.Hash, bool) { return block.Sum(enc), true },
		size:  (*block.SignedHeader).Held,
	}
}

func dataKind() kind[*block.Data] {
	return kind[*block.Data]{
		name: "data", body: nsData, index: nsDataIndex, mark: markData,
		encode: func(d *block.Data, scratch []byte) ([]byte, []byte) { return d.Encode(), scratch },
		decode: block.DecodeData,
		digest: (*block.Data).Digest,
		alias:  func([]byte) (block.Hash, bool) { return block.Hash{}, false },
		size:   (*block.Data).Held,
	}
}
