package block_test

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func signed(name, message string) block.Signed {
	key := testutil.Key(name)
	return block.Signed{
		Signer: block.NewSigner(key.Public().(ed25519.PublicKey)), Message: []byte(message),
		Signature: ed25519.Sign(key, []byte(message)),
	}
}

func TestBatchAcceptsGoodAndRefusesOneBad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := make([]block.Signed, rapid.IntRange(0, 70).Draw(t, "n"))
		for i := range items {
			items[i] = signed(strconv.Itoa(rapid.IntRange(0, 2).Draw(t, "key")), fmt.Sprint("message ", i))
		}
		require.True(t, block.VerifyBatch(items))
		if len(items) == 0 {
			return
		}
		bad := &items[rapid.IntRange(0, len(items)-1).Draw(t, "bad")]
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			bad.Signature[rapid.IntRange(0, 63).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 1:
			bad.Message = append([]byte("x"), bad.Message...)
		case 2:
			bad.Signer = block.NewSigner(testutil.Key("stranger").Public().(ed25519.PublicKey))
		case 3:
			bad.Signature = bad.Signature[:63]
		}
		require.False(t, block.VerifyBatch(items))
	})
}

// TestBatchFollowsTheSingleRule runs signatures with points of small order,
// where the rules of different libraries part, through both checks. Message,
// key and R are made so that the cofactored equation holds for s = 0 or fails.
func TestBatchFollowsTheSingleRule(t *testing.T) {
	smallOrder := []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080", // not canonical
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // not canonical
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	}
	key := testutil.Key("a")
	honest := []byte(key.Public().(ed25519.PublicKey))
	check := func(public, signature, message []byte) {
		single := voi.VerifyWithOptions(public, message, signature, &voi.Options{Verify: voi.VerifyOptionsZIP_215})
		item := block.Signed{Signer: block.NewSigner(public), Message: message, Signature: signature}
		require.Equal(t, single, block.VerifyBatch([]block.Signed{item}), "key %x, signature %x", public, signature)
		good := signed("b", "good")
		require.Equal(t, single, block.VerifyBatch([]block.Signed{good, item, good}))
	}
	accepted := 0
	for _, a := range smallOrder {
		for _, r := range smallOrder {
			public, _ := hex.DecodeString(a)
			nonce, _ := hex.DecodeString(r)
			check(public, append(nonce, make([]byte, 32)...), []byte("m"))
			check(honest, append(nonce, make([]byte, 32)...), []byte("m"))
			// s = k·a for a key of the honest secret and a small-order R: good
			// under the cofactored rule only.
			check(honest, torsionSignature(key, nonce, []byte("m")), []byte("m"))
			accepted++
		}
	}
	require.Equal(t, len(smallOrder)*len(smallOrder), accepted)
	// s that is not reduced is refused by both.
	good := ed25519.Sign(key, []byte("m"))
	order, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	carry := 0
	for i := range 32 {
		carry += int(good[32+i]) + int(order[i])
		good[32+i] = byte(carry)
		carry >>= 8
	}
	check(honest, good, []byte("m"))
}

// torsionSignature returns R ‖ k·a for a given R.
func torsionSignature(key ed25519.PrivateKey, r, message []byte) []byte {
	secret := sha512.Sum512(key.Seed())
	secret[0] &= 248
	secret[31] = secret[31]&63 | 64
	a, _ := scalar.NewFromBytesModOrder(secret[:32])
	digest := sha512.Sum512(append(append(append([]byte{}, r...), key.Public().(ed25519.PublicKey)...), message...))
	k, _ := scalar.NewFromBytesModOrderWide(digest[:])
	s := make([]byte, 32)
	_ = scalar.New().Mul(k, a).ToBytes(s)
	return append(append([]byte{}, r...), s...)
}

// TestBatchRefusesErrorsThatCancel changes two signatures of one key by amounts that
// add up to nothing. Without random weights the sum over both would not change, and
// anybody could forge such pairs.
func TestBatchRefusesErrorsThatCancel(t *testing.T) {
	shift := func(sig []byte, by int64) []byte {
		out := append([]byte{}, sig...)
		s := out[32:40] // the low bytes of s, little endian
		binary.LittleEndian.PutUint64(s, binary.LittleEndian.Uint64(s)+uint64(by))
		return out
	}
	for try := range 20 {
		var items []block.Signed
		for i := range 6 {
			items = append(items, signed("one key", fmt.Sprint(try, i)))
		}
		require.True(t, block.VerifyBatch(items))
		items[1].Signature = shift(items[1].Signature, 5)
		items[4].Signature = shift(items[4].Signature, -5)
		require.False(t, block.VerifyBatch(items))
	}
}
