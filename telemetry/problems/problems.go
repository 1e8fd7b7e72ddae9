// Package problems holds the conditions that currently keep a node, or a part of
// it, from doing its work. Parts report a condition when they find it and clear it
// when it has passed; /status, readiness, metrics and alerts read the list.
//
// A problem is a condition that lasts and that an operator may have to act on. It
// is not an event, and not an error that the next attempt repairs: those are
// logged and counted.
package problems

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind names a condition. It is the value of the label "kind" of the metric
// tandem_problem, so the set of kinds is closed: see Kinds.
type Kind string

// The kinds of problems.
const (
	// Clock: the wall clock of this machine is not to be trusted, or a block lies in its future.
	Clock Kind = "clock"
	// Signing: the signing guard does not allow the next block to be signed.
	Signing Kind = "signing"
	// Refuted: execution refuted a block that the proposer signed.
	Refuted Kind = "refuted"
	// Disk: a database cannot be written.
	Disk Kind = "disk"
	// Descriptors: a database cannot be written because the process has no file descriptors left.
	Descriptors Kind = "descriptors"
	// DAIdentity: the DA layer is not the one this home was synced from.
	DAIdentity Kind = "da_identity"
	// DAHead: the DA layer does not move, or no endpoint reports its head.
	DAHead Kind = "da_head"
	// DAEndpoint: one of several DA endpoints is not used, because it belongs to another
	// DA layer or reports a head that cannot be.
	DAEndpoint Kind = "da_endpoint"
	// DAPruned: a DA height that is needed is no longer served.
	DAPruned Kind = "da_pruned"
	// Namespace: DA was read to its head and holds nothing of this chain.
	Namespace Kind = "namespace"
	// Finality: blocks should have been seen on DA by now and were not.
	Finality Kind = "finality"
	// Posting: blocks cannot be posted to DA.
	Posting Kind = "posting"
	// PeerKey: a peer has another key than expected, or this node's own.
	PeerKey Kind = "peer_key"
	// Forced: forced transactions cannot be read, taken or judged.
	Forced Kind = "forced"
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{
		Clock, Signing, Refuted, Disk, Descriptors, DAIdentity, DAHead, DAEndpoint, DAPruned, Namespace, Finality, Posting, PeerKey,
		Forced,
	}
}

// Problem is one condition that lasts.
type Problem struct {
	Kind Kind
	// Subject tells apart problems of one kind, as the address of a peer does. It may be empty.
	Subject string
	// Reason says what is wrong and what to do about it, in one sentence.
	Reason string
	// Since is when it was first reported.
	Since time.Time
	// Unready says that others must not rely on this node while it lasts.
	Unready bool
}

// Early is the problem of a block that is dated in the future of this machine's wall
// clock, which says now. The subject is the part that waits for it.
func Early(subject string, height uint64, dated string, now time.Time) Problem {
	return Problem{Kind: Clock, Subject: subject, Unready: true, Reason: fmt.Sprintf(
		"block %d is dated %s and the clock of this machine says %s: the node waits until then; when the clock is behind, synchronise it (timedatectl set-ntp true)",
		height, dated, now.UTC().Format(time.RFC3339))}
}

// Board is the list of current problems. All methods may be called from many
// goroutines. A nil *Board accepts everything and is always empty.
type Board struct {
	mu   sync.Mutex
	list []Problem // ordered by kind and subject
	now  func() time.Time
}

// New returns an empty Board. Times are those of time.Now.
func New() *Board { return &Board{now: time.Now} }

// Report adds p, or replaces the problem of the same kind and subject. The first
// report of a problem decides Since.
func (b *Board) Report(p Problem) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i, found := slices.BinarySearchFunc(b.list, p, compare)
	if found {
		p.Since = b.list[i].Since
		b.list[i] = p
		return
	}
	p.Since = b.now()
	b.list = slices.Insert(b.list, i, p)
}

// Clear removes the problem of a kind and subject, if there is one.
func (b *Board) Clear(kind Kind, subject string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i, found := slices.BinarySearchFunc(b.list, Problem{Kind: kind, Subject: subject}, compare); found {
		b.list = slices.Delete(b.list, i, i+1)
	}
}

// List returns the current problems, ordered by kind and subject.
func (b *Board) List() []Problem {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}

func compare(a, b Problem) int {
	if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
		return c
	}
	return strings.Compare(a.Subject, b.Subject)
}
