package repair

import (
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
)

// Kind says what is wrong.
type Kind string

// The kinds of findings.
const (
	KindDatabase Kind = "database"         // the chain's database is damaged
	KindExecutor Kind = "executor"         // the executor's data is damaged, or of another chain
	KindRecords  Kind = "records"          // records of the chain do not fit each other
	KindIndex    Kind = "index"            // items are not found by their hash
	KindLevel    Kind = "executor-level"   // the executor is not where the chain is
	KindConflict Kind = "conflict"         // DA holds another block than the one stored
	KindRefuted  Kind = "refuted"          // a stored header names another state than the executor has
	KindRollback Kind = "rollback"         // a rollback was cut short
	KindOther    Kind = "executor-differs" // the executor is not the chain's
	KindEvidence Kind = "refuted-evidence" // a header that was refuted before is not settled
)

// Finding is one thing that is wrong with a home.
type Finding struct {
	Kind    Kind   `json:"kind"`
	Problem string `json:"problem"`
	// Fix is what applying does about it. Where it is empty, Advice says what an
	// operator can do.
	Fix    string `json:"fix,omitempty"`
	Advice string `json:"advice,omitempty"`
	// Removes are blocks that the fix removes and that may exist here alone, those of
	// a node that makes them. Unknown says that there may be some, and Last of Removes
	// is the highest one that the key has signed, 0 when that is not known either.
	Removes Blocks `json:"removes"`
	Unknown bool   `json:"unknown,omitempty"`
	Done    bool   `json:"done"`

	action action
	revert block.Revert
}

// action is how a finding is fixed. They are applied in this order.
type action uint8

const (
	actNone           action = iota
	actRemoveExecutor        // its directory
	actRemoveDatabase        // the chain's
	actRollBack              // to Finding.revert
	actReindex
	actLevel // what a start does with the executor
)

// Lost names blocks that the fix removes and that may exist nowhere else; it is
// empty when there are none.
func (f Finding) Lost() string {
	switch {
	case f.Unknown && f.Removes.Last > 0:
		return fmt.Sprintf("blocks up to %d, which this key has signed; how many of them are not final cannot be read", f.Removes.Last)
	case f.Unknown:
		return "blocks that this key has signed; how many of them are not final cannot be read"
	case f.Removes.Count() > 0:
		return f.Removes.String() + " that are not final"
	}
	return ""
}

// Report is what was found in a home.
type Report struct {
	Chain    string    `json:"chain_id"`
	Applied  uint64    `json:"applied"`  // 0 where the database cannot be read
	Final    uint64    `json:"final"`    // as Applied
	Executed uint64    `json:"executed"` // 0 without an executor that can be read
	Findings []Finding `json:"findings"`
}

// Left returns how many findings are not fixed.
func (r Report) Left() (n int) {
	for _, f := range r.Findings {
		if !f.Done {
			n++
		}
	}
	return n
}

// Fixable returns how many of them applying would fix.
func (r Report) Fixable() (n int) {
	for _, f := range r.Findings {
		if !f.Done && f.action != actNone {
			n++
		}
	}
	return n
}
