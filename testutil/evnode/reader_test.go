package evnode

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/modules/block"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
)

// rpcBlob is a blob in ev-node's DA client.
type rpcBlob struct {
	Namespace    []byte `json:"namespace"`
	Data         []byte `json:"data"`
	ShareVersion uint32 `json:"share_version"`
	Commitment   []byte `json:"commitment"`
	Signer       []byte `json:"signer,omitempty"`
	Index        int    `json:"index"`
}

// rpcHeader is a header there: heights are numbers, which is its fault.
type rpcHeader struct {
	Header struct {
		Height uint64    `json:"height"`
		Time   time.Time `json:"time"`
	} `json:"header"`
}

// rpcEvent is an event of blob.Subscribe there.
type rpcEvent struct {
	Blobs  []*rpcBlob `json:"blobs"`
	Height uint64     `json:"height"`
	Header *struct {
		Height uint64    `json:"height"`
		Time   time.Time `json:"time"`
	} `json:"header"`
}

// daClient is ev-node's DA client: proxy structs of go-jsonrpc, a connection per
// module.
type daClient struct {
	Blob struct {
		Submit    func(context.Context, []*rpcBlob, *struct{}) (uint64, error)
		GetAll    func(context.Context, uint64, [][]byte) ([]*rpcBlob, error)
		Subscribe func(context.Context, []byte) (<-chan *rpcEvent, error)
	}
	Header struct {
		NetworkHead func(context.Context) (*rpcHeader, error)
		GetByHeight func(context.Context, uint64) (*rpcHeader, error)
	}
}

func dialDA(t *testing.T, url string) *daClient {
	t.Helper()
	c := &daClient{}
	address := strings.Replace(url, "http", "ws", 1)
	for module, out := range map[string]any{"blob": &c.Blob, "header": &c.Header} {
		stop, err := jsonrpc.NewClient(t.Context(), address, module, out, nil)
		require.NoError(t, err)
		t.Cleanup(stop)
	}
	return c
}

// reader is ev-node's retrieval loop in small: events raise the head, every
// height is read, first the headers and then the data, and blocks are applied in
// order as soon as both halves are there.
type reader struct {
	t        *testing.T
	client   *daClient
	headerNS []byte
	dataNS   []byte
	classifier
	ledger *ledger

	at       uint64 // DA height to read next
	headers  map[uint64]*evHeader
	data     map[uint64]*evData
	headerAt map[uint64]uint64 // block height → DA height
	dataAt   map[uint64]uint64
	blocks   []evBlock
}

func newReader(t *testing.T, g block.Genesis, url string, headerNS, dataNS []byte) *reader {
	t.Helper()
	return &reader{
		t: t, client: dialDA(t, url), at: g.DAStartHeight, headerNS: headerNS, dataNS: dataNS, classifier: classifier{genesis: g}, ledger: newLedger(g),
		headers: map[uint64]*evHeader{}, data: map[uint64]*evData{}, headerAt: map[uint64]uint64{}, dataAt: map[uint64]uint64{},
	}
}

// to reads until a block height is applied.
func (r *reader) to(height uint64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), soon)
	defer cancel()
	events, err := r.client.Blob.Subscribe(ctx, r.headerNS)
	require.NoError(r.t, err)
	for r.ledger.height < height {
		select {
		case <-ctx.Done():
			require.Fail(r.t, "not reached", "applied %d of %d, DA height %d", r.ledger.height, height, r.at)
		case ev, ok := <-events:
			require.True(r.t, ok, "the stream ended")
			require.NotNil(r.t, ev.Header)
			require.Equal(r.t, ev.Height, ev.Header.Height)
			for ; r.at <= ev.Height && r.ledger.height < height; r.at++ {
				r.read(ctx, r.at)
				r.apply()
			}
		}
	}
}

func (r *reader) read(ctx context.Context, at uint64) {
	r.t.Helper()
	for _, blob := range r.all(ctx, at, r.headerNS) {
		if h := r.header(blob.Data); h != nil {
			if _, known := r.headers[h.Height()]; !known {
				r.headers[h.Height()], r.headerAt[h.Height()] = h, at
			}
		}
	}
	for _, blob := range r.all(ctx, at, r.dataNS) {
		if d := r.classifier.data(blob.Data); d != nil {
			if _, known := r.data[d.Height()]; !known {
				r.data[d.Height()], r.dataAt[d.Height()] = d, at
			}
		}
	}
}

func (r *reader) all(ctx context.Context, at uint64, ns []byte) []*rpcBlob {
	r.t.Helper()
	blobs, err := r.client.Blob.GetAll(ctx, at, [][]byte{ns})
	if err != nil && strings.Contains(err.Error(), "blob: not found") {
		return nil
	}
	require.NoError(r.t, err)
	for _, b := range blobs {
		require.LessOrEqual(r.t, len(b.Data), maxGossip)
		require.Zero(r.t, b.ShareVersion)
	}
	return blobs
}

// apply takes what is complete and next.
func (r *reader) apply() {
	r.t.Helper()
	for {
		next := r.ledger.height + 1
		h, ok := r.headers[next]
		if !ok {
			return
		}
		d, ok := r.data[next]
		if h.isEmpty() {
			require.False(r.t, ok, "data of the empty block %d is on DA", next)
			d = r.synthesise(h)
			r.dataAt[next] = r.headerAt[next]
		} else if !ok {
			return
		}
		b := evBlock{h, d}
		require.NoError(r.t, r.ledger.apply(b))
		r.blocks = append(r.blocks, b)
	}
}

// synthesise makes the data of an empty block from its header.
func (r *reader) synthesise(h *evHeader) *evData {
	return newData(&pb.P2PData{DaHeightHint: proto.Uint64(0), Metadata: &pb.Metadata{
		ChainId: h.ChainID(), Height: h.Height(), Time: h.inner().GetTime(), LastDataHash: r.ledger.lastData,
	}})
}
