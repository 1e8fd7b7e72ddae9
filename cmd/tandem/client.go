package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
)

const (
	callTimeout    = 10 * time.Second
	maxAnswerBytes = 64 << 20
)

// rpcFlag adds --rpc; rpcAddress reads it, or the address of the home's config.
func rpcFlag(cmd *cobra.Command) {
	cmd.Flags().String("rpc", "", "address of the node (default: rpc.address of the home's config)")
}

func rpcAddress(cmd *cobra.Command) (string, error) {
	if address, _ := cmd.Flags().GetString("rpc"); address != "" {
		return address, nil
	}
	home := homeOf(cmd)
	if _, err := os.Stat(filepath.Join(home, app.ConfigFile)); err != nil && cmd.Flags().Changed("home") {
		return "", withCode(exitConfig, fmt.Errorf("--home %s is no home of a node: %w", home, reasonOf(err)))
	}
	loaded, err := loadConfig(cmd)
	if err != nil {
		return "", err
	}
	if loaded.Config.RPC.Address == "" {
		return "", withCode(exitConfig, errors.New("rpc.address is empty: the API of this node is off"))
	}
	return loaded.Config.RPC.Address, nil
}

// reasonOf leaves out the operation, which says nothing to an operator.
func reasonOf(err error) error {
	if outer, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", outer.Path, outer.Err)
	}
	return err
}

// call asks a node and returns the body of a good answer.
func call(ctx context.Context, method, address, path string, body []byte) ([]byte, error) {
	base, err := baseURL(address)
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(body, []byte("{")) {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, withCode(exitFailed, fmt.Errorf("no node answers at %s: is it running?", base.Host))
	case errors.Is(err, context.DeadlineExceeded):
		return nil, withCode(exitFailed, fmt.Errorf("%s does not answer within %s", base.Host, callTimeout))
	case err != nil:
		return nil, withCode(exitFailed, fmt.Errorf("ask %s: %w", base.Host, reason(err)))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return nil, withCode(exitFailed, fmt.Errorf("read answer of %s: %w", base.Host, err))
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, withCode(exitFailed, fmt.Errorf("%s has no %s: a light node has no executor, and what answers there may be no tandem node", base.Host, path))
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return answer, withCode(exitFailed, fmt.Errorf("%s: %s: %s", base.Host, resp.Status, strings.TrimSpace(string(answer))))
	}
	return answer, nil
}

// reason leaves out method and URL, which the caller has named.
func reason(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}

func newTx() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "tx KEY=VALUE...", Short: "Send transactions to a node, or force them through DA", Args: arguments(1, math.MaxInt),
		Long: `Send transactions to the executor of a node and print their hashes. Only a sequencer
puts them into blocks: a follower passes them on where rpc.forward_to names the
API of a sequencer, and refuses them otherwise.

With --forced they are posted to DA instead, at da.address of the home's config
or of the flag: the sequencer has to take them after the end of the epoch, or its followers find
out that it censors.`,
		Example: `  tandem tx --rpc 127.0.0.1:7331 color=green
  tandem tx --home full --forced color=green`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if force {
				return forceTxs(cmd, args)
			}
			address, err := rpcAddress(cmd)
			if err != nil {
				return err
			}
			for _, tx := range args {
				if _, err := call(cmd.Context(), http.MethodPost, address, "/tx", []byte(tx)); err != nil {
					return fmt.Errorf("transaction %q: %w", tx, err)
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "accepted %s\n", block.Sum([]byte(tx))); err != nil {
					return err
				}
			}
			return nil
		},
	}
	rpcFlag(cmd)
	app.Flags().VisitAll(func(f *pflag.Flag) {
		for _, prefix := range []string{"da.", "namespaces.", "genesis_file"} {
			if strings.HasPrefix(f.Name, prefix) {
				cmd.Flags().AddFlag(f)
			}
		}
	})
	cmd.Flags().BoolVar(&force, "forced", false, "post to the forced namespace of DA")
	cmd.MarkFlagsMutuallyExclusive("forced", "rpc")
	return cmd
}

func forceTxs(cmd *cobra.Command, args []string) error {
	loaded, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	c := loaded.Config.In(homeOf(cmd))
	g, err := app.CheckForced(c)
	if err != nil {
		return withCode(exitConfig, err)
	}
	txs := make([][]byte, len(args))
	for i, tx := range args {
		txs[i] = []byte(tx)
	}
	at, due, err := app.Force(cmd.Context(), c, g, txs)
	if err != nil {
		return withCode(exitFailed, err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d forced at DA height %d, due after DA height %d\n", len(txs), at, due)
	return err
}
