package notifier

// Stats is a snapshot of what a notifier did. Its counters never fall.
type Stats struct {
	Published     map[EventType]uint64 // events handed to Publish, by type
	Dropped       uint64               // over all subscriptions, closed ones included
	Subscriptions []SubscriptionStats  // the open ones, oldest first
}

// SubscriptionStats is a snapshot of one subscription.
type SubscriptionStats struct {
	Name     string
	Queued   int // unread events
	Capacity int
	Dropped  uint64
}

// Stats returns a snapshot.
func (n *Notifier) Stats() Stats {
	st := Stats{Published: make(map[EventType]uint64, typeCount)}
	if n == nil {
		return st
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for t, c := range n.published {
		if c > 0 {
			st.Published[EventType(t)] = c
		}
	}
	st.Dropped = n.closed
	for _, s := range n.subs {
		dropped := s.dropped + s.lost()
		st.Dropped += dropped
		st.Subscriptions = append(st.Subscriptions, SubscriptionStats{
			Name: s.name, Queued: int(s.queued()), Capacity: int(s.room), Dropped: dropped, //nolint:gosec // of an int, see Buffer
		})
	}
	return st
}
