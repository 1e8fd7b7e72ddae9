package evnode

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/modules/block"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
)

// kv is ev-node's test application (evolve-wire §4.2).
type kv struct{ entries map[string]string }

func newKV() *kv { return &kv{entries: map[string]string{}} }

func (k *kv) execute(height uint64, txs [][]byte) []byte {
	for _, tx := range txs {
		key, value, ok := strings.Cut(string(tx), "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			continue
		}
		k.entries["/height"+path.Clean("/"+strconv.FormatUint(height, 10)+"/"+key)] = strings.TrimSpace(value)
	}
	return k.root()
}

// root is the text of everything, not a hash of it.
func (k *kv) root() []byte {
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(k.entries)) {
		b = fmt.Appendf(b, "%s:%s;", key, k.entries[key])
	}
	return b
}

// evBlock is both halves of a block.
type evBlock struct {
	header *evHeader
	data   *evData
}

// ledger is the state of an ev-node: it judges blocks by the rules of evolve-wire
// §2.6 and executes them.
type ledger struct {
	genesis      block.Genesis
	height       uint64
	time         time.Time
	appHash      []byte
	lastHeader   []byte
	lastData     []byte
	nextProposer []byte
	app          *kv
	roots        map[uint64][]byte
}

func newLedger(g block.Genesis) *ledger {
	return &ledger{
		genesis: g, height: g.InitialHeight - 1, time: g.StartTime, nextProposer: g.ProposerAddress, app: newKV(), roots: map[uint64][]byte{},
	}
}

func (l *ledger) apply(b evBlock) error {
	if err := checkHeader(b.header); err != nil {
		return fmt.Errorf("header %d: %w", b.header.Height(), err)
	}
	if err := l.checkSequence(b.header.inner()); err != nil {
		return fmt.Errorf("header %d: %w", b.header.Height(), err)
	}
	if err := checkData(b); err != nil {
		return fmt.Errorf("data %d: %w", b.header.Height(), err)
	}
	// The syncer of ev-node does not look at it, its data sync does.
	if !bytes.Equal(b.data.LastHeader(), l.lastData) {
		return fmt.Errorf("data %d: follows %x, want %x", b.header.Height(), b.data.LastHeader(), l.lastData)
	}
	l.height, l.time = b.header.Height(), b.header.Time()
	l.lastHeader, l.lastData = b.header.Hash(), b.data.Hash()
	l.appHash = l.app.execute(l.height, b.data.msg.GetTxs())
	l.roots[l.height] = l.appHash
	return nil
}

// checkHeader is what a header says of itself, signature included.
func checkHeader(h *evHeader) error {
	inner, signer := h.inner(), h.msg.GetSigner()
	switch {
	case len(inner.GetProposerAddress()) == 0:
		return errors.New("no proposer")
	case inner.GetTime() == 0:
		return errors.New("no time")
	case h.Time().After(time.Now().Add(maxFuture)):
		return errors.New("from the future")
	case len(h.msg.GetSignature()) == 0:
		return errors.New("no signature")
	case len(signer.GetPubKey()) == 0:
		return errors.New("no public key")
	}
	key, err := rawKey(signer)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(sum(key), signer.GetAddress()):
		return errors.New("address is not the key's")
	case !bytes.Equal(inner.GetProposerAddress(), signer.GetAddress()):
		return errors.New("proposer is not the signer")
	case ed25519.Verify(key, encode(inner), h.msg.GetSignature()):
		return nil
	}
	if legacy, _ := legacyOf(inner); ed25519.Verify(key, legacy, h.msg.GetSignature()) {
		return nil
	}
	return errors.New("bad signature")
}

func (l *ledger) checkSequence(h *pb.Header) error {
	switch {
	case !bytes.Equal(h.GetProposerAddress(), l.nextProposer):
		return errors.New("unexpected proposer")
	case h.GetChainId() != l.genesis.ChainID:
		return errors.New("other chain")
	case h.GetHeight() != l.height+1:
		return fmt.Errorf("height %d, want %d", h.GetHeight(), l.height+1)
	case l.lastHeader == nil: // the rest is not checked of the first block
		return nil
	case time.Unix(0, int64(h.GetTime())).Before(l.time):
		return errors.New("time goes back")
	case !bytes.Equal(h.GetLastHeaderHash(), l.lastHeader):
		return errors.New("does not link")
	case !bytes.Equal(h.GetAppHash(), l.appHash):
		return fmt.Errorf("app hash %q, want %q", h.GetAppHash(), l.appHash)
	}
	return nil
}

func checkData(b evBlock) error {
	h, m := b.header.inner(), b.data.msg.GetMetadata()
	if m != nil && (m.GetChainId() != h.GetChainId() || m.GetHeight() != h.GetHeight() || m.GetTime() != h.GetTime()) {
		return errors.New("metadata is not the header's")
	}
	want := h.GetDataHash()
	if isEmpty(h) {
		want = emptyCommitment()
	}
	if !bytes.Equal(commitment(b.data.msg.GetTxs()), want) {
		return errors.New("header does not commit to it")
	}
	return nil
}

// classifier sorts DA blobs as ev-node's retriever does (evolve-wire §6.7).
type classifier struct {
	genesis block.Genesis
	strict  bool // an envelope was seen
}

// header returns the header in a blob, nil when it is none that counts.
func (c *classifier) header(b []byte) *evHeader {
	env := &pb.DAHeaderEnvelope{}
	if proto.Unmarshal(b, env) != nil || env.GetHeader().GetHeight() == 0 || !bytes.Equal(encode(env), b) {
		return nil
	}
	h := newHeader(&pb.P2PSignedHeader{Header: env.GetHeader(), Signature: env.GetSignature(), Signer: env.GetSigner(), DaHeightHint: proto.Uint64(0)})
	if checkHeader(h) != nil || !bytes.Equal(h.inner().GetProposerAddress(), c.genesis.ProposerAddress) {
		return nil
	}
	if len(env.GetEnvelopeSignature()) == 0 {
		if c.strict {
			return nil
		}
		return h
	}
	key, err := rawKey(env.GetSigner())
	if err != nil || !ed25519.Verify(key, encode(h.signed()), env.GetEnvelopeSignature()) {
		return nil
	}
	c.strict = true
	return h
}

// data returns the data in a blob, nil when it is none that counts. Who signed
// does not matter.
func (c *classifier) data(b []byte) *evData {
	s := &pb.SignedData{}
	if proto.Unmarshal(b, s) != nil || s.GetData().GetMetadata() == nil || !bytes.Equal(encode(s), b) {
		return nil
	}
	key, err := rawKey(s.GetSigner())
	if err != nil || !ed25519.Verify(key, encode(s.GetData()), s.GetSignature()) {
		return nil
	}
	return newData(&pb.P2PData{Metadata: s.GetData().GetMetadata(), Txs: s.GetData().GetTxs(), DaHeightHint: proto.Uint64(0)})
}
