package testnet_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/testnet"
)

func live(x *testnet.Node) error { return x.API.Node.Live(context.Background()) }

// A loop that is stuck makes the node dead, by name, while the process lives on;
// the others stay alive, and the node is alive again once it moves.
func TestStuckExecutorFailsLiveness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq, full, alone := n.Sequencer(), n.Full(), n.Full(testnet.NoP2P())
		n.WaitApplied(5, time.Minute)
		for _, x := range n.Nodes() {
			require.NoError(t, live(x), x.Name())
		}
		next := full.Applied() + 2
		<-full.Probe.HoldBefore(next)
		time.Sleep(2 * time.Minute)
		require.NoError(t, live(full), "it may still come to an end")
		time.Sleep(10 * time.Second)
		require.EqualError(t, live(full), fmt.Sprintf("the pipeline, after block %d, has been at one piece of work for 2m10s, more than 2m0s: it hangs", next-1))
		r := full.API.Node.Ready(t.Context())
		require.False(t, r.Ready)
		require.Contains(t, r.Reason, fmt.Sprintf("catching up: block %d of ", next-1))
		require.NoError(t, live(seq))
		require.NoError(t, live(alone))
		full.Probe.Release()
		n.WaitApplied(seq.Applied(), time.Minute)
		require.NoError(t, live(full))
	})
}

// The same for the sequencer's own executor.
func TestStuckProductionFailsLiveness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq := n.Sequencer()
		<-seq.Probe.HoldAfter(4)
		time.Sleep(3 * time.Minute)
		require.ErrorContains(t, live(seq), "it hangs")
		require.False(t, seq.API.Node.Ready(t.Context()).Ready)
		seq.Probe.Release()
		seq.WaitApplied(6, time.Minute)
		require.NoError(t, live(seq))
	})
}

// hangingDA does not answer, whatever its caller's deadline.
type hangingDA struct {
	da.Client
	release chan struct{}
}

// Blobs implements da.Client.
func (h *hangingDA) Blobs(ctx context.Context, height uint64, ns ...da.Namespace) ([]da.Blob, error) {
	if height == 4 {
		<-h.release
	}
	return h.Client.Blobs(ctx, height, ns...)
}

func TestStuckDAWorkerFailsLiveness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Sequencer()
		hanging := &hangingDA{Client: n.DA.Client(), release: make(chan struct{})}
		full := n.Full(testnet.With(fx.Decorate(func(da.Client) da.Client { return hanging })))
		full.WaitApplied(20, time.Minute)
		require.NoError(t, live(full))
		full.WaitApplied(250, 5*time.Minute)
		require.ErrorContains(t, live(full), "the DA worker has been at one piece of work for ")
		require.Less(t, full.Final(), uint64(20))
		close(hanging.release)
		full.WaitFinal(240, time.Minute)
		require.NoError(t, live(full))
	})
}

// A chain without transactions is no failure: everybody stays alive and ready, with
// whatever source, and so does a node whose DA layer is away.
func TestIdleChainStaysReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Lazy(24*time.Hour), testnet.DATime(time.Minute))
		allowDATrouble(n)
		seq := n.Sequencer()
		n.Full(testnet.Name("both"))
		n.Full(testnet.Name("p2p-only"), testnet.NoDA())
		n.Full(testnet.Name("da-only"), testnet.NoP2P())
		n.Light(testnet.Name("light"))
		seq.WaitApplied(1, time.Minute) // the transaction makes the second
		seq.Put("k", "v")
		n.WaitFinal(2, 5*time.Minute)
		head := seq.Applied()
		for range 5 {
			time.Sleep(time.Hour)
			for _, x := range n.Nodes() {
				require.NoError(t, live(x), x.Name())
				r := x.API.Node.Ready(t.Context())
				require.True(t, r.Ready, "%s: %s", x.Name(), r.Reason)
				require.Empty(t, x.Status().WaitingFor, x.Name())
			}
		}
		require.Equal(t, head, seq.Applied(), "the chain was idle")
		require.NoError(t, n.DA.SetOutage(da.OutageRefuse))
		time.Sleep(10 * time.Minute)
		for _, x := range n.Nodes() {
			require.NoError(t, live(x), x.Name())
			require.Equal(t, x.Name() != "da-only", x.API.Node.Ready(t.Context()).Ready, x.Name())
		}
	})
}
