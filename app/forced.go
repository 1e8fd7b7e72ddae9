package app

import (
	"context"
	"errors"
	"fmt"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/forced"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/telemetry/problems"
)

type forcedIn struct {
	fx.In

	Setup    Setup
	Client   da.Client
	Store    *chainstore.Store
	Headers  Headers
	Data     Data
	Pipeline *pipeline.Pipeline
	Executor execution.Executor
	Problems *problems.Board
}

func forcedParams(in forcedIn) forced.Params {
	name := in.Setup.Config.Namespaces.Forced
	return forced.Params{
		Client: in.Client, Namespace: da.NamespaceOf(name), Enabled: name != "", Genesis: in.Setup.Genesis,
		Chain: madeBlocks{in.Headers, in.Data}, Applied: func() uint64 { return in.Pipeline.Snapshot().Applied() },
		Meta: in.Store, Evidence: in.Store, Executor: in.Setup.Config.Execution.Name, Valid: filterOf(in.Executor), Config: in.Setup.Config.Forced,
		Poll: da.BlockTimeOf(in.Client, in.Setup.Config.DAWorker.PollInterval), Problems: in.Problems, Log: in.Setup.Log.Named("forced"),
	}
}

// filterOf is what the executor makes of forced transactions; without a filter all
// that is not empty counts.
func filterOf(e execution.Executor) forced.Valid {
	f, ok := e.(execution.TxFilter)
	if !ok {
		return nil
	}
	return func(ctx context.Context, txs [][]byte) ([]bool, error) {
		verdicts, err := f.FilterTxs(ctx, txs, true)
		if err != nil {
			return nil, err
		}
		out := make([]bool, len(verdicts))
		for i, v := range verdicts {
			out[i] = v != execution.TxRemove
		}
		return out, nil
	}
}

// takerOf is the taker as the producer sees it.
func takerOf(s Setup, t *forced.Taker) sequencer.Forced {
	if s.Config.Namespaces.Forced == "" {
		return sequencer.NoForced{}
	}
	return t
}

// madeBlocks reads stored blocks; what is below the stores is not there.
type madeBlocks struct {
	headers Headers
	data    Data
}

// Headers implements forced.Chain.
func (m madeBlocks) Headers(ctx context.Context, from, to uint64) ([]*block.SignedHeader, error) {
	return stored(m.headers.GetRange(ctx, from, to))
}

// Data implements forced.Chain.
func (m madeBlocks) Data(ctx context.Context, from, to uint64) ([]*block.Data, error) {
	return stored(m.data.GetRange(ctx, from, to))
}

func stored[H any](items []H, err error) ([]H, error) {
	if errors.Is(err, header.ErrNotFound) {
		return nil, nil
	}
	return items, err
}

// followed is how far a node is, on DA too.
type followed struct {
	*chainstore.Store
	pipeline *pipeline.Pipeline
}

// DAScanned implements forced.Followed.
func (f followed) DAScanned() uint64 { return f.Store.DA().Scanned }

// Applied implements forced.Followed and daworker.Marks.
func (f followed) Applied() uint64 { return f.pipeline.Snapshot().Applied() }

// Final implements forced.Followed and daworker.Marks. It is what was published, not what the store
// may already have.
func (f followed) Final() uint64 { return f.pipeline.Snapshot().Final }

// Changed implements forced.Followed.
func (f followed) Changed() <-chan struct{} { return f.pipeline.Changed() }

// Inclusion implements forced.Followed and daworker.Marks.
func (f followed) Inclusion(ctx context.Context, height uint64) (block.Included, error) {
	in, err := f.Store.Inclusion(ctx, height)
	if errors.Is(err, header.ErrNotFound) {
		return block.Included{}, nil
	}
	return in, err //nolint:wrapcheck // names the height
}

// forcedStatus is nil where nothing can be forced.
func (e extras) forcedStatus() *rpc.Forced {
	if e.Taker != nil {
		if s := e.Taker.Stats(); s.Enabled {
			return &rpc.Forced{Waiting: s.Waiting, DAHeight: s.Front.DAHeight, Index: s.Front.Index, CatchUp: s.CatchUp, Error: s.Error}
		}
	}
	if e.Watcher != nil {
		if s := e.Watcher.Stats(); s.Enabled {
			return &rpc.Forced{
				Waiting: s.Waiting, DAHeight: s.Front.DAHeight, Index: s.Front.Index, Strikes: s.Strikes,
				Censored: s.Censored, Last: s.Last, Error: s.Error,
			}
		}
	}
	return nil
}

// forcedBytes is what is held of them.
func (e extras) forcedBytes() int {
	n := 0
	if e.Taker != nil {
		n += e.Taker.Stats().Bytes
	}
	if e.Watcher != nil {
		n += e.Watcher.Stats().Bytes
	}
	return n
}

// CheckForced returns the genesis of the chain a config is for, and refuses a config
// with which nothing can be forced.
func CheckForced(c Config) (block.Genesis, error) {
	switch {
	case c.Namespaces.Forced == "":
		return block.Genesis{}, errors.New("namespaces.forced is empty, want the name the chain's nodes use: without it nothing can be forced")
	case len(c.DA.Addresses) == 0:
		return block.Genesis{}, errors.New("da.address is empty, want the URL of a DA node to post to")
	}
	return loadGenesis(c.GenesisFile)
}

// Force posts transactions to the forced namespace of the chain g, and returns where
// they are and after which DA height the sequencer has to take them.
func Force(ctx context.Context, c Config, g block.Genesis, txs [][]byte) (daHeight, due uint64, err error) {
	for _, tx := range txs {
		if len(tx) == 0 || len(tx) > block.MaxForcedTxBytes {
			return 0, 0, fmt.Errorf("a transaction has %d bytes, want 1 to %d", len(tx), block.MaxForcedTxBytes)
		}
	}
	err = withDA(ctx, c.DA, func(client da.Client) error {
		daHeight, err = client.Submit(ctx, da.NamespaceOf(c.Namespaces.Forced), txs)
		return err //nolint:wrapcheck // below
	})
	if err != nil {
		return 0, 0, fmt.Errorf("post to da: %w", err)
	}
	return daHeight, forced.EpochEnd(g, daHeight), nil
}

// DAHead asks the DA layer of a config for its head.
func DAHead(ctx context.Context, c da.Config) (head da.Head, err error) {
	err = withDA(ctx, c, func(client da.Client) error {
		head, err = client.Head(ctx)
		return err //nolint:wrapcheck // the caller says what for
	})
	return head, err
}

// withDA runs do with a client of the DA layer, outside of a node.
func withDA(ctx context.Context, c da.Config, do func(da.Client) error) (err error) {
	var client da.Client
	a := fx.New(fx.NopLogger, fx.Supply(da.Params{Config: c, Log: zap.NewNop()}), da.Module(), fx.Populate(&client))
	if err := a.Start(ctx); err != nil {
		return fmt.Errorf("da: %w", err)
	}
	defer func() { err = errors.Join(err, a.Stop(context.WithoutCancel(ctx))) }()
	return do(client)
}
