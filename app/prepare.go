package app

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/telemetry"
)

// Timing of the lifecycle.
const (
	stopTimeout  = 10 * time.Second // fx gives up waiting; a stop takes well under 2 s
	startTimeout = 5 * time.Minute  // databases that are repaired take theirs
)

// PrepareParams is what Prepare needs beside the config.
type PrepareParams struct {
	Home    string
	Version string
	Config  Config
	LogTo   io.Writer
	In      *os.File  // where a passphrase may be typed; nil: nowhere
	Prompt  io.Writer // where it is asked for
}

// Prepare reads the genesis file and the keys of a home and makes logger,
// tracing and metrics. Everything that can be wrong with files shows here,
// before anything starts.
func Prepare(ctx context.Context, p PrepareParams) (Setup, error) {
	role, ok := RoleByName(p.Config.Role)
	if !ok {
		return Setup{}, errors.Join(p.Config.Problems()...)
	}
	c := p.Config.In(p.Home)
	g, err := loadGenesis(c.GenesisFile)
	if err != nil {
		return Setup{}, err
	}
	s := Setup{Role: role, Home: p.Home, Version: p.Version, Config: p.Config, Genesis: g}
	key, err := signer.LoadOrCreateNodeKey(c.Signer.NodeKeyFile)
	if err != nil {
		return Setup{}, err
	}
	if s.NodeKey, err = NodeKeyOf(key); err != nil {
		return Setup{}, err
	}
	if role.Produces() {
		if s.Signer, err = loadSigner(c.Signer, g, p.In, p.Prompt); err != nil {
			return Setup{}, err
		}
	}
	if err := s.observe(ctx, p.LogTo); err != nil {
		return Setup{}, err
	}
	if unknown := block.UnknownInGenesis(c.GenesisFile); len(unknown) > 0 {
		s.Log.Warn("members of the genesis file are not known and ignored", zap.String("file", c.GenesisFile), zap.Strings("members", unknown))
	}
	for _, warning := range exposed(c) {
		s.Log.Warn(warning)
	}
	s.Config, err = s.Config.fitDescriptors(openFiles(), s.Log)
	return s, err
}

func loadGenesis(path string) (block.Genesis, error) {
	g, err := block.LoadGenesis(path)
	if errors.Is(err, fs.ErrNotExist) {
		return block.Genesis{}, fmt.Errorf("no genesis file at %s: run 'tandem init', or copy the file of the chain there", path)
	}
	return g, err
}

// CheckHome reads the files a config with absolute paths names, as far as that
// takes no passphrase.
func CheckHome(c Config) (block.Genesis, error) {
	g, err := loadGenesis(c.GenesisFile)
	if err != nil {
		return block.Genesis{}, err
	}
	key, err := signer.LoadNodeKey(c.Signer.NodeKeyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return block.Genesis{}, err
	}
	if err == nil {
		if err := otherPeers(c.P2P, key); err != nil {
			return block.Genesis{}, err
		}
	}
	if role, _ := RoleByName(c.Role); role.Produces() {
		return g, signerThere(c.Signer)
	}
	return g, nil
}

// otherPeers checks that no static peer is the node itself.
func otherPeers(c p2p.Config, key ed25519.PrivateKey) error {
	private, err := NodeKeyOf(key)
	if err != nil {
		return err
	}
	id, err := peer.IDFromPrivateKey(private)
	if err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	if own := c.Own(id); len(own) > 0 {
		return fmt.Errorf("p2p.peers: %s is this node itself: remove it, or give this node a key of its own (signer.node_key_file) "+
			"if it was copied from there", own[0])
	}
	return nil
}

func signerThere(c signer.Config) error {
	_, err := signer.PublicOf(c.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no signer key at %s: a sequencer needs that of the chain's proposer, see 'tandem keys import --help'", c.KeyFile)
	}
	return err
}

// loadSigner opens the proposer's key. One that is not the genesis proposer's
// is refused unless the chain may have rotated: only the chain itself knows, so
// it is checked again when blocks are made.
func loadSigner(c signer.Config, g block.Genesis, in *os.File, prompt io.Writer) (*signer.Guarded, error) {
	if err := signerThere(c); err != nil {
		return nil, err
	}
	passphrase, err := signer.Passphrase(c.PassphraseFile, in, prompt)
	if err != nil {
		return nil, err
	}
	key, err := signer.Load(c.KeyFile, passphrase)
	if err != nil {
		return nil, err
	}
	return signer.NewGuarded(signer.NewLocal(key), c.StateFile, g.ChainID), nil
}

// observe makes logger, tracing and metrics from the config.
func (s *Setup) observe(ctx context.Context, logTo io.Writer) error {
	var err error
	if s.Log, s.Levels, err = telemetry.NewLogger(s.Config.Log, logTo); err != nil {
		return err
	}
	t := s.Config.Tracing
	if t.InstanceID == "" {
		if t.InstanceID, err = instanceOf(s.Config.Role, s.NodeKey); err != nil {
			return err
		}
	}
	s.Config.Tracing = t
	if s.Tracing, err = telemetry.NewTracing(ctx, t, s.Log.Named("telemetry")); err != nil {
		return err
	}
	s.Metrics, err = telemetry.NewMetrics()
	return err
}

// instanceOf names a node in traces: its role, and the end of its id, by which
// two nodes of one role differ.
func instanceOf(role string, key crypto.PrivKey) (string, error) {
	const digits = 6
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("node key: %w", err)
	}
	text := id.String()
	return role + "-" + text[len(text)-digits:], nil
}
