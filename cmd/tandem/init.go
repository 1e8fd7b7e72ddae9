package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/signer"
)

func newInit() *cobra.Command {
	var chainID, genesis string
	var daStart, epoch uint64
	config := app.Flags()
	cmd := &cobra.Command{
		Use: "init", Short: "Make a home for a node", Args: cobra.NoArgs,
		Long: `Make a home: a commented config, the genesis file and a node key. A sequencer
without --genesis begins a new chain, with an encrypted signer key of its own;
one with --genesis goes on with a chain whose key is brought with 'tandem keys
import'. Nothing is overwritten. Config flags given here are written into the
config.`,
		Example: `  tandem init --home seq --role sequencer --chain-id my-chain --da.address http://127.0.0.1:26658 --signer.passphrase_file pass.txt
  tandem init --home full --genesis seq/config/genesis.json --p2p.peers /ip4/127.0.0.1/tcp/7676/p2p/12D3...`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := app.InitParams{Home: homeOf(cmd), ChainID: chainID, StartTime: time.Now(), DAStartHeight: daStart, ForcedEpoch: epoch, Env: os.Environ()}
			return withCode(exitConfig, initHome(cmd, p, genesis, config))
		},
	}
	cmd.Flags().StringVar(&chainID, "chain-id", "tandem-1", "name of a new chain (sequencers)")
	cmd.Flags().StringVar(&genesis, "genesis", "", "genesis file of the chain to follow")
	cmd.Flags().Uint64Var(&daStart, "da-start-height", 0, "first DA height of a new chain (sequencers; default: the DA head of now)")
	cmd.Flags().Uint64Var(&epoch, "forced-epoch", 50, "DA heights after which a new chain takes forced transactions (sequencers)")
	cmd.Flags().AddFlagSet(config)
	return cmd
}

func initHome(cmd *cobra.Command, p app.InitParams, genesis string, config *pflag.FlagSet) error {
	name, err := config.GetString("role")
	if err != nil {
		return err
	}
	role, ok := app.RoleByName(name)
	if !ok {
		return fmt.Errorf("--role is %q, want one of %s", name, strings.Join(app.RoleNames(), ", "))
	}
	p.Role, p.Overrides = role, changed(config)
	if genesis != "" {
		g, err := block.LoadGenesis(genesis)
		if err != nil {
			return err
		}
		p.Genesis = &g
		warnGenesis(cmd, genesis)
	}
	file, _ := config.GetString("signer.passphrase_file")
	if file != "" { // in the config, relative paths are below the home
		if p.Overrides["signer.passphrase_file"], err = filepath.Abs(file); err != nil {
			return fmt.Errorf("signer.passphrase_file: %w", err)
		}
	}
	if role.Produces() && p.Genesis == nil {
		if err := block.CheckChainID(p.ChainID); err != nil {
			return fmt.Errorf("--chain-id %w", err)
		}
		if !cmd.Flags().Changed("da-start-height") {
			if p.DAStartHeight, err = startHeight(cmd, p.Home); err != nil {
				return err
			}
		}
		if p.Passphrase, err = signer.NewPassphrase(file, os.Stdin, cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	g, err := app.Init(p)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s of chain %s (genesis %s), config in %s\nstart it with: tandem start --home %s\n",
		role.Name(), g.ChainID, g.Hash().Short(), filepath.Join(p.Home, app.ConfigFile), p.Home)
	return withCode(exitFailed, err)
}

// warnGenesis names what is ignored of a genesis file.
func warnGenesis(cmd *cobra.Command, path string) {
	if unknown := block.UnknownInGenesis(path); len(unknown) > 0 {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "tandem: %s: not known and ignored: %s\n", path, strings.Join(unknown, ", "))
	}
}

// startHeight asks the DA layer of the flags where a new chain begins. What is wrong
// with the home or the flags is left to app.Init.
func startHeight(cmd *cobra.Command, home string) (uint64, error) {
	loaded, err := app.Load(app.Sources{Home: home, Env: os.Environ(), Flags: cmd.Flags()})
	if _, exists := os.Stat(filepath.Join(home, app.ConfigFile)); exists == nil || err != nil || len(loaded.Config.DA.Addresses) == 0 {
		return 1, nil //nolint:nilerr // see above
	}
	return app.StartHeight(cmd.Context(), loaded.Config.DA)
}

// changed returns the config flags that were given. Parsing is done by the
// command's own set, which shares the flags but not the record of what was set.
func changed(flags *pflag.FlagSet) map[string]any {
	out := map[string]any{}
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Changed || f.Name == "role" {
			return
		}
		if s, ok := f.Value.(pflag.SliceValue); ok {
			out[f.Name] = s.GetSlice()
			return
		}
		if f.Value.Type() == "string" {
			out[f.Name] = f.Value.String()
			return
		}
		out[f.Name] = rawYAML(f.Value.String())
	})
	return out
}

// rawYAML prints without quotes.
type rawYAML string

func (r rawYAML) String() string { return string(r) }

// baseURL turns host:port or a URL into a URL.
func baseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		u, err = url.Parse("http://" + address)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not an address like 127.0.0.1:7331", address)
	}
	return u, nil
}
