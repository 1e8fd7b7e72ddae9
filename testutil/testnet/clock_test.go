package testnet_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// The wall clocks of all nodes are set, while they run and while they are down. A
// clock that is ahead stops nobody; a follower whose clock is behind waits, says why,
// and goes on as soon as it is right, without a restart.
func TestClocksAreSet(t *testing.T) {
	for _, wrong := range []time.Duration{-24 * time.Hour, -2 * time.Minute, -10 * time.Second, 10 * time.Second, 2 * time.Minute, 24 * time.Hour} {
		for _, down := range []bool{false, true} {
			t.Run(wrong.String()+map[bool]string{true: ", while down"}[down], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testnet.New(t)
					n.Logs.Allow("syncing failed, trying again")
					seq := n.Sequencer(testnet.Name("seq"))
					followers := []*testnet.Node{
						n.Full(testnet.Name("both")), n.Full(testnet.Name("p2p-only"), testnet.NoDA()),
						n.Full(testnet.Name("da-only"), testnet.NoP2P()), n.Light(testnet.Name("light")),
					}
					n.WaitFinal(5, time.Minute)
					behind := wrong < -time.Minute
					for _, x := range append(followers, seq) {
						if x == seq && behind && down {
							continue // it would make no block
						}
						if down {
							x.Stop()
						}
						x.SetClock(wrong)
						if down {
							x.Start()
						}
					}
					before := seq.Applied()
					time.Sleep(3 * time.Minute)
					for _, x := range append(followers, seq) {
						said := slices.ContainsFunc(x.Status().Problems, func(p rpc.Problem) bool { return p.Kind == string(problems.Clock) })
						t.Logf("%s: at %d of %d blocks, clock named: %t", x.Name(), x.Applied(), seq.Applied(), said)
						if x != seq {
							require.Equal(t, behind, said && !x.API.Node.Ready(t.Context()).Ready, x.Name())
							require.Equal(t, behind, x.Applied()+5 < seq.Applied(), x.Name())
						}
					}
					require.WithinDuration(t, time.Now(), seq.Worker.Status().Timed.Time, 40*time.Second, "while a stream tells heads")
					for _, x := range append(followers, seq) {
						x.SetClock(0)
					}
					time.Sleep(10 * time.Second)
					head := seq.Applied()
					require.Greater(t, head, before)
					n.WaitApplied(head, 30*time.Second)
					n.WaitFinal(head, time.Minute)
					n.SameRoots(head)
					for _, x := range followers {
						require.Empty(t, x.Status().Problems, x.Name())
					}
				})
			})
		}
	}
}
