package chainstore

import (
	"encoding/binary"

	"github.com/tandem-node/tandem/modules/block"
)

// plainHeader returns a header of realistic size without signing it.
func plainHeader(height uint64) *block.SignedHeader {
	seed := block.Sum(binary.BigEndian.AppendUint64(nil, height))
	key := block.Sum(nil)
	signature := append(append(make([]byte, 0, 64), seed[:]...), seed[:]...)
	return block.NewSignedHeader(block.Header{
		Height: height, Time: height, ChainID: "chain", LastHeaderHash: seed[:], DataHash: seed[:], AppHash: seed[:],
		ProposerAddress: key[:],
	}, signature, block.NewSigner(key[:]))
}

// plainBytes returns data that holds one transaction of size bytes.
func plainBytes(height uint64, size int) *block.Data {
	seed := block.Sum(binary.BigEndian.AppendUint64(nil, height))
	tx := make([]byte, size)
	for i := range tx {
		tx[i] = seed[i%len(seed)] + byte(i>>5)
	}
	return block.NewData(&block.Metadata{ChainID: "chain", Height: height, Time: height, LastDataHash: seed[:]}, [][]byte{tx})
}

func plainData(from, n uint64) []*block.Data {
	out := make([]*block.Data, n)
	for i := range out {
		out[i] = plainBytes(from+uint64(i), 32)
	}
	return out
}

func plainHeaders(from, n uint64) []*block.SignedHeader {
	out := make([]*block.SignedHeader, n)
	for i := range out {
		out[i] = plainHeader(from + uint64(i))
	}
	return out
}

// plain returns an unsigned item of either kind.
func plain[H any](height uint64) H {
	var item H
	switch p := any(&item).(type) {
	case **block.SignedHeader:
		*p = plainHeader(height)
	case **block.Data:
		*p = plainBytes(height, 32)
	}
	return item
}
