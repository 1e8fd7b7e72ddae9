package block

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

type sightingJSON struct {
	Hash     string    `json:"hash"`
	Source   string    `json:"source"`
	DAHeight uint64    `json:"da_height,omitempty"`
	Peer     string    `json:"peer,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Header   []byte    `json:"signed_header"` // evnode.v1.SignedHeader
}

type evidenceJSON struct {
	Kind     string        `json:"kind"` // KindDoubleSigned or KindRefuted
	ChainID  string        `json:"chain_id"`
	Height   uint64        `json:"height"`
	Proposer string        `json:"proposer"`
	First    *sightingJSON `json:"first,omitempty"`
	Second   *sightingJSON `json:"second"`
	Refuted  *refutedJSON  `json:"refuted,omitempty"`
}

type refutedJSON struct {
	Rule     string `json:"rule"`
	Want     string `json:"want"`      // in hex, the beginning of what was expected
	WantHash string `json:"want_hash"` // SHA-256 of all of it
	Executor string `json:"executor,omitempty"`
	// Forced is where the transaction lies whose SHA-256 is WantHash.
	Forced *leftOutJSON `json:"forced,omitempty"`
}

type leftOutJSON struct {
	DAHeight uint64 `json:"da_height"`
	Index    uint64 `json:"index"`
	Epochs   uint64 `json:"epochs"`
}

// The kinds of evidence, as exports name them.
const (
	KindDoubleSigned = "double-signed" // two headers of one height
	KindRefuted      = "refuted"       // a header that execution refutes
)

// Kind names the kind of the evidence.
func (e Evidence) Kind() string {
	if e.Refuted != nil {
		return KindRefuted
	}
	return KindDoubleSigned
}

// MarshalJSON is the form in which evidence is exported. What Verify needs is in
// the signed headers and in what was expected; the rest is for readers.
func (e Evidence) MarshalJSON() ([]byte, error) {
	if err := e.Complete(); err != nil {
		return nil, err
	}
	h := e.Second.Header
	j := evidenceJSON{
		Kind: e.Kind(), ChainID: h.ChainID(), Height: h.Height(), Proposer: fmt.Sprintf("%X", h.Header.ProposerAddress),
		First: e.First.json(), Second: e.Second.json(),
	}
	if r := e.Refuted; r != nil {
		j.Refuted = &refutedJSON{Rule: string(r.Rule), Want: fmt.Sprintf("%X", r.Want), WantHash: r.WantHash.String(), Executor: r.Executor, Forced: (*leftOutJSON)(r.Forced)}
	}
	return json.Marshal(j) //nolint:wrapcheck // the caller's own call
}

func (s Sighting) json() *sightingJSON {
	if s.Header == nil {
		return nil
	}
	return &sightingJSON{
		Hash: s.Header.Digest().String(), Source: s.Source.String(), DAHeight: s.DAHeight, Peer: s.Peer, At: s.At,
		Header: s.Header.Encode(),
	}
}

// UnmarshalJSON reads what MarshalJSON wrote. Hashes of headers are computed, not read.
func (e *Evidence) UnmarshalJSON(b []byte) error {
	var (
		j   evidenceJSON
		got Evidence
		err error
	)
	if err = json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	if got.First, err = j.First.sighting(); err != nil {
		return err
	}
	if got.Second, err = j.Second.sighting(); err != nil {
		return err
	}
	if got.Refuted, err = j.Refuted.refutation(); err != nil {
		return err
	}
	if err := got.Complete(); err != nil {
		return err
	}
	*e = got
	return nil
}

func (j *refutedJSON) refutation() (*Refutation, error) {
	if j == nil {
		return nil, nil //nolint:nilnil // none is a good answer
	}
	want, err := hex.DecodeString(j.Want)
	if err != nil || len(want) > MaxWant {
		return nil, fmt.Errorf("evidence: want is not at most %d bytes in hex", MaxWant)
	}
	raw, err := hex.DecodeString(j.WantHash)
	if err != nil {
		return nil, fmt.Errorf("evidence: want_hash: %w", err)
	}
	r := &Refutation{Rule: Rule(j.Rule), Want: want, Executor: j.Executor, Forced: (*LeftOut)(j.Forced)}
	if r.WantHash, err = HashFromBytes(raw); err != nil {
		return nil, fmt.Errorf("evidence: want_hash: %w", err)
	}
	return r, nil
}

func (j *sightingJSON) sighting() (Sighting, error) {
	if j == nil {
		return Sighting{}, nil
	}
	h, err := DecodeSignedHeader(j.Header)
	if err != nil {
		return Sighting{}, fmt.Errorf("evidence: %w", err)
	}
	s := Sighting{Header: h, DAHeight: j.DAHeight, Peer: j.Peer, At: j.At}
	for _, src := range []Source{SourceP2P, SourceDA, SourceLocal} {
		if src.String() == j.Source {
			s.Source = src
		}
	}
	return s, nil
}
