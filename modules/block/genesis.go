package block

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const maxGenesisBytes = 1 << 20

// Genesis fixes what all nodes of a chain must agree on (evolve-wire §7.1).
type Genesis struct {
	ChainID         string    `json:"chain_id"`
	StartTime       time.Time `json:"start_time"`
	InitialHeight   uint64    `json:"initial_height"`
	ProposerAddress []byte    `json:"proposer_address"`
	DAStartHeight   uint64    `json:"da_start_height"`
	// DAEpochForcedInclusion is the length of a forced-inclusion epoch in DA heights.
	DAEpochForcedInclusion uint64 `json:"da_epoch_forced_inclusion"`
}

// CheckChainID says what is wrong with the name of a chain; what it is a value of
// comes before that.
func CheckChainID(id string) error {
	switch {
	case id == "":
		return errors.New("is empty, want a name")
	case len(id) > maxChainIDBytes:
		return fmt.Errorf("has %d bytes, want at most %d", len(id), maxChainIDBytes)
	case strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == utf8.RuneError }):
		return fmt.Errorf("is %q, want printable characters without spaces", id)
	}
	return nil
}

// Validate returns one error that names the key, the value and what was expected.
func (g Genesis) Validate() error {
	if err := CheckChainID(g.ChainID); err != nil {
		return fmt.Errorf("chain_id %w", err)
	}
	switch {
	case g.StartTime.IsZero() || g.StartTime.UnixNano() <= 0:
		return fmt.Errorf("start_time is %s, want a time after 1970", g.StartTime)
	case g.InitialHeight == 0:
		return errors.New("initial_height is 0, want at least 1")
	case g.InitialHeight > MaxHeight:
		return fmt.Errorf("initial_height is %d, want at most %d", g.InitialHeight, uint64(MaxHeight))
	case len(g.ProposerAddress) == 0:
		return errors.New("proposer_address is empty, want base64 of 32 bytes (copy the sequencer's genesis file)")
	case len(g.ProposerAddress) != HashSize:
		return fmt.Errorf("proposer_address has %d bytes, want %d", len(g.ProposerAddress), HashSize)
	case g.DAEpochForcedInclusion == 0:
		return errors.New("da_epoch_forced_inclusion is 0, want at least 1")
	}
	return nil
}

// Hash identifies the genesis: nodes with different hashes are of different
// chains. It covers, in a fixed order, every field but DAStartHeight, which only
// says where to begin to read DA and may be moved on a running chain (evolve-wire
// §7.1).
func (g Genesis) Hash() Hash {
	var b bytes.Buffer
	put := func(p []byte) {
		_ = binary.Write(&b, binary.BigEndian, uint64(len(p)))
		b.Write(p)
	}
	put([]byte(g.ChainID))
	put(g.ProposerAddress)
	for _, n := range []uint64{
		uint64(g.StartTime.UnixNano()), g.InitialHeight, g.DAEpochForcedInclusion,
	} {
		_ = binary.Write(&b, binary.BigEndian, n)
	}
	return Sum(b.Bytes())
}

// DecodeGenesis reads and validates a genesis file. Unknown members are ignored: UnknownInGenesis
// names them.
func DecodeGenesis(b []byte) (Genesis, error) {
	if len(b) > maxGenesisBytes {
		return Genesis{}, fmt.Errorf("genesis has %d bytes, at most %d allowed: %w", len(b), maxGenesisBytes, ErrTooLarge)
	}
	g := Genesis{DAEpochForcedInclusion: 50}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&g); err != nil {
		return Genesis{}, fmt.Errorf("genesis: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Genesis{}, errors.New("genesis: more than one JSON value in the file")
	}
	if err := g.Validate(); err != nil {
		return Genesis{}, fmt.Errorf("genesis: %w", err)
	}
	g.StartTime = g.StartTime.UTC()
	return g, nil
}

// LoadGenesis reads the genesis file at path.
func LoadGenesis(path string) (Genesis, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return Genesis{}, fmt.Errorf("read genesis: %w", err)
	}
	g, err := DecodeGenesis(b)
	if err != nil {
		return Genesis{}, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// UnknownInGenesis names the members of a genesis file that LoadGenesis ignores.
func UnknownInGenesis(path string) []string {
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil
	}
	var members, known map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil
	}
	b, _ := json.Marshal(Genesis{})
	_ = json.Unmarshal(b, &known)
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return known[strings.ToLower(name)] != nil })
	return slices.Sorted(maps.Keys(members))
}

// Save writes the genesis file, readable by ev-node too.
func (g Genesis) Save(path string) error {
	if err := g.Validate(); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	b, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil { //nolint:gosec // public by nature
		return fmt.Errorf("genesis: %w", err)
	}
	return nil
}
