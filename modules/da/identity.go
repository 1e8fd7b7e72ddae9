package da

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrIdentity means that what answers is not the DA layer this node was synced
// from: nothing is read from it and nothing is posted to it.
var ErrIdentity = errors.New("da: not the DA layer this node was synced from")

// Keeper keeps what identifies the DA layer, beside what was read from it.
type Keeper interface {
	// DAIdentity returns the record that was kept last, nil before the first.
	DAIdentity() ([]byte, error)
	// KeepDAIdentity keeps a record in place of the one before.
	KeepDAIdentity(record []byte) error
	// MoveDA keeps a record and forgets, in the same step, what was read from and
	// posted to the DA layer of the one before. The final head stays.
	MoveDA(record []byte) error
	// DAFloor returns the DA height below which everything was read.
	DAFloor() uint64
}

// anchor is a header that is known to be of the DA layer.
type anchor struct {
	Height uint64    `json:"height"`
	Hash   string    `json:"hash,omitempty"`
	Time   time.Time `json:"time,omitzero"`
}

func anchorOf(h Head) anchor { return anchor{Height: h.Height, Hash: h.Hash, Time: h.Time} }

// mark identifies the header among those of its height: its hash or, where the
// endpoint does not say it, its time.
func (a anchor) mark() string {
	if a.Hash != "" || a.Time.IsZero() {
		return a.Hash
	}
	return timeMark + strconv.FormatInt(a.Time.UnixNano(), 10)
}

const timeMark = "t"

// contradicts reports whether a header cannot be of the same chain: another one
// at this height, or one whose time is on the wrong side.
func (a anchor) contradicts(h Head) bool {
	timed := !a.Time.IsZero() && !h.Time.IsZero()
	switch {
	case h.Height == a.Height && a.Hash != "" && h.Hash != "":
		return h.Hash != a.Hash
	case !timed:
		return false
	case h.Height == a.Height:
		return !h.Time.Equal(a.Time)
	case h.Height > a.Height:
		return h.Time.Before(a.Time)
	default:
		return h.Time.After(a.Time)
	}
}

// record is what identifies a DA layer: the id of its chain, its header at the
// height the node begins at, and one below what was read.
type record struct {
	Chain   string   `json:"chain"`
	Anchors []anchor `json:"anchors"`
	// Set is da.identity as it was when the record was made.
	Set string `json:"set,omitempty"`
}

// String returns the identity as da.identity takes it.
func (r record) String() string {
	if len(r.Anchors) == 0 {
		return r.Chain
	}
	return identityOf(r.Chain, r.Anchors[0])
}

func identityOf(chain string, a anchor) string {
	return fmt.Sprintf("%s@%d:%s", chain, a.Height, a.mark())
}

// parseIdentity reads what String wrote.
func parseIdentity(text string) (record, error) {
	bad := fmt.Errorf("da.identity is %q, want CHAIN@HEIGHT:HASH, as tandem status and the error show it", text)
	at := strings.LastIndex(text, "@")
	if at < 0 {
		return record{}, bad
	}
	height, mark, ok := strings.Cut(text[at+1:], ":")
	n, err := strconv.ParseUint(height, 10, 64)
	if !ok || err != nil || n == 0 || mark == "" {
		return record{}, bad
	}
	a := anchor{Height: n, Hash: strings.ToUpper(mark)}
	if nanos, timed := strings.CutPrefix(mark, timeMark); timed {
		v, err := strconv.ParseInt(nanos, 10, 64)
		if err != nil {
			return record{}, bad
		}
		a = anchor{Height: n, Time: time.Unix(0, v).UTC()}
	}
	return record{Chain: text[:at], Anchors: []anchor{a}, Set: text}, nil
}

// encode fails for a header whose time JSON cannot express.
func (r record) encode() ([]byte, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("identity of the DA layer: %w", err)
	}
	return raw, nil
}

func decodeRecord(raw []byte) (record, error) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return record{}, fmt.Errorf("record of the DA layer's identity: %w", err)
	}
	if len(r.Anchors) == 0 {
		return record{}, errors.New("record of the DA layer's identity names no header")
	}
	return r, nil
}

// has reports whether a header is one of the record's.
func (r record) has(chain string, a anchor) bool {
	if chain != r.Chain {
		return false
	}
	for _, known := range r.Anchors {
		if known.Height == a.Height && known.mark() == a.mark() {
			return true
		}
	}
	return false
}

// contradicts reports whether a header cannot be of this DA layer.
func (r record) contradicts(h Head) bool {
	if h.Height == 0 { // it has no block yet
		return false
	}
	if r.Chain != "" && h.Chain != "" && h.Chain != r.Chain {
		return true
	}
	for _, a := range r.Anchors {
		if a.contradicts(h) {
			return true
		}
	}
	return false
}
