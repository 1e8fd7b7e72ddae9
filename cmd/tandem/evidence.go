package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
)

func newEvidence() *cobra.Command {
	cmd := group("evidence", "Show, export or verify proofs that a proposer signed two headers for one height, or one that execution refutes")
	list := &cobra.Command{
		Use: "list", Short: "List the proofs a node keeps, running or not", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, _, err := askEvidence(cmd)
			if err != nil {
				return err
			}
			return printEvidence(cmd.OutOrStdout(), all)
		},
	}
	export := &cobra.Command{
		Use: "export", Short: "Print the proofs a node keeps, running or not, as JSON, for 'tandem evidence verify'", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, raw, err := askEvidence(cmd)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		},
	}
	rpcFlag(list)
	rpcFlag(export)
	cmd.AddCommand(list, export, newEvidenceVerify())
	return cmd
}

func newEvidenceVerify() *cobra.Command {
	var genesisFile, proposer string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Verify exported proofs with nothing but the genesis file", Args: arguments(1, 1),
		Long: `Verify proofs as 'tandem evidence export' prints them, read from FILE or, when
that is "-", from standard input. It needs the genesis file of the chain and no
node: both headers must be of this chain and of one height, differ, and carry
valid signatures of the proposer. Of a header that execution refutes it is shown
that the proposer signed it, that it follows the block before, and that its app
hash is not the expected one. That the expected one is right, that the data is
refused, or that a forced transaction was left out cannot be shown without the
chain: the output says what to compare.`,
		Example: `  tandem evidence export | tandem evidence verify - --genesis genesis.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := readEvidence(cmd.InOrStdin(), args[0])
			if err != nil {
				return withCode(exitFailed, err)
			}
			g, err := genesisOf(cmd, genesisFile)
			if err != nil {
				return withCode(exitConfig, err)
			}
			by := g.ProposerAddress
			if proposer != "" {
				if by, err = hex.DecodeString(proposer); err != nil {
					return withCode(exitUsage, fmt.Errorf("--proposer is %q, want an address in hex", proposer))
				}
			}
			return withCode(exitFailed, verifyEvidence(cmd.OutOrStdout(), all, g, by))
		},
	}
	cmd.Flags().StringVar(&genesisFile, "genesis", "", "genesis file of the chain (default: that of the home)")
	cmd.Flags().StringVar(&proposer, "proposer", "", "address in hex of the proposer at that height, where it is not that of the genesis")
	return cmd
}

// askEvidence asks the running node or, when none answers, reads the database of
// the home: a node that halted for a conflict does not run.
func askEvidence(cmd *cobra.Command) ([]block.Evidence, []byte, error) {
	address, err := rpcAddress(cmd)
	if err != nil {
		return nil, nil, err
	}
	raw, err := call(cmd.Context(), http.MethodGet, address, "/evidence", nil)
	if err != nil {
		if cmd.Flags().Changed("rpc") {
			return nil, nil, err
		}
		return storedEvidence(cmd, err)
	}
	var all []block.Evidence
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, nil, withCode(exitFailed, fmt.Errorf("answer of %s: %w", address, err))
	}
	return all, raw, nil
}

func storedEvidence(cmd *cobra.Command, noAnswer error) ([]block.Evidence, []byte, error) {
	loaded, err := loadConfig(cmd)
	if err != nil {
		return nil, nil, err
	}
	all, err := app.StoredEvidence(cmd.Context(), loaded.Config.In(homeOf(cmd)))
	if err != nil {
		return nil, nil, withCode(exitFailed, errors.Join(noAnswer, err))
	}
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return nil, nil, withCode(exitFailed, err)
	}
	return all, append(raw, '\n'), nil
}

func printEvidence(out io.Writer, all []block.Evidence) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no proposer was caught signing two headers for one height, or one that execution refutes")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "height\tkind\tfound at\theader\tseen\tagainst it")
	for _, e := range all {
		against := "signed " + short(e.First) + " too, " + seenAt(e.First)
		if r := e.Refuted; r != nil {
			against = fmt.Sprintf("executor %s: %s, %s", r.Executor, r.Rule, said(r))
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Height(), e.Kind(), e.Second.At.Format(time.RFC3339),
			short(e.Second), seenAt(e.Second), against)
	}
	return w.Flush()
}

// said is what a refutation expected.
func said(r *block.Refutation) string {
	switch r.Rule {
	case block.ErrForcedLeftOut:
		return fmt.Sprintf("%s of DA %d, blob %d, after %d epochs", r.WantHash.Short(), r.Forced.DAHeight, r.Forced.Index, r.Forced.Epochs)
	case block.ErrRefusedData:
		return strconv.Quote(string(r.Want[:min(len(r.Want), maxReason)]))
	default:
		return "want " + expected(r.Want)
	}
}

// maxReason bounds what is shown of why an executor refuses data.
const maxReason = 120

// unproven says what was held against a verified header, and what it takes to confirm that.
func unproven(h *block.SignedHeader, r *block.Refutation) string {
	switch r.Rule {
	case block.ErrForcedLeftOut:
		return fmt.Sprintf("; neither it nor a block before it has transaction %s, forced at DA height %d (blob %d), %d epochs later, "+
			"which takes the forced namespace and the chain to confirm", r.WantHash, r.Forced.DAHeight, r.Forced.Index, r.Forced.Epochs)
	case block.ErrRefusedData:
		return fmt.Sprintf(" with data hash %X; executor %s refuses that data: %s, which takes executing the chain to confirm",
			h.Header.DataHash, r.Executor, said(r))
	default:
		return fmt.Sprintf(" with app hash %s; executor %s expected %s there, which takes executing the chain to confirm",
			expected(h.Header.AppHash), r.Executor, expected(r.Want))
	}
}

func short(s block.Sighting) string {
	if s.Header == nil {
		return ""
	}
	return s.Header.Digest().Short()
}

// expected shortens a state root, which may be a long text.
func expected(root []byte) string {
	const most = 16
	switch {
	case len(root) == 0:
		return "(empty)"
	case len(root) > most:
		return fmt.Sprintf("%X…", root[:most])
	}
	return fmt.Sprintf("%X", root)
}

func seenAt(s block.Sighting) string {
	switch {
	case s.DAHeight != 0:
		return fmt.Sprintf("DA %d", s.DAHeight)
	case s.Peer != "":
		return s.Source.String() + " " + s.Peer
	}
	return s.Source.String()
}

// readEvidence reads a list of proofs, or a single one.
func readEvidence(in io.Reader, file string) ([]block.Evidence, error) {
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // the file the user names
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxAnswerBytes))
	if err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	if raw = bytes.TrimSpace(raw); bytes.HasPrefix(raw, []byte("{")) {
		raw = append(append([]byte("["), raw...), ']')
	}
	var all []block.Evidence
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	return all, nil
}

func genesisOf(cmd *cobra.Command, file string) (block.Genesis, error) {
	if file == "" {
		loaded, err := loadConfig(cmd)
		if err != nil {
			return block.Genesis{}, err
		}
		file = loaded.Config.In(homeOf(cmd)).GenesisFile
	}
	return block.LoadGenesis(file)
}

func verifyEvidence(out io.Writer, all []block.Evidence, g block.Genesis, by []byte) error {
	if len(all) == 0 {
		return errors.New("there is no evidence to verify")
	}
	for i, e := range all {
		if err := e.VerifyBy(g, by); err != nil {
			return fmt.Errorf("evidence %d of %d proves nothing: %w", i+1, len(all), err)
		}
		if r := e.Refuted; r != nil {
			_, _ = fmt.Fprintf(out, "block %d of %s: proposer %X signed %s%s\n", e.Height(), g.ChainID, by, e.Second.Header.Digest(),
				unproven(e.Second.Header, r))
			continue
		}
		_, _ = fmt.Fprintf(out, "block %d of %s: proposer %X signed both %s and %s\n", e.Height(), g.ChainID, by,
			e.First.Header.Digest(), e.Second.Header.Digest())
	}
	return nil
}
