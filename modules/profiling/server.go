package profiling

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/httprun"
)

const (
	// maxHeaderTime bounds the time a client takes to send a request.
	maxHeaderTime = 10 * time.Second
	// grace is how long requests under way may take once the node stops. They are
	// told so, and end at once.
	grace = 500 * time.Millisecond
)

// Server serves profiles.
type Server struct {
	cfg      Config
	log      *zap.Logger
	listener net.Listener
}

// New returns a server; nothing listens before Start.
func New(cfg Config, log *zap.Logger) *Server { return &Server{cfg: cfg, log: log.Named("profiling")} }

// Start listens, when an address is configured.
func (s *Server) Start(ctx context.Context) error {
	if s.cfg.Address == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return fmt.Errorf("profiling.address: %w", err)
	}
	s.listener = l
	s.log.Info("serving profiles", zap.String("url", "http://"+l.Addr().String()+"/debug/pprof/"))
	return nil
}

// Address returns host:port of the listener after Start, empty when off.
func (s *Server) Address() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Run serves until ctx ends, which also ends profiles being taken. It needs Start.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: routes(), ReadHeaderTimeout: maxHeaderTime, // no write timeout: a profile takes as long as was asked for
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	if err := httprun.Serve(ctx, server, s.listener, grace); err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	return nil
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
