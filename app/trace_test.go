package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/testutil"
)

// path is one node's spans of one block: name → spans.
type path map[string][]sdktrace.ReadOnlySpan

// collected sorts what a collector has of one trace by the node it came from.
func collected(collector *tracetest.SpanRecorder, id string) map[string]path {
	nodes := map[string]path{}
	for _, s := range collector.Ended() {
		if s.SpanContext().TraceID().String() != id {
			continue
		}
		for _, kv := range s.Resource().Attributes() {
			if kv.Key != "service.instance.id" {
				continue
			}
			node := kv.Value.AsString()
			if nodes[node] == nil {
				nodes[node] = path{}
			}
			nodes[node][s.Name()] = append(nodes[node][s.Name()], s)
		}
	}
	return nodes
}

// TestOneTracePerBlockAcrossNodes runs a sequencer, a follower of both sources and
// one of DA alone, all sending to one collector.
func TestOneTracePerBlockAcrossNodes(t *testing.T) {
	testutil.Leaks(t)
	server, collector := newDA(t), tracetest.NewSpanRecorder()
	start := func(name string, role app.Role, change func(*app.Config)) *running {
		s := on(setup(t, role), server)
		key, err := app.NodeKeyOf(testutil.Key(name))
		require.NoError(t, err)
		s.NodeKey = key
		s.Tracing = telemetry.NewTracingTo(telemetry.TracingConfig{SampleRatio: 1, ServiceName: "tandem", InstanceID: name}, collector)
		change(&s.Config)
		return begin(t, s, nil)
	}
	seq := start("sequencer", app.RoleSequencer, func(*app.Config) {})
	seq.awaitApplied(1)
	nodes := []*running{
		seq,
		start("follower", app.RoleFull, func(c *app.Config) { c.P2P.Peers = []string{seq.network.Addresses()[0].String()} }),
		start("da-follower", app.RoleFull, func(c *app.Config) { c.P2P.Disabled = true }),
	}
	for _, n := range nodes { // a block that all of them have seen from its beginning
		n.awaitFinal(3)
	}
	first := seq.pipeline.Snapshot().Applied() + 1
	const blocks = 10
	for _, n := range nodes {
		n.awaitFinal(first + blocks)
	}
	for _, n := range nodes {
		n.stop()
	}

	tracer := telemetry.NewTracingTo(telemetry.TracingConfig{SampleRatio: 1}, collector).Tracer(setup(t, app.RoleFull).Genesis.Hash())
	// On a busy machine DA may be faster than gossip for some of the blocks, and the
	// syncer may find a block before its event came.
	for height := first; height < first+blocks; height++ {
		root := tracer.Root(height)
		got := collected(collector, root.TraceID().String())
		if len(got["follower"][names.SpanGossip]) != 2 || !wokenByBoth(got["follower"]) {
			continue
		}
		require.Len(t, got, 3, "spans of all three nodes in one trace")
		checkMaker(t, got["sequencer"], height)
		checkFollower(t, got["follower"], root.SpanID().String())
		checkDAFollower(t, got["da-follower"], root.SpanID().String())
		return
	}
	t.Fatal("no block came to the follower by gossip alone, and woke it twice")
}

// checkMaker checks the root and the steps below it.
func checkMaker(t *testing.T, p path, height uint64) {
	t.Helper()
	require.Len(t, p[names.SpanProduce], 1)
	root := p[names.SpanProduce][0]
	require.False(t, root.Parent().IsValid())
	at, _ := testutil.SpanAttr(root, names.AttrHeight)
	require.Equal(t, height, uint64(at.AsInt64()))
	for _, name := range []string{
		names.SpanReap, names.SpanSign, names.SpanVerify, names.SpanExecute, names.SpanCommit, names.SpanBroadcast, names.SpanPublish,
		names.SpanDASubmit, names.SpanFinal,
	} {
		require.Contains(t, p, name)
		require.Equal(t, root.SpanContext().SpanID(), p[name][0].Parent().SpanID(), name)
	}
}

// checkFollower checks the path from gossip to final: each step hangs below what
// caused it.
func checkFollower(t *testing.T, p path, root string) {
	t.Helper()
	for _, chain := range [][]string{
		{names.SpanGossip, names.SpanAppend, names.SpanPublish},
		{names.SpanPublish, names.SpanReceive, names.SpanFetch, names.SpanPair},
		{names.SpanReceive, names.SpanQueue},
		{names.SpanReceive, names.SpanVerify},
		{names.SpanReceive, names.SpanExecute},
		{names.SpanReceive, names.SpanCommit},
	} {
		for i := 1; i < len(chain); i++ {
			child := p[chain[i]]
			require.NotEmpty(t, child, chain[i])
			require.True(t, below(child, p[chain[i-1]]), "%s is below %s", chain[i], chain[i-1])
		}
	}
	require.Contains(t, p, names.SpanFinal)
	for _, name := range []string{names.SpanGossip, names.SpanSeen} {
		require.Equal(t, root, p[name][0].Parent().SpanID().String(), name)
	}
}

// wokenByBoth reports whether the one fetch of a block leads to the events of
// header and data.
func wokenByBoth(p path) bool {
	if len(p[names.SpanReceive]) != 1 || len(p[names.SpanPublish]) != 2 {
		return false
	}
	linked := map[string]bool{p[names.SpanReceive][0].Parent().SpanID().String(): true}
	for _, l := range p[names.SpanReceive][0].Links() {
		linked[l.SpanContext.SpanID().String()] = true
	}
	for _, s := range p[names.SpanPublish] {
		if !linked[s.SpanContext().SpanID().String()] {
			return false
		}
	}
	return true
}

// checkDAFollower checks that what DA brought leads back to the look that found it.
func checkDAFollower(t *testing.T, p path, root string) {
	t.Helper()
	require.NotContains(t, p, names.SpanGossip)
	for _, name := range []string{names.SpanAppend, names.SpanReceive, names.SpanExecute, names.SpanCommit, names.SpanSeen, names.SpanFinal} {
		require.Contains(t, p, name)
	}
	require.Equal(t, root, p[names.SpanAppend][0].Parent().SpanID().String())
	require.NotEmpty(t, p[names.SpanAppend][0].Links())
	require.NotEmpty(t, p[names.SpanSeen][0].Links())
}

// below reports whether a span hangs on one of others, directly.
func below(spans, others []sdktrace.ReadOnlySpan) bool {
	for _, s := range spans {
		for _, o := range others {
			if s.Parent().SpanID() == o.SpanContext().SpanID() {
				return true
			}
		}
	}
	return false
}

// noopRoot returns the roots of the executor that does nothing.
func noopRoot(t *testing.T, s app.Setup) func(uint64) []byte {
	t.Helper()
	e := execution.NewNoop(s.Config.Execution, s.Log)
	root, err := e.InitChain(t.Context(), s.Genesis)
	require.NoError(t, err)
	return func(uint64) []byte { return root }
}
