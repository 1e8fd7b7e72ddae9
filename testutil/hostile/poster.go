package hostile

import (
	"bytes"
	"context"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// Poster posts to the namespaces of a chain.
type Poster struct {
	client       da.Client
	genesis      block.Genesis
	header, data da.Namespace
}

// NewPoster returns a poster to a chain's own namespaces.
func NewPoster(c da.Client, g block.Genesis) *Poster {
	return &Poster{client: c, genesis: g, header: da.NamespaceOf(g.ChainID + "-headers"), data: da.NamespaceOf(g.ChainID + "-data")}
}

// Post posts forgeries, those of a kind in one transaction, and waits until they
// lie on DA.
func (p *Poster) Post(ctx context.Context, all ...Forgery) error {
	byKind := map[block.Kind][][]byte{}
	for _, f := range all {
		byKind[f.Kind] = append(byKind[f.Kind], f.Bytes)
	}
	for kind, blobs := range byKind {
		if _, err := p.client.Submit(ctx, p.namespace(kind), blobs); err != nil {
			return fmt.Errorf("hostile post: %w", err)
		}
	}
	return nil
}

func (p *Poster) namespace(kind block.Kind) da.Namespace {
	if kind == block.KindData {
		return p.data
	}
	return p.header
}

// Seen is what lies on DA of a chain.
type Seen struct {
	Newest *block.SignedHeader // nil where there is none
	Txs    [][]byte            // of the newest data
	Blobs  []Forgery           // as they are, to be replayed
}

// Look reads the last DA heights, at most that many.
func (p *Poster) Look(ctx context.Context, heights uint64) (Seen, error) {
	var s Seen
	head, err := p.client.Head(ctx)
	if err != nil {
		return s, fmt.Errorf("hostile poster: %w", err)
	}
	for at := max(head.Height, heights) - heights + 1; at <= head.Height; at++ {
		blobs, err := p.client.Blobs(ctx, at, p.header, p.data)
		if err != nil {
			return s, fmt.Errorf("hostile poster: %w", err)
		}
		for _, b := range blobs {
			s.add(p, b)
		}
	}
	return s, nil
}

// honest tells the proposer's headers from those the poster posted itself.
func (p *Poster) honest(e block.HeaderEnvelope) bool {
	return bytes.Equal(e.Header.Signer.Address, p.genesis.ProposerAddress) && e.Verify() == nil && e.Header.VerifySignature() == nil
}

func (s *Seen) add(p *Poster, b da.Blob) {
	kind := block.KindHeader
	if b.Namespace == p.data {
		kind = block.KindData
	}
	if kind == block.KindHeader {
		if e, err := block.DecodeHeaderEnvelope(b.Data); err == nil && p.honest(e) {
			s.Newest = e.Header
		}
	} else if d, err := block.DecodeSignedData(b.Data); err == nil && len(d.Data.Txs) > 0 && len(d.Data.Txs[0]) < 1<<10 {
		s.Txs = d.Data.Txs
	}
	if len(b.Data) < 1<<14 {
		s.Blobs = append(s.Blobs, Forgery{"replay", kind, b.Data})
	}
}
