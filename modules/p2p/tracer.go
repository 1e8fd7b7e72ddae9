package p2p

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// deaf is a tracer of pubsub that looks at nothing. Tracers embed it and say what
// they look at.
type deaf struct{}

var _ pubsub.RawTracer = deaf{}

// OnNewOutboundStream implements pubsub.RawTracer.
func (deaf) OnNewOutboundStream(peer.ID, protocol.ID) {}

// OnClosedOutboundStream implements pubsub.RawTracer.
func (deaf) OnClosedOutboundStream(peer.ID) {}

// Join implements pubsub.RawTracer.
func (deaf) Join(string) {}

// Leave implements pubsub.RawTracer.
func (deaf) Leave(string) {}

// Graft implements pubsub.RawTracer.
func (deaf) Graft(peer.ID, string) {}

// Prune implements pubsub.RawTracer.
func (deaf) Prune(peer.ID, string) {}

// ValidateMessage implements pubsub.RawTracer.
func (deaf) ValidateMessage(*pubsub.Message) {}

// DeliverMessage implements pubsub.RawTracer.
func (deaf) DeliverMessage(*pubsub.Message) {}

// RejectMessage implements pubsub.RawTracer.
func (deaf) RejectMessage(*pubsub.Message, string) {}

// DuplicateMessage implements pubsub.RawTracer.
func (deaf) DuplicateMessage(*pubsub.Message) {}

// ThrottlePeer implements pubsub.RawTracer.
func (deaf) ThrottlePeer(peer.ID) {}

// RecvRPC implements pubsub.RawTracer.
func (deaf) RecvRPC(*pubsub.RPC) {}

// SendRPC implements pubsub.RawTracer.
func (deaf) SendRPC(*pubsub.RPC, peer.ID) {}

// SendRPCCompleted implements pubsub.RawTracer.
func (deaf) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}

// DropRPC implements pubsub.RawTracer.
func (deaf) DropRPC(*pubsub.RPC, peer.ID) {}

// UndeliverableMessage implements pubsub.RawTracer.
func (deaf) UndeliverableMessage(*pubsub.Message) {}
