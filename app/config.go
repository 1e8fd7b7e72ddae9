package app

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/forced"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/profiling"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/telemetry"
)

// Config is the sum of the modules' configs; config.yaml explains every key.
type Config struct {
	Role        string `koanf:"role"`
	GenesisFile string `koanf:"genesis_file"`

	Log        telemetry.LogConfig     `koanf:"log"`
	RPC        rpc.Config              `koanf:"rpc"`
	P2P        p2p.Config              `koanf:"p2p"`
	DA         da.Config               `koanf:"da"`
	Namespaces Namespaces              `koanf:"namespaces"`
	DAWorker   daworker.Config         `koanf:"da_worker"`
	Execution  execution.Config        `koanf:"execution"`
	Signer     signer.Config           `koanf:"signer"`
	Sequencer  sequencer.Config        `koanf:"sequencer"`
	Forced     forced.Config           `koanf:"forced"`
	Exchange   exchange.Config         `koanf:"exchange"`
	Syncer     syncer.Config           `koanf:"syncer"`
	Pipeline   pipeline.Config         `koanf:"pipeline"`
	Store      chainstore.Config       `koanf:"store"`
	DB         leveldb.Config          `koanf:"db"`
	Tracing    telemetry.TracingConfig `koanf:"tracing"`
	Metrics    telemetry.MetricsConfig `koanf:"metrics"`
	Health     HealthConfig            `koanf:"health"`
	Profiling  profiling.Config        `koanf:"profiling"`
}

// HealthConfig says when the node counts as dead.
type HealthConfig struct {
	// StuckAfter is how long a part may be at one piece of work.
	StuckAfter time.Duration `koanf:"stuck_after"`
}

// Validate returns an error that names the key, the value and what was expected.
func (c HealthConfig) Validate() error {
	if c.StuckAfter < time.Second {
		return fmt.Errorf("stuck_after is %s, want at least 1s", c.StuckAfter)
	}
	return nil
}

// Namespaces are the names blobs are posted under; the bytes are derived from
// them (evolve-wire §6.2).
type Namespaces struct {
	Header string `koanf:"header"` // empty: <chain id>-headers
	Data   string `koanf:"data"`   // empty: as header, or <chain id>-data when that is empty too
	Forced string `koanf:"forced"` // empty: nothing is forced
}

// Of returns the names for a chain.
func (n Namespaces) Of(chainID string) Namespaces {
	switch {
	case n.Header == "" && n.Data == "":
		n.Header, n.Data = chainID+"-headers", chainID+"-data"
	case n.Header == "":
		n.Header = chainID + "-headers"
	case n.Data == "":
		n.Data = n.Header
	}
	return n
}

// Default is a full node without DA layer and peers.
func Default() Config {
	t := telemetry.Default()
	return Config{
		Role: RoleFull.Name(), GenesisFile: "config/genesis.json",
		Log: t.Log, RPC: rpc.Default(), P2P: p2p.Default(), DA: da.Default(), DAWorker: daworker.Default(),
		Execution: execution.Default(), Signer: signer.Default(), Sequencer: sequencer.Default(), Forced: forced.Default(),
		Exchange: exchange.Default(), Syncer: syncer.Default(), Pipeline: pipeline.Default(),
		Store: chainstore.Default(), DB: leveldb.Default(), Tracing: t.Tracing, Metrics: t.Metrics,
		Health: HealthConfig{StuckAfter: 2 * time.Minute}, Profiling: profiling.Default(),
	}
}

// Problems returns everything that is wrong with the config, each with the key,
// the value and what was expected.
func (c Config) Problems() []error {
	var problems []error
	for _, part := range []struct {
		section  string
		validate func() error
	}{
		{"", c.validateSelf},
		{"", telemetry.Config{Log: c.Log, Tracing: c.Tracing, Metrics: c.Metrics}.Validate},
		{"rpc", c.RPC.Validate},
		{"p2p", c.P2P.Validate},
		{"da", c.DA.Validate},
		{"da_worker", c.DAWorker.Validate},
		{"execution", c.Execution.Validate},
		{"signer", c.Signer.Validate},
		{"sequencer", c.Sequencer.Validate},
		{"forced", c.Forced.Validate},
		{"exchange", c.Exchange.Validate},
		{"syncer", c.Syncer.Validate},
		{"pipeline", c.Pipeline.Validate},
		{"store", c.Store.Validate},
		{"db", c.DB.Validate},
		{"health", c.Health.Validate},
		{"profiling", c.Profiling.Validate},
	} {
		if err := part.validate(); err != nil {
			problems = append(problems, inSection(part.section, err))
		}
	}
	return problems
}

// inSection puts the section before errors of modules that do not know where
// their config stands.
func inSection(section string, err error) error {
	if section == "" || strings.HasPrefix(err.Error(), section+".") {
		return err
	}
	return fmt.Errorf("%s.%w", section, err)
}

func (c Config) validateSelf() error {
	role, ok := RoleByName(c.Role)
	switch {
	case !ok:
		return fmt.Errorf("role is %q, want one of %s", c.Role, strings.Join(RoleNames(), ", "))
	case c.GenesisFile == "":
		return errors.New("genesis_file is empty, want a path")
	case role.Produces() && len(c.DA.Addresses) == 0:
		return errors.New("da.address is empty, want the URL of a DA node: a sequencer has to post its blocks")
	case role.Produces() && c.Pipeline.Conflict == pipeline.PolicyFollowDA:
		return errors.New("pipeline.conflict is follow-da, want auto or halt: a sequencer does not roll back what it signed")
	case c.Namespaces.Forced != "" && slices.Contains([]string{c.Namespaces.Header, c.Namespaces.Data}, c.Namespaces.Forced):
		return fmt.Errorf("namespaces.forced is %q, want another one than that of headers and data", c.Namespaces.Forced)
	case c.P2P.Disabled && len(c.DA.Addresses) == 0 && !role.Produces():
		return errors.New("p2p.disabled is true and da.address is empty: the node would have no source of blocks")
	}
	return nil
}

// In returns the config with relative paths made absolute below home.
func (c Config) In(home string) Config {
	for _, p := range []*string{
		&c.GenesisFile, &c.Signer.KeyFile, &c.Signer.NodeKeyFile, &c.Signer.StateFile, &c.DB.Path,
	} {
		*p = below(home, *p)
	}
	if c.Signer.PassphraseFile != "" {
		c.Signer.PassphraseFile = below(home, c.Signer.PassphraseFile)
	}
	return c
}

func below(home, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(home, path)
}
