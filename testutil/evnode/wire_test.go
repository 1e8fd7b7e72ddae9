package evnode

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/libp2p/go-libp2p/core/crypto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
)

// maxFuture is how far ahead of the clock items may be.
const maxFuture = 60 * time.Second

// encode is how ev-node encodes: Google's library, in field order.
func encode(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func sum(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// emptyCommitment is header.data_hash of a block without transactions.
func emptyCommitment() []byte { return sum([]byte{0}) }

// evHeader is P2PSignedHeader with ev-node's checks (evolve-wire §2.9).
type evHeader struct {
	msg  *pb.P2PSignedHeader
	raw  []byte
	hash header.Hash
}

func newHeader(msg *pb.P2PSignedHeader) *evHeader {
	return &evHeader{msg: msg, raw: encode(msg), hash: headerHash(msg.GetHeader())}
}

// headerHash is SHA-256 of the inner message, or of its legacy form where the
// header has legacy fields.
func headerHash(h *pb.Header) []byte {
	if legacy, ok := legacyOf(h); ok {
		return sum(legacy)
	}
	return sum(encode(h))
}

// legacyFields returns the fields of old headers, which are unknown ones today.
func legacyFields(h *pb.Header) map[protowire.Number][]byte {
	out := map[protowire.Number][]byte{}
	for b := h.ProtoReflect().GetUnknown(); len(b) > 0; {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return out
		}
		if (num == 5 || num == 7 || num == 9) && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(b)
			v, _ := protowire.ConsumeBytes(b[tag:])
			if len(v) > 0 {
				out[num] = v
			}
		}
		b = b[n:]
	}
	return out
}

// legacyOf is the encoding of old headers (evolve-wire §2.2).
func legacyOf(h *pb.Header) ([]byte, bool) {
	fields := legacyFields(h)
	bytesField := func(b []byte, num protowire.Number, v []byte) []byte {
		if len(v) == 0 {
			return b
		}
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	version := encode(h.GetVersion())
	b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), version)
	b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), h.GetHeight())
	b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), h.GetTime())
	b = bytesField(b, 4, h.GetLastHeaderHash())
	b = bytesField(b, 5, fields[5])
	b = bytesField(b, 6, h.GetDataHash())
	consensus := fields[7]
	if len(consensus) == 0 {
		consensus = make([]byte, sha256.Size)
	}
	b = bytesField(b, 7, consensus)
	b = bytesField(b, 8, h.GetAppHash())
	b = bytesField(b, 9, fields[9])
	b = bytesField(b, 10, h.GetProposerAddress())
	b = bytesField(b, 11, h.GetValidatorHash())
	b = bytesField(b, 12, []byte(h.GetChainId()))
	return b, len(fields) > 0
}

// signed returns the message without the hint: what is stored and signed over.
func (h *evHeader) signed() *pb.SignedHeader {
	return &pb.SignedHeader{Header: h.msg.GetHeader(), Signature: h.msg.GetSignature(), Signer: h.msg.GetSigner()}
}

// withHint returns the header as a server sends it that knows where it is on DA.
func (h *evHeader) withHint(daHeight uint64) *evHeader {
	s := h.signed()
	return newHeader(&pb.P2PSignedHeader{Header: s.GetHeader(), Signature: s.GetSignature(), Signer: s.GetSigner(), DaHeightHint: &daHeight})
}

func (h *evHeader) hint() uint64                   { return h.msg.GetDaHeightHint() }
func (h *evHeader) inner() *pb.Header              { return h.msg.GetHeader() }
func (h *evHeader) New() *evHeader                 { return new(evHeader) }
func (h *evHeader) IsZero() bool                   { return h == nil }
func (h *evHeader) ChainID() string                { return h.inner().GetChainId() }
func (h *evHeader) Hash() header.Hash              { return h.hash }
func (h *evHeader) Height() uint64                 { return h.inner().GetHeight() }
func (h *evHeader) LastHeader() header.Hash        { return h.inner().GetLastHeaderHash() }
func (h *evHeader) Time() time.Time                { return time.Unix(0, int64(h.inner().GetTime())) }
func (h *evHeader) isEmpty() bool                  { return isEmpty(h.inner()) }
func (h *evHeader) MarshalBinary() ([]byte, error) { return h.raw, nil }

func isEmpty(h *pb.Header) bool {
	return len(h.GetDataHash()) == 0 || bytes.Equal(h.GetDataHash(), emptyCommitment())
}

// UnmarshalBinary also insists on the one encoding ev-node writes, hint included.
func (h *evHeader) UnmarshalBinary(b []byte) error {
	msg := &pb.P2PSignedHeader{}
	if err := proto.Unmarshal(b, msg); err != nil {
		return err
	}
	n := newHeader(msg)
	switch {
	case !bytes.Equal(n.raw, b):
		return fmt.Errorf("header %d: %x is not canonical", n.Height(), b)
	case msg.DaHeightHint == nil || msg.GetHeader().GetVersion() == nil || msg.GetSigner() == nil:
		return fmt.Errorf("header %d: a field that is always written is missing", n.Height())
	}
	*h = *n
	return nil
}

// Validate does not look at the signature.
func (h *evHeader) Validate() error {
	switch {
	case len(h.inner().GetProposerAddress()) == 0:
		return errors.New("no proposer")
	case h.inner().GetTime() == 0:
		return errors.New("no time")
	case h.Time().After(time.Now().Add(maxFuture)):
		return errors.New("from the future")
	}
	return nil
}

// Verify checks the link of adjacent headers only.
func (h *evHeader) Verify(next *evHeader) error {
	if next.Height() == h.Height()+1 && !bytes.Equal(next.LastHeader(), h.hash) {
		return fmt.Errorf("header %d does not follow %d", next.Height(), h.Height())
	}
	return nil
}

// evData is P2PData with ev-node's checks.
type evData struct {
	msg  *pb.P2PData
	raw  []byte
	hash header.Hash
}

func newData(msg *pb.P2PData) *evData {
	return &evData{msg: msg, raw: encode(msg), hash: sum([]byte{0}, encode(&pb.Data{Metadata: msg.GetMetadata(), Txs: msg.GetTxs()}))}
}

// plain returns the message without the hint: what is stored and signed over.
func plain(d *evData) *pb.Data { return &pb.Data{Metadata: d.msg.GetMetadata(), Txs: d.msg.GetTxs()} }

// commitment is what header.data_hash holds.
func commitment(txs [][]byte) []byte { return sum([]byte{0}, encode(&pb.Data{Txs: txs})) }

func (d *evData) withHint(daHeight uint64) *evData {
	return newData(&pb.P2PData{Metadata: d.msg.GetMetadata(), Txs: d.msg.GetTxs(), DaHeightHint: &daHeight})
}

func (d *evData) hint() uint64                   { return d.msg.GetDaHeightHint() }
func (d *evData) New() *evData                   { return new(evData) }
func (d *evData) IsZero() bool                   { return d == nil }
func (d *evData) ChainID() string                { return d.msg.GetMetadata().GetChainId() }
func (d *evData) Hash() header.Hash              { return d.hash }
func (d *evData) Height() uint64                 { return d.msg.GetMetadata().GetHeight() }
func (d *evData) LastHeader() header.Hash        { return d.msg.GetMetadata().GetLastDataHash() }
func (d *evData) Time() time.Time                { return time.Unix(0, int64(d.msg.GetMetadata().GetTime())) }
func (d *evData) MarshalBinary() ([]byte, error) { return d.raw, nil }

// UnmarshalBinary also insists on the one encoding ev-node writes, hint included.
func (d *evData) UnmarshalBinary(b []byte) error {
	msg := &pb.P2PData{}
	if err := proto.Unmarshal(b, msg); err != nil {
		return err
	}
	n := newData(msg)
	if !bytes.Equal(n.raw, b) || msg.DaHeightHint == nil {
		return fmt.Errorf("data %d: %x is not canonical", n.Height(), b)
	}
	*d = *n
	return nil
}

// Validate looks at the metadata.
func (d *evData) Validate() error {
	m := d.msg.GetMetadata()
	switch {
	case m == nil:
		return errors.New("no metadata")
	case m.GetChainId() == "":
		return errors.New("no chain id")
	case m.GetHeight() == 0:
		return errors.New("no height")
	case m.GetTime() == 0:
		return errors.New("no time")
	case d.Time().After(time.Now().Add(maxFuture)):
		return errors.New("from the future")
	}
	return nil
}

// Verify checks the link of adjacent items only.
func (d *evData) Verify(next *evData) error {
	if next.Height() == d.Height()+1 && !bytes.Equal(next.LastHeader(), d.hash) {
		return fmt.Errorf("data %d does not follow %d", next.Height(), d.Height())
	}
	return nil
}

// signerOf is the signer field of a key: address and libp2p's protobuf of the
// public key.
func signerOf(key ed25519.PrivateKey) *pb.Signer {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		panic("not an ed25519 key")
	}
	wrapped, err := crypto.UnmarshalEd25519PublicKey(public)
	if err != nil {
		panic(err)
	}
	b, err := crypto.MarshalPublicKey(wrapped)
	if err != nil {
		panic(err)
	}
	return &pb.Signer{Address: sum(public), PubKey: b}
}

// rawKey returns the 32 bytes of a signer's public key.
func rawKey(s *pb.Signer) (ed25519.PublicKey, error) {
	key, err := crypto.UnmarshalPublicKey(s.GetPubKey())
	if err != nil {
		return nil, err
	}
	return key.Raw()
}

// headerBlob is DAHeaderEnvelope.
func headerBlob(key ed25519.PrivateKey, h *evHeader) []byte {
	s := h.signed()
	return encode(&pb.DAHeaderEnvelope{
		Header: s.GetHeader(), Signature: s.GetSignature(), Signer: s.GetSigner(), EnvelopeSignature: ed25519.Sign(key, encode(s)),
	})
}

// dataBlob is SignedData.
func dataBlob(key ed25519.PrivateKey, d *evData) []byte {
	return encode(&pb.SignedData{Data: plain(d), Signature: ed25519.Sign(key, encode(plain(d))), Signer: signerOf(key)})
}

// now is the wall clock as headers carry it.
func now() time.Time { return time.Now().UTC().Round(0) }
