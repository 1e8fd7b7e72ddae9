package da

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/celestiaorg/go-square/v3/share"
)

// Fees and sizes of a transaction, as a real network counts them.
const (
	gasPerByte      = 8
	gasPerBlob      = 700
	gasFixed        = 75_000
	minGasPrice     = 0.004
	txOverhead      = 350
	txOverheadBlob  = 120
	startingBalance = 1_000_000_000_000
	defaultKeyName  = "my_celes_key"
	defaultMaxGas   = 0.4
	denomination    = "utia"
)

// node is the local DA node without its transport: a ledger, fees and faults.
// The JSON-RPC server and the in-process client both stand on it.
type node struct {
	*ledger
	faults  *faults
	chainID string
	compat  bool // see ServerConfig.EvNodeCompat
}

// newTx checks a submission as a node and its validator do.
func newTx(blobs []*ledgerBlob, opts submitOptions) (*ledgerTx, error) {
	if len(blobs) == 0 {
		return nil, errNoBlobs
	}
	if opts.KeyName != "" && opts.KeyName != defaultKeyName {
		return nil, fmt.Errorf("failed to get tx author address: getting account key: %s.info: key not found", opts.KeyName)
	}
	tx := &ledgerTx{blobs: blobs, size: txOverhead}
	shares := 0
	for _, b := range blobs {
		shares += shareCount(len(b.Data), b.signer != nil)
		tx.size += txOverheadBlob + len(b.Data)
	}
	gas := uint64(gasPerByte*share.ShareSize*shares + gasPerBlob*len(blobs) + gasFixed)
	price, err := gasPrice(opts)
	if err != nil {
		return nil, err
	}
	paid := gas
	if opts.Gas > 0 {
		paid = opts.Gas
	}
	required := uint64(math.Ceil(float64(paid) * minGasPrice))
	tx.fee = uint64(math.Ceil(float64(paid) * price))
	switch {
	case tx.size > MaxTxBytes:
		// The real text is empty too: only the code says what is wrong.
		return nil, broadcastError(blobs, "", abciTxTooLarge)
	case tx.fee < required:
		return nil, broadcastError(blobs, fmt.Sprintf("insufficient minimum gas price for this node; got: %d%s, required: %d%s: insufficient fee",
			tx.fee, denomination, required, denomination), abciFee)
	case paid < gas:
		return nil, broadcastError(blobs, fmt.Sprintf("out of gas in location: blob; gasWanted: %d, gasUsed: %d: out of gas", paid, gas), abciOutOfGas)
	}
	return tx, nil
}

// gasPrice is the price of a submission. A price without is_gas_price_set is
// ignored, as a real node does.
func gasPrice(opts submitOptions) (float64, error) {
	if opts.IsGasPriceSet {
		return opts.GasPrice, nil
	}
	limit := opts.MaxGasPrice
	if limit == 0 {
		limit = defaultMaxGas
	}
	if minGasPrice > limit {
		return 0, errors.New("state: estimated gas price exceeds max gas price in tx config")
	}
	return minGasPrice, nil
}

func broadcastError(blobs []*ledgerBlob, text string, code int) error {
	h := sha256.New()
	for _, b := range blobs {
		h.Write(b.Commitment[:])
	}
	hash := strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
	return fmt.Errorf("broadcast tx error: hash %s error: %s code: %d", hash, text, code)
}

// post submits and waits for the block.
func (n *node) post(ctx context.Context, blobs []*ledgerBlob, opts submitOptions) (uint64, error) {
	tx, err := newTx(blobs, opts)
	if err != nil {
		return 0, err
	}
	n.mu.RLock()
	spent := n.meta.spent
	n.mu.RUnlock()
	if tx.fee > startingBalance-min(spent, startingBalance) {
		return 0, broadcastError(blobs, "insufficient funds", abciFunds)
	}
	if err := n.submit(tx); err != nil {
		return 0, err
	}
	return tx.await(ctx)
}
