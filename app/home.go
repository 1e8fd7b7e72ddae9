package app

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/signer"
)

// InitParams says what home to make.
type InitParams struct {
	Home       string
	Role       Role
	ChainID    string         // of a new chain
	Genesis    *block.Genesis // of an existing chain; nil makes a new one
	StartTime  time.Time      // of a new chain
	Passphrase []byte         // of the signer key of a new chain
	Overrides  map[string]any // config keys to write other than their default
	// Env is the environment the node will run in; it is not written down.
	Env []string
	// DAStartHeight of a new chain: the first DA height its blobs can be at.
	DAStartHeight uint64
	// ForcedEpoch of a new chain, in DA heights; 0 is 50.
	ForcedEpoch uint64
}

// ErrHomeExists means the home already belongs to a node.
var ErrHomeExists = errors.New("already initialized")

// Init makes a home: config, genesis, node key and, for a new chain, the signer
// key of its proposer. It never overwrites, and writes nothing when something is
// wrong.
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
	files, err := p.files()
	if err != nil {
		return block.Genesis{}, err
	}
	if files.key != nil {
		if err := signer.Save(c.Signer.KeyFile, files.key, p.Passphrase); err != nil {
			return block.Genesis{}, err
		}
	}
	if err := files.genesis.Save(c.GenesisFile); err != nil {
		return block.Genesis{}, err
	}
	if _, err := signer.LoadOrCreateNodeKey(c.Signer.NodeKeyFile); err != nil {
		return block.Genesis{}, err
	}
	if err := os.WriteFile(filepath.Join(p.Home, ConfigFile), []byte(files.config), 0o600); err != nil {
		return block.Genesis{}, fmt.Errorf("write config: %w", err)
	}
	if err := os.WriteFile(filepath.Join(p.Home, ReferenceFile), []byte(RenderReference()), 0o600); err != nil {
		return block.Genesis{}, fmt.Errorf("write reference: %w", err)
	}
	return files.genesis, nil
}

// homeFiles is what a home is made of, checked before any of it is written: a
// home is either made or not.
type homeFiles struct {
	key     ed25519.PrivateKey // nil: none is made
	genesis block.Genesis
	config  string
}

func (p InitParams) files() (homeFiles, error) {
	values := map[string]any{"role": p.Role.Name()}
	maps.Copy(values, p.Overrides)
	var f homeFiles
	var err error
	if f.config, err = RenderChanges(values); err != nil {
		return homeFiles{}, err
	}
	if err := CheckConfig(f.config, p.Env); err != nil {
		return homeFiles{}, err
	}
	if p.Genesis != nil {
		f.genesis = *p.Genesis
		return f, f.genesis.Validate()
	}
	if f.key, err = signer.Generate(); err != nil {
		return homeFiles{}, err
	}
	f.genesis = p.genesis(signer.NewLocal(f.key).Address())
	return f, f.genesis.Validate()
}

// StartHeight returns the DA height at which a chain that is made now begins: the
// head of DA. It waits for a DA node that is just starting.
func StartHeight(ctx context.Context, c da.Config) (uint64, error) {
	const most, pause = 10 * time.Second, 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		head, err := DAHead(ctx, c)
		if err == nil {
			return max(head.Height, 1), nil
		}
		if errors.Is(err, da.ErrAuth) {
			cancel() // waiting does not help
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("the DA layer at %s does not say where a new chain begins (%w): start it, or give --da-start-height",
				WithoutSecrets(strings.Join(c.Addresses, ", ")), err)
		case <-time.After(pause):
		}
	}
}

func (p InitParams) genesis(proposer block.Hash) block.Genesis {
	return block.Genesis{
		ChainID: p.ChainID, StartTime: p.StartTime.UTC(), InitialHeight: 1, ProposerAddress: proposer[:],
		DAStartHeight: p.DAStartHeight, DAEpochForcedInclusion: cmp.Or(p.ForcedEpoch, 50),
	}
}
