package chainstore

// Stats is what a store holds in memory right now.
type Stats struct {
	CachedHeaderBytes int // decoded headers, bounded by half of Config.CacheBytes
	CachedDataBytes   int // likewise data
	Waiting           int // heights that GetByHeight waits for, in both chains
}

// Stats returns what the store holds in memory.
func (s *Store) Stats() Stats {
	return Stats{
		CachedHeaderBytes: s.headers.recent.held(), CachedDataBytes: s.data.recent.held(),
		Waiting: s.headers.waiting.heights() + s.data.waiting.heights(),
	}
}

func (r *recent[H]) held() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.bytes
}

func (w *waiters) heights() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.by)
}
