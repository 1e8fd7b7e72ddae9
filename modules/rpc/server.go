package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/rpc/evnodev1/evnodev1connect"
)

// shutdownTime is how long requests under way may take once the node stops.
const shutdownTime = time.Second

// Server serves everything on one port.
type Server struct {
	p      Params
	server *http.Server

	mu       sync.Mutex
	listener net.Listener
}

// New builds the server; nothing listens before Start.
func New(p Params) *Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC without TLS
	return &Server{p: p, server: &http.Server{
		Handler: http.MaxBytesHandler(routes(p), int64(p.Config.MaxRequestBytes)), Protocols: &protocols,
		ReadHeaderTimeout: p.Config.ReadTimeout, ReadTimeout: p.Config.ReadTimeout, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: zap.NewStdLog(p.Log),
	}}
}

func routes(p Params) http.Handler {
	mux := http.NewServeMux()
	limit := connect.WithReadMaxBytes(p.Config.MaxRequestBytes)
	mux.Handle(evnodev1connect.NewStoreServiceHandler(&storeService{p}, limit))
	mux.Handle(evnodev1connect.NewP2PServiceHandler(&p2pService{p}, limit))
	mux.Handle(evnodev1connect.NewConfigServiceHandler(&configService{p}, limit))
	reflector := grpcreflect.NewStaticReflector(
		evnodev1connect.StoreServiceName, evnodev1connect.P2PServiceName, evnodev1connect.ConfigServiceName)
	mux.Handle(grpcreflect.NewHandlerV1(reflector))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))

	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, r *http.Request) { live(w, r, p) })
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, r *http.Request) { ready(w, r, p) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, p.Node.Status(r.Context()))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.Metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	if p.App != nil {
		for _, path := range []string{"/tx", "/kv", "/store", "/stats"} {
			mux.Handle(path, p.App)
		}
	}
	return mux
}

func live(w http.ResponseWriter, r *http.Request, p Params) {
	if err := p.Node.Live(r.Context()); err != nil {
		http.Error(w, "FAIL: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("OK\n"))
}

func ready(w http.ResponseWriter, r *http.Request, p Params) {
	state := p.Node.Ready(r.Context())
	code := http.StatusOK
	if !state.Ready {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, state)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client went away: nobody is left to tell
}

// Start listens. A port that is taken is one clear line.
func (s *Server) Start(ctx context.Context) error {
	if s.p.Config.Address == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.p.Config.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("rpc.address: %s is already in use by another process", s.p.Config.Address)
	}
	if err != nil {
		return fmt.Errorf("rpc.address: %w", err)
	}
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	s.p.Log.Info("serving", zap.Stringer("address", l.Addr()))
	return nil
}

// Address returns host:port of the listener, empty before Start or when off.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Run serves until ctx ends. Requests under way then get a second.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l == nil {
		<-ctx.Done()
		return nil
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := s.server.Shutdown(stop); err != nil {
		_ = s.server.Close()
	}
	<-served
	return nil
}
