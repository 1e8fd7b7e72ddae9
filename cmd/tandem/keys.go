package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/signer"
)

func newKeys() *cobra.Command {
	cmd := group("keys", "Show, export or import the keys of a home")
	show := &cobra.Command{
		Use: "show", Short: "Show node id, proposer address and public key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showKeys(cmd) },
	}
	export := &cobra.Command{
		Use: "export", Short: "Print the signer's private key as hex (whoever has it can sign blocks)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return exportKey(cmd) },
	}
	var replace bool
	imported := &cobra.Command{
		Use: "import FILE", Short: "Save an exported private key as the signer key of the home", Args: arguments(1, 1),
		Long: `Save a private key, 128 hex digits as 'tandem keys export' prints them, as the
signer key of the home, encrypted with its passphrase. The key is read from FILE,
or from standard input when that is "-", so that it is in no list of processes.`,
		Example: `  tandem keys export --home old | TANDEM_SIGNER_PASSPHRASE=... tandem keys import --home new -`,
		RunE:    func(cmd *cobra.Command, args []string) error { return importKey(cmd, args[0], replace) },
	}
	imported.Flags().BoolVar(&replace, "force", false, "replace the signer key of the home; the old file is kept beside it")
	for _, c := range []*cobra.Command{show, export, imported} {
		c.Flags().AddFlagSet(app.Flags())
		cmd.AddCommand(c)
	}
	return cmd
}

// signerConfig returns where the keys of the home are.
func signerConfig(cmd *cobra.Command) (signer.Config, error) {
	loaded, err := loadConfig(cmd)
	if err != nil {
		return signer.Config{}, err
	}
	return loaded.Config.In(homeOf(cmd)).Signer, nil
}

func showKeys(cmd *cobra.Command) error {
	c, err := signerConfig(cmd)
	if err != nil {
		return err
	}
	node, err := signer.LoadNodeKey(c.NodeKeyFile)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("no node key at %s: run 'tandem init'", c.NodeKeyFile)
	}
	if err != nil {
		return withCode(exitConfig, err)
	}
	key, err := app.NodeKeyOf(node)
	if err != nil {
		return withCode(exitConfig, err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return withCode(exitConfig, err)
	}
	out := cmd.OutOrStdout()
	_, _ = fmt.Fprintf(out, "node id     %s\n", id)
	public, err := signer.PublicOf(c.KeyFile)
	if errors.Is(err, os.ErrNotExist) {
		_, _ = fmt.Fprintln(out, "signer key  none")
		return nil
	}
	if err != nil {
		return withCode(exitConfig, err)
	}
	_, err = fmt.Fprintf(out, "address     %s\npublic key  %X\n", block.Address(public), []byte(public))
	return err
}

func exportKey(cmd *cobra.Command) error {
	c, err := signerConfig(cmd)
	if err != nil {
		return err
	}
	passphrase, err := signer.Passphrase(c.PassphraseFile, os.Stdin, cmd.ErrOrStderr())
	if err != nil {
		return withCode(exitConfig, err)
	}
	key, err := signer.Load(c.KeyFile, passphrase)
	if err != nil {
		return withCode(exitConfig, err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), hex.EncodeToString(key))
	return err
}

func importKey(cmd *cobra.Command, path string, replace bool) error {
	raw, err := readKey(cmd.InOrStdin(), path)
	if err != nil {
		return withCode(exitConfig, err)
	}
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	if !key.Equal(ed25519.PrivateKey(raw)) {
		return withCode(exitConfig, errors.New("the second half of the key is not the public key of the first"))
	}
	c, err := signerConfig(cmd)
	if err != nil {
		return err
	}
	passphrase, err := signer.NewPassphrase(c.PassphraseFile, os.Stdin, cmd.ErrOrStderr())
	if err != nil {
		return withCode(exitConfig, err)
	}
	if err := saveKey(cmd.ErrOrStderr(), c.KeyFile, key, passphrase, replace); err != nil {
		return withCode(exitConfig, err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "address     %s\n", signer.NewLocal(key).Address())
	return err
}

// saveKey writes a new key file, or replaces one and says where the old one is.
func saveKey(said io.Writer, path string, key ed25519.PrivateKey, passphrase []byte, replace bool) error {
	if !replace {
		err := signer.Save(path, key, passphrase)
		if errors.Is(err, signer.ErrExists) {
			return fmt.Errorf("%w: --force replaces it and keeps the old file", err)
		}
		return err
	}
	old, err := signer.Replace(path, key, passphrase)
	if err == nil && old != "" {
		_, err = fmt.Fprintf(said, "the old key is kept as %s\n", old)
	}
	return err
}

// readKey reads a private key in hex from a file, or from in when path is "-".
func readKey(in io.Reader, path string) ([]byte, error) {
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	const digits = 2 * ed25519.PrivateKeySize
	text, err := io.ReadAll(io.LimitReader(in, 2*digits))
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("the key is not %d hex digits, as 'tandem keys export' prints them", digits)
	}
	return raw, nil
}
