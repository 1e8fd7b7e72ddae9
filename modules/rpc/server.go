package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/httprun"
)

// shutdownTime is how long requests under way may take once the node stops.
const shutdownTime = 500 * time.Millisecond

// Bounds of what one connection may hold before its requests are in hand.
const (
	maxHeaderBytes = 16 << 10
	maxStreams     = 32
	streamBuffer   = 64 << 10
)

// Server serves everything on one port.
type Server struct {
	p      Params
	server *http.Server
	grace  time.Duration

	mu       sync.Mutex
	listener net.Listener
}

// New builds the server; nothing listens before Start.
func New(p Params) *Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC without TLS
	c := p.Config
	if p.Clients == nil {
		p.Clients = NewClients(c)
	}
	s := &Server{p: p, grace: shutdownTime}
	handler := http.MaxBytesHandler(access(routes(p), c), int64(c.MaxRequestBytes))
	s.server = &http.Server{
		Handler: guard(admit(handler, p.Clients), p.Log), Protocols: &protocols,
		ReadHeaderTimeout: min(c.ReadTimeout, maxHeaderTime), ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeaderBytes,
		ConnState: p.Clients.conns.track, ConnContext: withConn,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: streamBuffer, MaxReceiveBufferPerStream: streamBuffer,
		},
	}
	// What net/http says of clients that break off or speak something else is
	// theirs to fix.
	if noise, err := zap.NewStdLogAt(p.Log, zap.DebugLevel); err == nil {
		s.server.ErrorLog = noise
	}
	return s
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

// Run serves until ctx ends. Requests under way then get shutdownTime.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	return httprun.Serve(ctx, s.server, l, s.grace) //nolint:wrapcheck // it says which address
}
