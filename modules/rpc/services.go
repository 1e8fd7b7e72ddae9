package rpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
)

// p2pService implements evnode.v1.P2PService.
type p2pService struct{ p Params }

// GetPeerInfo lists the connected peers.
func (s *p2pService) GetPeerInfo(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[pb.GetPeerInfoResponse], error) {
	out := &pb.GetPeerInfoResponse{}
	for _, peer := range s.p.Network.ConnectedPeers() {
		out.Peers = append(out.Peers, &pb.PeerInfo{Id: peer.ID, Address: peer.Address})
	}
	return connect.NewResponse(out), nil
}

// GetNetInfo describes the node itself.
func (s *p2pService) GetNetInfo(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[pb.GetNetInfoResponse], error) {
	info := &pb.NetInfo{Id: s.p.Network.NodeID(), ListenAddresses: s.p.Network.ListenAddresses()}
	for _, peer := range s.p.Network.ConnectedPeers() {
		info.ConnectedPeers = append(info.ConnectedPeers, peer.ID)
	}
	return connect.NewResponse(&pb.GetNetInfoResponse{NetInfo: info}), nil
}

// configService implements evnode.v1.ConfigService.
type configService struct{ p Params }

// GetNamespace returns the DA namespaces.
func (s *configService) GetNamespace(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[pb.GetNamespaceResponse], error) {
	return connect.NewResponse(&pb.GetNamespaceResponse{
		HeaderNamespace: s.p.HeaderNamespace, DataNamespace: s.p.DataNamespace,
	}), nil
}

// GetSignerInfo returns the genesis proposer.
func (s *configService) GetSignerInfo(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[pb.GetSignerInfoResponse], error) {
	return connect.NewResponse(&pb.GetSignerInfoResponse{Address: s.p.Genesis.ProposerAddress}), nil
}
