package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/p2p"
)

// Answer is what a DA endpoint or a static peer of a config says: a finding, or what
// is wrong.
type Answer struct {
	Subject string // the endpoint, without secrets, or the peer
	Said    string
	Err     error
}

// staleHead is the age of a DA head from which the endpoint cannot be used.
const staleHead = 2 * time.Minute

// CheckOnline asks the DA endpoints and the static peers of a config whether they are
// what a node of the chain needs. A running node is not disturbed.
func CheckOnline(ctx context.Context, c Config, g block.Genesis) []Answer {
	var out []Answer
	role, _ := RoleByName(c.Role)
	layer, _, _ := strings.Cut(c.DA.Identity, "@")
	for _, address := range c.DA.Addresses {
		q := question{
			genesis: g, names: c.Namespaces.Of(g.ChainID), posts: role.Produces(), peers: !c.P2P.Disabled,
			subject: "da " + WithoutSecrets(address), layer: layer,
		}
		q.ask(ctx, address, c.DA)
		out, layer = append(out, q.answers...), q.layer
	}
	if c.P2P.Disabled {
		return out
	}
	return append(out, askPeers(ctx, c.P2P)...)
}

// question is the check of one DA endpoint.
type question struct {
	genesis block.Genesis
	names   Namespaces
	posts   bool // the node posts
	peers   bool // the node has another source of blocks
	subject string
	layer   string // chain id of the DA layer, empty while unknown

	client  *da.Celestia
	answers []Answer
}

func (q *question) say(format string, args ...any) {
	q.answers = append(q.answers, Answer{Subject: q.subject, Said: fmt.Sprintf(format, args...)})
}

func (q *question) wrong(format string, args ...any) {
	q.answers = append(q.answers, Answer{Subject: q.subject, Err: fmt.Errorf(format, args...)})
}

func (q *question) ask(ctx context.Context, address string, c da.Config) {
	var err error
	if q.client, err = da.NewCelestia(address, c); err != nil {
		q.wrong("%w", err)
		return
	}
	defer q.client.Close()
	head, err := q.client.Head(ctx)
	if err != nil {
		q.wrong("%w", err)
		return
	}
	q.head(head)
	q.tail(ctx)
	if head.Height > 0 { // ev-node's local DA begins at 0, with no block
		q.read(ctx, head)
	}
	if q.posts {
		q.post(ctx)
	}
}

func (q *question) head(head da.Head) {
	old := time.Since(head.Time).Round(time.Second)
	q.say("head %d of %s, %s old", head.Height, head.Chain, old)
	if q.layer == "" {
		q.layer = head.Chain
	}
	switch start := q.genesis.DAStartHeight; {
	case head.Chain != q.layer:
		q.wrong("it is of the DA layer %s, want %s as the other endpoints and da.identity: all of da.address have to be of one DA layer", head.Chain, q.layer)
	case start > head.Height:
		q.wrong("its head is %d and da_start_height of the genesis file is %d: it is of another DA layer, or far behind", head.Height, start)
	case !head.Time.IsZero() && old > staleHead:
		q.wrong("its newest block is %s old: it is behind, or the DA layer makes no blocks", old)
	}
}

// tail compares what the endpoint keeps with where the chain begins.
func (q *question) tail(ctx context.Context) {
	tail, err := q.client.Tail(ctx)
	switch start := q.genesis.DAStartHeight; {
	case da.Unsupported(err):
		q.say("the lowest height it keeps is not known: it has no header.Tail")
	case err != nil:
		q.wrong("%w", err)
	case tail.Height <= start:
		q.say("tail %d, the chain begins at %d", tail.Height, start)
	case q.peers:
		q.say("tail %d, the chain begins at %d: a new node gets the blocks before the tail from peers alone", tail.Height, start)
	default:
		q.wrong("tail %d, the chain begins at %d and there are no peers: a new node needs an archival endpoint in da.address, or p2p.peers", tail.Height, start)
	}
}

// read reads the namespaces of the chain at the head, which takes a token that may read.
func (q *question) read(ctx context.Context, head da.Head) {
	names := []string{q.names.Header, q.names.Data}
	if q.names.Forced != "" {
		names = append(names, q.names.Forced)
	}
	ns := make([]da.Namespace, len(names))
	for i, name := range names {
		ns[i] = da.NamespaceOf(name)
	}
	blobs, err := q.client.Blobs(ctx, head.Height, ns...)
	if err != nil {
		q.wrong("read of the namespaces %s: %w", strings.Join(names, ", "), err)
		return
	}
	q.say("token may read; %d blobs in the namespaces %s at the head", len(blobs), strings.Join(names, ", "))
}

// post checks what a sequencer needs beyond reading.
func (q *question) post(ctx context.Context) {
	switch err := q.client.MayPost(ctx); {
	case errors.Is(err, da.ErrAuth):
		q.wrong("the token may not post, and a sequencer has to: da.auth_token has to be one with write permission (%w)", err)
	case err != nil:
		q.wrong("%w", err)
	default:
		q.say("token may write")
	}
	const utia = 1e6
	switch amount, err := q.client.Balance(ctx); {
	case da.Unsupported(err):
		q.say("balance not known: it has no state.Balance")
	case err != nil:
		q.wrong("%w", err)
	case amount == 0:
		q.wrong("its account holds nothing and cannot pay for blocks: fund it, 'celestia state account-address' prints the address")
	default:
		q.say("balance %.6f TIA", float64(amount)/utia)
	}
}

func askPeers(ctx context.Context, c p2p.Config) []Answer {
	reached, err := c.AskStatic(ctx)
	if err != nil {
		return []Answer{{Subject: "p2p", Err: err}}
	}
	out := make([]Answer, len(reached))
	for i, r := range reached {
		out[i] = Answer{Subject: "peer " + r.ID.String(), Said: "answers, " + r.Agent}
		if r.Err != nil { // libp2p writes a line per address
			out[i].Err = errors.New(strings.Join(strings.Fields(r.Err.Error()), " "))
		}
	}
	return out
}
