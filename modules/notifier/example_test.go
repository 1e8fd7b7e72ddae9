package notifier_test

import (
	"fmt"

	"github.com/tandem-node/tandem/modules/notifier"
)

// A reader looks at the store, not at the event: two writes, one of whose
// events is lost, are still one complete read.
func Example() {
	var stored uint64 // stands for a store

	n := notifier.New()
	sub := n.Subscribe(notifier.Types(notifier.Header), notifier.Buffer(1), notifier.Name("reader"))
	defer sub.Close()

	for height := uint64(1); height <= 2; height++ {
		stored = height // visible first
		n.Publish(notifier.Event{Type: notifier.Header, Height: height, Source: notifier.P2P})
	}

	<-sub.Ready
	for e, ok := sub.Next(); ok; e, ok = sub.Next() {
		fmt.Printf("woken by %s %d, read up to %d, %d event lost\n", e.Type, e.Height, stored, sub.Dropped())
	}
	// Output: woken by header 2, read up to 2, 1 event lost
}
