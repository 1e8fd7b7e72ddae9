package daworker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

func (e *env) rules() rules {
	return rules{genesis: e.params.Genesis, headerNS: headerNS(), dataNS: dataNS(), proposers: e.params.Proposers}
}

func TestClassifyTellsWhy(t *testing.T) {
	e := newEnv()
	now := e.params.Now()
	b := e.chain.Next([]byte("a"))
	stranger := testutil.Key("stranger")
	e.params.Genesis.InitialHeight = 1
	sign := func(change func(h *block.Header)) []byte {
		h := b.Header.Header
		change(&h)
		return testutil.Envelope(e.chain.Key, testutil.Sign(e.chain.Key, h))
	}
	for name, c := range map[string]struct {
		blob da.Blob
		want string
	}{
		"other namespace": {blob(da.Namespace{28: 9}, testutil.Envelope(e.chain.Key, b.Header)), "namespace"},
		"empty":           {blob(headerNS(), nil), "size"},
		"too large":       {blob(headerNS(), make([]byte, block.MaxBlobBytes+1)), "size"},
		"garbage":         {blob(headerNS(), []byte("hello")), "foreign"},
		"other chain":     {blob(headerNS(), sign(func(h *block.Header) { h.ChainID = "else" })), "foreign"},
		"height 0":        {blob(headerNS(), sign(func(h *block.Header) { h.Height = 0 })), "malformed"},
		"no time":         {blob(headerNS(), sign(func(h *block.Header) { h.Time = 0 })), "structure"},
		"truncated":       {blob(headerNS(), testutil.Envelope(e.chain.Key, b.Header)[:len(testutil.Envelope(e.chain.Key, b.Header))-3]), "malformed"},
		"data, unsigned":  {blob(dataNS(), block.SignedData{Data: b.Data}.Encode()), "signature"},
		"data, empty":     {blob(dataNS(), testutil.DataBlob(stranger, block.NewData(b.Data.Metadata, nil))), "empty"},
		"data, height 0": {blob(dataNS(), testutil.DataBlob(stranger, block.NewData(
			&block.Metadata{ChainID: "torture"}, [][]byte{{1}}))), "height"},
		"raw transaction": {blob(dataNS(), []byte("key=value")), "foreign"},
	} {
		f := e.rules().classify(1, []da.Blob{c.blob}, now)
		require.Equal(t, map[string]uint64{c.want: 1}, f.junk.byName(), name)
		require.Empty(t, f.headers, name)
		require.Empty(t, f.data, name)
	}
}

func TestVerifyFindsForgeriesAmongMany(t *testing.T) {
	e := newEnv()
	bs := e.chain.Blocks(100, 1)
	var blobs []da.Blob
	for i, b := range bs {
		header, data := e.header(b), e.body(b)
		if i%10 == 3 {
			header.Data[len(header.Data)-1] ^= 1 // envelope signature
		}
		if i%10 == 6 {
			s, err := block.DecodeSignedData(data.Data)
			require.NoError(t, err)
			s.Signature[5] ^= 1
			data.Data = s.Encode()
		}
		blobs = append(blobs, header, data)
	}
	f := e.rules().classify(1, blobs, e.params.Now())
	verify([]*found{f})
	require.Equal(t, map[string]uint64{"signature": 20}, f.junk.byName())
	for i := range bs {
		require.Equal(t, i%10 == 3, f.headers[i].bad)
		require.Equal(t, i%10 == 6, f.data[i].bad)
	}
}

// The quick look never refuses what the decoders would take.
func FuzzClassify(f *testing.F) {
	e := newEnv()
	now := e.params.Now()
	r := e.rules()
	for _, b := range e.chain.Blocks(2, 2) {
		f.Add(e.header(b).Data)
		f.Add(e.body(b).Data)
		f.Add(b.Header.Encode())
	}
	for _, b := range junkBlobs(e, 20) {
		f.Add(b.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := r.classify(1, []da.Blob{blob(headerNS(), b), blob(dataNS(), b)}, now)
		verify([]*found{got})
		require.Equal(t, uint64(2), got.junk.total()+uint64(len(got.headers)+len(got.unknown)+len(got.data))-bad(got))
		looksHeader, looksData := peek(b, "torture")
		if env, err := block.DecodeHeaderEnvelope(b); err == nil && env.Header.ChainID() == "torture" {
			require.True(t, looksHeader)
		}
		if s, err := block.DecodeSignedData(b); err == nil && s.Data.ChainID() == "torture" {
			require.True(t, looksData)
		}
	})
}

func bad(f *found) (n uint64) {
	for _, h := range f.headers {
		if h.bad {
			n++
		}
	}
	for _, d := range f.data {
		if d.bad {
			n++
		}
	}
	return n
}

func BenchmarkJunk(b *testing.B) {
	e := newEnv()
	blobs := junkBlobs(e, 10_000)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		f := e.rules().classify(1, blobs, now)
		verify([]*found{f})
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/10_000, "µs/blob")
}

func BenchmarkVerify(b *testing.B) {
	e := newEnv()
	var blobs []da.Blob
	for _, x := range e.chain.Blocks(256, 1) {
		blobs = append(blobs, e.header(x), e.body(x))
	}
	for b.Loop() {
		b.StopTimer()
		f := e.rules().classify(1, blobs, e.params.Now())
		b.StartTimer()
		verify([]*found{f})
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/256, "µs/block")
}
