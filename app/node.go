package app

import (
	"context"
	"crypto/ed25519"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/telemetry/stages"
)

// Setup is all a node is made from. Everything that may ask a person or read a
// key file has happened before: see Prepare.
type Setup struct {
	Role    Role
	Home    string
	Version string
	Config  Config
	Genesis block.Genesis
	NodeKey crypto.PrivKey
	Signer  Signer // the proposer's key; nil but on sequencers
	Log     *zap.Logger
	Levels  *telemetry.Levels // of Log; nil where they cannot be changed
	Tracing *telemetry.Tracing
	Metrics *telemetry.Metrics
	// Terminal is where the progress of long work is drawn; nil logs it.
	Terminal io.Writer
}

// EndTracing sends the last spans once the node has stopped. A collector that does not
// take them is logged: it is no fault of the node.
func (s Setup) EndTracing(ctx context.Context) {
	if err := s.Tracing.Shutdown(ctx); err != nil {
		s.Log.Warn("last spans not sent", zap.String("endpoint", s.Config.Tracing.Endpoint), zap.Error(err))
	}
}

// Signer is the proposer's key as the node owns it.
type Signer interface {
	sequencer.Signer

	// Open makes it ready before anything else starts.
	Open() error
	Close() error
	// Note remembers that headers up to a height may have been signed.
	Note(ctx context.Context, height uint64) error
}

// NodeKeyOf wraps an ed25519 key the way libp2p wants it.
func NodeKeyOf(key ed25519.PrivateKey) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(key) //nolint:wrapcheck // says which key is wrong
}

// Node is the whole node: inputs, bindings, the role's modules, and the
// decorators: two make the stores announce what is written to them. Options in
// inner see the decorated stores; replacements (fx.Replace, fx.Decorate) that
// tests make beside Node are decorated like the real parts.
func Node(s Setup, inner ...fx.Option) fx.Option {
	return fx.Options(
		fx.WithLogger(func() fxevent.Logger { return telemetry.FxLogger(s.Log) }),
		fx.StopTimeout(stopTimeout),
		fx.StartTimeout(startTimeout),
		inputs(s),
		fx.Module("node",
			bindings(s.Role),
			fx.Options(s.Role.Modules()...),
			pushing(),
			fx.Decorate(instrumentHeaders, instrumentData, onceShutdowner),
			fx.Options(inner...),
		),
	)
}

// onceShutdowner lets the first worker that fails stop the node. Two may fail at
// once, of the same cause; fx's own Shutdowner is not made for that.
func onceShutdowner(sd fx.Shutdowner) fx.Shutdowner { return &shutdowner{first: sd} }

type shutdowner struct {
	first fx.Shutdowner
	once  sync.Once
	err   error
}

// Shutdown implements fx.Shutdowner. All but the first call change nothing.
func (s *shutdowner) Shutdown(opts ...fx.ShutdownOption) error {
	s.once.Do(func() { s.err = s.first.Shutdown(opts...) })
	return s.err
}

// inputs supplies what does not depend on anything.
func inputs(s Setup) fx.Option {
	c := s.Config.In(s.Home)
	return fx.Options(
		fx.Supply(s, s.Genesis, s.Log, p2p.Options(nil), block.Clock(time.Now)),
		fx.Supply(c, c.RPC, c.P2P, c.DA, c.DAWorker, c.Execution, c.Exchange, c.Syncer, c.Sequencer, c.Store, c.DB, c.Profiling),
		fx.Provide(
			func() *blocktrace.Tracer { return s.Tracing.Tracer(s.Genesis.Hash()) },
			s.Metrics.Meter, stages.New, problems.New,
		),
	)
}
