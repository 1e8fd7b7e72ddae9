package block_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// legacyHeader returns a header as it was before header minimisation, with all
// legacy fields of one kind set.
func legacyHeader(g block.Genesis, legacy block.Legacy) block.Header {
	return block.Header{
		Height: 5, Time: 5e9, LastHeaderHash: make([]byte, block.HashSize), DataHash: make([]byte, block.HashSize),
		AppHash: []byte("app"), ProposerAddress: g.ProposerAddress, ChainID: g.ChainID, Legacy: legacy,
	}
}

// One signature over the legacy encoding is good for one header hash. Whoever
// strips or adds the fields that encoding fills in makes no second header of the
// proposer's, and no evidence.
func TestOneSignatureOneHeader(t *testing.T) {
	g, key := testutil.NewChain("old").Genesis, testutil.Key("proposer")
	signer := block.NewSigner(key.Public().(ed25519.PublicKey))
	zeros := make([]byte, block.HashSize)
	forms := map[string]block.Legacy{
		"none": {}, "consensus hash": {ConsensusHash: zeros}, "last commit hash": {LastCommitHash: zeros},
		"both": {LastCommitHash: zeros, ConsensusHash: zeros}, "results": {LastResultsHash: zeros},
		"all": {LastCommitHash: zeros, ConsensusHash: zeros, LastResultsHash: zeros},
	}
	for signed, legacy := range forms {
		h := legacyHeader(g, legacy)
		for encoding, message := range map[string][]byte{"slim": h.Encode(), "legacy": h.EncodeLegacy()} {
			signature := ed25519.Sign(key, message)
			original := block.NewSignedHeader(h, signature, signer)
			if signed == "none" && encoding == "legacy" {
				require.ErrorIs(t, original.Validate(), block.ErrBadSignature, "its hash is not that of the signed bytes")
			} else {
				require.NoError(t, original.Validate(), "%s, %s", signed, encoding)
			}
			for shown, other := range forms {
				forged := block.NewSignedHeader(legacyHeader(g, other), signature, signer)
				e := block.Evidence{First: block.Sighting{Header: original}, Second: block.Sighting{Header: forged}}
				require.Error(t, e.Verify(g), "signed with %s (%s), shown with %s", signed, encoding, shown)
				if original.Validate() == nil && forged.Validate() == nil {
					require.Equal(t, original.Digest(), forged.Digest(), "signed with %s (%s), shown with %s", signed, encoding, shown)
				}
			}
		}
	}
}

// Two payloads of one height are evidence on such chains as on others.
func TestLegacyHeadersAreEvidence(t *testing.T) {
	g, key := testutil.NewChain("old").Genesis, testutil.Key("proposer")
	signer := block.NewSigner(key.Public().(ed25519.PublicKey))
	sign := func(app string) *block.SignedHeader {
		h := legacyHeader(g, block.Legacy{ConsensusHash: make([]byte, block.HashSize)})
		h.AppHash = []byte(app)
		return block.NewSignedHeader(h, ed25519.Sign(key, h.EncodeLegacy()), signer)
	}
	e := block.Evidence{First: block.Sighting{Header: sign("a")}, Second: block.Sighting{Header: sign("b")}}
	require.NoError(t, e.Verify(g))
}
