package block

import (
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
	ChainID  string       `json:"chain_id"`
	Height   uint64       `json:"height"`
	Proposer string       `json:"proposer"`
	First    sightingJSON `json:"first"`
	Second   sightingJSON `json:"second"`
}

// MarshalJSON is the form in which evidence is exported. What Verify needs is in
// the two signed headers; the rest is for readers.
func (e Evidence) MarshalJSON() ([]byte, error) {
	if e.First.Header == nil || e.Second.Header == nil {
		return nil, ErrNoPair
	}
	h := e.First.Header
	return json.Marshal(evidenceJSON{ //nolint:wrapcheck // the caller's own call
		ChainID: h.ChainID(), Height: h.Height(), Proposer: fmt.Sprintf("%X", h.Header.ProposerAddress),
		First: e.First.json(), Second: e.Second.json(),
	})
}

func (s Sighting) json() sightingJSON {
	return sightingJSON{
		Hash: s.Header.Digest().String(), Source: s.Source.String(), DAHeight: s.DAHeight, Peer: s.Peer, At: s.At,
		Header: s.Header.Encode(),
	}
}

// UnmarshalJSON reads what MarshalJSON wrote. Hashes are computed, not read.
func (e *Evidence) UnmarshalJSON(b []byte) error {
	var j evidenceJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	var err error
	if e.First, err = j.First.sighting(); err != nil {
		return err
	}
	e.Second, err = j.Second.sighting()
	return err
}

func (j sightingJSON) sighting() (Sighting, error) {
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
