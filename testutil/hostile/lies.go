package hostile

import (
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// Lies returns ways to answer range requests, none of which an honest peer uses.
// Where the peer has heard nothing yet, they stall.
func (p *Peer) Lies(f *Forger, now func() time.Time) []Answer {
	forged := func(height uint64) []byte {
		like := p.Header()
		if like == nil {
			return nil
		}
		all := f.headers(like, height, now())
		return all[height%uint64(len(all))].header.EncodeP2P()
	}
	return []Answer{
		func(uint64, uint64) [][]byte { return nil }, // never
		func(uint64, uint64) [][]byte { return [][]byte{{}} },
		func(uint64, uint64) [][]byte { return [][]byte{f.junk(200)} },
		func(origin, amount uint64) [][]byte { // a head far ahead, and forged headers on the way to it
			if origin == 0 {
				origin, amount = FarHeight, 1
			}
			return some(origin, amount, forged)
		},
		func(_, amount uint64) [][]byte { // what nobody asked for
			return some(1, amount+7, func(uint64) []byte {
				all := p.Heard(block.KindHeader)
				if len(all) == 0 {
					return nil
				}
				return all[0]
			})
		},
	}
}

// some makes an answer of several items, none when there is nothing to make it of.
func some(origin, amount uint64, item func(uint64) []byte) [][]byte {
	var out [][]byte
	for height := origin; height < origin+min(amount, 64); height++ {
		b := item(height)
		if b == nil {
			return nil
		}
		out = append(out, b)
	}
	return out
}
