package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/signer"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Show, export or import the keys of a home"}
	show := &cobra.Command{
		Use: "show", Short: "Show node id, proposer address and public key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showKeys(cmd) },
	}
	export := &cobra.Command{
		Use: "export", Short: "Print the signer's private key as hex (whoever has it can sign blocks)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return exportKey(cmd) },
	}
	imported := &cobra.Command{
		Use: "import HEX", Short: "Save a private key of 64 bytes as the signer key of the home", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return importKey(cmd, args[0]) },
	}
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

func importKey(cmd *cobra.Command, text string) error {
	raw, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != ed25519.PrivateKeySize {
		return withCode(exitUsage, fmt.Errorf("the key has %d hex digits, want %d", len(text), 2*ed25519.PrivateKeySize))
	}
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	if !key.Equal(ed25519.PrivateKey(raw)) {
		return withCode(exitUsage, errors.New("the second half of the key is not the public key of the first"))
	}
	c, err := signerConfig(cmd)
	if err != nil {
		return err
	}
	passphrase, err := signer.Passphrase(c.PassphraseFile, os.Stdin, cmd.ErrOrStderr())
	if err != nil {
		return withCode(exitConfig, err)
	}
	if err := signer.Save(c.KeyFile, key, passphrase); err != nil {
		return withCode(exitConfig, err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "address     %s\n", signer.NewLocal(key).Address())
	return err
}
