package delay_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/bench/delay"
)

func TestMain(m *testing.M) { testutil.LeaksMain(m) }

// echo returns the address of a server that sends everything back.
func echo(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		<-done
	})
	return l.Addr().String()
}

func dial(t *testing.T, rtt time.Duration) net.Conn {
	t.Helper()
	p, err := delay.Listen(t.Context(), echo(t), delay.Link{RTT: rtt})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRoundTrip(t *testing.T) {
	const rtt = 40 * time.Millisecond
	c := dial(t, rtt)
	for range 3 {
		start := time.Now()
		_, err := c.Write([]byte("ping"))
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 4))
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(start), rtt)
	}
}

// Much is under way at once: the link is long, not narrow.
func TestBytesArriveInOrderAndTogether(t *testing.T) {
	const rtt = 250 * time.Millisecond
	c := dial(t, rtt)
	in := make([]byte, 4<<20)
	for i := range in {
		in[i] = byte(i * 7 >> 3)
	}
	start := time.Now()
	go func() {
		_, _ = c.Write(in)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	out, err := io.ReadAll(c)
	require.NoError(t, err, "the end of the stream travels too")
	require.True(t, bytes.Equal(in, out))
	took := time.Since(start)
	t.Logf("%d bytes there and back in %s", len(in), took)
	require.GreaterOrEqual(t, took, rtt)
	require.Less(t, took, 40*rtt, "64 chunks one after the other would take longer")
}

func TestCloseEndsConnections(t *testing.T) {
	p, err := delay.Listen(t.Context(), echo(t), delay.Link{RTT: time.Millisecond})
	require.NoError(t, err)
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, p.Close())
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, c.Close())
}

func TestNarrowLink(t *testing.T) {
	p, err := delay.Listen(t.Context(), echo(t), delay.Link{Rate: 1 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	start := time.Now()
	go func() { _, _ = c.Write(make([]byte, 256<<10)) }()
	_, err = io.ReadFull(c, make([]byte, 256<<10))
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 250*time.Millisecond)
}
