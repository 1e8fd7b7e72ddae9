package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/rpc"
)

const (
	callTimeout    = 10 * time.Second
	maxAnswerBytes = 16 << 20
)

// rpcFlag adds --rpc; rpcAddress reads it, or the address of the home's config.
func rpcFlag(cmd *cobra.Command) {
	cmd.Flags().String("rpc", "", "address of the node (default: rpc.address of the home's config)")
}

func rpcAddress(cmd *cobra.Command) (string, error) {
	if address, _ := cmd.Flags().GetString("rpc"); address != "" {
		return address, nil
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
		Long: `Send transactions to the executor of a node. Only a sequencer puts them into blocks.

With --forced they are posted to DA instead, at da.address of the home's config:
the sequencer has to take them after the end of the epoch, or its followers find
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
			warnFollower(cmd, address)
			for _, tx := range args {
				if _, err := call(cmd.Context(), http.MethodPost, address, "/tx", []byte(tx)); err != nil {
					return fmt.Errorf("transaction %q: %w", tx, err)
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d accepted\n", len(args))
			return err
		},
	}
	rpcFlag(cmd)
	cmd.Flags().BoolVar(&force, "forced", false, "post to the forced namespace of DA")
	cmd.MarkFlagsMutuallyExclusive("forced", "rpc")
	return cmd
}

func forceTxs(cmd *cobra.Command, args []string) error {
	loaded, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	txs := make([][]byte, len(args))
	for i, tx := range args {
		txs[i] = []byte(tx)
	}
	at, due, err := app.Force(cmd.Context(), loaded.Config.In(homeOf(cmd)), txs)
	if err != nil {
		return withCode(exitFailed, err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d forced at DA height %d, due after DA height %d\n", len(txs), at, due)
	return err
}

// warnFollower tells those who send to a follower, which takes
// transactions as well, that they will wait for ever.
func warnFollower(cmd *cobra.Command, address string) {
	var s rpc.Status
	raw, err := call(cmd.Context(), http.MethodGet, address, "/status", nil)
	if err != nil || json.Unmarshal(raw, &s) != nil || s.Role != app.RoleFull.Name() {
		return // what is wrong shows when the transaction is sent
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "tandem: warning: %s is a %s node, only a sequencer puts transactions into blocks\n", address, s.Role)
}
