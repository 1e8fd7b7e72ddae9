package rpc

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-node/tandem/modules/block"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
)

func protoVersion(v block.Version) *pb.Version { return &pb.Version{Block: v.Block, App: v.App} }

// protoHeader returns the message whose encoding is that of h to the byte: what
// old headers carry beyond today's fields is kept, it is part of their hash.
func protoHeader(h *block.SignedHeader) (*pb.SignedHeader, error) {
	inner := &pb.Header{}
	if err := proto.Unmarshal(h.Payload(), inner); err != nil {
		return nil, fmt.Errorf("header %d: %w", h.Height(), err)
	}
	return &pb.SignedHeader{
		Header: inner, Signature: h.Signature,
		Signer: &pb.Signer{Address: h.Signer.Address, PubKey: h.Signer.PubKey},
	}, nil
}

func protoData(d *block.Data) *pb.Data {
	out := &pb.Data{Txs: d.Txs}
	if m := d.Metadata; m != nil {
		out.Metadata = &pb.Metadata{ChainId: m.ChainID, Height: m.Height, Time: m.Time, LastDataHash: m.LastDataHash}
	}
	return out
}

func protoState(s block.State) *pb.State {
	return &pb.State{
		Version: protoVersion(s.Version), ChainId: s.ChainID, InitialHeight: s.InitialHeight,
		LastBlockHeight: s.LastHeight, LastBlockTime: timestamppb.New(s.LastTime), DaHeight: s.DAHeight,
		AppHash: s.AppHash, LastHeaderHash: s.LastHeaderHash, NextProposerAddress: s.NextProposer,
	}
}
