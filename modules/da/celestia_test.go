package da

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

const (
	realHeader = `{"header":{"version":{"block":"11","app":"9"},"chain_id":"private","height":"89","time":"2026-03-01T10:11:12.123456789Z",
"last_block_id":{"hash":"AB","parts":{"total":1,"hash":"CD"}},"data_hash":"3D96"},"commit":{"height":"89","round":0,"block_id":{"hash":"0AFF","parts":{"total":1,"hash":"CD"}}},
"validator_set":{"validators":[]},"dah":{"row_roots":["AAAA"],"column_roots":[]}}`
	localDAHeader = `{"header":{"chain_id":"","height":0,"time":"2026-03-01T10:11:12.123456789Z"},"commit":{"height":0},
"dah":{"row_roots":null,"column_roots":null},"height":"89","chain_id":"local-da","time":"2026-03-01T10:11:12.123456789Z"}`
	numericHeader = `{"header":{"height":89,"time":"2026-03-01T11:11:12.123456789+01:00"}}`
)

func result(raw string) string { return `{"id":1,"jsonrpc":"2.0","result":` + raw + `}` + "\n" }

func refusal(code int, message string) string {
	raw, _ := json.Marshal(message)
	return fmt.Sprintf(`{"error":{"code":%d,"message":%s},"id":1,"jsonrpc":"2.0"}`, code, raw)
}

func TestHeadAcceptsEveryEncoding(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 11, 12, 123456789, time.UTC)
	chains := map[string]string{"celestia": "private", "local-da": "local-da"}
	hashes := map[string]string{"celestia": "0AFF"}
	for name, body := range map[string]string{"celestia": realHeader, "local-da": localDAHeader, "numbers": numericHeader} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, canned(http.StatusOK, result(body)))
			c := newTestClient(t, testConfig(e.URL))
			want := Head{Height: 89, Time: at, Chain: chains[name], Hash: hashes[name]}
			got, err := c.Head(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, got)
			sent, _ := e.last()
			require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"method":"header.NetworkHead","params":[]}`, sent)
			got, err = c.HeaderAt(t.Context(), 89)
			require.NoError(t, err)
			require.Equal(t, want, got)
			sent, _ = e.last()
			require.JSONEq(t, `{"jsonrpc":"2.0","id":2,"method":"header.GetByHeight","params":[89]}`, sent)
		})
	}
}

// ev-node's local DA answers before it has made a block.
func TestHeadOfNothing(t *testing.T) {
	e := newEndpoint(t, canned(http.StatusOK, result(`{"header":{"chain_id":"","height":0,"time":"2026-03-01T10:11:12Z"},"height":"0","chain_id":"local-da","time":"2026-03-01T10:11:12Z"}`)))
	c := newTestClient(t, testConfig(e.URL))
	got, err := c.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, Head{Time: time.Date(2026, 3, 1, 10, 11, 12, 0, time.UTC), Chain: "local-da"}, got)
	_, err = c.HeaderAt(t.Context(), 1)
	require.ErrorIs(t, err, ErrUnavailable)
}

func TestHeaderOfAnotherHeightIsRefused(t *testing.T) {
	c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, result(realHeader))).URL))
	_, err := c.HeaderAt(t.Context(), 90)
	require.ErrorIs(t, err, ErrDishonest)
	for _, body := range []string{`null`, `{}`, `{"header":{}}`, `{"header":{"height":"x"}}`, `7`} {
		c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, result(body))).URL))
		_, err := c.Head(t.Context())
		require.ErrorIs(t, err, ErrUnavailable, body)
	}
}

func TestHeightZeroIsNotAsked(t *testing.T) {
	e := newEndpoint(t, canned(http.StatusOK, result(`null`)))
	c := newTestClient(t, testConfig(e.URL))
	_, err := c.HeaderAt(t.Context(), 0)
	require.ErrorIs(t, err, ErrRejected)
	_, err = c.Blobs(t.Context(), 0, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrRejected)
	require.Empty(t, e.bodies)
}

func blobJSON(ns Namespace, data []byte, commitment []byte) string {
	raw, _ := json.Marshal(map[string]any{
		"namespace": ns[:], "data": data, "share_version": 0, "commitment": commitment, "index": 4,
	})
	return string(raw)
}

func TestBlobsAsksOnceForAllNamespaces(t *testing.T) {
	a, b := NamespaceOf("a"), NamespaceOf("b")
	ca, err := Commit(a, []byte("one"))
	require.NoError(t, err)
	cb, err := Commit(b, []byte("two"))
	require.NoError(t, err)
	e := newEndpoint(t, canned(http.StatusOK, result("["+blobJSON(a, []byte("one"), ca[:])+","+blobJSON(b, []byte("two"), cb[:])+"]")))
	c := newTestClient(t, testConfig(e.URL))
	got, err := c.Blobs(t.Context(), 12, a, b, a)
	require.NoError(t, err)
	require.Equal(t, []Blob{{a, []byte("one"), ca}, {b, []byte("two"), cb}}, got)
	sent, _ := e.last()
	enc := base64.StdEncoding.EncodeToString
	require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"method":"blob.GetAll","params":[12,["`+enc(a[:])+`","`+enc(b[:])+`"]]}`, sent)
	require.Zero(t, c.Stats().Forged)
}

func TestBlobsNoneIsNoError(t *testing.T) {
	for _, body := range []string{result(`null`), result(`[]`), refusal(1, "blob: not found")} {
		c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, body)).URL))
		got, err := c.Blobs(t.Context(), 12, NamespaceOf("a"))
		require.NoError(t, err, body)
		require.Empty(t, got)
	}
}

func TestBlobsDropsWhatDoesNotFit(t *testing.T) {
	ns := NamespaceOf("a")
	good, err := Commit(ns, []byte("good"))
	require.NoError(t, err)
	list := strings.Join([]string{
		blobJSON(ns, make([]byte, 101), nil),
		`{"namespace":"` + base64.StdEncoding.EncodeToString(ns[:]) + `","data":"eA==","share_version":3}`,
		blobJSON(ns, []byte("good"), good[:]),
	}, ",")
	cfg := testConfig(newEndpoint(t, canned(http.StatusOK, result("["+list+"]"))).URL)
	cfg.MaxBlobBytes = 100
	c := newTestClient(t, cfg)
	got, err := c.Blobs(t.Context(), 12, ns)
	require.NoError(t, err)
	require.Equal(t, []Blob{{ns, []byte("good"), good}}, got)
	require.Equal(t, Stats{Calls: 1, DroppedSize: 1, DroppedVersion: 1}, c.Stats())
}

func TestSignedBlobHasItsOwnCommitment(t *testing.T) {
	ns := NamespaceOf("a")
	signer := make([]byte, accountSize)
	signer[3] = 9
	want, err := commit(ns, []byte("authored"), 1, signer)
	require.NoError(t, err)
	plain, err := Commit(ns, []byte("authored"))
	require.NoError(t, err)
	require.NotEqual(t, want, plain)
	raw, err := json.Marshal([]map[string]any{{"namespace": ns[:], "data": []byte("authored"), "share_version": 1, "signer": signer, "commitment": want[:]}})
	require.NoError(t, err)
	c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, result(string(raw)))).URL))
	got, err := c.Blobs(t.Context(), 1, ns)
	require.NoError(t, err)
	require.Equal(t, []Blob{{ns, []byte("authored"), want}}, got)
}

func TestSubmitRequest(t *testing.T) {
	ns := NamespaceOf("a")
	commitment, err := Commit(ns, []byte("one"))
	require.NoError(t, err)
	e := newEndpoint(t, canned(http.StatusOK, result(`101`)))
	cfg := testConfig(e.URL)
	cfg.AuthToken = "secret"
	cfg.SubmitOptions = ` {"gas_price": 0.01, "is_gas_price_set": true}`
	c := newTestClient(t, cfg)
	height, err := c.Submit(t.Context(), ns, [][]byte{[]byte("one")})
	require.NoError(t, err)
	require.EqualValues(t, 101, height)
	sent, header := e.last()
	enc := base64.StdEncoding.EncodeToString
	require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"method":"blob.Submit","params":[[{"namespace":"`+enc(ns[:])+`","data":"`+enc([]byte("one"))+
		`","share_version":0,"commitment":"`+enc(commitment[:])+`","index":-1}],{"gas_price":0.01,"is_gas_price_set":true}]}`, sent)
	require.Equal(t, "Bearer secret", header.Get("Authorization"))

	e.answer = canned(http.StatusOK, result(`"102"`))
	height, err = c.Submit(t.Context(), ns, [][]byte{[]byte("one")})
	require.NoError(t, err)
	require.EqualValues(t, 102, height)
	e.answer = canned(http.StatusOK, result(`null`))
	_, err = c.Submit(t.Context(), ns, [][]byte{[]byte("one")})
	require.ErrorIs(t, err, ErrUnknown)
}

func TestSubmitRefusesBeforeSending(t *testing.T) {
	e := newEndpoint(t, canned(http.StatusOK, result(`1`)))
	cfg := testConfig(e.URL)
	cfg.MaxBlobBytes = 1000
	c := newTestClient(t, cfg)
	_, err := c.Submit(t.Context(), NamespaceOf("a"), nil)
	require.ErrorIs(t, err, ErrRejected)
	_, err = c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{}})
	require.ErrorIs(t, err, ErrRejected)
	_, err = c.Submit(t.Context(), NamespaceOf("a"), [][]byte{make([]byte, 1001)})
	require.ErrorIs(t, err, ErrTooLarge)
	require.Empty(t, e.bodies)
}

func TestErrorClasses(t *testing.T) {
	big := "broadcast tx error: hash 3F error:  code: 21"
	for _, c := range []struct {
		name         string
		status       int
		body         string
		read, submit error
	}{
		{"future", 200, refusal(1, "header: given height is from the future: networkHeight: 92, requestedHeight: 1092"), ErrFuture, ErrFuture},
		{"syncing", 200, refusal(1, "header: syncing in progress: localHeadHeight: 5, requestedHeight: 9"), ErrSyncing, ErrSyncing},
		{"pruned", 200, refusal(1, "requested header (3) is below Tail (90)"), ErrPruned, ErrPruned},
		{"height 0", 200, refusal(1, "height is equal to 0"), ErrRejected, ErrRejected},
		{"permission", 200, refusal(1, "missing permission to invoke 'NetworkHead' (need 'read')"), ErrAuth, ErrAuth},
		{"bad token", 401, "", ErrAuth, ErrAuth},
		{"busy", 503, "server busy, try again later\n", ErrBusy, ErrBusy},
		{"rate limit", 429, "slow down", ErrBusy, ErrBusy},
		{"busy proxy", 503, "upstream timed out", ErrBusy, ErrUnknown},
		{"redirect", 307, "", ErrUnavailable, ErrUnavailable},
		{"gas", 200, refusal(1, "broadcast tx error: out of gas code: 11"), ErrGas, ErrGas},
		{"funds", 200, refusal(1, "broadcast tx error: hash 3F error: spendable balance 1utia is smaller than 320utia: insufficient funds code: 5"), ErrFunds, ErrFunds},
		{"never funded", 200, refusal(1, "state: failed to query account: rpc error: code = NotFound desc = account celestia1w7 not found: key not found"), ErrFunds, ErrFunds},
		{"unknown address", 200, refusal(1, "fee payer address: celestia1w7 does not exist: unknown address code: 9"), ErrAccount, ErrAccount},
		{"signer address", 200, refusal(1, "failed to get tx author address: decoding bech32 failed: invalid separator index -1"), ErrAccount, ErrAccount},
		{"unknown key", 200, refusal(1, "failed to get tx author address: getting account key: nope.info: key not found"), ErrAccount, ErrAccount},
		{"no grant", 200, refusal(1, "fee-grant not found code: 38"), ErrAccount, ErrAccount},
		{"square", 200, refusal(1, "broadcast tx error: hash 3F error: total blob size 3000000 exceeds max 1900000: blob(s) too large code: 11139"), ErrTooLarge, ErrTooLarge},
		{"fee", 200, refusal(1, "insufficient minimum gas price for this node; got: 1utia, required: 320utia: insufficient fee code: 13"), ErrFee, ErrFee},
		{"price cap", 200, refusal(1, "state: estimated gas price exceeds max gas price in tx config"), ErrFee, ErrFee},
		{"in mempool", 200, refusal(1, "tx already in mempool cache code: 19"), ErrUnknown, ErrUnknown},
		{"mempool full", 200, refusal(1, "mempool is full code: 20"), ErrBusy, ErrBusy},
		{"too large", 200, refusal(1, big), ErrTooLarge, ErrTooLarge},
		{"too large, old text", 200, refusal(1, "blob: over size limit"), ErrTooLarge, ErrTooLarge},
		{"request too large", 500, refusal(-32700, "request bigger than maximum 16777216 allowed"), ErrTooLarge, ErrTooLarge},
		{"sequence", 200, refusal(1, "account sequence mismatch, expected 5, got 4: incorrect account sequence code: 32"), ErrBusy, ErrBusy},
		{"unauthorized", 200, refusal(1, "broadcast tx error: hash 3F error: unauthorized code: 4"), ErrAccount, ErrAccount},
		{"other abci code", 200, refusal(1, "broadcast tx error: hash 3F error: invalid request code: 18"), ErrRejected, ErrRejected},
		{"no such method", 500, refusal(-32601, "method 'x' not found"), ErrRejected, ErrRejected},
		{"param count", 500, refusal(-32602, "wrong param count"), ErrRejected, ErrRejected},
		{"namespace", 500, refusal(-32700, "unmarshaling params: invalid namespace length: 5. Must be 29 bytes"), ErrRejected, ErrRejected},
		{"panic", 500, refusal(0, "fatal error calling 'blob.Submit': panic"), ErrUnavailable, ErrUnknown},
		{"inclusion timeout", 200, refusal(1, "timed out waiting for tx to be included in a block"), ErrUnavailable, ErrUnknown},
		{"anything", 200, refusal(1, "rpc error: code = Unavailable desc = connection refused"), ErrUnavailable, ErrUnknown},
		{"proxy", 502, "<html>bad gateway</html>", ErrUnavailable, ErrUnknown},
		{"not there", 404, "404 page not found", ErrUnavailable, ErrUnavailable},
		{"empty", 200, "", ErrUnavailable, ErrUnknown},
		{"cut off", 200, `{"id":1,"result":[`, ErrUnavailable, ErrUnknown},
		{"not the type", 200, result(`"x"`), ErrUnavailable, ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newTestClient(t, testConfig(newEndpoint(t, canned(c.status, c.body)).URL))
			_, err := client.Blobs(t.Context(), 3, NamespaceOf("a"))
			require.ErrorIs(t, err, c.read)
			_, err = client.HeaderAt(t.Context(), 3)
			require.ErrorIs(t, err, c.read)
			_, err = client.Submit(t.Context(), NamespaceOf("a"), [][]byte{[]byte("x")})
			require.ErrorIs(t, err, c.submit)
		})
	}
}

func TestAuthErrorNamesTheFix(t *testing.T) {
	c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusUnauthorized, "")).URL))
	_, err := c.Head(t.Context())
	require.ErrorContains(t, err, "check da.auth_token")
}

func TestRPCErrorKeepsTheText(t *testing.T) {
	c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, refusal(1, strings.Repeat("x", 5000)))).URL))
	_, err := c.Head(t.Context())
	var rpc *RPCError
	require.ErrorAs(t, err, &rpc)
	require.Equal(t, "header.NetworkHead", rpc.Method)
	require.Equal(t, 1, rpc.Code)
	require.Less(t, len(rpc.Message), 1100)
}

func TestAnswerIsBounded(t *testing.T) {
	cfg := testConfig(newEndpoint(t, canned(http.StatusOK, result(strings.Repeat(" ", 2<<20)+`null`))).URL)
	cfg.MaxResponseBytes = 1 << 20
	c := newTestClient(t, cfg)
	_, err := c.Blobs(t.Context(), 3, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, "max_response_bytes")
}

// hang answers nothing until the client has gone.
func hang(_ string, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestDeadlines(t *testing.T) {
	cfg := testConfig(newEndpoint(t, hang).URL)
	cfg.HeadTimeout, cfg.ReadTimeout, cfg.RequestTimeout = 30*time.Millisecond, 30*time.Millisecond, sending
	c := newTestClient(t, cfg)
	_, err := c.Head(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context has not ended")
	_, err = c.Blobs(t.Context(), 3, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = c.HeaderAt(t.Context(), 3)
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = c.Submit(t.Context(), NamespaceOf("a"), [][]byte{[]byte("x")})
	require.ErrorIs(t, err, ErrUnknown)
}

func TestWaitAboveTheHeadIsTheFuture(t *testing.T) {
	e := newEndpoint(t, func(method string, w http.ResponseWriter, r *http.Request) {
		if method == "header.NetworkHead" {
			_, _ = io.WriteString(w, result(realHeader))
			return
		}
		hang(method, w, r)
	})
	cfg := testConfig(e.URL)
	cfg.ReadTimeout = 30 * time.Millisecond
	c := newTestClient(t, cfg)
	_, err := c.Blobs(t.Context(), 90, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrFuture)
	_, err = c.HeaderAt(t.Context(), 90)
	require.ErrorIs(t, err, ErrFuture)
	_, err = c.Blobs(t.Context(), 89, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrUnavailable, "a height that exists is not the future")
}

func TestCallerCancels(t *testing.T) {
	started := make(chan struct{}, 8)
	e := newEndpoint(t, func(method string, w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		hang(method, w, r)
	})
	c := newTestClient(t, testConfig(e.URL))
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() {
		_, err := c.Submit(ctx, NamespaceOf("a"), [][]byte{[]byte("x")})
		errs <- err
	}()
	<-started
	cancel()
	err := <-errs
	require.ErrorIs(t, err, ErrUnknown)
	require.ErrorIs(t, err, context.Canceled)
	_, err = c.Head(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ErrUnavailable)
}

func TestConnectionRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := ln.Addr().String()
	require.NoError(t, ln.Close())
	c := newTestClient(t, testConfig("http://"+address+"/?token=hush"))
	_, err = c.Submit(t.Context(), NamespaceOf("a"), [][]byte{[]byte("x")})
	require.ErrorIs(t, err, ErrUnavailable, "nothing was sent")
	_, err = c.Head(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotContains(t, err.Error(), "hush")
	_, err = c.Watch(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotContains(t, err.Error(), "hush")
}

func TestConnectionCut(t *testing.T) {
	c := newTestClient(t, testConfig(newEndpoint(t, func(_ string, w http.ResponseWriter, _ *http.Request) { cut(w) }).URL))
	_, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{[]byte("x")})
	require.ErrorIs(t, err, ErrUnknown)
	_, err = c.Blobs(t.Context(), 3, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrUnavailable)
}

func TestNoneIsDisabled(t *testing.T) {
	var c Client = None{}
	_, err := c.Head(t.Context())
	require.ErrorIs(t, err, ErrDisabled)
	_, err = c.HeaderAt(t.Context(), 1)
	require.ErrorIs(t, err, ErrDisabled)
	_, err = c.Blobs(t.Context(), 1)
	require.ErrorIs(t, err, ErrDisabled)
	_, err = c.Submit(t.Context(), Namespace{}, nil)
	require.ErrorIs(t, err, ErrDisabled)
	_, err = c.Watch(t.Context())
	require.ErrorIs(t, err, ErrDisabled)
}

func TestConfigValidate(t *testing.T) {
	require.NoError(t, Default().Validate())
	require.NoError(t, testConfig("wss://da.example:443/rpc").Validate())
	for want, change := range map[string]func(*Config){
		"want a URL that starts with http": func(c *Config) { c.Addresses = []string{"localhost:26658"} },
		"names http://127.0.0.1:1 twice": func(c *Config) {
			c.Addresses = []string{"http://127.0.0.1:1?token=secret", "http://127.0.0.1:1/"}
		},
		"has 17 URLs":                func(c *Config) { c.Addresses = make([]string, 17) },
		"want a host":                func(c *Config) { c.Addresses = []string{"http://"} },
		"is not a URL":               func(c *Config) { c.Addresses = []string{"http://["} },
		"da.request_timeout is 0s":   func(c *Config) { c.RequestTimeout = 0 },
		"da.head_timeout is -1s":     func(c *Config) { c.HeadTimeout = -time.Second },
		"da.read_timeout":            func(c *Config) { c.ReadTimeout = 0 },
		"da.watch_timeout":           func(c *Config) { c.WatchTimeout = 0 },
		"da.max_blob_bytes is 0":     func(c *Config) { c.MaxBlobBytes = 0 },
		"da.max_response_bytes is 5": func(c *Config) { c.MaxResponseBytes = 5 },
		"without is_gas_price_set":   func(c *Config) { c.SubmitOptions = `{"gas_price":0.002}` },
		"want a JSON object":         func(c *Config) { c.SubmitOptions = `null` },
		"unknown field":              func(c *Config) { c.SubmitOptions = `{"gas_prize":1}` },
		"want one JSON object":       func(c *Config) { c.SubmitOptions = `{} {}` },
		"tx_priority 4":              func(c *Config) { c.SubmitOptions = `{"tx_priority":4}` },
		"negative gas price":         func(c *Config) { c.SubmitOptions = `{"max_gas_price":-1}` },
	} {
		cfg := testConfig("http://127.0.0.1:1")
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), want)
		_, err := NewPool(Params{Config: cfg, Log: zap.NewNop()})
		require.Error(t, err)
	}
	_, err := NewPool(Params{Config: Default(), Log: zap.NewNop()})
	require.ErrorContains(t, err, "da.address is empty")
}

// TestSpam_ADALayerThatLiesAboutACommitment: the answer is refused as a whole,
// one by one and in a list, so that no reader passes a height that hides something.
func TestSpam_ADALayerThatLiesAboutACommitment(t *testing.T) {
	ns := NamespaceOf("a")
	good, err := Commit(ns, []byte("good"))
	require.NoError(t, err)
	list := "[" + blobJSON(ns, []byte("good"), good[:]) + "," + blobJSON(ns, []byte("bad"), good[:]) + "]"
	c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, result(list))).URL))
	_, err = c.Blobs(t.Context(), 12, ns)
	require.ErrorIs(t, err, ErrDishonest)
	require.Equal(t, Stats{Calls: 1, Forged: 1}, c.Stats())
	for name, list := range map[string]string{
		"no commitment":        blobJSON(ns, []byte("good"), nil),
		"short commitment":     blobJSON(ns, []byte("good"), good[:31]),
		"long commitment":      blobJSON(ns, []byte("good"), append(good[:], 0)),
		"another namespace":    blobJSON(NamespaceOf("b"), []byte("good"), good[:]),
		"no namespace":         `{"data":"eA=="}`,
		"null":                 `null`,
		"no data":              blobJSON(ns, nil, good[:]),
		"an impossible signer": `{"namespace":"` + base64.StdEncoding.EncodeToString(ns[:]) + `","data":"eA==","share_version":1}`,
	} {
		c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, result("["+list+"]"))).URL))
		_, err := c.Blobs(t.Context(), 12, ns)
		require.ErrorIs(t, err, ErrDishonest, name)
	}
	many := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, "["+result(list)+"]")).URL))
	replies, err := many.BlobsAt(t.Context(), []uint64{12}, ns)
	require.NoError(t, err)
	require.ErrorIs(t, replies[0].Err, ErrDishonest)
}
