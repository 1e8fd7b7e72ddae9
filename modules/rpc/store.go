package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	header "github.com/celestiaorg/go-header"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-node/tandem/modules/block"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
)

// readTimeout bounds one read of the store. What is applied is there; only a
// rollback under way could make a read wait.
const readTimeout = 5 * time.Second

// errNoBlock is the latest block of a chain that has none.
var errNoBlock = errors.New("no block was applied yet")

// storeService implements evnode.v1.StoreService.
type storeService struct{ p Params }

// GetBlock returns an applied block by height or hash. A missing block is
// not_found, where ev-node says internal. DA heights are those at which
// this very block was seen; data that is empty is never posted and lies where the
// header does.
func (s *storeService) GetBlock(ctx context.Context, req *connect.Request[pb.GetBlockRequest]) (*connect.Response[pb.GetBlockResponse], error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	h, err := s.header(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	signed, err := protoHeader(h)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	out := &pb.GetBlockResponse{Block: &pb.Block{Header: signed}}
	if s.p.Data != nil {
		d, err := s.p.Data.GetByHeight(ctx, h.Height())
		if err != nil {
			return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("block %d: %w", h.Height(), err))
		}
		out.Block.Data = protoData(d)
	}
	out.HeaderDaHeight, out.DataDaHeight = s.onDA(ctx, h)
	return connect.NewResponse(out), nil
}

// onDA returns the DA heights of a block's halves, 0 when not seen.
func (s *storeService) onDA(ctx context.Context, h *block.SignedHeader) (header, data uint64) {
	in, err := s.p.Chain.Inclusion(ctx, h.Height())
	if err != nil {
		return 0, 0
	}
	if in.HeaderDA != 0 && in.HeaderHash == h.Digest() {
		header = in.HeaderDA
	}
	switch {
	case h.IsEmpty():
		data = header
	case in.DataDA != 0 && string(in.Commitment[:]) == string(h.Header.DataHash):
		data = in.DataDA
	}
	return header, data
}

func (s *storeService) header(ctx context.Context, req *pb.GetBlockRequest) (*block.SignedHeader, error) {
	state, err := s.p.Chain.State(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("state: %w", err))
	}
	switch id := req.GetIdentifier().(type) {
	case *pb.GetBlockRequest_Height:
		height := id.Height
		if height == 0 {
			height = state.LastHeight
		}
		h, err := s.applied(ctx, height, state)
		if err != nil {
			return nil, connect.NewError(codeOf(err), err)
		}
		return h, nil
	case *pb.GetBlockRequest_Hash:
		h, err := s.p.Headers.Get(ctx, id.Hash)
		if err == nil && h.Height() > state.LastHeight {
			err = header.ErrNotFound // known, but it is not known to be good
		}
		if err != nil {
			return nil, connect.NewError(codeOf(err), fmt.Errorf("block %X: %w", id.Hash, err))
		}
		return h, nil
	default:
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("no identifier: set height or hash"))
	}
}

// codeOf tells a block that is not there from one that cannot be read.
func codeOf(err error) connect.Code {
	if errors.Is(err, header.ErrNotFound) || errors.Is(err, errNoBlock) {
		return connect.CodeNotFound
	}
	return connect.CodeInternal
}

// applied reads an applied header and never waits for heights to come.
func (s *storeService) applied(ctx context.Context, height uint64, state block.State) (*block.SignedHeader, error) {
	switch {
	case !state.Started():
		return nil, errNoBlock
	case height > state.LastHeight:
		return nil, fmt.Errorf("block %d: %w, the latest is %d", height, header.ErrNotFound, state.LastHeight)
	}
	h, err := s.p.Headers.GetByHeight(ctx, height)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", height, err)
	}
	return h, nil
}

// GetState returns the state after the last applied block.
func (s *storeService) GetState(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[pb.GetStateResponse], error) {
	state, err := s.p.Chain.State(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("state: %w", err))
	}
	return connect.NewResponse(&pb.GetStateResponse{State: protoState(state)}), nil
}

// GetMetadata answers the names ev-node stores its figures under (evolve-wire §7.4).
func (s *storeService) GetMetadata(ctx context.Context, req *connect.Request[pb.GetMetadataRequest]) (*connect.Response[pb.GetMetadataResponse], error) {
	n, err := s.metadata(ctx, req.Msg.GetKey())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.GetMetadataResponse{Value: binary.LittleEndian.AppendUint64(nil, n)}), nil
}

func (s *storeService) metadata(ctx context.Context, key string) (uint64, error) {
	var n uint64
	header, data := s.p.Chain.Submitted()
	switch {
	case key == "":
		return 0, connect.NewError(connect.CodeInvalidArgument, errors.New("key is empty"))
	case key == "d":
		n = s.p.Chain.Final()
	case key == "gdh":
		n = s.p.Chain.GenesisDAHeight()
	case key == "last-submitted-header-height":
		n = header
	case key == "last-submitted-data-height":
		n = data
	case strings.HasPrefix(key, "rhb/"):
		n = s.included(ctx, strings.TrimPrefix(key, "rhb/"))
	}
	if n == 0 {
		return 0, connect.NewError(connect.CodeNotFound, fmt.Errorf("no metadata for key %q", key))
	}
	return n, nil
}

// included answers "<height>/h" and "<height>/d" of final blocks with DA
// heights, 0 when there is none.
func (s *storeService) included(ctx context.Context, key string) uint64 {
	number, half, _ := strings.Cut(key, "/")
	height, err := strconv.ParseUint(number, 10, 64)
	if err != nil || height == 0 || height > s.p.Chain.Final() {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	h, err := s.p.Headers.GetByHeight(ctx, height)
	if err != nil {
		return 0
	}
	header, data := s.onDA(ctx, h)
	switch half {
	case "h":
		return header
	case "d":
		return data
	default:
		return 0
	}
}

// GetGenesisDaHeight returns the DA height of the first included block.
func (s *storeService) GetGenesisDaHeight(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[pb.GetGenesisDaHeightResponse], error) {
	n := s.p.Chain.GenesisDAHeight()
	if n == 0 {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("no block was seen on DA yet"))
	}
	return connect.NewResponse(&pb.GetGenesisDaHeightResponse{Height: n}), nil
}

// GetP2PStoreInfo describes both stores.
func (s *storeService) GetP2PStoreInfo(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[pb.GetP2PStoreInfoResponse], error) {
	out := &pb.GetP2PStoreInfoResponse{Stores: []*pb.P2PStoreSnapshot{snapshot(ctx, "Header Store", s.p.Headers)}}
	if s.p.Data != nil {
		out.Stores = append(out.Stores, snapshot(ctx, "Data Store", s.p.Data))
	}
	return connect.NewResponse(out), nil
}

func snapshot[H header.Header[H]](ctx context.Context, label string, s header.Store[H]) *pb.P2PStoreSnapshot {
	out := &pb.P2PStoreSnapshot{Label: label, Height: s.Height()}
	if head, err := s.Head(ctx); err == nil {
		out.Head = entry(head)
	}
	if tail, err := s.Tail(ctx); err == nil {
		out.Tail = entry(tail)
	}
	return out
}

func entry[H header.Header[H]](h H) *pb.P2PStoreEntry {
	return &pb.P2PStoreEntry{Height: h.Height(), Hash: h.Hash(), Time: timestamppb.New(h.Time())}
}
