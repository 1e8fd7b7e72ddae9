package p2p

import (
	"bytes"
	"strings"
	"testing"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func framed(tb testing.TB, r *pb.RPC) []byte {
	tb.Helper()
	b, err := proto.Marshal(r)
	require.NoError(tb, err)
	return protowire.AppendBytes(nil, b)
}

func ids(n int) (out []string) {
	for range n {
		out = append(out, "0123456789012345678901234567890123456789012345")
	}
	return out
}

// busy is the busiest frame an honest peer sends.
func busy() *pb.RPC {
	yes, topic := true, "topic"
	r := &pb.RPC{
		Subscriptions: []*pb.RPC_SubOpts{{Subscribe: &yes, Topicid: &topic}},
		Control: &pb.ControlMessage{
			Ihave: []*pb.ControlIHave{{TopicID: &topic, MessageIDs: ids(5000)}, {TopicID: &topic, MessageIDs: ids(5000)}},
			Iwant: []*pb.ControlIWant{{MessageIDs: ids(1000)}}, Graft: []*pb.ControlGraft{{TopicID: &topic}},
			Prune: []*pb.ControlPrune{{TopicID: &topic, Backoff: new(uint64)}}, Idontwant: []*pb.ControlIDontWant{{MessageIDs: ids(100)}},
		},
	}
	for range 500 {
		r.Publish = append(r.Publish, &pb.Message{Topic: &topic, Data: make([]byte, 100), Seqno: make([]byte, 8)})
	}
	return r
}

// Frames pass in pieces of any size, one after the other.
func TestFramesPass(t *testing.T) {
	all := bytes.Join([][]byte{framed(t, busy()), {0}, framed(t, &pb.RPC{}), framed(t, &pb.RPC{Publish: []*pb.Message{{Data: make([]byte, 5<<20)}}})}, nil)
	for _, step := range []int{1, 7, 4096, len(all)} {
		var f frameCount
		for rest := all; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			require.NoError(t, f.pass(rest[:min(step, len(rest))]))
		}
		require.Zero(t, f.depth, "between frames")
		require.Equal(t, inSize, f.phase)
	}
}

// A frame of two million empty parts would take a hundred times its bytes.
func TestFramesOfManyPartsEnd(t *testing.T) {
	many := func(part ...byte) []byte { return bytes.Repeat(part, 1<<20) }
	for name, body := range map[string][]byte{
		"messages":      many(2<<3|2, 0),
		"subscriptions": many(1<<3|2, 0),
		"controls":      many(3<<3|2, 0),
		"grafts":        protowire.AppendBytes([]byte{3<<3 | 2}, many(3<<3|2, 0)),
		"ids":           protowire.AppendBytes([]byte{3<<3 | 2}, protowire.AppendBytes([]byte{1<<3 | 2}, many(2<<3|2, 0))),
		"peers":         protowire.AppendBytes([]byte{3<<3 | 2}, protowire.AppendBytes([]byte{4<<3 | 2}, many(2<<3|2, 0))),
		"numbers":       many(9<<3, 0),
	} {
		var f frameCount
		require.ErrorIs(t, f.pass(protowire.AppendBytes(nil, body)), errFrame, name)
	}
}

func TestTornFramesEnd(t *testing.T) {
	for name, frame := range map[string][]byte{
		"group":            {1, 1<<3 | 3},
		"no wire type":     {1, 1<<3 | 7},
		"endless number":   bytes.Repeat([]byte{0xff}, 11),
		"field too long":   {2, 2<<3 | 2, 200, 1},
		"message too long": {5, 3<<3 | 2, 20, 0, 0, 0, 0, 0},
	} {
		var f frameCount
		require.ErrorIs(t, f.pass(append(frame, make([]byte, 300)...)), errFrame, name)
	}
}

// What protobuf reads as a frame passes, however it is cut; what does not pass is
// none, or has too many parts.
func FuzzFrames(f *testing.F) {
	f.Add(framed(f, busy()), uint16(3))
	f.Add([]byte{2, 2<<3 | 2, 0}, uint16(1))
	f.Fuzz(func(t *testing.T, body []byte, step uint16) {
		var r pb.RPC
		if proto.Unmarshal(body, &r) != nil {
			return
		}
		var c frameCount
		frame := protowire.AppendBytes(nil, body)
		at := max(int(step), 1)
		for rest := frame; len(rest) > 0; rest = rest[min(at, len(rest)):] {
			if err := c.pass(rest[:min(at, len(rest))]); err != nil {
				require.True(t, c.fields > maxFrameFields || strings.Contains(err.Error(), "group"), "%v", err)
				return
			}
		}
		require.Zero(t, c.depth)
	})
}
