package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// foundTrace is what is read of an answer of Jaeger's query API.
type foundTrace struct {
	Data []struct {
		Spans []struct {
			OperationName string `json:"operationName"`
			ProcessID     string `json:"processID"`
		} `json:"spans"`
		Processes map[string]struct {
			Tags []struct {
				Key   string `json:"key"`
				Value any    `json:"value"`
			} `json:"tags"`
		} `json:"processes"`
	} `json:"data"`
}

// finals returns the nodes on which the block became final.
func (f foundTrace) finals() map[any]bool {
	nodes := map[any]bool{}
	for _, t := range f.Data {
		for _, s := range t.Spans {
			for _, tag := range t.Processes[s.ProcessID].Tags {
				if tag.Key == "service.instance.id" && s.OperationName == names.SpanFinal {
					nodes[tag.Value] = true
				}
			}
		}
	}
	return nodes
}

// showTrace notes where the trace of a block is seen, once the block was followed
// from the first step to the last on every node.
func showTrace(ctx context.Context, d *app.Devnet, viewer string, note func(line string)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	viewer = strings.TrimSuffix(viewer, "/")
	genesis := d.Sequencer().Setup.Genesis.Hash()
	const fresh, patience = 3, 60 // a block that none has begun with; then the next is tried
	height := d.Sequencer().Pipeline.Snapshot().Applied() + fresh
	for tries := 1; ; tries++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id := blocktrace.TraceID(genesis, height).String()
		var found foundTrace
		raw, err := call(ctx, http.MethodGet, viewer, "/api/traces/"+id, nil)
		if err == nil && json.Unmarshal(raw, &found) == nil && len(found.finals()) == len(d.Nodes) {
			note(fmt.Sprintf("trace        %s/trace/%s  (block %d on all nodes)", viewer, id, height))
			return
		}
		if tries%patience == 0 {
			note(fmt.Sprintf("no complete trace of block %d at %s yet, trying a later block", height, viewer))
			height = d.Sequencer().Pipeline.Snapshot().Applied() + fresh
		}
	}
}
