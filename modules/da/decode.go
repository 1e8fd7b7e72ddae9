package da

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is kept of texts. A refusal is classified by its whole text, and
// the code it may end with comes last.
const (
	maxRefusal = 16 << 10
	maxName    = 128
)

// number reads an unsigned integer that was sent as a JSON number or as a string:
// an endpoint does either, depending on which of its encoders made the answer.
// Null and "" are 0.
func (s *scanner) number() uint64 {
	raw := ""
	switch s.peek() {
	case '"':
		raw = s.text(maxNumber)
	case 'n':
		s.null()
	default:
		raw = s.bare()
	}
	if s.err != nil || raw == "" {
		return 0
	}
	v, err := strconv.ParseUint(raw, 10, 64)
	if err != nil {
		s.syntax(fmt.Sprintf("want an unsigned integer, got %q", raw))
	}
	return v
}

// time reads an RFC 3339 time; null is the zero time.
func (s *scanner) time() time.Time {
	raw := s.text(maxName)
	if s.err != nil || raw == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, raw)
	if err != nil {
		s.syntax(fmt.Sprintf("want a time, got %q", raw))
		return time.Time{}
	}
	return at.UTC()
}

// wireHead is what is read of any header an endpoint sends: at the top level,
// below "header", or below "Header" of an event, whose keys are capitalised. Keys
// match without regard to case.
type wireHead struct {
	top, inner partialHead
	hash       string // of the block the commit is for
}

// partialHead is one level of a header.
type partialHead struct {
	Head
	told bool // there is a height
}

// read takes a member of this level, if it is one.
func (p *partialHead) read(s *scanner, key string) bool {
	switch {
	case strings.EqualFold(key, "height"):
		p.told = !s.null()
		if p.told {
			p.Height = s.number()
		}
	case strings.EqualFold(key, "time"):
		p.Time = s.time()
	case strings.EqualFold(key, "chain_id"):
		p.Chain = s.text(maxName)
	default:
		return false
	}
	return true
}

// header reads a header in any of its forms.
func (s *scanner) header() wireHead {
	var h wireHead
	s.object(func(key string) {
		switch {
		case h.top.read(s, key):
		case strings.EqualFold(key, "header"):
			s.object(func(key string) {
				if !h.inner.read(s, key) {
					s.skip()
				}
			})
		case strings.EqualFold(key, "commit"):
			h.hash = s.commitHash()
		default:
			s.skip()
		}
	})
	return h
}

// commitHash reads the hash of the block a commit is for.
func (s *scanner) commitHash() (hash string) {
	s.object(func(key string) {
		if !strings.EqualFold(key, "block_id") {
			s.skip()
			return
		}
		s.object(func(key string) {
			if strings.EqualFold(key, "hash") {
				hash = strings.ToUpper(s.text(maxName))
			} else {
				s.skip()
			}
		})
	})
	if _, err := hex.DecodeString(hash); err != nil {
		s.syntax(fmt.Sprintf("want a hash, got %q", hash))
	}
	return hash
}

// head returns the header, of members that are at both levels the one at the top.
// Height 0 is an answer too: ev-node's local DA begins there, with no block.
func (h *wireHead) head() (Head, error) {
	out := h.top.Head
	if !h.top.told || out.Height == 0 && h.inner.told {
		out.Height = h.inner.Height
	}
	if out.Time.IsZero() {
		out.Time = h.inner.Time
	}
	if out.Chain == "" {
		out.Chain = h.inner.Chain
	}
	out.Hash = h.hash
	if !h.top.told && !h.inner.told {
		return Head{}, fmt.Errorf("%w: header without a height", errSyntax)
	}
	return out, nil
}

// wireError is the error member of an answer.
type wireError struct {
	code    int
	message string
}

func (s *scanner) refusal() *wireError {
	if s.null() {
		return nil
	}
	var e wireError
	s.object(func(key string) {
		switch {
		case strings.EqualFold(key, "code"):
			raw := s.bare()
			code, err := strconv.Atoi(raw)
			if err != nil && s.err == nil {
				s.syntax(fmt.Sprintf("want a code, got %q", raw))
			}
			e.code = code
		case strings.EqualFold(key, "message"):
			e.message = s.text(maxRefusal)
		default:
			s.skip()
		}
	})
	return &e
}

// answer is a JSON-RPC answer.
type answer[T any] struct {
	id     uint64
	result T
	err    *wireError
}

// readAnswer reads an answer whose result is read by a function. One without
// result and error is malformed: it says nothing.
func readAnswer[T any](s *scanner, result func() T) answer[T] {
	var a answer[T]
	told := false
	s.object(func(key string) {
		switch {
		case strings.EqualFold(key, "result"):
			if told {
				s.syntax("two results")
				return
			}
			told, a.result = true, result()
		case strings.EqualFold(key, "error"):
			a.err = s.refusal()
		case strings.EqualFold(key, "id"):
			a.id = s.number()
		default:
			s.skip()
		}
	})
	if !told && a.err == nil {
		s.syntax("an answer without a result")
	}
	return a
}
