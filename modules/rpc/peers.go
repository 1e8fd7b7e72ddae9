package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// PeerDetails is one connected peer, for operators.
type PeerDetails struct {
	ID        string            `json:"id"`
	Address   string            `json:"address"`
	Direction string            `json:"direction"` // inbound or outbound
	Agent     string            `json:"agent,omitempty"`
	Since     time.Time         `json:"since"`
	Static    bool              `json:"static,omitempty"` // of p2p.peers
	Chain     bool              `json:"chain"`            // it speaks the chain's protocols
	Score     float64           `json:"score"`            // 0 is best, -100 is banned
	Offences  map[string]uint64 `json:"offences,omitempty"`
}

// PeerBan is one peer that is kept away.
type PeerBan struct {
	ID     string    `json:"id"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	Detail string    `json:"detail,omitempty"`
	Static bool      `json:"static,omitempty"`
}

// PeerList is the answer of /peers.
type PeerList struct {
	Peers []PeerDetails `json:"peers"`
	Bans  []PeerBan     `json:"bans"`
}

// BanRequest is the body of POST /peers/ban and /peers/unban.
type BanRequest struct {
	ID  string `json:"id"`
	For string `json:"for,omitempty"` // like 30m; empty is p2p.ban_time
}

// Peers lists, bans and unbans peers.
type Peers interface {
	PeerList() PeerList
	// BanPeer keeps a peer away; a time of 0 is the configured one.
	BanPeer(id string, d time.Duration) error
	UnbanPeer(id string) error
}

// peerRoutes adds what 'tandem peers' asks.
func peerRoutes(mux *http.ServeMux, p Peers) {
	mux.HandleFunc("GET /peers", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, p.PeerList()) })
	mux.Handle("POST /peers/ban", localOnly(banHandler(func(r BanRequest) error {
		var d time.Duration
		if r.For != "" {
			var err error
			if d, err = time.ParseDuration(r.For); err != nil || d <= 0 {
				return fmt.Errorf("for is %q, want a time like 30m", r.For)
			}
		}
		return p.BanPeer(r.ID, d)
	})))
	mux.Handle("POST /peers/unban", localOnly(banHandler(func(r BanRequest) error { return p.UnbanPeer(r.ID) })))
}

// maxBanBytes bounds a BanRequest.
const maxBanBytes = 4 << 10

func banHandler(do func(BanRequest) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req BanRequest
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBanBytes))
		dec.DisallowUnknownFields()
		err := dec.Decode(&req)
		if err != nil {
			err = fmt.Errorf(`body is no JSON like {"id":"12D3…"}: %w`, err)
		} else {
			err = do(req)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// localOnly lets through what a program on this machine sends, and nothing that a
// web page could make a browser send: it wants JSON, an origin of its own, and a
// host that no name server can point here.
func localOnly(next http.Handler) http.Handler {
	check := http.NewCrossOriginProtection()
	return check.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := local(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "Content-Type must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

func local(r *http.Request) error {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return errors.New("changes are taken from this machine only")
	}
	host := r.Host
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("host is %q, want localhost or a loopback address", r.Host)
}
