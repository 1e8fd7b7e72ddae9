package notifiertest_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/notifier/notifiertest"
)

// verdict is a test that notes what it was told and goes on.
type verdict struct{ said []string }

func (v *verdict) Helper() {}
func (v *verdict) Fatalf(format string, args ...any) {
	v.said = append(v.said, fmt.Sprintf(format, args...))
}

func TestExpectSaysWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := notifier.New()
		sub := n.Subscribe(notifier.Name("ear"))
		v := &verdict{}

		n.Publish(notifier.Event{Type: notifier.Data, Height: 4})
		notifiertest.None(v, sub)
		n.Publish(notifier.Event{Type: notifier.Data, Height: 5})
		notifiertest.Expect(v, sub, notifier.Data, 6)
		notifiertest.Next(v, sub)
		require.Equal(t, []string{
			"unexpected event data 4",
			"got event data 5, want data 6",
			`no event on subscription "ear" after 10s`,
		}, v.said)

		v.said = nil
		notifiertest.None(v, sub)
		n.Publish(notifier.Event{Type: notifier.Final, Height: 7})
		require.Equal(t, uint64(7), notifiertest.Expect(v, sub, notifier.Final, 7).Height)
		require.Empty(t, v.said)
	})
}
