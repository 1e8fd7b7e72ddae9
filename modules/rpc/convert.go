package rpc

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-node/tandem/modules/block"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
)

func protoVersion(v block.Version) *pb.Version { return &pb.Version{Block: v.Block, App: v.App} }

func protoHeader(h *block.SignedHeader) *pb.SignedHeader {
	in := &h.Header
	return &pb.SignedHeader{
		Header: &pb.Header{
			Version: protoVersion(in.Version), Height: in.Height, Time: in.Time, LastHeaderHash: in.LastHeaderHash,
			DataHash: in.DataHash, AppHash: in.AppHash, ProposerAddress: in.ProposerAddress,
			ValidatorHash: in.ValidatorHash, ChainId: in.ChainID,
		},
		Signature: h.Signature,
		Signer:    &pb.Signer{Address: h.Signer.Address, PubKey: h.Signer.PubKey},
	}
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
