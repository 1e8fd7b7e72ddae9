package rpc

import (
	"strings"
	"time"
	"unicode"
)

// Status is what a node knows of itself, as /status serves it.
type Status struct {
	Version string `json:"version"`
	Role    string `json:"role"`
	ChainID string `json:"chain_id"`
	Genesis string `json:"genesis_hash"`
	NodeID  string `json:"node_id"`

	Heads   Heads   `json:"heads"`
	Applied Applied `json:"applied"`
	Final   Final   `json:"final"`
	Lag     Lag     `json:"lag"`
	P2P     P2P     `json:"p2p"`
	DA      DA      `json:"da"`

	// Replay is there while the executor is given again, at start, what it lacks.
	Replay    *Replay    `json:"replay,omitempty"`
	Sequencer *Sequencer `json:"sequencer,omitempty"`
	// Conflicts is there once the proposer was caught signing two headers.
	Conflicts *Conflicts `json:"conflicts,omitempty"`
	// Forced is there where transactions can be forced through DA.
	Forced *Forced `json:"forced,omitempty"`
	// WaitingFor is the one reason the node makes no progress; empty when it has
	// all there is.
	WaitingFor string `json:"waiting_for,omitempty"`
	// Problems are the conditions that last and that an operator may have to act on.
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is one condition that keeps the node, or a part of it, from doing its work.
type Problem struct {
	Kind    string    `json:"kind"`              // one of a closed set, see telemetry/problems
	Subject string    `json:"subject,omitempty"` // what it concerns, as the address of a peer
	Reason  string    `json:"reason"`            // what is wrong and what to do about it
	Since   time.Time `json:"since"`
	Unready bool      `json:"unready"` // the node is not ready while it lasts
}

// Heads are block heights: what the stores hold, what was made of it, and how
// far each source is known to be.
type Heads struct {
	Header  uint64 `json:"header"`
	Data    uint64 `json:"data"`
	Applied uint64 `json:"applied"`
	Final   uint64 `json:"final"`
	P2P     uint64 `json:"p2p"` // highest known from peers, as far as they proved it
	DA      uint64 `json:"da"`  // highest of which a part was read from DA
}

// Replay is how far the executor is with the applied blocks it had lost.
type Replay struct {
	At uint64 `json:"at"` // block that is executed now
	To uint64 `json:"to"`
}

// Applied is the last block verified, executed and committed here.
type Applied struct {
	Hash      string    `json:"hash,omitempty"`
	StateRoot string    `json:"state_root,omitempty"` // hex, its hash when over 64 bytes
	Source    string    `json:"source,omitempty"`     // p2p, da, local, as far as is known; empty until a block was applied since start
	BlockTime time.Time `json:"block_time"`
	At        time.Time `json:"at,omitzero"`
}

// Final is the last block seen on DA with the applied hash.
type Final struct {
	HeaderDA uint64 `json:"header_da_height,omitempty"`
	DataDA   uint64 `json:"data_da_height,omitempty"`
}

// Lag is the distance to the best head this node knows of.
type Lag struct {
	Blocks uint64  `json:"blocks"`
	Final  uint64  `json:"final_blocks"`
	Rate   float64 `json:"blocks_per_second"`
	// Seconds is how old the applied block is, while a higher one is known.
	Seconds float64 `json:"seconds"`
	// ETA is how many seconds the known blocks take at this rate; absent when
	// nothing is left or nothing moves.
	ETA float64 `json:"eta_seconds,omitempty"`
}

// Source tells how far one source was used, apart from the other.
type Source struct {
	Head    uint64  `json:"head"`    // the highest block it is known to have
	Lag     uint64  `json:"lag"`     // what it has and was not taken yet, in Unit
	Unit    string  `json:"unit"`    // blocks or DA heights
	Seconds float64 `json:"seconds"` // the same in time; an estimate
	// LastProgress is when it brought something last.
	LastProgress time.Time `json:"last_progress,omitzero"`
	Rate         float64   `json:"per_second"` // in Unit, lately
	ETA          float64   `json:"eta_seconds,omitempty"`
	// WaitingFor is the one reason why nothing comes of it; empty when all was taken.
	WaitingFor string `json:"waiting_for,omitempty"`
}

// P2P is the fast source.
type P2P struct {
	Enabled    bool     `json:"enabled"`
	Peers      int      `json:"peers"`
	ChainPeers int      `json:"chain_peers"` // of them, those that speak the chain's protocols
	Target     uint64   `json:"target"`      // the same as heads.p2p
	Error      string   `json:"last_error,omitempty"`
	Listen     []string `json:"listen,omitempty"`
	Progress   Source   `json:"progress"`
}

// DA is the true source.
type DA struct {
	Enabled bool      `json:"enabled"`
	Phase   string    `json:"phase"` // starting, disabled, catch-up, head, failing, pruned
	Head    uint64    `json:"head"`
	Cursor  uint64    `json:"cursor"` // next DA height to read
	LastOK  time.Time `json:"last_ok,omitzero"`
	Error   string    `json:"last_error,omitempty"`
	// Identity is what identifies the DA layer, as da.identity takes it.
	Identity string `json:"identity,omitempty"`
	// Progress counts in DA heights; its Head is a block height.
	Progress Source `json:"progress"`
	// Endpoints are the ways to the DA layer, in the order of the config.
	Endpoints []DAEndpoint `json:"endpoints,omitempty"`
}

// DAEndpoint is one way to the DA layer and how well it does.
type DAEndpoint struct {
	Address string `json:"address"` // without what may be secret
	Reading bool   `json:"reading"` // it is the one that is read from
	Posting bool   `json:"posting"` // it is the one that is posted to, were there something to post
	// Score ranks endpoints: 0 is best, one call that failed just now costs 1.
	Score    float64   `json:"score"`
	Head     uint64    `json:"head"` // as it last told
	Lag      uint64    `json:"lag"`  // DA heights behind the best, when it last told
	Latency  float64   `json:"latency_seconds"`
	Answers  uint64    `json:"answers"`
	Failures uint64    `json:"failures"`
	Lies     uint64    `json:"lies"` // answers that were not to be believed
	LastOK   time.Time `json:"last_ok,omitzero"`
	Error    string    `json:"last_error,omitempty"`
}

// Sequencer is the state of block production.
type Sequencer struct {
	Produced        uint64    `json:"produced"`
	LastBlock       time.Time `json:"last_block,omitzero"` // when one was made since start
	Late            bool      `json:"late"`                // far longer ago than the block time
	PendingHeaders  uint64    `json:"pending_headers"`     // not yet on DA
	PendingData     uint64    `json:"pending_data"`
	SubmittedHeader uint64    `json:"submitted_header"`
	SubmittedData   uint64    `json:"submitted_data"`
	Paused          bool      `json:"paused"`
	Error           string    `json:"last_error,omitempty"`
}

// Forced tells of transactions that were posted to the forced namespace: what a
// sequencer still has to take, what a follower has not found in final blocks.
type Forced struct {
	Waiting  int    `json:"waiting"`
	DAHeight uint64 `json:"da_height"`          // nothing below it waits
	Index    uint64 `json:"index"`              // nor before this blob of it
	CatchUp  bool   `json:"catch_up,omitempty"` // blocks hold nothing else
	Strikes  uint64 `json:"strikes,omitempty"`  // epochs in which the first that waits was left out
	Censored uint64 `json:"censored,omitempty"` // given up on
	Last     string `json:"last_censored,omitempty"`
	Error    string `json:"last_error,omitempty"`
}

// Conflicts tells of heights for which the proposer signed two headers, or one that
// execution refutes; the proofs themselves are at /evidence.
type Conflicts struct {
	Count      int       `json:"count"` // proofs kept
	Last       *Conflict `json:"last,omitempty"`
	Policy     string    `json:"policy"`  // follow-da or halt
	Reverts    uint64    `json:"reverts"` // since start, to follow DA
	LastRevert time.Time `json:"last_revert,omitzero"`
	RevertedTo uint64    `json:"reverted_to,omitempty"`
	Halted     string    `json:"halted,omitempty"` // why no more blocks are taken
}

// Conflict is one pair of headers, or one header that execution refutes.
type Conflict struct {
	Kind         string    `json:"kind"` // double-signed or refuted
	Height       uint64    `json:"height"`
	At           time.Time `json:"at"`
	First        string    `json:"first,omitempty"` // the one kept before, of a pair
	FirstSource  string    `json:"first_source,omitempty"`
	FirstDA      uint64    `json:"first_da_height,omitempty"`
	Second       string    `json:"second"`
	SecondSource string    `json:"second_source"`
	SecondDA     uint64    `json:"second_da_height,omitempty"`
}

// Liveness is the answer of /health/live.
type Liveness struct {
	Live   bool   `json:"live"`
	Reason string `json:"reason,omitempty"`
}

// String returns the answer as text.
func (l Liveness) String() string {
	if l.Live {
		return "OK\n"
	}
	return line("FAIL", l.Reason)
}

// Readiness is the answer of /health/ready. A node that serves what is right stays
// ready whatever its problems; they are listed all the same.
type Readiness struct {
	Ready    bool      `json:"ready"`
	Reason   string    `json:"reason,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
}

// String returns the answer as text: a line with the verdict, and one for each problem.
func (r Readiness) String() string {
	var b strings.Builder
	if r.Ready {
		b.WriteString("READY\n")
	} else {
		b.WriteString(line("UNREADY", r.Reason))
	}
	for _, p := range r.Problems {
		b.WriteString(line(p.Kind, p.Reason))
	}
	return b.String()
}

// line returns a line of text without what others could do to a terminal: a reason may
// quote an endpoint or a peer.
func line(name, reason string) string {
	return name + ": " + strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, reason) + "\n"
}
