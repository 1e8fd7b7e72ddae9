package executiontest

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/execution"
)

// Complete is an executor with all optional parts, as the built-in ones are.
type Complete interface {
	execution.Executor
	execution.HeightProvider
	execution.RootProvider
	execution.Rollbacker
	execution.Keeper
	execution.Resetter
	execution.InfoProvider
	execution.Submitter
	execution.TxNotifier
	execution.TxFilter
	execution.HTTPProvider
}

// Rotating is an executor whose transactions may name the next proposer: see
// RotateTx. It keeps no state of its own, so that it is rolled back, restarted and
// replayed with the executor it stands before.
type Rotating struct{ Complete }

const rotateKey = "proposer="

// RotateTx returns the transaction that makes the key with this address sign the
// blocks after the one it is in. To other executors it is a write like any other.
func RotateTx(address []byte) []byte { return fmt.Appendf(nil, "%s%x", rotateKey, address) }

// ExecuteTxs implements execution.Executor. The last transaction that names a
// proposer counts.
func (r Rotating) ExecuteTxs(ctx context.Context, e block.Execution) (block.ExecResult, error) {
	res, err := r.Complete.ExecuteTxs(ctx, e)
	if err != nil {
		return res, err
	}
	for _, tx := range e.Txs {
		text, ok := bytes.CutPrefix(tx, []byte(rotateKey))
		if address, err := hex.DecodeString(string(text)); ok && err == nil && len(address) == block.HashSize {
			res.NextProposer = address
		}
	}
	return res, nil
}
