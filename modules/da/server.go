package da

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"go.uber.org/zap"
)

// Server is a DA node in one process: its own chain, kept on disk, behind the
// JSON-RPC of a Celestia node over HTTP and WebSocket, with switches for what
// goes wrong on a real one. Framing, error codes and texts are those of the real
// node, so that nothing works against this one alone.
//
// Methods: blob Submit, Get, GetAll, Included, Subscribe; header NetworkHead,
// LocalHead, Tail, GetByHeight, WaitForHeight, SyncState, Subscribe; node Ready,
// Info; state Balance, AccountAddress. All others, among them blob.GetProof and
// blob.GetCommitmentProof, are answered "method not found": there is no erasure
// coded square to prove anything against, and no validators have signed.
//
// POST /control, from loopback only, works the switches; see Control.
type Server struct {
	cfg    ServerConfig
	log    *zap.Logger
	faults *faults
	active inflight
	clock  func() time.Time // of the blocks made by Listen and Produce

	mu      sync.Mutex
	node    *node
	handler http.Handler
	addr    string // as bound, so that an outage comes back on the same port
	session *session
	closed  bool
	reopen  *time.Timer
}

// session is the time between two outages that close the listener.
type session struct {
	http   *http.Server
	cancel context.CancelFunc
	done   chan struct{} // closed when the listener is
}

// Bounds of the transport, as on a real node.
const (
	maxRequestBytes   = 16 << 20
	maxConcurrent     = 500
	readHeaderTimeout = 5 * time.Second
	requestTimeout    = 5 * time.Minute
	serverIdleTimeout = 2 * time.Minute
	stopTimeout       = 500 * time.Millisecond
	reopenRetry       = 200 * time.Millisecond
)

// NewServer makes a server. Listen opens its store and its port.
func NewServer(cfg ServerConfig, log *zap.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, log: log, faults: newFaults(cfg), clock: time.Now}, nil
}

// SetClock sets the clock that dates the first block and those made by Produce,
// in place of time.Now: a chain made at once can have the times of one made in
// days. It has to be called before Listen.
func (s *Server) SetClock(now func() time.Time) { s.clock = now }

// Listen opens the store, makes the first block of a new chain, and takes
// requests from then on. It does nothing when it was called before.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != nil || s.closed {
		return nil
	}
	n, err := s.openNode()
	if err != nil {
		return err
	}
	s.node = n
	s.handler = s.newHandler(n)
	if s.cfg.Listen == "" {
		return nil
	}
	s.addr = s.cfg.Listen
	if err := s.open(ctx); err != nil {
		s.node = nil
		return errors.Join(err, n.close())
	}
	_, head := n.bounds()
	s.log.Info("local da listens", zap.String("address", s.addr), zap.String("dir", s.cfg.Dir),
		zap.Uint64("height", head), zap.Duration("block_time", s.cfg.BlockTime))
	if s.cfg.Outage == OutageRefuse {
		s.shut(s.session)
		s.session = nil
	}
	return nil
}

// openNode opens the chain.
func (s *Server) openNode() (*node, error) {
	l, err := openLedger(s.cfg.Dir, s.cfg.BlockTime)
	if err != nil {
		return nil, err
	}
	l.frozen = s.cfg.Freeze
	if _, head := l.bounds(); head == 0 {
		_, err = l.produce(s.clock())
	}
	if err == nil && s.cfg.PruneBelow > 0 {
		err = l.prune(s.cfg.PruneBelow)
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return &node{ledger: l, faults: s.faults, chainID: s.cfg.ChainID, compat: s.cfg.EvNodeCompat}, nil
}

// newHandler is the whole HTTP side: control, outages, limits, JSON-RPC.
func (s *Server) newHandler(n *node) http.Handler {
	rpc := jsonrpc.NewServer(jsonrpc.WithMaxRequestSize(maxRequestBytes))
	a := &access{node: n, open: s.cfg.AuthToken == ""}
	rpc.Register("blob", blobAPI{a})
	rpc.Register("header", headerAPI{a})
	rpc.Register("node", nodeAPI{a})
	rpc.Register("state", stateAPI{a})
	mux := http.NewServeMux()
	mux.HandleFunc("/control", s.serveControl)
	mux.Handle("/", s.guard(s.authorize(rpc)))
	return mux
}

// open binds the port and serves. The caller holds mu.
func (s *Server) open(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("local DA: %w", err)
	}
	s.addr = ln.Addr().String()
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ses := &session{cancel: cancel, done: make(chan struct{})}
	ses.http = &http.Server{
		Handler:           s.handler,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       serverIdleTimeout,
		ErrorLog:          zap.NewStdLog(zap.NewNop()),
	}
	s.session = ses
	go func() {
		defer close(ses.done)
		if err := ses.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("local da stopped serving", zap.Error(err))
		}
	}()
	return nil
}

// shut closes the listener and every connection at once.
func (s *Server) shut(ses *session) {
	if ses == nil {
		return
	}
	ses.cancel()
	if err := ses.http.Close(); err != nil {
		s.log.Warn("local da listener did not close", zap.Error(err))
	}
	<-ses.done
}

// Addr is the bound host:port, empty before Listen.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// URL is the address for a client's configuration.
func (s *Server) URL() string { return "http://" + s.Addr() }

// Run makes blocks and answers until ctx ends, and then closes everything. It
// calls Listen when nobody did.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	n, err := s.opened()
	if err != nil {
		return err
	}
	err = n.run(ctx)
	return errors.Join(err, s.Close()) //nolint:contextcheck // ctx has ended by now
}

// errServerClosed is returned by a server that is not open, or not any more.
var errServerClosed = errors.New("local DA: not open")

func (s *Server) opened() (*node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node == nil || s.closed {
		return nil, errServerClosed
	}
	return s.node, nil
}

// Close stops serving and closes the store. It may be called more than once.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	ses, n := s.session, s.node
	s.session = nil
	if s.reopen != nil {
		s.reopen.Stop()
	}
	s.mu.Unlock()
	s.drain(ses)
	if n == nil {
		return nil
	}
	return n.close()
}

// drain lets answers that are being written finish, for a moment.
func (s *Server) drain(ses *session) {
	if ses == nil {
		return
	}
	ses.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := ses.http.Shutdown(ctx); err != nil {
		s.shut(ses)
	}
	// WebSocket connections are not known to the HTTP server.
	if err := s.active.drained(ctx); err != nil {
		s.log.Warn("local da requests did not end in time", zap.Error(err))
	}
}
