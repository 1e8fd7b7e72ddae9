package app

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/forced"
	"github.com/tandem-node/tandem/modules/repair"
	"github.com/tandem-node/tandem/modules/signer"
)

// RepairParams returns what 'tandem repair' and 'tandem rollback' need of a home. It
// reads the genesis file and, of sequencers, the public part of the key.
func RepairParams(home string, config Config, log *zap.Logger) (repair.Params, error) {
	role, ok := RoleByName(config.Role)
	if !ok {
		return repair.Params{}, errors.Join(config.Problems()...)
	}
	c := config.In(home)
	g, err := loadGenesis(c.GenesisFile)
	if err != nil {
		return repair.Params{}, err
	}
	p := repair.Params{
		Genesis: g, DB: c.DB, Store: c.Store, Execution: c.Execution, ExecutionDir: executionDir(home),
		Pipeline: c.pipeline(role), Produces: role.Produces(), Forget: forced.MetaKeys(), Log: log,
	}
	if role.Produces() {
		p.Signed = func(ctx context.Context) (uint64, error) { return signedBy(ctx, c.Signer, g.ChainID) }
	}
	return p, nil
}

// signedBy returns the height a signer remembers, 0 when it remembers nothing. It
// changes nothing.
func signedBy(ctx context.Context, c signer.Config, chainID string) (uint64, error) {
	if _, err := os.Stat(c.StateFile); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	public, err := signer.PublicOf(c.KeyFile)
	if err != nil {
		return 0, err //nolint:wrapcheck // names the file
	}
	guard := signer.NewGuard(c.StateFile, block.Address(public), chainID)
	if err := guard.Open(); err != nil {
		return 0, err //nolint:wrapcheck // names the file
	}
	m, err := guard.Signed(ctx)
	return m.Height, errors.Join(err, guard.Close())
}
