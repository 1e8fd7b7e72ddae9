//go:build e2e && linux

package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/rpc"
)

// problem returns the node's problem of a kind; the zero value when it has none.
func (n *node) problem(kind string) rpc.Problem {
	for _, p := range n.status().Problems {
		if p.Kind == kind {
			return p
		}
	}
	return rpc.Problem{}
}

// TestDAStartsOver: a DA layer that is wiped and begins again is not read and not
// posted to, nothing becomes final, and every node says so and what to do. What
// it says works: with da.identity the chain is posted again, and who knows DA
// alone can join.
func TestDAStartsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mayFail = append(w.mayFail, "da endpoint is of another da layer and is not used")
	layer := w.newDA()
	layer.start()
	seq := w.sequencer()
	seq.start()
	full := w.follower("full", seq.viaP2P(), layer.viaDA())
	full.start()
	full.finalizes(5)

	layer.kill()
	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "da")))
	layer.start()
	flag := ""
	for _, n := range []*node{seq, full} {
		eventually(t, patience, func() (bool, string) {
			p := n.problem("da_identity")
			_, flag, _ = strings.Cut(p.Reason, "restart with ")
			flag, _, _ = strings.Cut(flag, ": ")
			return p.Unready && flag != "", n.name + " shall say that this is another DA layer: " + brief(n.status())
		})
		require.Nil(t, n.get("/health/ready"), "%s is not ready", n.name)
	}
	final := full.final()
	until := full.grows(8).Heads.Applied // the chain goes on
	require.Equal(t, final, full.final())
	require.LessOrEqual(t, seq.final(), until)
	for _, n := range []*node{seq, full} { // the same after a restart
		n.stop()
		n.start()
		eventually(t, patience, func() (bool, string) { return n.problem("da_identity").Unready, brief(n.status()) })
	}
	require.Equal(t, final, full.final())

	for _, n := range []*node{seq, full} {
		n.stop()
		n.start(flag)
	}
	full.finalizes(until)
	seq.finalizes(until)
	eventually(t, patience, func() (bool, string) { return full.get("/health/ready") != nil, brief(full.status()) })
	alone := w.follower("alone", layer.viaDA(), noPeers)
	alone.start()
	alone.finalizes(until)
	agree(t, seq, full, alone)
}

// badJSON are answers that are small as sent and large as decoded, if read without care.
func badJSON() []string {
	ns := da.NamespaceOf("x")
	id := base64.StdEncoding.EncodeToString(ns[:])
	return []string{
		`{},`, `null,`, `[`, `{"a":`, `{"data":"` + strings.Repeat(`\u0041`, 1000) + `"},`,
		`{"namespace":"` + id + `","data":"` + strings.Repeat("A", 1<<20) + `","share_version":9},`, strings.Repeat("1", 1000),
	}
}

// feed answers every request with length bytes of a shape and counts the answers.
func feed(t *testing.T, shape string, length int) (url string, answers *atomic.Uint64) {
	t.Helper()
	answers = new(atomic.Uint64)
	chunk := strings.Repeat(shape, max(1, 64<<10/len(shape)))
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(rw, `{"jsonrpc":"2.0","id":1,"result":[`)
		for n := 0; n < length && err == nil; n += len(chunk) {
			_, err = io.WriteString(rw, chunk)
		}
		answers.Add(1)
	}))
	t.Cleanup(s.Close)
	return s.URL, answers
}

// TestWorstDAAnswers: DA endpoints answer everything with 64 MB of the worst JSON
// there is, one endpoint for each shape of it, so that no shape waits for a node that
// has learnt to leave its endpoint alone. The node takes what docs/limits.md allows
// and no more, and the last endpoint is used.
func TestWorstDAAnswers(t *testing.T) {
	const length = 64 << 20
	w := newWorld(t)
	layer := w.newDA()
	layer.start()
	seq := w.sequencer()
	seq.start()
	addresses, fed := "", []*atomic.Uint64{}
	for _, shape := range badJSON() {
		url, answers := feed(t, shape, length)
		addresses, fed = addresses+url+",", append(fed, answers)
	}
	plain := w.follower("plain", seq.viaP2P(), layer.viaDA())
	plain.start()
	plain.finalizes(5)
	idle := plain.highWater()
	n := w.follower("fed", seq.viaP2P(), "--da.address="+addresses+layer.url)
	n.start()
	eventually(t, 2*patience, func() (bool, string) {
		unfed := slices.ContainsFunc(fed, func(answers *atomic.Uint64) bool { return answers.Load() == 0 })
		return !unfed && n.final() >= 10, brief(n.status())
	})
	n.finalizes(seq.applied())
	peak := n.highWater()
	t.Logf("%d endpoints that answer %d MB: %.0f MiB resident, %.0f without them", len(fed), length>>20, peak/(1<<20), idle/(1<<20))
	require.LessOrEqual(t, peak, idle+length, "nothing of the answers is kept: less than the least bound, one answer")
	endpoints := n.status().DA.Endpoints
	require.Len(t, endpoints, len(fed)+1)
	require.True(t, endpoints[len(fed)].Reading)
	agree(t, seq, n)
}
