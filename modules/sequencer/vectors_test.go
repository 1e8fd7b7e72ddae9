package sequencer_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/sequencer"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

type vector struct {
	Height       uint64     `json:"height"`
	SignedHeader hexBytes   `json:"signed_header"`
	Data         hexBytes   `json:"data"`
	Payload      hexBytes   `json:"header_sign_payload"`
	Signature    hexBytes   `json:"header_signature"`
	Key          hexBytes   `json:"signer_pubkey_raw"`
	Root         hexBytes   `json:"state_root_after"`
	Txs          []hexBytes `json:"txs_hex"`
	DAHeader     *struct {
		Blob hexBytes `json:"blob"`
	} `json:"da_header"`
	DAData *struct {
		Blob hexBytes `json:"blob"`
	} `json:"da_data"`
}

// replay stands for the sequencer that the vectors were captured from: it has
// its mempool, its clock, its state roots and, as the key is not known here,
// its signatures; whatever else is asked to be signed is an error.
type replay struct {
	*process

	vectors    []vector
	signatures map[string][]byte
	done       chan struct{}
}

func (r replay) next() vector {
	if n := int(r.State().LastHeight); n < len(r.vectors) {
		return r.vectors[n]
	}
	return vector{}
}

func (r replay) Public() []byte { return r.vectors[0].Key }

func (r replay) Sign(_ context.Context, m block.Message) ([]byte, error) {
	if s, ok := r.signatures[string(m.Bytes())]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("%w: the real sequencer never signed %x", errCrash, m.Bytes())
}

func (r replay) GetTxs(context.Context, int) (txs [][]byte, err error) {
	for _, tx := range r.next().Txs {
		txs = append(txs, tx)
	}
	return txs, nil
}

func (r replay) Apply(_ context.Context, bs []block.Block, _ block.Source) error {
	v := r.next()
	if err := block.Verify(r.State(), bs[0], bs[0].Header.Time()); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocks = append(r.blocks, bs[0])
	st := r.states[len(r.states)-1].Next(bs[0].Header, block.ExecResult{StateRoot: v.Root})
	r.states = append(r.states, st)
	if len(r.blocks) == len(r.vectors) {
		close(r.done)
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// TestVectors makes the captured chain again, to the byte, and its DA blobs.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../block/testdata/blocks.json")
	require.NoError(t, err)
	var file struct {
		Blocks []vector `json:"blocks"`
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	rawGenesis, err := os.ReadFile("../block/testdata/genesis.json")
	require.NoError(t, err)
	genesis, err := block.DecodeGenesis(rawGenesis)
	require.NoError(t, err)
	require.Len(t, file.Blocks, 26)

	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.genesis, w.states = genesis, []block.State{block.GenesisState(genesis, nil)}
		r := replay{process: w.process(), vectors: file.Blocks, signatures: map[string][]byte{}, done: make(chan struct{})}
		r.learn(t)
		w.cfg.BlockTime = time.Microsecond // the clock sets the pace
		params := r.producerParams()
		params.Signer, params.Chain, params.Executor = r, r, r
		var off time.Duration
		params.Now = func() time.Time {
			v := r.next()
			if v.Height == 0 {
				return time.Now()
			}
			h, err := block.DecodeSignedHeader(v.SignedHeader)
			require.NoError(t, err)
			if off == 0 {
				off = time.Until(h.Time())
			}
			if early := time.Until(h.Time()) - off; early > 0 {
				time.Sleep(early) // both clocks go on alike
			}
			return h.Time()
		}
		failed := make(chan error, 1)
		run(t, func(ctx context.Context) error {
			err := sequencer.NewProducer(params).Run(ctx)
			failed <- err
			return err
		})
		select {
		case <-r.done:
		case err := <-failed:
			require.NoError(t, err)
		}
		for i, b := range w.made()[:26] {
			require.Equal(t, hexBytes(b.Header.Payload()), file.Blocks[i].Payload)
			require.Equal(t, hexBytes(b.Header.Encode()), file.Blocks[i].SignedHeader)
			require.Equal(t, hexBytes(b.Data.Encode()), file.Blocks[i].Data)
		}
		r.checkBlobs(t)
	})
}

// learn collects all signatures of the real sequencer.
func (r replay) learn(t *testing.T) {
	t.Helper()
	for _, v := range r.vectors {
		r.signatures[string(v.Payload)] = v.Signature
		e, err := block.DecodeHeaderEnvelope(v.DAHeader.Blob)
		require.NoError(t, err)
		r.signatures[string(v.SignedHeader)] = e.Signature
		if v.DAData != nil {
			s, err := block.DecodeSignedData(v.DAData.Blob)
			require.NoError(t, err)
			r.signatures[string(v.Data)] = s.Signature
		}
	}
}

func (r replay) checkBlobs(t *testing.T) {
	t.Helper()
	s := sequencer.NewSubmitter(sequencer.SubmitterParams{
		Config: r.cfg, Genesis: r.genesis, Signer: r, Chain: r, Store: r, Headers: headers{r.world}, Data: datas{r.world},
		Client: r, Namespaces: spaces, Log: zap.NewNop(),
	})
	run(t, s.Run)
	after(time.Minute)
	want := map[da.Namespace][]hexBytes{}
	for _, v := range r.vectors {
		want[spaces.Header] = append(want[spaces.Header], v.DAHeader.Blob)
		if v.DAData != nil {
			want[spaces.Data] = append(want[spaces.Data], v.DAData.Blob)
		}
	}
	got := map[da.Namespace][]hexBytes{}
	for h := range r.da.now() {
		for _, b := range r.da.at[h] {
			got[b.Namespace] = append(got[b.Namespace], b.Data)
		}
	}
	require.Len(t, want[spaces.Data], 9)
	require.Equal(t, want, got)
}
