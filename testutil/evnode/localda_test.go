package evnode

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
)

// localMock is ev-node's tools/local-da (evolve-wire §6.10): in memory, from
// height 0, one height per tick and one more per submission. Ticks come from the
// test.
type localMock struct {
	mu     sync.Mutex
	height uint64
	blobs  map[uint64][]*rpcBlob
	times  map[uint64]time.Time
	subs   map[chan *localEvent][]byte

	calls map[string]int
	url   string
}

// localEvent has lower-case keys.
type localEvent struct {
	Blobs  []*rpcBlob `json:"blobs"`
	Height uint64     `json:"height"`
	Header *rpcHeight `json:"header,omitempty"`
}

type rpcHeight struct {
	Height uint64    `json:"height"`
	Time   time.Time `json:"time"`
}

// localHeader is its own struct: the height that counts is at the top, as text.
type localHeader struct {
	Header struct {
		ChainID string    `json:"chain_id"`
		Height  uint64    `json:"height"`
		Time    time.Time `json:"time"`
	} `json:"header"`
	Commit struct {
		Height uint64 `json:"height"`
	} `json:"commit"`
	DAH struct {
		RowRoots    [][]byte `json:"row_roots"`
		ColumnRoots [][]byte `json:"column_roots"`
	} `json:"dah"`
	Height  string    `json:"height"`
	ChainID string    `json:"chain_id"`
	Time    time.Time `json:"time"`
}

func newLocalMock(t *testing.T) *localMock {
	t.Helper()
	m := &localMock{
		blobs: map[uint64][]*rpcBlob{}, times: map[uint64]time.Time{0: now()}, subs: map[chan *localEvent][]byte{}, calls: map[string]int{},
	}
	rpc := jsonrpc.NewServer()
	rpc.Register("blob", &localBlobs{m})
	rpc.Register("header", &localHeaders{m})
	server := httptest.NewServer(rpc)
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

// tick makes an empty height.
func (m *localMock) tick() { m.put() }

// put makes a height with these blobs and returns it.
func (m *localMock) put(blobs ...*rpcBlob) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(m.height+1, blobs)
}

// putAt makes all heights up to one that holds these blobs.
func (m *localMock) putAt(height uint64, blobs ...*rpcBlob) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if height <= m.height {
		m.blobs[height] = append(m.blobs[height], committed(blobs)...)
		return
	}
	for m.height+1 < height {
		m.add(m.height+1, nil)
	}
	m.add(height, blobs)
}

func (m *localMock) add(height uint64, blobs []*rpcBlob) uint64 {
	m.height, m.times[height] = height, now()
	m.blobs[height] = append(m.blobs[height], committed(blobs)...)
	for sub, ns := range m.subs {
		ev := &localEvent{Height: height, Header: &rpcHeight{height, m.times[height]}}
		for _, b := range m.blobs[height] {
			if slices.Equal(b.Namespace, ns) {
				ev.Blobs = append(ev.Blobs, b)
			}
		}
		select {
		case sub <- ev:
		default: // slow ones lose events
		}
	}
	return height
}

// committed computes the commitments that blobs came without.
func committed(blobs []*rpcBlob) []*rpcBlob {
	for _, b := range blobs {
		if commitment, err := commit(celBlob{Namespace: b.Namespace, Data: b.Data}); err == nil && len(b.Commitment) == 0 {
			b.Commitment = commitment
		}
	}
	return blobs
}

func (m *localMock) called(method string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[method]++
}

func (m *localMock) count(method string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[method]
}

var (
	errLocalMissing = errors.New("blob: not found")
	errLocalFuture  = errors.New("given height is from the future")
)

// localBlobs are the blob methods.
type localBlobs struct{ m *localMock }

func (a *localBlobs) Submit(_ context.Context, blobs []*rpcBlob, _ *struct{}) (uint64, error) {
	a.m.called("Submit")
	for _, b := range blobs {
		if len(b.Data) > 7340032 {
			return 0, errors.New("blob: over size limit")
		}
	}
	return a.m.put(blobs...), nil
}

func (a *localBlobs) GetAll(_ context.Context, height uint64, namespaces [][]byte) ([]*rpcBlob, error) {
	a.m.called("GetAll")
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	if height > a.m.height {
		return nil, errLocalFuture
	}
	var out []*rpcBlob
	for _, b := range a.m.blobs[height] {
		if len(namespaces) == 0 || slices.ContainsFunc(namespaces, func(ns []byte) bool { return slices.Equal(ns, b.Namespace) }) {
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		return nil, errLocalMissing
	}
	return out, nil
}

func (a *localBlobs) Subscribe(ctx context.Context, ns []byte) (<-chan *localEvent, error) {
	a.m.called("Subscribe")
	ch := make(chan *localEvent, 100)
	a.m.mu.Lock()
	a.m.subs[ch] = ns
	a.m.mu.Unlock()
	go func() {
		<-ctx.Done()
		a.m.mu.Lock()
		defer a.m.mu.Unlock()
		delete(a.m.subs, ch)
		close(ch)
	}()
	return ch, nil
}

// localHeaders are the header methods. There is no header.Subscribe.
type localHeaders struct{ m *localMock }

func (a *localHeaders) NetworkHead(context.Context) (*localHeader, error) {
	a.m.called("NetworkHead")
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	return a.m.header(a.m.height), nil
}

func (a *localHeaders) LocalHead(ctx context.Context) (*localHeader, error) {
	return a.NetworkHead(ctx)
}

func (a *localHeaders) GetByHeight(_ context.Context, height uint64) (*localHeader, error) {
	a.m.called("GetByHeight")
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	if height > a.m.height {
		return nil, errLocalFuture
	}
	return a.m.header(height), nil
}

func (m *localMock) header(height uint64) *localHeader {
	h := &localHeader{Height: strconv.FormatUint(height, 10), ChainID: "local-da", Time: m.times[height]}
	h.Header.Time = m.times[height]
	return h
}
