package da

import (
	"context"
	"crypto/sha256"
	"strconv"
)

// nodeAPI are the node methods.
type nodeAPI struct{ *access }

// Ready tells that the node answers.
func (a nodeAPI) Ready(ctx context.Context) (bool, error) {
	if err := a.enter(ctx, "node", "Ready", permRead); err != nil {
		return false, err
	}
	return true, nil
}

type nodeInfo struct {
	Type       string `json:"type"`
	APIVersion string `json:"api_version"`
}

// Info names the kind of node.
func (a nodeAPI) Info(ctx context.Context) (nodeInfo, error) {
	if err := a.enter(ctx, "node", "Info", permRead); err != nil {
		return nodeInfo{}, err
	}
	return nodeInfo{Type: "Bridge", APIVersion: "tandem-local"}, nil
}

// stateAPI are the state methods.
type stateAPI struct{ *access }

type coin struct {
	Denom  string `json:"denom"`
	Amount string `json:"amount"`
}

// Balance is what the fees have left of the account.
func (a stateAPI) Balance(ctx context.Context) (coin, error) {
	if err := a.enter(ctx, "state", "Balance", permRead); err != nil {
		return coin{}, err
	}
	a.mu.RLock()
	spent := a.meta.spent
	a.mu.RUnlock()
	left := startingBalance - min(spent, startingBalance)
	return coin{Denom: denomination, Amount: strconv.FormatUint(left, 10)}, nil
}

// AccountAddress is the account that pays.
func (a stateAPI) AccountAddress(ctx context.Context) (string, error) {
	if err := a.enter(ctx, "state", "AccountAddress", permRead); err != nil {
		return "", err
	}
	return bech32("celestia", account(a.chainID)), nil
}

// accountSize is the length of an account's address.
const accountSize = 20

// account is the address of the one account of a local chain.
func account(chainID string) []byte {
	sum := sha256.Sum256([]byte("account/" + chainID))
	return sum[:accountSize]
}

// Alphabet, checksum length and bits per character of bech32 (BIP 173).
const (
	bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	bech32Checksum = 6
	bech32Bits     = 5
	bech32Mask     = 1<<bech32Bits - 1
)

// bech32 encodes bytes as an address with a prefix.
func bech32(prefix string, data []byte) string {
	words := regroup(data)
	sum := bech32Polymod(prefix, words)
	for i := range bech32Checksum {
		words = append(words, byte(sum>>(bech32Bits*(bech32Checksum-1-i))&bech32Mask))
	}
	out := append([]byte(prefix), '1')
	for _, w := range words {
		out = append(out, bech32Alphabet[w])
	}
	return string(out)
}

// regroup splits bytes into groups of five bits, padded with zeros.
func regroup(data []byte) []byte {
	const byteBits = 8
	var out []byte
	acc, bits := uint32(0), 0
	for _, b := range data {
		acc = acc<<byteBits | uint32(b)
		for bits += byteBits; bits >= bech32Bits; {
			bits -= bech32Bits
			out = append(out, byte(acc>>bits&bech32Mask))
		}
	}
	if bits > 0 {
		out = append(out, byte(acc<<(bech32Bits-bits)&bech32Mask))
	}
	return out
}

// bech32Polymod is the checksum of prefix and data.
func bech32Polymod(prefix string, words []byte) uint32 {
	generators := [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	const topShift, topMask = 25, 0x1ffffff
	sum := uint32(1)
	feed := func(w byte) {
		top := sum >> topShift
		sum = sum&topMask<<bech32Bits ^ uint32(w)
		for i, g := range generators {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for _, c := range []byte(prefix) {
		feed(c >> bech32Bits)
	}
	feed(0)
	for _, c := range []byte(prefix) {
		feed(c & bech32Mask)
	}
	for _, w := range words {
		feed(w)
	}
	for range bech32Checksum {
		feed(0)
	}
	return sum ^ 1
}
