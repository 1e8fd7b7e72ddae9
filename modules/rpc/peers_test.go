package rpc_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/rpc"
)

// fakePeers remembers what it was asked.
type fakePeers struct{ asked []string }

func (f *fakePeers) PeerList() rpc.PeerList {
	return rpc.PeerList{
		Peers: []rpc.PeerDetails{{ID: "p1", Score: -10, Offences: map[string]uint64{"relayed": 5}}},
		Bans:  []rpc.PeerBan{{ID: "p2", Until: time.Unix(9, 0).UTC(), Reason: "invalid"}},
	}
}

func (f *fakePeers) BanPeer(id string, d time.Duration) error {
	f.asked = append(f.asked, fmt.Sprintf("ban %s %s", id, d))
	return nil
}

func (f *fakePeers) UnbanPeer(id string) error {
	f.asked = append(f.asked, "unban "+id)
	if id == "p9" {
		return fmt.Errorf("%s is not banned", id)
	}
	return nil
}

func TestPeers(t *testing.T) {
	f := &fakePeers{}
	w := newWorld(t, func(p *rpc.Params) { p.Peers = f })
	r := w.get("/peers")
	require.Equal(t, http.StatusOK, r.code)
	var got rpc.PeerList
	require.NoError(t, json.Unmarshal(r.body, &got))
	require.Equal(t, f.PeerList(), got)

	post := func(path, body string, change ...func(*http.Request)) (int, string) {
		t.Helper()
		req := httptest.NewRequest(http.MethodPost, w.url(path), strings.NewReader(body))
		req.RequestURI = ""
		req.Header.Set("Content-Type", "application/json")
		for _, f := range change {
			f(req)
		}
		resp, err := w.http.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		var text strings.Builder
		_, err = fmt.Fprint(&text, resp.Status)
		require.NoError(t, err)
		b := make([]byte, 500)
		n, _ := resp.Body.Read(b)
		return resp.StatusCode, string(b[:n])
	}
	code, _ := post("/peers/ban", `{"id":"p1"}`)
	require.Equal(t, http.StatusNoContent, code)
	code, _ = post("/peers/ban", `{"id":"p1","for":"30m"}`)
	require.Equal(t, http.StatusNoContent, code)
	code, _ = post("/peers/unban", `{"id":"p2"}`)
	require.Equal(t, http.StatusNoContent, code)
	require.Equal(t, []string{"ban p1 0s", "ban p1 30m0s", "unban p2"}, f.asked)

	for name, tt := range map[string]struct {
		path, body string
		code       int
		text       string
		change     func(*http.Request)
	}{
		"not banned":    {"/peers/unban", `{"id":"p9"}`, 400, "p9 is not banned", func(*http.Request) {}},
		"no time":       {"/peers/ban", `{"id":"p1","for":"soon"}`, 400, `for is "soon", want a time like 30m`, func(*http.Request) {}},
		"unknown field": {"/peers/ban", `{"peer":"p1"}`, 400, "unknown field", func(*http.Request) {}},
		"no JSON":       {"/peers/ban", `p1`, 400, "no JSON", func(*http.Request) {}},
		"long":          {"/peers/ban", `{"id":"` + strings.Repeat("x", 5000) + `"}`, 400, "too large", func(*http.Request) {}},
		"a form":        {"/peers/ban", `{"id":"p1"}`, 415, "application/json", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		"another site":  {"/peers/ban", `{"id":"p1"}`, 403, "cross-origin", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
		"a name":        {"/peers/ban", `{"id":"p1"}`, 403, "localhost", func(r *http.Request) { r.Host = "evil.example:7331" }},
		"read":          {"/peers/ban", ``, 405, "", func(r *http.Request) { r.Method = http.MethodGet }},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(f.asked)
			code, text := post(tt.path, tt.body, tt.change)
			require.Equal(t, tt.code, code, text)
			require.Contains(t, text, tt.text)
			if tt.code != 400 || name != "not banned" {
				require.Len(t, f.asked, before, "nothing was done")
			}
		})
	}
}
