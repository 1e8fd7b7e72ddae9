package da

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/testutil"
)

func post(t *testing.T, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, strings.TrimSpace(string(raw))
}

func rpcCall(method, params string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
}

// clients are the two ways to reach a server; both must behave alike.
func clients(t *testing.T, s *Server) map[string]Client {
	t.Helper()
	return map[string]Client{"network": newTestClient(t, testConfig(s.URL())), "process": s.Client()}
}

func TestSubmitAndRead(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	headers, data := NamespaceOf("c1-headers"), NamespaceOf("c1-data")
	for name, c := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			before, err := c.Head(t.Context())
			require.NoError(t, err)
			height, err := c.Submit(t.Context(), headers, [][]byte{[]byte("one"), pattern(100_000), []byte("one")})
			require.NoError(t, err)
			require.Greater(t, height, before.Height)
			got, err := c.Blobs(t.Context(), height, data, headers)
			require.NoError(t, err)
			require.Len(t, got, 3, "equal blobs are both kept")
			require.Equal(t, []byte("one"), got[0].Data)
			require.Equal(t, pattern(100_000), got[1].Data)
			want, err := Commit(headers, pattern(100_000))
			require.NoError(t, err)
			require.Equal(t, want, got[1].Commitment)
			at, err := c.HeaderAt(t.Context(), height)
			require.NoError(t, err)
			require.Equal(t, height, at.Height)
			require.WithinDuration(t, time.Now(), at.Time, time.Minute)
			none, err := c.Blobs(t.Context(), height, data)
			require.NoError(t, err)
			require.Empty(t, none)
		})
	}
}

func TestHeightsRiseWithTimeOnly(t *testing.T) {
	cfg := testServerConfig()
	cfg.Freeze = true
	s, _ := startServer(t, cfg)
	c := newTestClient(t, testConfig(s.URL()))
	h, err := c.Head(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, h.Height, "heights start at 1, and a frozen chain has a head too")
	heights := make(chan uint64, 8)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			height, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{byte(i)}})
			if err == nil {
				heights <- height
			}
		})
	}
	require.Eventually(t, func() bool { return s.Status().Pending == 8 }, time.Minute, time.Millisecond)
	require.EqualValues(t, 1, s.Status().Height)
	produced, err := s.Produce()
	require.NoError(t, err)
	wg.Wait()
	for range 8 {
		require.Equal(t, produced, <-heights, "all of one block")
	}
	blobs, err := c.Blobs(t.Context(), produced, NamespaceOf("a"))
	require.NoError(t, err)
	require.Len(t, blobs, 8)
}

func TestAbandonedSubmitLandsAllTheSame(t *testing.T) {
	cfg := testServerConfig()
	cfg.Freeze = true
	s, _ := startServer(t, cfg)
	for name, c := range clients(t, s) {
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 1)
		go func() {
			_, err := c.Submit(ctx, NamespaceOf(name), [][]byte{[]byte("late")})
			errs <- err
		}()
		require.Eventually(t, func() bool { return s.Status().Pending == 1 }, time.Minute, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-errs, ErrUnknown)
		height, err := s.Produce()
		require.NoError(t, err)
		blobs, err := c.Blobs(t.Context(), height, NamespaceOf(name))
		require.NoError(t, err)
		require.Len(t, blobs, 1)
	}
}

func TestHeightsThatAreNotThere(t *testing.T) {
	cfg := testServerConfig()
	cfg.Freeze = true
	s, _ := startServer(t, cfg)
	for range 9 {
		_, err := s.Produce()
		require.NoError(t, err)
	}
	require.NoError(t, s.PruneBelow(4))
	ns := NamespaceOf("a")
	for name, c := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			_, err := c.Blobs(t.Context(), 3, ns)
			require.ErrorIs(t, err, ErrPruned)
			_, err = c.HeaderAt(t.Context(), 3)
			require.ErrorIs(t, err, ErrPruned)
			_, err = c.Blobs(t.Context(), 12, ns)
			require.ErrorIs(t, err, ErrFuture)
			_, err = c.HeaderAt(t.Context(), 12)
			require.ErrorIs(t, err, ErrFuture)
			_, err = c.Blobs(t.Context(), 0, ns)
			require.ErrorIs(t, err, ErrRejected)
			_, err = c.Blobs(t.Context(), 10, ns)
			require.NoError(t, err)
		})
	}
	_, body := post(t, s.URL(), rpcCall("header.GetByHeight", "[1092]"))
	require.JSONEq(t, refusal(1, "header: given height is from the future: networkHeight: 10, requestedHeight: 1092"), body)
	_, body = post(t, s.URL(), rpcCall("header.Tail", "[]"))
	require.Contains(t, body, `"height":"4"`)
}

func TestHeightAboveTheHeadIsWaitedFor(t *testing.T) {
	cfg := testServerConfig()
	cfg.Freeze = true
	s, _ := startServer(t, cfg)
	height := uint64(2)
	for _, c := range clients(t, s) {
		done := make(chan error, 1)
		next := height
		go func() {
			h, err := c.HeaderAt(t.Context(), next)
			if err == nil && h.Height != next {
				err = fmt.Errorf("height %d", h.Height)
			}
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatal("did not wait", err)
		case <-time.After(20 * time.Millisecond):
		}
		_, err := s.Produce()
		require.NoError(t, err)
		require.NoError(t, <-done)
		height++
	}
}

func TestTooLarge(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	ns := NamespaceOf("a")
	for name, c := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			mega := bytes.Repeat([]byte{2}, 1_000_000)
			_, err := c.Submit(t.Context(), ns, [][]byte{mega, mega, mega, mega, mega, mega, mega, mega, mega})
			require.ErrorIs(t, err, ErrTooLarge)
		})
	}
	// As measured: 8,388,000 bytes pass, 8 MiB do not.
	_, err := s.Client().Submit(t.Context(), ns, [][]byte{bytes.Repeat([]byte{1}, 8_388_000)})
	require.NoError(t, err)
	network := newTestClient(t, testConfig(s.URL()))
	_, err = network.Submit(t.Context(), ns, [][]byte{make([]byte, MaxTxBytes)})
	require.ErrorIs(t, err, ErrTooLarge)
	var refused *RPCError
	require.ErrorAs(t, err, &refused)
	require.Regexp(t, "^broadcast tx error: hash [0-9A-F]{64} error:  code: 21$", refused.Message)
}

// TestWireOfARealNode holds the server against texts and framing seen on a real node.
func TestWireOfARealNode(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	ns := NamespaceOf("a")
	id := string(appendBase64(nil, ns[:]))
	wrong := string(appendBase64(nil, make([]byte, 32)))
	blob := func(ns, data string) string {
		return `[[{"namespace":` + ns + `,"data":` + data + `,"commitment":` + wrong + `}],{}]`
	}
	reserved := string(appendBase64(nil, make([]byte, NamespaceSize)))
	for _, c := range []struct {
		name, body string
		status     int
		contains   string
	}{
		{"unknown method", rpcCall("blob.GetProof", "[]"), 500, `"code":-32601,"message":"method 'blob.GetProof' not found"`},
		{"channel over http", rpcCall("header.Subscribe", "[]"), 500, `not supported in this mode (no out channel support)`},
		{"param count", rpcCall("header.GetByHeight", "[]"), 500, `"code":-32602`},
		{"no json", `{"jsonrpc"`, 500, `"code":-32700`},
		{"short namespace", rpcCall("blob.GetAll", `[1,["AAAAAAA="]]`), 500, `invalid namespace length: 5. Must be 29 bytes`},
		{"reserved namespace", rpcCall("blob.Submit", blob(reserved, `"eA=="`)), 500, `invalid user namespace:`},
		{"empty data", rpcCall("blob.Submit", blob(id, `""`)), 500, `"code":-32700`},
		{"empty data text", rpcCall("blob.Submit", blob(id, `""`)), 500, `data can not be empty`},
		{"no blobs", rpcCall("blob.Submit", `[[],{}]`), 200, `{"code":1,"message":"state: no blobs provided"}`},
		{"height zero", rpcCall("blob.GetAll", `[0,[`+id+`]]`), 200, `"message":"height is equal to 0"`},
		{"null", rpcCall("blob.GetAll", `[1,[`+id+`]]`), 200, `"result":null`},
		{"null for no namespaces", rpcCall("blob.GetAll", `[1,[]]`), 200, `"result":null`},
		{"get missing", rpcCall("blob.Get", `[1,`+id+`,`+wrong+`]`), 200, `"message":"blob: not found"`},
		{"included missing", rpcCall("blob.Included", `[1,`+id+`,[],`+wrong+`]`), 200, `"result":false`},
		{"included no proof", rpcCall("blob.Included", `[1,`+id+`,null,`+wrong+`]`), 200, `blob: proof cannot be nil`},
		{
			"fee", rpcCall("blob.Submit", `[[{"namespace":`+id+`,"data":"eA=="}],{"gas_price":0.00001,"is_gas_price_set":true}]`), 200,
			`insufficient minimum gas price for this node; got: 1utia, required: 320utia: insufficient fee code: 13`,
		},
		{"gas", rpcCall("blob.Submit", `[[{"namespace":`+id+`,"data":"eA=="}],{"gas":1000}]`), 200, `code: 11`},
		{"price cap", rpcCall("blob.Submit", `[[{"namespace":`+id+`,"data":"eA=="}],{"max_gas_price":0.001}]`), 200, `exceeds max gas price`},
		{"key", rpcCall("blob.Submit", `[[{"namespace":`+id+`,"data":"eA=="}],{"key_name":"nope"}]`), 200, `nope.info: key not found`},
		{"null options", rpcCall("blob.Submit", `[[{"namespace":`+id+`,"data":"eA=="}],null]`), 200, `"error"`},
		{"null blob", rpcCall("blob.Submit", `[[null],{}]`), 200, `"error"`},
		{"foreign signer", rpcCall("blob.Submit", `[[{"namespace":`+id+`,"data":"eA==","share_version":1,"signer":"AAAAAAAAAAAAAAAAAAAAAAAAAAA="}],{}]`), 200, `invalid blob signer`},
		{"meta is ignored", `{"jsonrpc":"2.0","id":"s","method":"node.Ready","params":[],"meta":{"SpanContext":"AAA="}}`, 200, `"id":"s","jsonrpc":"2.0","result":true`},
		{"batch", `[` + rpcCall("node.Ready", "[]") + `,` + rpcCall("node.Info", "[]") + `]`, 200, `"type":"Bridge"`},
		{"balance", rpcCall("state.Balance", "[]"), 200, `"denom":"utia"`},
		{"address", rpcCall("state.AccountAddress", "[]"), 200, `"result":"celestia1`},
		{"sync state", rpcCall("header.SyncState", "[]"), 200, `"from_height":1`},
		{"too big", rpcCall("blob.Submit", `"`+strings.Repeat("x", maxRequestBytes)+`"`), 500, `request bigger than maximum 16777216 allowed`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := post(t, s.URL(), c.body)
			require.Equal(t, c.status, status, body)
			require.Contains(t, body, c.contains)
		})
	}
}

// TestWrongCommitmentIsIgnored: the node computes its own.
func TestWrongCommitmentIsIgnored(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	ns := NamespaceOf("a")
	id := string(appendBase64(nil, ns[:]))
	_, body := post(t, s.URL(), rpcCall("blob.Submit", `[[{"namespace":`+id+`,"data":"eA==","commitment":`+string(appendBase64(nil, make([]byte, 32)))+`}],{}]`))
	var ans struct{ Result uint64 }
	require.NoError(t, json.Unmarshal([]byte(body), &ans))
	want, err := Commit(ns, []byte("x"))
	require.NoError(t, err)
	_, body = post(t, s.URL(), rpcCall("blob.Get", fmt.Sprintf(`[%d,%s,%s]`, ans.Result, id, appendBase64(nil, want[:]))))
	var got struct{ Result rpcBlob }
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, want[:], got.Result.Commitment)
	require.Positive(t, got.Result.Index)
	_, body = post(t, s.URL(), rpcCall("blob.Included", fmt.Sprintf(`[%d,%s,[],%s]`, ans.Result, id, appendBase64(nil, want[:]))))
	require.Contains(t, body, `"result":true`)
}

func TestHeaderShape(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	waitHeight(t, s, 3)
	_, body := post(t, s.URL(), rpcCall("header.GetByHeight", "[3]"))
	var ans struct {
		Result struct {
			Height *json.RawMessage
			Header struct {
				Height, Time string
				Version      struct{ Block, App string }
				LastBlockID  struct{ Hash string } `json:"last_block_id"`
				DataHash     string                `json:"data_hash"`
			}
			Commit struct {
				Height  string
				BlockID struct{ Hash string } `json:"block_id"`
			}
			DAH struct {
				RowRoots    [][]byte `json:"row_roots"`
				ColumnRoots [][]byte `json:"column_roots"`
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &ans))
	h := ans.Result
	require.Nil(t, h.Height, "no top-level height")
	require.Equal(t, "3", h.Header.Height)
	require.Equal(t, "3", h.Commit.Height)
	require.Equal(t, "11", h.Header.Version.Block)
	require.Regexp(t, "^[0-9A-F]{64}$", h.Header.DataHash)
	require.Len(t, h.DAH.RowRoots[0], 90)
	require.Equal(t, h.Header.DataHash, fmt.Sprintf("%X", merkleRoot(append(h.DAH.RowRoots, h.DAH.ColumnRoots...))))
	_, err := time.Parse(time.RFC3339Nano, h.Header.Time)
	require.NoError(t, err)
	_, before := post(t, s.URL(), rpcCall("header.GetByHeight", "[2]"))
	require.Contains(t, before, `"hash":"`+h.Header.LastBlockID.Hash+`"`, "headers are linked")
	_, wait := post(t, s.URL(), rpcCall("header.WaitForHeight", "[12]"))
	require.Contains(t, wait, `"height":"12"`)
	_, local := post(t, s.URL(), rpcCall("header.LocalHead", "[]"))
	require.Contains(t, local, `"result"`)
}

func TestServerAuth(t *testing.T) {
	cfg := testServerConfig()
	cfg.AuthToken = "right"
	s, _ := startServer(t, cfg)
	status, body := post(t, s.URL(), rpcCall("header.NetworkHead", "[]"))
	require.Equal(t, 200, status)
	require.JSONEq(t, refusal(1, "missing permission to invoke 'NetworkHead' (need 'read')"), body)
	status, body = post(t, s.URL(), rpcCall("node.Ready", "[]"), "Authorization", "Bearer wrong")
	require.Equal(t, 401, status)
	require.Empty(t, body)
	status, _ = post(t, s.URL(), rpcCall("node.Ready", "[]"), "Authorization", "right")
	require.Equal(t, 401, status)
	status, body = post(t, s.URL()+"/?token=right", rpcCall("node.Ready", "[]"))
	require.Equal(t, 200, status)
	require.Contains(t, body, `"result":true`)

	for token, want := range map[string]error{"": ErrAuth, "wrong": ErrAuth, "right": nil} {
		client := testConfig(s.URL())
		client.AuthToken = token
		c := newTestClient(t, client)
		_, err := c.Head(t.Context())
		require.ErrorIs(t, err, want)
		_, err = c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
		require.ErrorIs(t, err, want)
		ctx, cancel := context.WithCancel(t.Context())
		_, err = c.Watch(ctx)
		require.ErrorIs(t, err, want)
		cancel()
	}
}

func TestServerIsBusy(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	s.active.mu.Lock()
	s.active.n += maxConcurrent
	s.active.mu.Unlock()
	_, err := newTestClient(t, testConfig(s.URL())).Head(t.Context())
	require.ErrorIs(t, err, ErrBusy)
	s.active.mu.Lock()
	s.active.n -= maxConcurrent
	s.active.mu.Unlock()
}

// TestUnfinishedRequestsTakeNoPlace: only whole requests count as concurrent ones.
func TestUnfinishedRequestsTakeNoPlace(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	for range 3 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr())
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
		require.NoError(t, err)
	}
	s.active.mu.Lock()
	s.active.n += maxConcurrent - 1
	s.active.mu.Unlock()
	_, err := newTestClient(t, testConfig(s.URL())).Head(t.Context())
	require.NoError(t, err)
	s.active.mu.Lock()
	s.active.n -= maxConcurrent - 1
	s.active.mu.Unlock()
}

func TestServerConcurrency(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	c := newTestClient(t, testConfig(s.URL()))
	const workers, each = 20, 5
	var mu sync.Mutex
	landed := map[uint64]int{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				height, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{byte(w), byte(i)}, {byte(w), byte(i), 0}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				landed[height] += 2
				mu.Unlock()
				if _, err := c.Blobs(t.Context(), height, NamespaceOf("a"), NamespaceOf("b")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for height, n := range landed {
		blobs, err := c.Blobs(t.Context(), height, NamespaceOf("a"))
		require.NoError(t, err)
		require.Len(t, blobs, n)
		total += n
	}
	require.Equal(t, workers*each*2, total)
}

func TestPortInUse(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	cfg := testServerConfig()
	cfg.Listen = s.Addr()
	second, err := NewServer(cfg, zap.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, second.Listen(t.Context()), "address already in use")
	require.ErrorContains(t, second.Run(t.Context()), "address already in use")
	require.NoError(t, second.Close())
}

func TestServerConfigValidate(t *testing.T) {
	require.NoError(t, DefaultServer().Validate())
	for want, change := range map[string]func(*ServerConfig){
		"want host:port":       func(c *ServerConfig) { c.Listen = "x" },
		"da_server.chain_id":   func(c *ServerConfig) { c.ChainID = "" },
		"da_server.block_time": func(c *ServerConfig) { c.BlockTime = 0 },
		"da_server.latency":    func(c *ServerConfig) { c.Latency = -1 },
		"da_server.fail_rate":  func(c *ServerConfig) { c.FailRate = 2 },
		"da_server.outage":     func(c *ServerConfig) { c.Outage = "x" },
	} {
		cfg := DefaultServer()
		change(&cfg)
		_, err := NewServer(cfg, zap.NewNop())
		require.ErrorContains(t, err, want)
	}
}

func TestStopIsQuick(t *testing.T) {
	cfg := testServerConfig()
	cfg.Freeze = true
	s, stop := startServer(t, cfg)
	c := newTestClient(t, testConfig(s.URL()))
	errs := make(chan error, 2)
	go func() {
		_, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
		errs <- err
	}()
	go func() {
		_, err := c.HeaderAt(t.Context(), 2)
		errs <- err
	}()
	events, err := c.Watch(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.Status().Pending == 1 }, time.Minute, time.Millisecond)
	begin := time.Now()
	stop()
	testutil.Took(t, "stop", begin, 2*time.Second)
	require.Error(t, <-errs)
	require.Error(t, <-errs)
	_, open := <-events
	require.False(t, open)
	_, err = s.Client().Head(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, s.SetOutage(OutageDrop), errServerClosed)
}
