package da

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// number is an unsigned integer that was sent as a JSON number or as a string:
// an endpoint does either, depending on which of its encoders made the answer.
type number uint64

// UnmarshalJSON accepts 12, "12", null and "".
func (n *number) UnmarshalJSON(raw []byte) error {
	raw = bytes.Trim(raw, `"`)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	v, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return fmt.Errorf("not a height: %q", clip(string(raw)))
	}
	*n = number(v)
	return nil
}

// wireHeader is what is read of any header an endpoint sends: at the top level,
// below "header", or below "Header" of an event, whose keys are capitalised.
// Decoding matches keys without regard to case.
type wireHeader struct {
	Height *number    `json:"height"`
	Time   *time.Time `json:"time"`
	Chain  string     `json:"chain_id"`
	Header *struct {
		Height *number    `json:"height"`
		Time   *time.Time `json:"time"`
		Chain  string     `json:"chain_id"`
	} `json:"header"`
}

// head returns the height and time, the top level first. Height 0 is an answer
// too: ev-node's local DA begins there, with no block.
func (h *wireHeader) head() (Head, error) {
	height, at, chain := h.Height, h.Time, h.Chain
	if h.Header != nil {
		if height == nil || *height == 0 && h.Header.Height != nil {
			height = h.Header.Height
		}
		if at == nil {
			at = h.Header.Time
		}
		if chain == "" {
			chain = h.Header.Chain
		}
	}
	if height == nil {
		return Head{}, errors.New("header without a height")
	}
	out := Head{Height: uint64(*height), Chain: clip(chain)}
	if at != nil {
		out.Time = at.UTC()
	}
	return out, nil
}

// wireBlob is a blob as it travels. Its commitment is only compared, never kept.
type wireBlob struct {
	Namespace    []byte `json:"namespace"`
	Data         []byte `json:"data"`
	ShareVersion uint8  `json:"share_version"`
	Commitment   []byte `json:"commitment"`
	Signer       []byte `json:"signer"`
}

// wireError is the error member of an answer.
type wireError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// answer is a JSON-RPC answer, decoded in one go.
type answer[T any] struct {
	Result T          `json:"result"`
	Error  *wireError `json:"error"`
}
