package app

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	header "github.com/celestiaorg/go-header"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/forced"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/progress"
	"github.com/tandem-node/tandem/modules/referee"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// The two stores everybody shares.
type (
	// Headers is the store of headers.
	Headers = header.Store[*block.SignedHeader]
	// Data is the store of data.
	Data = header.Store[*block.Data]
)

func instrumentHeaders(s Headers, n *notifier.Notifier, t *blocktrace.Tracer) Headers {
	return instrumented.Wrap(s, n, notifier.Header, instrumented.Tracer(t))
}

func instrumentData(s Data, n *notifier.Notifier, t *blocktrace.Tracer) Data {
	return instrumented.Wrap(s, n, notifier.Data, instrumented.Tracer(t))
}

// bindings connects what modules offer to the interfaces other modules declare.
func bindings(r Role) fx.Option {
	common := fx.Provide(
		func(s *chainstore.Store) Headers { return s.Headers() },
		func(s *chainstore.Store) Data { return s.Data() },
		func(s *chainstore.Store) pipeline.Store { return s },
		func(s Headers) pipeline.Headers { return s },
		func(s Data) pipeline.Data { return s },
		newAnnouncer,
		func(c Config) pipeline.Config { return c.pipeline(r) },
		func(c Config) pipeline.ExecutorName { return pipeline.ExecutorName(c.Execution.Name) },
		func(s Headers) syncer.Source[*block.SignedHeader] { return s },
		func(s Data) syncer.Source[*block.Data] { return s },
		func(p *pipeline.Pipeline) syncer.Sink { return p },
		peerParams, headerParams, dataParams, daParams, workerParams, newMonitor, serverParams, progressParams, refereeParams,
	)
	switch {
	case r.Produces():
		return fx.Options(common, executorBindings(), fx.Provide(
			openSigner, func(s sequencer.Signer, own Setup) pipeline.Ahead { return own.Signer.Note },
			func(p *pipeline.Pipeline, h *exchange.Exchange[*block.SignedHeader]) sequencer.Chain {
				return producerChain{p, h}
			},
			newElsewhere,
			func(s Setup, w *daworker.Worker) func() sequencer.DATime {
				if len(s.Config.DA.Addresses) == 0 {
					return nil
				}
				return func() sequencer.DATime {
					head := w.Status().Timed
					return sequencer.DATime{Height: head.Height, Time: head.Time}
				}
			},
			func(s *chainstore.Store) sequencer.Store { return s },
			func(s Headers) sequencer.Reader[*block.SignedHeader] { return s },
			func(s Data) sequencer.Reader[*block.Data] { return s },
			func(e execution.Executor) sequencer.Executor { return e },
			func(h *exchange.Exchange[*block.SignedHeader], d *exchange.Exchange[*block.Data]) sequencer.Broadcaster {
				return broadcaster{h, d}
			},
			func() syncer.Hold { return nil },
			func(s Setup) sequencer.Namespaces {
				header, data := s.namespaces()
				return sequencer.Namespaces{Header: header, Data: data}
			},
			forcedParams, func(s Setup, t *forced.Taker) sequencer.Forced { return takerOf(s, t) },
			func(p *sequencer.Producer, s *sequencer.Submitter, t *forced.Taker, e execution.Executor, d *exchange.Exchange[*block.Data]) extras {
				return extras{DataEx: d, Producer: p, Submitter: s, Taker: t, Executor: e}
			},
		))
	case r.Executes():
		return fx.Options(common, executorBindings(), noSigner(), fx.Provide(
			forcedParams, func(s *chainstore.Store, p *pipeline.Pipeline) forced.Followed { return followed{s, p} },
			func(w *forced.Watcher) syncer.Hold { return w.Held },
			func(e execution.Executor, w *forced.Watcher, d *exchange.Exchange[*block.Data]) extras {
				return extras{DataEx: d, Watcher: w, Executor: e}
			},
		))
	default:
		return fx.Options(common, noSigner(), fx.Provide(
			func() pipeline.Executor { return pipeline.NoExecutor{} },
			func() extras { return extras{} },
		))
	}
}

// openSigner opens the proposer's key before anything asks it what it has signed.
func openSigner(lc fx.Lifecycle, s Setup) sequencer.Signer {
	lc.Append(fx.StartStopHook(s.Signer.Open, s.Signer.Close))
	return s.Signer
}

// noSigner is for roles that sign nothing: what their executor has beyond the
// applied blocks was not signed here.
func noSigner() fx.Option {
	return fx.Provide(func() pipeline.Ahead { return func(context.Context, uint64) error { return nil } })
}

func executionDir(home string) string { return filepath.Join(home, "data", "execution") }

func executorBindings() fx.Option {
	return fx.Provide(
		func(s Setup) execution.Dir { return execution.Dir(executionDir(s.Home)) },
		func(e execution.Executor) pipeline.Executor { return e },
	)
}

// pipeline returns the pipeline's config for a role.
func (c Config) pipeline(r Role) pipeline.Config {
	p := c.Pipeline
	p.HeadersOnly = !r.Executes()
	if r.Produces() && p.Conflict == pipeline.PolicyAuto {
		p.Conflict = pipeline.PolicyHalt // somebody else signs with its key: no machine can settle that
	}
	return p
}

// namespaces returns where the chain's blobs lie.
func (s Setup) namespaces() (header, data da.Namespace) {
	names := s.Config.Namespaces.Of(s.Genesis.ChainID)
	return da.NamespaceOf(names.Header), da.NamespaceOf(names.Data)
}

func peerParams(s Setup, c p2p.Config, o p2p.Options, b *problems.Board) p2p.Params {
	return p2p.Params{
		Config: c, ChainID: s.Genesis.ChainID, Key: s.NodeKey, UserAgent: "tandem/" + s.Version, Options: o,
		ChainProtocol: exchange.HeaderProtocol(s.Genesis.ChainID), Topics: exchange.Topics(s.Genesis.ChainID), Problems: b, Log: s.Log.Named("p2p"),
	}
}

// exchangeIn is what both exchanges need.
type exchangeIn struct {
	fx.In

	Setup    Setup
	Config   exchange.Config
	Network  *p2p.Node
	Store    *chainstore.Store
	Headers  Headers
	Data     Data
	Pipeline *pipeline.Pipeline
	Notifier *notifier.Notifier
	Worker   *daworker.Worker
	Clock    block.Clock
	Problems *problems.Board
	Tracer   *blocktrace.Tracer
}

func headerParams(in exchangeIn) exchange.HeaderParams {
	log := in.Setup.Log.Named("exchange")
	return exchange.HeaderParams{
		Network: in.Network, Store: in.Headers, Genesis: in.Setup.Genesis, Proposers: in.Pipeline, Refuted: in.Pipeline.Refuted,
		Hint: in.Store.HeaderHint, Now: in.Clock, Config: in.Config, Log: log, Tracer: in.Tracer,
		Problems: in.Problems, Blame: blame(in.Network),
		Hinted: func(h *block.SignedHeader, from peer.ID) {
			in.Worker.Hint(daworker.Hint{Height: h.Height(), Header: h.Digest(), DAHeight: h.DAHint, From: from.String()})
		},
		Conflicts: func(c *block.Conflict[*block.SignedHeader], from peer.ID) {
			if err := in.Pipeline.Report(context.Background(), c, from.String()); err != nil {
				log.Error("evidence of two headers was not kept", zap.Uint64("height", c.Height), zap.Error(err))
			}
		},
	}
}

func dataParams(in exchangeIn) exchange.DataParams {
	log := in.Setup.Log.Named("exchange")
	return exchange.DataParams{
		Network: in.Network, Store: in.Data, Headers: in.Headers, HeaderEvents: wakeups(in.Notifier),
		Genesis: in.Setup.Genesis, Hint: in.Store.DataHint,
		Now: in.Clock, Config: in.Config, Log: log, Tracer: in.Tracer,
		Blame: blame(in.Network),
		Conflicts: func(c *block.Conflict[*block.Data], from peer.ID) {
			log.Error("two data items of one height fit the header", zap.Uint64("height", c.Height), zap.Stringer("peer", from))
		},
	}
}

// wakeups turns header events into bare wake-ups.
func wakeups(n *notifier.Notifier) func() (<-chan struct{}, func()) {
	return func() (<-chan struct{}, func()) {
		sub := n.Subscribe(notifier.Types(notifier.Header), notifier.Buffer(0), notifier.Name("exchange-data"))
		return sub.Ready, sub.Close
	}
}

// blameHint makes wrong DA hints cost their sender.
func blameHint(n *p2p.Node) func(string, error) {
	return func(from string, err error) {
		if id, bad := peer.Decode(from); bad == nil {
			n.Penalise(id, p2p.Unproven, err.Error())
		}
	}
}

// daKeeper keeps the identity of the DA layer in the store that has the cursor.
type daKeeper struct {
	*chainstore.Store

	forced bool
}

// MoveDA implements da.Keeper.
func (k daKeeper) MoveDA(record []byte) error {
	if k.forced {
		return errors.New("da.identity names another DA layer than the one this home was synced from, " +
			"and a chain with namespaces.forced cannot move: the order of its forced transactions follows from DA heights")
	}
	return k.Store.MoveDA(record, sequencer.MetaKeys()...)
}

func daParams(s Setup, c da.Config, store *chainstore.Store, clock block.Clock, board *problems.Board) da.Params {
	return da.Params{
		Config: c, Keeper: daKeeper{store, s.Config.Namespaces.Forced != ""}, Start: s.Genesis.DAStartHeight,
		Now: clock, Board: board, Log: s.Log.Named("da"),
	}
}

type workerIn struct {
	fx.In

	Setup    Setup
	Config   daworker.Config
	Network  *p2p.Node
	Client   da.Client
	Store    *chainstore.Store
	Headers  Headers
	Data     Data
	Pipeline *pipeline.Pipeline
	Clock    block.Clock
	Problems *problems.Board
	Tracer   *blocktrace.Tracer
}

func workerParams(in workerIn) daworker.Params {
	names := in.Setup.Config.Namespaces.Of(in.Setup.Genesis.ChainID)
	header, data := in.Setup.namespaces()
	p := daworker.Params{
		Client: in.Client, Genesis: in.Setup.Genesis, HeaderNS: header, DataNS: data, Headers: in.Headers,
		Sink: in.Pipeline, Proposers: in.Pipeline, Refuted: in.Pipeline.Refuted, DA: in.Store.DA, Marks: followed{in.Store, in.Pipeline},
		Problems: in.Problems, HeaderName: names.Header, DataName: names.Data,
		LocalCtx: func(ctx context.Context) context.Context { return instrumented.WithSource(ctx, notifier.Local) },
		Blame:    blameHint(in.Network),
		Config:   in.Config, Log: in.Setup.Log.Named("daworker"), Tracer: in.Tracer, Now: in.Clock,
	}
	if in.Setup.Role.Executes() {
		p.Data = in.Data
	} else {
		p.HeadersOnly = true
	}
	return p
}

// progressParams names the work that may take long: blocks to the best known
// height, and DA heights to the DA head.
func progressParams(s Setup, p *pipeline.Pipeline, m *monitor, w *daworker.Worker) progress.Params {
	return progress.Params{
		Changed: p.Changed, Begun: w.Turned, Terminal: s.Terminal, Log: s.Log,
		Tasks: []progress.Task{
			{Unit: "blocks", Done: func() uint64 { return p.Snapshot().Applied() }, Total: m.best},
			{Unit: "DA heights", Done: func() uint64 { return w.Status().Cursor }, Total: func() uint64 { return w.Status().Head.Height }},
		},
	}
}

type refereeIn struct {
	fx.In

	Pipeline *pipeline.Pipeline
	Notifier *notifier.Notifier
	Worker   *daworker.Worker
	HeaderEx *exchange.Exchange[*block.SignedHeader]
	Extras   extras
}

// refereeParams names who has to look again after a conflict.
func refereeParams(in refereeIn) referee.Params {
	wake := []func(){in.Worker.Wake, in.HeaderEx.Wake}
	if in.Extras.DataEx != nil {
		wake = append(wake, in.Extras.DataEx.Wake)
	}
	return referee.Params{
		Notifier: in.Notifier, Wake: wake, Halted: func() error { return in.Pipeline.Conflicts().Halted },
	}
}

func eventSource(s block.Source) notifier.Source {
	if s == block.SourceP2P {
		return notifier.P2P
	}
	return notifier.Local
}

// producerChain is the pipeline as the producer sees it.
type producerChain struct {
	*pipeline.Pipeline

	peers *exchange.Exchange[*block.SignedHeader]
}

// Ahead returns the highest height peers are known to have, signed by the
// proposer. What they merely claim does not count: it would stop the chain.
func (c producerChain) Ahead() uint64 { return c.peers.Vouched() }

// State implements sequencer.Chain.
func (c producerChain) State() block.State { return c.Snapshot().State }

// Busy says what keeps the chain from taking blocks.
func (c producerChain) Busy() string {
	if err := c.Conflicts().Halted; err != nil {
		return err.Error()
	}
	return cmp.Or(replayText(c.Replay()), c.Disputed())
}

// broadcaster gossips both halves of a block.
type broadcaster struct {
	headers *exchange.Exchange[*block.SignedHeader]
	data    *exchange.Exchange[*block.Data]
}

// Prepare implements sequencer.Broadcaster. Both halves are always tried.
func (b broadcaster) Prepare(ctx context.Context, made block.Block) (send func() error, err error) {
	header, headerErr := b.headers.Prepare(ctx, made.Header)
	data, dataErr := b.data.Prepare(ctx, made.Data)
	return func() error {
		if headerErr == nil {
			headerErr = header()
		}
		if dataErr == nil {
			dataErr = data()
		}
		return errors.Join(headerErr, dataErr)
	}, nil
}
