package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/rpc"
)

func newStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show what a running node knows and waits for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, err := rpcAddress(cmd)
			if err != nil {
				return err
			}
			raw, err := call(cmd.Context(), http.MethodGet, address, "/status", nil)
			if err != nil {
				return err
			}
			if asJSON {
				_, err = cmd.OutOrStdout().Write(raw)
				return err
			}
			var s rpc.Status
			if err := json.Unmarshal(raw, &s); err != nil {
				return withCode(exitFailed, fmt.Errorf("answer of %s: %w", address, err))
			}
			return printStatus(cmd.OutOrStdout(), s, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	rpcFlag(cmd)
	return cmd
}

func printStatus(out io.Writer, s rpc.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	row("chain", "%s, genesis %.8s", s.ChainID, s.Genesis)
	row("node", "%s, tandem %s, %s", s.Role, s.Version, s.NodeID)
	row("applied", "%d%s", s.Heads.Applied, appliedText(s.Applied, now))
	row("final", "%d%s", s.Heads.Final, finalText(s.Final))
	row("stored", "%s", storedText(s))
	row("p2p", "%s%s", p2pText(s.P2P), sourceText(s.P2P.Progress, now))
	row("da", "%s%s", daText(s, now), sourceText(s.DA.Progress, now))
	if s.DA.Identity != "" {
		row("da identity", "%s", s.DA.Identity)
	}
	if len(s.DA.Endpoints) > 1 {
		for _, e := range s.DA.Endpoints {
			row("da endpoint", "%s", endpointText(e))
		}
	}
	row("lag", "%d blocks to the head%s, %d to final, %.1f blocks/s", s.Lag.Blocks, lagText(s.Lag.Seconds, s.Lag.ETA), s.Lag.Final, s.Lag.Rate)
	if q := s.Sequencer; q != nil {
		row("sequencer", "%d made since start, on DA: headers to %d, data to %d%s", q.Produced, q.SubmittedHeader, q.SubmittedData, problem(q.Error))
	}
	if c := s.Conflicts; c != nil {
		row("conflicts", "%s", conflictText(*c))
	}
	row("state root", "%s", orNone(s.Applied.StateRoot))
	row("waiting for", "%s", orNone(s.WaitingFor))
	for _, p := range s.Problems {
		row("problem", "%s: %s, for %s", p.Kind, p.Reason, tenths(now.Sub(p.Since)))
	}
	return w.Flush()
}

func conflictText(c rpc.Conflicts) string {
	text := fmt.Sprintf("%d proofs against the proposer", c.Count)
	if c.Last != nil {
		text += fmt.Sprintf(", last at block %d", c.Last.Height)
	}
	if c.Reverts > 0 {
		text += fmt.Sprintf(", rolled back to block %d to follow DA", c.RevertedTo)
	}
	if c.Halted != "" {
		text += ", halted: " + c.Halted
	}
	return text + ", see 'tandem evidence list'"
}

// sourceText is what there is to say of a source that was not taken over as a
// whole, or that brings nothing.
func sourceText(p rpc.Source, now time.Time) string {
	var text string
	if p.Lag > 0 {
		text = fmt.Sprintf("; %d %s to go%s, %.1f/s", p.Lag, p.Unit, lagText(p.Seconds, p.ETA), p.Rate)
	}
	if !p.LastProgress.IsZero() && (p.Lag > 0 || p.WaitingFor != "") {
		text += ", last progress " + ago(p.LastProgress, now)
	}
	if p.WaitingFor != "" {
		text += "; waits for " + p.WaitingFor
	}
	return text
}

// lagText says how old what is held is, and when that will be over.
func lagText(seconds, eta float64) string {
	var text string
	if seconds > 0 {
		text = " (" + span(seconds) + " behind)"
	}
	if eta > 0 {
		text += ", " + span(eta) + " left"
	}
	return text
}

func span(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

func ago(at, now time.Time) string {
	return tenths(now.Sub(at)) + " ago"
}

func tenths(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

func appliedText(a rpc.Applied, now time.Time) string {
	switch {
	case a.At.IsZero():
		return ""
	case a.Source == "":
		return ", " + ago(a.At, now)
	default:
		return fmt.Sprintf(", %s, from %s", ago(a.At, now), a.Source)
	}
}

func finalText(f rpc.Final) string {
	if f.HeaderDA == 0 {
		return ""
	}
	if f.DataDA == 0 { // none was posted, or this node does not follow data
		return fmt.Sprintf(", header at DA %d", f.HeaderDA)
	}
	return fmt.Sprintf(", header at DA %d, data at DA %d", f.HeaderDA, f.DataDA)
}

func storedText(s rpc.Status) string {
	if s.Role == app.RoleLight.Name() {
		return fmt.Sprintf("headers to %d", s.Heads.Header)
	}
	return fmt.Sprintf("headers to %d, data to %d", s.Heads.Header, s.Heads.Data)
}

func p2pText(p rpc.P2P) string {
	if !p.Enabled {
		return "off"
	}
	return fmt.Sprintf("head %d, %d peers, %d of the chain%s", p.Target, p.Peers, p.ChainPeers, problem(p.Error))
}

func daText(s rpc.Status, now time.Time) string {
	switch {
	case !s.DA.Enabled:
		return "off"
	case s.DA.LastOK.IsZero():
		return "no answer yet" + problem(s.DA.Error)
	default:
		return fmt.Sprintf("head %d, read to DA %d of %d, last answer %s%s",
			s.Heads.DA, max(s.DA.Cursor, 1)-1, s.DA.Head, ago(s.DA.LastOK, now), problem(s.DA.Error))
	}
}

func endpointText(e rpc.DAEndpoint) string {
	text := e.Address
	switch {
	case e.Reading && e.Posting:
		text += ", in use"
	case e.Reading:
		text += ", read from"
	case e.Posting:
		text += ", posted to"
	}
	if e.Head > 0 {
		text += fmt.Sprintf(", head %d, answers in %s", e.Head, time.Duration(e.Latency*float64(time.Second)).Round(time.Millisecond))
	}
	if e.Lag > 0 {
		text += fmt.Sprintf(", %d behind", e.Lag)
	}
	if e.Failures+e.Lies > 0 {
		text += fmt.Sprintf(", %d failures, %d lies", e.Failures, e.Lies)
	}
	return text + problem(e.Error)
}

func problem(text string) string {
	if text == "" {
		return ""
	}
	return ", last error: " + text
}

func orNone(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}
