package evnode

import (
	"crypto/ed25519"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/modules/block"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
	"github.com/tandem-node/tandem/testutil"
)

// producer makes the blocks of a chain as ev-node's sequencer does (evolve-wire §3).
type producer struct {
	genesis block.Genesis
	key     ed25519.PrivateKey
	app     *kv
	root    []byte
	blocks  []evBlock
	roots   map[uint64][]byte
}

func newProducer(id string, daStart uint64) *producer {
	return &producer{genesis: newGenesis(id, daStart), key: testutil.Key("proposer"), app: newKV(), roots: map[uint64][]byte{}}
}

// next makes a block. at is ignored at the initial height, whose time is that of
// the genesis. change comes before the signature.
func (p *producer) next(at time.Time, txs []string, change ...func(*pb.Header)) evBlock {
	h := &pb.Header{
		Version: &pb.Version{}, Height: p.genesis.InitialHeight, Time: uint64(p.genesis.StartTime.UnixNano()),
		ProposerAddress: signerOf(p.key).GetAddress(), ChainId: p.genesis.ChainID, AppHash: p.root,
	}
	m := &pb.Metadata{ChainId: h.GetChainId()}
	if n := len(p.blocks); n > 0 {
		last := p.blocks[n-1]
		h.Height, h.Time = last.header.Height()+1, uint64(at.UnixNano())
		h.LastHeaderHash, m.LastDataHash = last.header.Hash(), last.data.Hash()
	}
	data := make([][]byte, len(txs))
	for i, tx := range txs {
		data[i] = []byte(tx)
	}
	h.DataHash = commitment(data)
	for _, f := range change {
		f(h)
	}
	m.Height, m.Time = h.GetHeight(), h.GetTime()
	b := evBlock{p.sign(h, encode(h)), newData(&pb.P2PData{Metadata: m, Txs: data, DaHeightHint: proto.Uint64(0)})}
	p.root = p.app.execute(h.GetHeight(), data)
	p.roots[h.GetHeight()] = p.root
	p.blocks = append(p.blocks, b)
	return b
}

func (p *producer) sign(h *pb.Header, payload []byte) *evHeader {
	return newHeader(&pb.P2PSignedHeader{
		Header: h, Signature: ed25519.Sign(p.key, payload), Signer: signerOf(p.key), DaHeightHint: proto.Uint64(0),
	})
}

// signLegacy replaces the last header's signature by one over the legacy form,
// as it was made before there was another.
func (p *producer) signLegacy() evBlock {
	last := &p.blocks[len(p.blocks)-1]
	legacy, _ := legacyOf(last.header.inner())
	last.header = p.sign(last.header.inner(), legacy)
	return *last
}

// lastTime is the time of the last block.
func (p *producer) lastTime() time.Time { return p.blocks[len(p.blocks)-1].header.Time() }

// withVersion is what test helpers of ev-node write into headers.
func withVersion(h *pb.Header) { h.Version = &pb.Version{Block: 11} }

// withLegacy adds the fields of headers from before they were made smaller, at
// the end and in this order.
func withLegacy(h *pb.Header) {
	var b []byte
	for _, num := range []protowire.Number{5, 7, 9} {
		b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), sum([]byte{byte(num)}))
	}
	h.ProtoReflect().SetUnknown(b)
}

// The rules of this package hold for a chain that was really made.
func TestProducerKeepsTheRules(t *testing.T) {
	p := newProducer("self", 1)
	p.next(now(), []string{"a=1"})
	p.next(now(), nil, withVersion)
	p.next(p.lastTime(), []string{"b=2"}, withLegacy)
	p.signLegacy()
	p.next(now(), []string{"c"})
	l := newLedger(p.genesis)
	for _, b := range p.blocks {
		if err := l.apply(b); err != nil {
			t.Fatal(err)
		}
	}
}
