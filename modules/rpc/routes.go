package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/rpc/evnodev1/evnodev1connect"
)

// maxMessageBytes bounds a request to the services: a height, a hash or a name,
// which may come compressed.
const maxMessageBytes = 64 << 10

// routes is everything the server answers.
func routes(p Params) http.Handler {
	mux := http.NewServeMux()
	most := min(p.Config.MaxRequestBytes, maxMessageBytes)
	limit := connect.WithReadMaxBytes(most)
	service := func(path string, h http.Handler) { mux.Handle(path, http.MaxBytesHandler(h, int64(most))) }
	service(evnodev1connect.NewStoreServiceHandler(&storeService{p}, limit))
	service(evnodev1connect.NewP2PServiceHandler(&p2pService{p}, limit))
	service(evnodev1connect.NewConfigServiceHandler(&configService{p}, limit))
	reflector := grpcreflect.NewStaticReflector(
		evnodev1connect.StoreServiceName, evnodev1connect.P2PServiceName, evnodev1connect.ConfigServiceName)
	service(grpcreflect.NewHandlerV1(reflector, limit))
	service(grpcreflect.NewHandlerV1Alpha(reflector, limit))

	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, r *http.Request) { live(w, r, p) })
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, r *http.Request) { ready(w, r, p) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, p.Node.Status(r.Context()))
	})
	peerRoutes(mux, p.Peers)
	mux.HandleFunc("GET /evidence", func(w http.ResponseWriter, r *http.Request) { evidence(w, r, p) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.Metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	if p.LogLevels != nil {
		mux.Handle("GET /log/level", p.LogLevels)
		mux.Handle("PUT /log/level", p.LogLevels)
	}
	if p.App != nil {
		// The executor bounds a transaction itself, this is the bound above all.
		for _, path := range []string{"/kv", "/store", "/stats"} {
			mux.Handle(path, p.App)
		}
		mux.Handle("/tx", takeTx(p))
	}
	return mux
}

func live(w http.ResponseWriter, r *http.Request, p Params) {
	state := Liveness{Live: true}
	if err := p.Node.Live(r.Context()); err != nil {
		state = Liveness{Reason: err.Error()}
	}
	writeHealth(w, r, healthCode(state.Live), state)
}

func ready(w http.ResponseWriter, r *http.Request, p Params) {
	state := p.Node.Ready(r.Context())
	writeHealth(w, r, healthCode(state.Ready), state)
}

func evidence(w http.ResponseWriter, r *http.Request, p Params) {
	all, err := p.Node.Evidence(r.Context())
	if err != nil {
		p.Log.Error("evidence cannot be read", zap.Error(err))
		http.Error(w, "evidence cannot be read, see the log of the node", http.StatusInternalServerError)
		return
	}
	if all == nil {
		all = []block.Evidence{}
	}
	writeJSON(w, http.StatusOK, all)
}

// healthCode is what probes look at.
func healthCode(ok bool) int {
	if ok {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// writeHealth answers in a few words, as ev-node does and as a person reads it, or
// in JSON who asks for that.
func writeHealth(w http.ResponseWriter, r *http.Request, code int, state fmt.Stringer) {
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		writeJSON(w, code, state)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, state.String()) // as in writeJSON
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client went away: nobody is left to tell
}

// guard keeps a panic to its request. The client sees a broken answer, the
// operator an error.
func guard(next http.Handler, log *zap.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				log.Error("request panicked", zap.String("path", r.URL.Path), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
			}
			http.Error(w, "internal error, see the log of the node", http.StatusInternalServerError)
		}()
		next.ServeHTTP(w, r)
	})
}
