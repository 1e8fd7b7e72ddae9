package da

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what a scanner keeps of one token, and of how deep values may nest.
const (
	windowBytes = 16 << 10
	maxKey      = 64
	maxNumber   = 40
	maxDepth    = 64
)

// Errors of a scanner, beside those of the stream it reads.
var (
	errSyntax = errors.New("malformed JSON")
	errLong   = errors.New("the answer is too long")
)

// scanner reads JSON from a stream, token by token, in constant memory: callers
// decide what is kept and account for it, everything else is skipped. An error
// ends it: methods return zero values from then on, and err holds the error.
type scanner struct {
	src  io.Reader
	left int64 // of the bytes that may be read
	buf  [windowBytes]byte
	esc  [utf8.UTFMax]byte // an escape that was read last
	r, w int
	err  error
}

// newScanner reads at most limit bytes of src.
func newScanner(src io.Reader, limit int64) *scanner { return &scanner{src: src, left: limit} }

// fail sets the first error.
func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *scanner) syntax(what string) { s.fail(fmt.Errorf("%w: %s", errSyntax, what)) }

// fill reads more and reports whether there is any. The end of the stream is not
// an error here.
func (s *scanner) fill() bool {
	if s.r < s.w {
		return true
	}
	for s.err == nil {
		if s.left <= 0 {
			s.fail(errLong)
			return false
		}
		n, err := s.src.Read(s.buf[:min(int64(len(s.buf)), s.left)])
		s.r, s.w = 0, n
		s.left -= int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			s.fail(err)
			return false
		}
		if n > 0 || err != nil {
			return n > 0
		}
	}
	return false
}

// next returns the next byte.
func (s *scanner) next() byte {
	if s.err != nil || !s.fill() {
		s.syntax("it is cut off")
		return 0
	}
	s.r++
	return s.buf[s.r-1]
}

// peek returns the first byte of the next token without taking it, 0 at the end.
func (s *scanner) peek() byte {
	for s.err == nil && s.fill() {
		switch c := s.buf[s.r]; c {
		case ' ', '\t', '\r', '\n':
			s.r++
		default:
			return c
		}
	}
	return 0
}

// take takes the next token when it is c.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.err != nil {
		return false
	}
	s.r++
	return true
}

func (s *scanner) expect(c byte) {
	if !s.take(c) {
		s.syntax(fmt.Sprintf("want %q", c))
	}
}

// end requires that nothing follows.
func (s *scanner) end() {
	if s.peek() != 0 {
		s.syntax("something follows the value")
	}
}

// rest returns the beginning of what follows, as text.
func (s *scanner) rest() string {
	var out []byte
	for len(out) < maxMessage && s.err == nil && s.fill() {
		n := min(s.w-s.r, maxMessage-len(out))
		out = append(out, s.buf[s.r:s.r+n]...)
		s.r += n
	}
	return strings.TrimSpace(string(out))
}

// null takes a null, if there is one.
func (s *scanner) null() bool {
	if s.peek() != 'n' {
		return false
	}
	for _, c := range []byte("null") {
		if s.next() != c {
			s.syntax("want null")
			return false
		}
	}
	return s.err == nil
}

// object reads an object; member has to take each value. Keys beyond maxKey are
// cut. A null is an object without members.
func (s *scanner) object(member func(key string)) {
	if s.null() {
		return
	}
	s.expect('{')
	if s.take('}') {
		return
	}
	for s.err == nil {
		key := s.text(maxKey)
		s.expect(':')
		if s.err != nil {
			return
		}
		member(key)
		if !s.take(',') {
			s.expect('}')
			return
		}
		if s.peek() != '"' {
			s.syntax("want a key")
		}
	}
}

// array reads an array; element has to take each value. A null is an empty array.
func (s *scanner) array(element func()) {
	if s.null() {
		return
	}
	s.expect('[')
	if s.take(']') {
		return
	}
	for s.err == nil {
		element()
		if !s.take(',') {
			s.expect(']')
			return
		}
	}
}

// skip takes a value of any kind.
func (s *scanner) skip() {
	var open [maxDepth]byte // what closes the values that are open
	depth := 0
	for s.err == nil {
		switch c := s.peek(); c {
		case '{', '[':
			if depth == maxDepth {
				s.syntax("it nests too deep")
				return
			}
			s.r++
			open[depth] = c + 2 // the closing bracket
			depth++
			if s.peek() == open[depth-1] {
				break
			}
			if c == '{' {
				s.skipKey()
			}
			continue
		case '"':
			s.chars(func([]byte) {})
		default:
			s.bare()
		}
		// A value is complete: close what it ends, go to the next one.
		for depth > 0 && s.take(open[depth-1]) {
			depth--
		}
		if depth == 0 {
			return
		}
		s.expect(',')
		if open[depth-1] == '}' {
			s.skipKey()
		}
	}
}

func (s *scanner) skipKey() {
	s.chars(func([]byte) {})
	s.expect(':')
}

// bare returns a number or a word, at most maxNumber bytes of it.
func (s *scanner) bare() string {
	s.peek()
	var out [maxNumber]byte
	n, total := 0, 0
	for s.err == nil && s.fill() {
		c := s.buf[s.r]
		if !strings.ContainsRune("+-.0123456789eE", rune(c)) && (c < 'a' || c > 'z') {
			break
		}
		if n < len(out) {
			out[n] = c
			n++
		}
		s.r++
		total++
	}
	if total == 0 {
		s.syntax("want a value")
	}
	return string(out[:n])
}

// text reads a string and returns its first bytes; null is "".
func (s *scanner) text(most int) string {
	if s.null() {
		return ""
	}
	var out []byte
	s.chars(func(p []byte) { out = append(out, p[:min(len(p), most-len(out))]...) })
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// chars reads a string and gives its content away piece by piece, unescaped. A
// piece is valid until the next one.
func (s *scanner) chars(piece func([]byte)) {
	s.expect('"')
	for s.err == nil {
		if !s.fill() {
			s.syntax("a string is cut off")
			return
		}
		p := s.buf[s.r:s.w]
		n := 0
		for n < len(p) && p[n] != '"' && p[n] != '\\' && p[n] >= ' ' {
			n++
		}
		if n > 0 {
			piece(p[:n])
			s.r += n
			continue
		}
		switch c := s.next(); c {
		case '"':
			return
		case '\\':
			if c := s.escape(); s.err == nil {
				piece(c)
			}
		default:
			s.syntax("control character in a string")
		}
	}
}

// escape reads what follows a backslash.
func (s *scanner) escape() []byte {
	c := s.next()
	if c == 'u' {
		r := s.hex()
		if utf16.IsSurrogate(r) {
			if s.next() != '\\' || s.next() != 'u' {
				s.syntax("half of a surrogate pair")
			}
			r = utf16.DecodeRune(r, s.hex())
		}
		return utf8.AppendRune(s.esc[:0], r)
	}
	const names, values = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := strings.IndexByte(names, c)
	if i < 0 {
		s.syntax("unknown escape")
		return nil
	}
	return append(s.esc[:0], values[i])
}

// hex reads four hex digits.
func (s *scanner) hex() rune {
	var r rune
	for range 4 {
		c := s.next()
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			s.syntax("want a hex digit")
		}
		r = r<<4 | rune(c)
	}
	return r
}

// base64 reads a string of base64 and decodes it piece by piece.
func (s *scanner) base64(into *held) {
	if s.null() {
		return
	}
	var rest [4]byte
	n, padded := 0, false
	s.chars(func(p []byte) {
		for len(p) > 0 && s.err == nil {
			if padded {
				s.syntax("base64 goes on behind its end")
				return
			}
			whole := p[:len(p)/4*4]
			if n > 0 || len(whole) == 0 {
				took := copy(rest[n:], p)
				p = p[took:]
				if n += took; n < len(rest) {
					return
				}
				whole, n = rest[:], 0
			} else {
				p = p[len(whole):]
			}
			padded = whole[len(whole)-1] == '='
			if err := into.decode(whole); err != nil {
				s.fail(err)
			}
		}
	})
	if n > 0 {
		s.syntax("base64 is cut off")
	}
}
