package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/signer"
)

// InitParams says what home to make.
type InitParams struct {
	Home       string
	Role       Role
	ChainID    string         // of a new chain
	Genesis    *block.Genesis // of an existing chain; nil makes a new one
	StartTime  time.Time      // of a new chain
	Passphrase []byte         // of the signer key; only sequencers have one
	Overrides  map[string]any // config keys to write other than their default
	// DAStartHeight of a new chain: the first DA height its blobs can be at.
	DAStartHeight uint64
}

// ErrHomeExists means the home already belongs to a node.
var ErrHomeExists = errors.New("already initialized")

// Init makes a home: config, genesis, node key and, for sequencers, signer key.
// It never overwrites.
func Init(p InitParams) (block.Genesis, error) {
	c := Default().In(p.Home)
	if p.Genesis == nil && !p.Role.Produces() {
		return block.Genesis{}, errors.New("no genesis: a node that follows a chain needs the genesis file of its sequencer (--genesis FILE)")
	}
	for _, path := range []string{filepath.Join(p.Home, ConfigFile), c.GenesisFile, c.Signer.KeyFile} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return block.Genesis{}, fmt.Errorf("%s: %w: %s exists", p.Home, ErrHomeExists, path)
		}
	}
	var key *signer.Local
	if p.Role.Produces() {
		k, err := signer.Generate()
		if err != nil {
			return block.Genesis{}, err
		}
		if err := signer.Save(c.Signer.KeyFile, k, p.Passphrase); err != nil {
			return block.Genesis{}, err
		}
		key = signer.NewLocal(k)
	}
	g := p.genesis(key)
	if err := g.Save(c.GenesisFile); err != nil {
		return block.Genesis{}, err
	}
	if _, err := signer.LoadOrCreateNodeKey(c.Signer.NodeKeyFile); err != nil {
		return block.Genesis{}, err
	}
	values := map[string]any{"role": p.Role.Name()}
	for k, v := range p.Overrides {
		values[k] = v
	}
	text, err := RenderConfig(values)
	if err != nil {
		return block.Genesis{}, err
	}
	if err := os.WriteFile(filepath.Join(p.Home, ConfigFile), []byte(text), 0o600); err != nil {
		return block.Genesis{}, fmt.Errorf("write config: %w", err)
	}
	return g, nil
}

func (p InitParams) genesis(key *signer.Local) block.Genesis {
	if p.Genesis != nil {
		return *p.Genesis
	}
	address := key.Address()
	return block.Genesis{
		ChainID: p.ChainID, StartTime: p.StartTime.UTC(), InitialHeight: 1, ProposerAddress: address[:],
		DAStartHeight: p.DAStartHeight, DAEpochForcedInclusion: 50,
	}
}
