package testnet

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

// spy notes what a Net finds instead of failing the test.
type spy struct {
	*testing.T
	errors   []string
	cleanups []func()
}

func (s *spy) Helper()          {}
func (s *spy) Failed() bool     { return false }
func (s *spy) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }
func (s *spy) Errorf(format string, args ...any) {
	s.errors = append(s.errors, fmt.Sprintf(format, args...))
}

func (s *spy) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}

// found runs f on a Net and returns what was wrong with it.
func found(t *testing.T, f func(*Net)) []string {
	t.Helper()
	var errors []string
	synctest.Test(t, func(t *testing.T) {
		s := &spy{T: t}
		defer func() { errors = s.errors }()
		defer s.end()
		f(New(s))
	})
	return errors
}

func TestFindsNothingWhereNothingIs(t *testing.T) {
	require.Empty(t, found(t, func(n *Net) {
		n.Sequencer()
		n.Full().WaitFinal(3, time.Minute)
	}))
}

// careless signs anything.
type careless struct {
	guardedSigner
	key *signer.Local
}

func (c careless) Sign(_ context.Context, m block.Message) ([]byte, error) {
	return c.key.Sign(m.Bytes()), nil
}

func TestFindsSecondSignatures(t *testing.T) {
	s := &spy{T: t}
	key := &recordedSigner{guardedSigner: careless{key: signer.NewLocal(testutil.Key("proposer"))}, all: newSignatures(s)}
	chain := testutil.NewChain("c")
	fork := chain.Fork()
	for _, b := range chain.Blocks(3, 1) {
		for _, message := range []block.Message{block.HeaderMessage(b.Header), block.EnvelopeMessage(b.Header), block.DataMessage(b.Data), block.HeaderMessage(b.Header)} {
			signature, err := key.Sign(t.Context(), message)
			require.NoError(t, err)
			require.True(t, ed25519.Verify(signer.NewLocal(testutil.Key("proposer")).Public(), message.Bytes(), signature))
		}
	}
	require.Empty(t, s.errors, "repeating oneself is no offence")
	other := fork.Next([]byte("other"))
	_, err := key.Sign(t.Context(), block.HeaderMessage(other.Header))
	require.NoError(t, err)
	_, err = key.Sign(t.Context(), block.DataMessage(other.Data))
	require.NoError(t, err)
	require.Equal(t, []string{"two header payloads of height 1 were signed", "two data payloads of height 1 were signed"}, s.errors)
}

func TestFindsFinalBlocksThatAreNotOnDA(t *testing.T) {
	errors := found(t, func(n *Net) {
		full, elsewhere := n.elsewhere()
		full.WaitFinal(2, time.Minute)
		elsewhere()
	})
	require.NotEmpty(t, errors)
	require.Contains(t, errors[0], "has 1 final, but its header is not on DA")
}

// elsewhere starts a chain that is posted to another DA layer.
func (n *Net) elsewhere() (*Node, func()) {
	good := n.DA
	n.DA = n.startDA()
	n.Sequencer()
	full := n.Full()
	return full, func() { n.DA = good }
}

func TestFindsDivergingChains(t *testing.T) {
	errors := found(t, func(n *Net) {
		a := n.Sequencer(NoP2P(), Name("a"), Unchecked())
		a.CutDA()
		n.Logs.Allow("reading from da fails; retrying", "nothing can be posted to the DA layer, trying again")
		a.WaitApplied(3, time.Minute)
		a.Put("k", "v")
		a.WaitGet("k", "v", time.Minute)
		b := n.Sequencer(NoP2P(), Name("b"), Unchecked())
		b.CutDA()
		b.WaitApplied(3, time.Minute)
		n.WaitApplied(8, time.Minute)
	})
	require.Contains(t, errors, "two header payloads of height 2 were signed")
	require.Contains(t, errors, "b applied another block 3 than a")
}

func TestFindsUnexpectedLogs(t *testing.T) {
	errors := found(t, func(n *Net) {
		full := n.Full(NoP2P())
		full.CutDA()
		time.Sleep(time.Minute)
	})
	require.NotEmpty(t, errors)
	require.Contains(t, errors[0], "unexpected log")
	require.Contains(t, errors[0], "reading from da fails")
}

func TestFindsSecondExecutions(t *testing.T) {
	errors := found(t, func(n *Net) {
		n.Logs.Allow("block not applied, trying again")
		seq := n.Sequencer()
		seq.WaitApplied(3, time.Minute)
		seq.Probe.executed[6]++
		seq.WaitApplied(7, time.Minute)
	})
	require.Contains(t, errors, "sequencer-0 executed block 6 2 times")
}

func TestLinkToDA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		full := n.Full(NoP2P(), Stopped())
		require.False(t, full.Running())
		full.Start()
		l := full.da
		_, err := l.Head(t.Context())
		require.NoError(t, err)
		heights, err := l.Watch(t.Context())
		require.NoError(t, err)
		n.Logs.Allow("reading from da fails; retrying")
		head := <-heights
		go func() {
			time.Sleep(time.Millisecond)
			l.cut()
		}()
		_, err = l.HeaderAt(t.Context(), head+1) // waits for the next block
		require.ErrorIs(t, err, da.ErrUnavailable)
		_, open := <-heights
		require.False(t, open)
		_, err = l.Blobs(t.Context(), head)
		require.ErrorIs(t, err, errCut)
		_, err = l.Submit(t.Context(), da.Namespace{}, nil)
		require.ErrorIs(t, err, errCut)
		_, err = l.Watch(t.Context())
		require.ErrorIs(t, err, errCut)
		l.restore()
		_, err = l.Head(t.Context())
		require.NoError(t, err)
	})
}
