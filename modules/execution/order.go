package execution

import (
	"bytes"

	"github.com/tandem-node/tandem/modules/block"
)

// executedBefore reports whether e is at or below the last executed height, so
// that it has to be undone before it runs again. Leaving out a height is an error.
func executedBefore(e block.Execution, executed, initial uint64) (bool, error) {
	next := max(executed+1, initial)
	if e.Height > next || e.Height < initial {
		return false, &HeightError{Height: e.Height, Want: next}
	}
	return e.Height < next, nil
}

// checkRoot refuses a block that builds on another state. Blocks that do not say
// what they build on pass.
func checkRoot(e block.Execution, root []byte) error {
	if len(e.PrevRoot) > 0 && !bytes.Equal(e.PrevRoot, root) {
		return &RootError{Height: e.Height, Have: root, Want: e.PrevRoot}
	}
	return nil
}
