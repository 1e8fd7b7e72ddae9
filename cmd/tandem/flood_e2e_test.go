//go:build e2e && linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/names"
)

// Bounds of the node that is flooded: what the keys of docs/limits.md allow at
// least, or little more.
const (
	floodPeers     = 10
	floodSenders   = 7 // of the flood program
	floodMessage   = 5<<20 + 64<<10
	floodBuffer    = 8 << 20 // the power of two above a message
	floodDAAnswer  = 16 << 20
	floodDataSize  = 1 << 20
	floodStateSize = 8 << 20
	floodCaches    = floodStateSize + 2*(8+2*4)<<20 // of the executor, and of two databases
)

func floodLimits() []string {
	return []string{
		flagOf("p2p.max_peers", floodPeers), flagOf("p2p.max_peer_streams", 64), flagOf("p2p.buffer_bytes", 64<<20),
		flagOf("p2p.max_message_bytes", floodMessage), flagOf("p2p.gossip_queue_bytes", floodMessage),
		flagOf("p2p.gossip_unchecked_bytes", 4*floodMessage), "--p2p.dht=false",
		flagOf("exchange.queue_bytes", 8<<20), flagOf("exchange.park_bytes", 8<<20), flagOf("exchange.serve_bytes", 8<<20),
		flagOf("exchange.response_bytes", 2<<20),
		flagOf("exchange.gossip_bytes", 4*floodMessage), flagOf("exchange.gossip_peer_bytes", 2*floodMessage),
		flagOf("exchange.quarantine_bytes", 4*floodMessage), flagOf("exchange.quarantine_peer_bytes", 2*floodMessage),
		"--exchange.data_wait=10m", // for the bound to be the bytes, not the time
		flagOf("da_worker.prefetch_bytes", 10<<20), flagOf("da_worker.pending_bytes", 10<<20), flagOf("da_worker.quarantine_bytes", 10<<20),
		flagOf("da.answer_bytes", floodDAAnswer), flagOf("da.max_response_bytes", floodDAAnswer),
		flagOf("execution.cache_bytes", floodStateSize), flagOf("execution.mempool.max_bytes", 4<<20), flagOf("execution.mempool.max_tx_bytes", 1<<20), flagOf("store.cache_bytes", 4<<20),
	}
}

func flagOf(key string, value int) string { return fmt.Sprintf("--%s=%d", key, value) }

// TestFloodStaysWithinTheBudget: peers and a DA poster send a node more than it can
// take, of everything at once, until what it has turned away is more than it may
// hold. The process stays within the sum of its bounds, and within 1.5 times what it
// counts as held itself, so that the figures of docs/limits.md are what is there. It
// follows the chain. It takes the machine for itself: others have times to keep.
func TestFloodStaysWithinTheBudget(t *testing.T) {
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	n := w.follower("flooded", append([]string{seq.viaP2P(), da.viaDA()}, floodLimits()...)...)
	n.start()
	n.finalizes(5)

	idle := n.scrape().value("process_resident_memory_bytes")
	budget := idle + mayHold(n.scrape())
	begin := seq.applied()
	peers := w.attack("flood", "-listen", "/ip4/"+w.newIP()+"/tcp/0", "-nodes", n.p2pAddress(), "-size", strconv.Itoa(floodDataSize))
	poster := w.attack("dump", "-da", da.url, "-every", daTime.String(), "-size", strconv.Itoa(floodDataSize))
	var m metrics
	peak, held := 0.0, map[string]float64{}           // when most was held
	eventually(t, 4*patience, func() (bool, string) { // it is much to send, for a busy machine
		m = n.scrape()
		if m == nil {
			return false, "no answer"
		}
		peak = max(peak, m.value("process_resident_memory_bytes"))
		if now := m.by(names.MetricHeld); total(now) > total(held) {
			held = now
		}
		require.LessOrEqual(t, peak, budget, "over the budget; held %v, heap %.0f", m.by(names.MetricHeld), m.value("go_memstats_heap_inuse_bytes"))
		gone, junk := m.by(names.MetricGaveWay), m.by(names.MetricJunk)
		turnedAway := 2 * floodDataSize * gone["exchange_data_quarantine"]
		return turnedAway > budget && m.by(names.MetricDAGiven)["da_quarantine"] > 0 && junk["foreign"] > 0 &&
				m.by(names.MetricRefused)["header"] > 0 && n.final() > begin,
			fmt.Sprintf("turned away %.0f of %.0f, gave way %v, junk %v, %s; %s", turnedAway, budget, gone, junk, brief(n.status()), peers.tail(1))
	})
	n.applies(seq.applied()) // while the flood goes on
	for name, p := range map[string]*process{"peers": peers, "poster": poster} {
		select {
		case <-p.done:
			t.Fatalf("the %s gave up: %s", name, p.tail(3))
		default:
			p.kill()
		}
	}
	seq.send("color", "green")
	n.reads("color", "green")
	head := seq.applied()
	n.finalizes(head)
	agree(t, seq, n)
	highest := n.highWater()
	filled := idle + flooded(held)
	t.Logf("idle %.0f MiB, peak %.0f MiB, by what was held %.0f MiB, by all bounds %.0f MiB; held %v; %s; %s",
		idle/(1<<20), highest/(1<<20), filled/(1<<20), budget/(1<<20), held, peers.tail(1), poster.tail(1))
	require.LessOrEqual(t, highest, budget)
	require.LessOrEqual(t, highest, filled)
	require.LessOrEqual(t, filled, 1.5*highest, "the budget is above what a flood shows")
}

// flooded is what the flood may take by docs/limits.md: what the node counts as held, gossip being received in messages of the flood's size, caches, and half as
// much in garbage.
func flooded(held map[string]float64) float64 {
	sum := total(held)
	sum += floodSenders*(2*floodDataSize+floodDataSize) + 32*floodDataSize
	sum += floodCaches
	return sum * 3 / 2
}

func total(parts map[string]float64) float64 {
	sum := 0.0
	for _, bytes := range parts {
		sum += bytes
	}
	return sum
}

// mayHold is what docs/limits.md says a process may take beside what it takes idle:
// all bounds, what has none but that of its number, and half as much in garbage.
func mayHold(m metrics) float64 {
	held := 0.0
	for part, limit := range m.by(names.MetricHeldLimit) {
		if part == "gossip_queue" {
			limit /= floodPeers // all wait for the same messages
		}
		held += limit
	}
	held += floodPeers*(floodBuffer+floodMessage) + 32*floodMessage // gossip being received
	held += floodDAAnswer                                           // the one answer of DA above its bound
	held += floodCaches
	return held * 3 / 2
}

// metrics are the answer of /metrics.
type metrics map[string]*dto.MetricFamily

// scrape returns nil when the node does not answer.
func (n *node) scrape() metrics {
	n.w.t.Helper()
	body := n.get("/metrics")
	if body == nil {
		return nil
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	require.NoError(n.w.t, err)
	return families
}

// value is that of a gauge without labels.
func (m metrics) value(name string) float64 { return m[name].GetMetric()[0].GetGauge().GetValue() }

// by returns the values of a metric by its first label.
func (m metrics) by(name string) map[string]float64 {
	out := map[string]float64{}
	for _, one := range m[name].GetMetric() {
		out[one.GetLabel()[0].GetValue()] = one.GetGauge().GetValue() + one.GetCounter().GetValue()
	}
	return out
}

// highWater is the most memory the process ever had, in bytes.
func (n *node) highWater() float64 {
	n.w.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	require.NoError(n.w.t, err)
	_, rest, ok := strings.Cut(string(text), "VmHWM:")
	require.True(n.w.t, ok)
	var kib float64
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(n.w.t, err)
	return kib * 1024
}
