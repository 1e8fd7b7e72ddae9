//go:build e2e && linux

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// jaegerSpan is a span as Jaeger's query API has it.
type jaegerSpan struct {
	TraceID    string `json:"traceID"`
	SpanID     string `json:"spanID"`
	Name       string `json:"operationName"`
	ProcessID  string `json:"processID"`
	References []struct {
		RefType, TraceID, SpanID string
	} `json:"references"`
	Tags []jaegerTag `json:"tags"`
	node string
}

type jaegerTag struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func (s jaegerSpan) parent() string {
	for _, r := range s.References {
		if r.RefType == "CHILD_OF" && r.TraceID == s.TraceID {
			return r.SpanID
		}
	}
	return ""
}

func (s jaegerSpan) tag(key string) any {
	for _, t := range s.Tags {
		if t.Key == key {
			return t.Value
		}
	}
	return nil
}

type jaeger struct {
	t         *testing.T
	otlp, url string
}

// startJaeger runs the Jaeger that JAEGER_BINARY names, with the configuration and
// the viewer of the repository, on free ports.
func startJaeger(t *testing.T) jaeger {
	t.Helper()
	path := os.Getenv("JAEGER_BINARY")
	if path == "" {
		t.Skip("JAEGER_BINARY names no Jaeger: make trace-test builds one and runs this")
	}
	deploy, err := filepath.Abs("../../telemetry/deploy")
	require.NoError(t, err)
	j := jaeger{t: t, otlp: freeAddress(t)}
	query := freeAddress(t)
	j.url = "http://" + query
	cmd := exec.Command(path, "--config", filepath.Join(deploy, "jaeger.yaml"))
	cmd.Env = []string{
		"JAEGER_VIEWER=" + filepath.Join(deploy, "viewer"), "JAEGER_QUERY=" + query, "JAEGER_QUERY_GRPC=" + freeAddress(t),
		"JAEGER_OTLP_GRPC=" + j.otlp, "JAEGER_OTLP_HTTP=" + freeAddress(t),
	}
	launchCommand(t, "jaeger", cmd)
	return j
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// get reads an answer of the query API.
func (j jaeger) get(path string, into any) error {
	raw, err := call(j.t.Context(), http.MethodGet, j.url, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// trace returns the spans of a trace, with the node each of them came from.
func (j jaeger) trace(id string) []jaegerSpan {
	j.t.Helper()
	var found struct {
		Data []struct {
			Spans     []jaegerSpan `json:"spans"`
			Processes map[string]struct {
				ServiceName string      `json:"serviceName"`
				Tags        []jaegerTag `json:"tags"`
			} `json:"processes"`
		} `json:"data"`
	}
	require.NoError(j.t, j.get("/api/traces/"+id, &found), id)
	require.Len(j.t, found.Data, 1)
	spans := found.Data[0].Spans
	for i := range spans {
		process := found.Data[0].Processes[spans[i].ProcessID]
		require.Equal(j.t, "tandem", process.ServiceName)
		for _, t := range process.Tags {
			if t.Key == "service.instance.id" {
				spans[i].node = fmt.Sprint(t.Value)
			}
		}
	}
	return spans
}

// TestTraceOfBlocks drives what make trace does, and reads ten blocks in a row back
// through the viewer's API.
func TestTraceOfBlocks(t *testing.T) {
	t.Parallel()
	j := startJaeger(t)
	dir := filepath.Join(t.TempDir(), "devnet")
	p := launch(t, "devnet", "devnet", "--dir", dir, "--block-time", "300ms", "--da-block-time", "500ms", "--tx-every", "100ms",
		"--tracing.endpoint", j.otlp, "--tracing.viewer", j.url)
	line := p.await(t, "trace  ", j.url+"/trace/")
	var url string
	var first uint64
	_, err := fmt.Sscanf(strings.TrimPrefix(line, "trace"), "%s (block %d on", &url, &first)
	require.NoError(t, err, line)
	t.Logf("%s", line)

	const blocks = 10
	p.await(t, "follower ")
	g, err := block.LoadGenesis(filepath.Join(dir, "sequencer", "config", "genesis.json"))
	require.NoError(t, err)
	awaitFinals(t, j, blocktrace.TraceID(g.Hash(), first+blocks-1).String())
	t.Logf("devnet stopped in %s", p.terminate(t, os.Interrupt)) // sends the last spans
	for height := first; height < first+blocks; height++ {
		checkTrace(t, j, g, height)
	}
	var services struct {
		Data []string `json:"data"`
	}
	require.NoError(t, j.get("/api/services", &services))
	require.Contains(t, services.Data, "tandem")
	t.Run("viewer", func(t *testing.T) { checkViewer(t, j, url, first) })
}

// awaitFinals waits until a block is final on all nodes, as the API tells.
func awaitFinals(t *testing.T, j jaeger, id string) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(2 * time.Minute); ; {
		var found foundTrace
		if err := j.get("/api/traces/"+id, &found); err == nil && len(found.finals()) == 3 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("trace %s is not complete", id)
		}
	}
}

// checkTrace checks one block's trace: all nodes, the root, and that every step
// leads to what caused it.
func checkTrace(t *testing.T, j jaeger, g block.Genesis, height uint64) {
	t.Helper()
	spans := j.trace(blocktrace.TraceID(g.Hash(), height).String())
	root := blocktrace.RootID(g.Hash(), height).String()
	byID, byNode := map[string]jaegerSpan{}, map[string]map[string][]jaegerSpan{}
	for _, s := range spans {
		byID[s.SpanID] = s
		if byNode[s.node] == nil {
			byNode[s.node] = map[string][]jaegerSpan{}
		}
		byNode[s.node][s.Name] = append(byNode[s.node][s.Name], s)
		if at := s.tag(names.AttrHeight); at != nil {
			require.InDelta(t, height, at, 0, s.Name)
		}
		if s.SpanID != root {
			require.Contains(t, byIDOf(spans), s.parent(), "%s of %s hangs in the air", s.Name, s.node)
		}
	}
	require.Len(t, byNode, 3)
	require.Equal(t, names.SpanProduce, byID[root].Name)
	require.Equal(t, "sequencer", byID[root].node)
	require.Empty(t, byID[root].parent())
	for _, name := range []string{names.SpanReap, names.SpanSign, names.SpanVerify, names.SpanExecute, names.SpanCommit, names.SpanBroadcast} {
		require.Len(t, byNode["sequencer"][name], 1, name)
		require.Equal(t, root, byNode["sequencer"][name][0].parent(), name)
	}
	require.NotEmpty(t, byNode["sequencer"][names.SpanDASubmit])
	for _, node := range []string{"follower", "da-follower"} {
		checkSteps(t, j, byNode[node], root)
	}
	require.NotContains(t, byNode["da-follower"], names.SpanGossip)
}

func byIDOf(spans []jaegerSpan) map[string]bool {
	ids := map[string]bool{}
	for _, s := range spans {
		ids[s.SpanID] = true
	}
	return ids
}

func checkSteps(t *testing.T, j jaeger, steps map[string][]jaegerSpan, root string) {
	t.Helper()
	for child, parent := range map[string]string{
		names.SpanPublish: names.SpanAppend, names.SpanFetch: names.SpanReceive, names.SpanPair: names.SpanFetch,
		names.SpanVerify: names.SpanReceive, names.SpanExecute: names.SpanReceive, names.SpanCommit: names.SpanReceive,
	} {
		require.NotEmpty(t, steps[child], child)
		above := byIDOf(steps[parent])
		for _, s := range steps[child] {
			require.True(t, above[s.parent()], "%s is below %s", child, parent)
		}
	}
	require.Len(t, steps[names.SpanReceive], 1)
	require.Equal(t, root, steps[names.SpanSeen][0].parent())
	require.Len(t, steps[names.SpanFinal], 1) // below the root, or the step that applied a block DA had shown before
	receive, events := steps[names.SpanReceive][0], byIDOf(steps[names.SpanPublish])
	for _, r := range receive.References {
		if r.TraceID == receive.TraceID {
			require.True(t, events[r.SpanID] || r.SpanID == root, "what woke the fetch is an event of this node")
			continue
		}
		// Several blocks at once: events of others, and a fetch with a trace of its
		// own that leads back here.
		for _, s := range j.trace(r.TraceID) {
			if s.SpanID == r.SpanID {
				require.True(t, s.Name == names.SpanPublish || s.Name == names.SpanReceive && leadsTo(s, receive.TraceID), s.Name)
			}
		}
	}
}

func leadsTo(s jaegerSpan, trace string) bool {
	for _, r := range s.References {
		if r.TraceID == trace {
			return true
		}
	}
	return false
}

// checkViewer renders the viewer in a real browser. With SCREENSHOT it also
// takes the picture of docs/tracing.md.
func checkViewer(t *testing.T, j jaeger, url string, height uint64) {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium")
	}
	render := func(url string, args ...string) string {
		args = append([]string{
			"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000", "--user-data-dir=" + t.TempDir(),
		}, append(args, url)...)
		out, err := exec.CommandContext(t.Context(), browser, args...).Output()
		require.NoError(t, err)
		return string(out)
	}
	spans := j.trace(url[strings.LastIndex(url, "/")+1:])
	page := render(url, "--dump-dom")
	require.Contains(t, page, `data-ready="yes"`, "the page has run to its end")
	require.Contains(t, page, fmt.Sprintf("<h2>Block %d</h2>", height))
	require.Equal(t, len(spans), strings.Count(page, "data-span="), "a row per span")
	for _, node := range []string{"sequencer", "follower", "da-follower"} {
		require.Contains(t, page, "<b>"+node+"</b>")
	}
	require.Contains(t, page, fmt.Sprintf("block %d<", height+1), "the list of recent blocks")
	for _, s := range spans {
		if s.Name == names.SpanReceive && s.node == "follower" {
			open := render(url+"#"+s.SpanID, "--dump-dom")
			require.Contains(t, open, "messaging.destination.name</td><td>block_events")
			require.Contains(t, open, `<a href="trace/`+s.TraceID, "links can be followed")
		}
	}
	if path := os.Getenv("SCREENSHOT"); path != "" {
		render(url, "--window-size=1500,1180", "--screenshot="+path)
		require.FileExists(t, path)
	}
}
