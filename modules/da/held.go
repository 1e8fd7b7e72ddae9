package da

import (
	"encoding/base64"
	"fmt"
)

// held is a buffer that accounts for the memory it takes. It keeps at most most
// bytes and one more, so that what is too long is known.
type held struct {
	data  []byte
	most  int
	claim func(n int) error // n may be negative
}

// decode appends what a piece of base64 decodes to. The length of a piece is a
// multiple of 4.
func (h *held) decode(piece []byte) error {
	if len(h.data) > h.most {
		return nil
	}
	need := base64.StdEncoding.DecodedLen(len(piece))
	if err := h.grow(need); err != nil {
		return err
	}
	n, err := base64.StdEncoding.Decode(h.data[len(h.data):len(h.data)+need], piece)
	if err != nil {
		return fmt.Errorf("%w: %w", errSyntax, err)
	}
	h.data = h.data[:len(h.data)+n]
	return nil
}

// grow makes room for n bytes more. While it copies, both buffers count.
func (h *held) grow(n int) error {
	if len(h.data)+n <= cap(h.data) {
		return nil
	}
	size := max(len(h.data)+n, min(2*cap(h.data), h.most+windowBytes))
	return h.move(size)
}

// move copies the content into a buffer of a size.
func (h *held) move(size int) error {
	if err := h.claim(size); err != nil {
		return err
	}
	old := cap(h.data)
	data := make([]byte, len(h.data), size)
	copy(data, h.data)
	h.data = data
	return h.claim(-old)
}

// fit gives back room that is not used, where it is worth a copy.
func (h *held) fit() error {
	if spare := cap(h.data) - len(h.data); spare <= len(h.data)/8 {
		return nil
	}
	return h.move(len(h.data))
}

// free gives everything back.
func (h *held) free() error {
	old := cap(h.data)
	h.data = nil
	return h.claim(-old)
}
