package execution

import (
	"slices"
	"sort"
)

// concatenation is the state root of evolve-kv, key ":" value ";" of all entries
// in bytewise key order, kept up to date entry by entry. The text is handed out as
// state root, so it is never changed in place.
type concatenation struct {
	text []byte
	keys []string // ascending
	ends []int    // where each key's entry ends in text
}

// merge sets the entries, which are in ascending order without duplicates.
func (c *concatenation) merge(entries []kvEntry) {
	if len(entries) == 0 {
		return
	}
	grow := 0
	for _, e := range entries {
		grow += len(e.key) + len(e.value) + 2
	}
	// What lies before the first new key stays; the rest is merged anew.
	stay := sort.SearchStrings(c.keys, string(entries[0].key))
	restKeys, restEnds := slices.Clone(c.keys[stay:]), slices.Clone(c.ends[stay:])
	from := c.end(stay)
	next := concatenation{
		text: append(make([]byte, 0, len(c.text)+grow), c.text[:from]...),
		keys: c.keys[:stay], ends: c.ends[:stay],
	}
	for _, e := range entries {
		key := string(e.key)
		n := sort.SearchStrings(restKeys, key)
		from = next.copyRun(c.text, from, restKeys[:n], restEnds[:n])
		restKeys, restEnds = restKeys[n:], restEnds[n:]
		if len(restKeys) > 0 && restKeys[0] == key { // replaced
			from = restEnds[0]
			restKeys, restEnds = restKeys[1:], restEnds[1:]
		}
		next.add(key, e.value)
	}
	next.copyRun(c.text, from, restKeys, restEnds)
	*c = next
}

// has reports whether key is an entry.
func (c *concatenation) has(key string) bool {
	_, found := slices.BinarySearch(c.keys, key)
	return found
}

func (c *concatenation) end(n int) int {
	if n == 0 {
		return 0
	}
	return c.ends[n-1]
}

func (c *concatenation) add(key string, value []byte) {
	c.text = append(append(append(append(c.text, key...), ':'), value...), ';')
	c.keys = append(c.keys, key)
	c.ends = append(c.ends, len(c.text))
}

// copyRun appends neighbouring entries of text, the first of which begins at
// from, and returns where the last one ends.
func (c *concatenation) copyRun(text []byte, from int, keys []string, ends []int) int {
	if len(keys) == 0 {
		return from
	}
	shift := len(c.text) - from
	end := ends[len(ends)-1]
	c.text = append(c.text, text[from:end]...)
	c.keys = append(c.keys, keys...)
	for _, e := range ends {
		c.ends = append(c.ends, e+shift)
	}
	return end
}
