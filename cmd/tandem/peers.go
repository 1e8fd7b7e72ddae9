package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/modules/rpc"
)

func newPeers() *cobra.Command {
	cmd := group("peers", "List, ban or unban the peers of a running node")
	cmd.Long = `List, ban or unban the peers of a running node.

A peer that does what no honest one does loses points; at -100 it is banned for
p2p.ban_time. Bans end by themselves, by 'tandem peers unban', and with the
process. 'ban' and 'unban' work on the machine of the node only.`
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List the connected peers with their scores", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showPeers(cmd, asJSON, func(out io.Writer, l rpc.PeerList) error { return printPeers(out, l, time.Now()) })
		},
	}
	bans := &cobra.Command{
		Use: "bans", Short: "List the banned peers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showPeers(cmd, asJSON, func(out io.Writer, l rpc.PeerList) error { return printBans(out, l.Bans, time.Now()) })
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	bans.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	var banFor time.Duration
	ban := &cobra.Command{
		Use: "ban ID", Short: "Disconnect a peer and keep it away for a while", Args: arguments(1, 1),
		Example: `  tandem peers ban 12D3KooWLcvpWLDSdx94WGaXEdgqstjGA8uSPmMPpwSdwxahyoFh --for 1h`,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := rpc.BanRequest{ID: args[0]}
			if banFor < 0 {
				return withCode(exitUsage, fmt.Errorf("--for is %s, want more than 0", banFor))
			}
			if banFor > 0 {
				req.For = banFor.String()
			}
			return changePeers(cmd, "/peers/ban", req, "banned")
		},
	}
	ban.Flags().DurationVar(&banFor, "for", 0, "how long, like 30m (default: p2p.ban_time of the node)")
	unban := &cobra.Command{
		Use: "unban ID", Short: "Lift the ban of a peer and clear its score", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changePeers(cmd, "/peers/unban", rpc.BanRequest{ID: args[0]}, "no longer banned")
		},
	}
	for _, sub := range []*cobra.Command{list, bans, ban, unban} {
		rpcFlag(sub)
		cmd.AddCommand(sub)
	}
	return cmd
}

// showPeers asks the node and prints its answer, as it is or by show.
func showPeers(cmd *cobra.Command, asJSON bool, show func(io.Writer, rpc.PeerList) error) error {
	address, err := rpcAddress(cmd)
	if err != nil {
		return err
	}
	raw, err := call(cmd.Context(), http.MethodGet, address, "/peers", nil)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = cmd.OutOrStdout().Write(raw)
		return err
	}
	var l rpc.PeerList
	if err := json.Unmarshal(raw, &l); err != nil {
		return withCode(exitFailed, fmt.Errorf("answer of %s: %w", address, err))
	}
	return show(cmd.OutOrStdout(), l)
}

func changePeers(cmd *cobra.Command, path string, req rpc.BanRequest, done string) error {
	if _, err := peer.Decode(req.ID); err != nil {
		return withCode(exitUsage, fmt.Errorf("%q is no peer id, want one as 'tandem peers list' prints it", req.ID))
	}
	address, err := rpcAddress(cmd)
	if err != nil {
		return err
	}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if _, err := call(cmd.Context(), http.MethodPost, address, path, body); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", req.ID, done)
	return err
}

func printPeers(out io.Writer, l rpc.PeerList, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "peer\tscore\tkind\tconnected\taddress\tagent\toffences")
	for _, p := range l.Peers {
		_, _ = fmt.Fprintf(w, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\n", p.ID, p.Score, kindOfPeer(p), now.Sub(p.Since).Round(time.Second), p.Address,
			orNone(plain(p.Agent)), offencesText(p.Offences))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d connected, %d banned\n", len(l.Peers), len(l.Bans))
	return err
}

func kindOfPeer(p rpc.PeerDetails) string {
	kind := p.Direction
	if p.Static {
		kind = "static"
	}
	if !p.Chain {
		kind += ", not of the chain"
	}
	return strings.ToLower(kind)
}

func offencesText(m map[string]uint64) string {
	parts := make([]string, 0, len(m))
	for _, reason := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, m[reason]))
	}
	return orNone(strings.Join(parts, ", "))
}

func printBans(out io.Writer, bans []rpc.PeerBan, now time.Time) error {
	if len(bans) == 0 {
		_, err := fmt.Fprintln(out, "no peer is banned")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "peer\tfor another\treason\tdetail")
	for _, b := range bans {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", b.ID, b.Until.Sub(now).Round(time.Second), b.Reason, plain(b.Detail))
	}
	return w.Flush()
}

// plain leaves out what a peer could do to a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}
