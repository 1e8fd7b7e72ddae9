package sequencer

import (
	"fmt"
	"strings"
)

// DASource is how far DA was read.
type DASource uint8

// What is known of the chain on DA.
const (
	DANone   DASource = iota // there is no DA layer
	DARead                   // all of it is in the store
	DAUnread                 // DA answers and there is more to read
	DAAway                   // DA does not answer, or no longer has what is to be read
)

// Answers is what others have said about the chain since the start.
type Answers struct {
	DA       DASource
	DAReason string // what is to be read, or why it cannot be
	Static   int    // static peers
	Missing  int    // of them, those that have not told their head
	Told     int    // peers that have told their head
	Alone    bool   // the node has no peers at all
	// Apart says that the signer's memory is kept apart from the home, so that it
	// stays when an old copy of the home comes back.
	Apart bool
}

// knowledge is what the node itself knows when it asks others.
type knowledge struct {
	fresh   bool // it has no block of the chain
	certain bool // the signer remembers what it signed
	waited  bool // others had their time to answer
}

// enough reports whether enough others have answered for the chain to be continued,
// and what is waited for if not (ADR 023).
func (a Answers) enough(k knowledge) (missing string, ok bool) {
	missing = a.missing(k)
	switch {
	case missing == "":
		return "", true
	case a.DA == DAUnread, !k.waited:
		return missing, false
	case a.DA == DARead:
		return missing, true // peers had their time
	case a.DA == DANone && a.Static == 0:
		return missing, true // there is nobody else
	case k.fresh:
		return missing, false // peers that have nothing say nothing about DA
	case a.Told > 0:
		return missing, true
	}
	return missing, a.Apart && k.certain
}

// missing names the answers that are missing; nothing once all are there.
func (a Answers) missing(k knowledge) string {
	var out []string
	if a.DA == DAUnread || a.DA == DAAway {
		out = append(out, a.DAReason)
	}
	switch {
	case a.Alone:
	case a.Missing > 0:
		out = append(out, fmt.Sprintf("%d of %d static peers to tell what they have of the chain", a.Missing, a.Static))
	case a.Told == 0 && !k.fresh:
		out = append(out, "a peer to tell what it has of the chain")
	}
	return strings.Join(out, ", and ")
}
