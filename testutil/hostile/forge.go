package hostile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// FarHeight is where forged heads are.
const FarHeight = 1_000_000

// Forger makes items that look like those of a chain. It has a key, but none of
// the chain's.
type Forger struct {
	genesis block.Genesis
	key     ed25519.PrivateKey
	rand    *rand.Rand
}

// NewForger returns a forger; equal seeds forge equally.
func NewForger(g block.Genesis, seed uint64) *Forger {
	raw := sha256.Sum256([]byte("tandem hostile key"))
	return &Forger{genesis: g, key: ed25519.NewKeyFromSeed(raw[:]), rand: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // repeatable, not secret
}

// Forgery is one bad item, with a name for logs.
type Forgery struct {
	Name  string
	Kind  block.Kind
	Bytes []byte
}

// signed is a forged header before it has a form.
type signed struct {
	name   string
	header *block.SignedHeader
}

// Heads returns forged headers for a height, in the form of gossip, made after an
// honest header of the chain.
func (f *Forger) Heads(like *block.SignedHeader, height uint64, now time.Time) []Forgery {
	var out []Forgery
	for _, s := range f.headers(like, height, now) {
		out = append(out, Forgery{s.name, block.KindHeader, s.header.EncodeP2P()})
	}
	return append(out,
		Forgery{"torn header", block.KindHeader, f.torn(like.EncodeP2P())},
		Forgery{"junk for a header", block.KindHeader, f.junk(300)},
	)
}

// headers returns everything a stranger can do to a header.
func (f *Forger) headers(like *block.SignedHeader, height uint64, now time.Time) []signed {
	h := like.Header
	h.Height, h.Time, h.AppHash = height, uint64(now.UnixNano()), f.junk(32)
	if height == like.Height()+1 {
		h.LastHeaderHash = like.Hash() // all but the signature is as it has to be
	}
	public, _ := f.key.Public().(ed25519.PublicKey)
	me := block.NewSigner(public)
	stranger, elsewhere, future := h, h, h
	stranger.ProposerAddress = me.Address
	elsewhere.ChainID += "x"
	elsewhere.ProposerAddress = me.Address
	future.Time = uint64(now.Add(100 * 24 * time.Hour).UnixNano())
	sign := func(h block.Header) []byte { return ed25519.Sign(f.key, h.Encode()) }
	flipped := bytes.Clone(like.Signature)
	if len(flipped) > 0 {
		flipped[f.rand.IntN(len(flipped))] ^= 1
	}
	return []signed{
		{"header of a stranger", block.NewSignedHeader(stranger, sign(stranger), me)},
		{"unsigned header", block.NewSignedHeader(h, nil, block.Signer{})},
		{"header with no signature", block.NewSignedHeader(h, nil, like.Signer)},
		{"header with another's signature", block.NewSignedHeader(h, like.Signature, like.Signer)},
		{"header with the key swapped", block.NewSignedHeader(h, sign(h), block.Signer{Address: like.Signer.Address, PubKey: me.PubKey})},
		{"header of another chain", block.NewSignedHeader(elsewhere, sign(elsewhere), me)},
		{"header from the future", block.NewSignedHeader(future, like.Signature, like.Signer)},
		{"honest header, signature flipped", block.NewSignedHeader(like.Header, flipped, like.Signer)},
	}
}

// Data returns data that no header of a height commits to, in the form of gossip.
// big is the size of the largest, in bytes.
func (f *Forger) Data(height uint64, now time.Time, big int) []Forgery {
	m := block.Metadata{ChainID: f.genesis.ChainID, Height: height, Time: uint64(now.UnixNano())}
	elsewhere := m
	elsewhere.ChainID += "x"
	squat := block.NewData(&m, [][]byte{[]byte("squat=squat")})
	return []Forgery{
		{"squatting data", block.KindData, squat.EncodeP2P()},
		{"oversized data", block.KindData, block.NewData(&m, [][]byte{f.junk(big)}).EncodeP2P()},
		{"data of another chain", block.KindData, block.NewData(&elsewhere, squat.Txs).EncodeP2P()},
		{"data without metadata", block.KindData, block.NewData(nil, squat.Txs).EncodeP2P()},
		{"torn data", block.KindData, f.torn(squat.EncodeP2P())},
		{"junk for data", block.KindData, f.junk(300)},
	}
}

// Blobs returns what a stranger posts to DA for a height, made after an honest
// header and, where there are any, the transactions of its block.
func (f *Forger) Blobs(like *block.SignedHeader, txs [][]byte, height uint64, now time.Time) []Forgery {
	var out []Forgery
	for _, s := range f.headers(like, height, now) {
		e := block.HeaderEnvelope{Header: s.header, Signature: ed25519.Sign(f.key, s.header.Encode())}
		out = append(out, Forgery{s.name, block.KindHeader, e.Encode()})
	}
	seal := block.HeaderEnvelope{Header: like, Signature: ed25519.Sign(f.key, like.Encode())}
	m := block.Metadata{ChainID: f.genesis.ChainID, Height: height, Time: uint64(now.UnixNano())}
	squat := f.sealed(&m, [][]byte{fmt.Appendf(nil, "squat=%d", f.rand.IntN(26))})
	out = append(out,
		Forgery{"honest header in a stranger's envelope", block.KindHeader, seal.Encode()},
		Forgery{"torn envelope", block.KindHeader, f.torn(seal.Encode())},
		Forgery{"data among headers", block.KindHeader, squat},
		Forgery{"squatting data", block.KindData, squat},
		Forgery{"torn data", block.KindData, f.torn(squat)},
		Forgery{"header among data", block.KindData, seal.Encode()},
		Forgery{"junk", block.KindHeader, f.junk(1 + f.rand.IntN(500))},
		Forgery{"junk", block.KindData, f.junk(1 + f.rand.IntN(500))},
	)
	if len(txs) > 0 {
		out = append(out, Forgery{"honest transactions, signed by a stranger", block.KindData, f.sealed(&m, txs)})
	}
	return out
}

// sealed is data signed by the forger.
func (f *Forger) sealed(m *block.Metadata, txs [][]byte) []byte {
	public, _ := f.key.Public().(ed25519.PublicKey)
	d := block.NewData(m, txs)
	return block.SignedData{Data: d, Signature: ed25519.Sign(f.key, d.Encode()), Signer: block.NewSigner(public)}.Encode()
}

// torn is a message that ends too early.
func (f *Forger) torn(b []byte) []byte { return bytes.Clone(b[:1+f.rand.IntN(max(len(b)-1, 1))]) }

func (f *Forger) junk(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(f.rand.Uint32()) //nolint:gosec // the low bits are meant
	}
	return b
}
