package rpc

import (
	"context"
	"net/http"

	header "github.com/celestiaorg/go-header"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// Chain is what the services read of the store.
type Chain interface {
	State(ctx context.Context) (block.State, error)
	Inclusion(ctx context.Context, height uint64) (block.Included, error)
	GenesisDAHeight() uint64
	Final() uint64
	Submitted() (header, data uint64)
}

// Peer is one connected peer.
type Peer struct {
	ID      string
	Address string
}

// Network is what the services read of the P2P host.
type Network interface {
	NodeID() string
	ListenAddresses() []string
	ConnectedPeers() []Peer
}

// Node tells how the node is.
type Node interface {
	Status(ctx context.Context) Status
	Ready(ctx context.Context) Readiness
	// Live returns an error that names a worker that is no longer serviced.
	Live(ctx context.Context) error
	// Evidence returns the proofs that the proposer signed two headers of a height.
	Evidence(ctx context.Context) ([]block.Evidence, error)
}

// Params of a Server.
type Params struct {
	Config  Config
	Clients *Clients // of Config; nil makes them
	Genesis block.Genesis
	// HeaderNamespace and DataNamespace are 0x and 58 hex digits.
	HeaderNamespace string
	DataNamespace   string

	Chain   Chain
	Headers header.Store[*block.SignedHeader]
	Data    header.Store[*block.Data]
	Network Network
	Node    Node
	Peers   Peers
	Metrics prometheus.Gatherer
	// App is the executor's own endpoints (/tx, /kv, /store, /stats); nil when it has none.
	App http.Handler
	// Produces says that transactions given to App get into blocks made here.
	Produces bool
	// LogLevels shows and changes log levels; nil when there is nothing to change.
	LogLevels http.Handler
	Log       *zap.Logger
}
