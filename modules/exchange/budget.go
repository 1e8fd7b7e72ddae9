package exchange

import "sync/atomic"

// budget bounds bytes in use.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes, or reports that there is no room.
func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.limit {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }
