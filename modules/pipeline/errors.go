package pipeline

import (
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
)

// Errors of the pipeline that carry nothing but their meaning.
var (
	// ErrGap means blocks do not continue the applied head; read again from Next.
	ErrGap = errors.New("blocks do not follow the applied head")
	// ErrNotOpen means a block came before Open returned.
	ErrNotOpen = errors.New("pipeline is not open")
)

// EquivocationError says that the proposer signed two headers for one height
// and that what is stored here is not, or may not be, what stands.
type EquivocationError struct {
	Height   uint64
	Applied  block.Hash // applied or stored here; zero when the height was not reached
	Other    block.Hash // from a peer; zero when DA has the other one
	OnDA     block.Hash // what DA says; zero when it says nothing yet
	DAHeight uint64     // where OnDA was seen
	Proven   bool       // both headers are kept as evidence and nothing more can be done here
	Final    bool       // the block is final
}

// Error names both hashes and what an operator can do.
func (e *EquivocationError) Error() string {
	const see = "see 'tandem evidence list'"
	switch {
	case e.Final:
		return fmt.Sprintf("block %d: the proposer signed two headers: %s is final here, but DA has %s at its height %d; a final block is never "+
			"rolled back by itself: check that the DA endpoint serves the right network and all of its blobs, then start again; if DA is right, "+
			"'tandem rollback --to %d --force' makes room for its block; %s", e.Height, e.Applied, e.OnDA, e.DAHeight, e.Height-1, see)
	case !e.Proven:
		return fmt.Sprintf("block %d is %s here, %s on DA at height %d; waiting for what the DA worker makes of it",
			e.Height, e.Applied, e.OnDA, e.DAHeight)
	case !e.Other.IsZero():
		return fmt.Sprintf("block %d: the proposer signed two headers, %s and %s; pipeline.conflict is halt: find out which one stands, %s; "+
			"start the node again to go on with the first until DA decides; should DA hold the other, 'tandem repair' follows it", e.Height, e.Applied, e.Other, see)
	}
	return fmt.Sprintf("block %d: the proposer signed two headers: %s here, %s on DA at height %d; DA stands: "+
		"'tandem repair --apply' rolls back to block %d and follows it; %s", e.Height, e.Applied, e.OnDA, e.DAHeight, e.Height-1, see)
}

// Permanent reports that trying again does not help.
func (e *EquivocationError) Permanent() bool { return e.Proven }

// RootError says that the executor has another state root after a height than it
// had when the block was applied, or, before the first block, at first start.
type RootError struct {
	Height uint64
	Got    []byte
	Want   []byte
}

// Error names both roots.
func (e *RootError) Error() string {
	return fmt.Sprintf("executor has state root %s after block %d, want %s: it is not the one that this chain was executed with, "+
		"or it is not deterministic: compare execution.name and its version with other nodes; 'tandem repair' says whether its data is damaged",
		root(e.Got), e.Height, root(e.Want))
}

// Permanent reports that trying again does not help.
func (e *RootError) Permanent() bool { return true }

func root(b []byte) string {
	const most = 32
	switch {
	case len(b) == 0:
		return "(empty)"
	case len(b) > most:
		return fmt.Sprintf("%X… (%d bytes)", b[:most], len(b))
	}
	return fmt.Sprintf("%X", b)
}

// PanicError is a panic of the executor. The pipeline takes no more blocks.
type PanicError struct {
	Height uint64
	Call   string
	Value  any
	Stack  []byte
}

// Error names the call, the height and the panic's value.
func (e *PanicError) Error() string {
	return fmt.Sprintf("executor panicked in %s of block %d: %v", e.Call, e.Height, e.Value)
}

// Permanent reports that trying again does not help.
func (e *PanicError) Permanent() bool { return true }

// StateError says that what is stored here, or what the executor has, cannot be
// continued without an operator.
type StateError struct{ Reason string }

// Error returns the reason, which says what to do.
func (e *StateError) Error() string { return e.Reason }

// Permanent reports that trying again does not help.
func (e *StateError) Permanent() bool { return true }

func stateErrorf(format string, args ...any) error {
	return &StateError{Reason: fmt.Sprintf(format, args...)}
}

// permanent reports whether trying again cannot help.
func permanent(err error) bool {
	if p, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err); ok {
		return p.Permanent()
	}
	return false
}
