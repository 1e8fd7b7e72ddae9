// Package delay is a TCP proxy that makes a link long: every byte arrives a
// fixed time after it was sent, in order, however many are under way; or narrow, too:
// so many bytes per second in each direction.
//
// It adds nothing else: no loss.
package delay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Proxy forwards the connections to one listener to one address.
type Proxy struct {
	listener net.Listener
	to       string
	link     Link

	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil once closed
}

const (
	chunkBytes = 64 << 10
	// windowBytes is what may be under way in one direction: enough for
	// 1 GB/s at 50 ms.
	windowBytes = 64 << 20
)

// Link is what a proxy is like.
type Link struct {
	RTT  time.Duration // of a round trip
	Rate int           // bytes per second in each direction; 0 is no limit
}

// Listen opens a proxy on a free port of the loopback interface.
func Listen(ctx context.Context, to string, link Link) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("delay proxy: %w", err)
	}
	p := &Proxy{listener: l, to: to, link: link, conns: make(map[net.Conn]struct{})}
	p.wg.Go(func() { p.accept(ctx) })
	return p, nil
}

// Addr returns the host:port to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends all connections and waits until nothing is left of them.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		err = errors.Join(err, c.Close())
	}
	p.conns = nil
	p.mu.Unlock()
	p.wg.Wait()
	if err != nil {
		return fmt.Errorf("delay proxy: %w", err)
	}
	return nil
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := new(net.Dialer).DialContext(ctx, "tcp", p.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		if !p.keep(near, far) {
			return
		}
		var both sync.WaitGroup
		both.Go(func() { p.carry(far, near) })
		both.Go(func() { p.carry(near, far) })
		p.wg.Go(func() {
			both.Wait()
			p.drop(near, far)
		})
	}
}

func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.conns == nil {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return p.conns != nil
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if _, ok := p.conns[c]; ok {
			delete(p.conns, c)
			_ = c.Close()
		}
	}
}

// packet is what was read at once; no bytes are the end of the stream.
type packet struct {
	due  time.Time
	data []byte
}

// carry moves one direction.
func (p *Proxy) carry(to, from net.Conn) {
	packets := make(chan packet, windowBytes/chunkBytes)
	var writer sync.WaitGroup
	writer.Go(func() { deliver(to, packets, p.link.Rate) })
	defer writer.Wait()
	defer close(packets)
	for {
		buf := make([]byte, chunkBytes)
		n, err := from.Read(buf)
		if n > 0 {
			packets <- packet{time.Now().Add(p.link.RTT / 2), buf[:n]}
		}
		if err != nil {
			packets <- packet{due: time.Now().Add(p.link.RTT / 2)}
			return
		}
	}
}

// deliver writes packets when they are due, and goes on reading them when the
// other side has gone.
func deliver(to net.Conn, packets <-chan packet, rate int) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var gone error
	var free time.Time // when the narrow part of the link is free
	for pk := range packets {
		if rate > 0 {
			free = later(free, pk.due).Add(time.Duration(len(pk.data)) * time.Second / time.Duration(rate))
			pk.due = free
		}
		timer.Reset(time.Until(pk.due))
		<-timer.C
		switch {
		case gone != nil:
		case len(pk.data) > 0:
			_, gone = to.Write(pk.data)
		default:
			gone = closeWrite(to)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func closeWrite(c net.Conn) error {
	if t, ok := c.(*net.TCPConn); ok {
		return errors.Join(t.CloseWrite(), io.EOF)
	}
	return io.EOF
}
