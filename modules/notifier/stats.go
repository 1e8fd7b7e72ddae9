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

// Stats returns a snapshot. Events published meanwhile may be in parts of it.
func (n *Notifier) Stats() Stats {
	st := Stats{Published: make(map[EventType]uint64, typeCount)}
	if n == nil {
		return st
	}
	for t := range n.published {
		if c := n.published[t].Load(); c > 0 {
			st.Published[EventType(t)] = c
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	st.Dropped = n.closed
	for _, r := range n.routes() {
		dropped := r.sub.Dropped()
		st.Dropped += dropped
		st.Subscriptions = append(st.Subscriptions, SubscriptionStats{
			Name: r.sub.name, Queued: len(r.c), Capacity: cap(r.c), Dropped: dropped,
		})
	}
	return st
}
