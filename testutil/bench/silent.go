package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/testutil/bench/report"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

// Strangers, and how many range streams each holds open at the only server.
const (
	silentPeers   = 4
	silentStreams = 48
)

// measureSilent catches up from one peer, alone and beside strangers who open range
// streams there, send the first byte of a request and nothing more. The two take
// turns, so that what else the machine does meets both.
func measureSilent(ctx context.Context, s *session) (err error) {
	spec := chainSpec{Blocks: pick(s, 300_000, 2000), Executor: noop} // 5 s and more
	server, addr, err := s.serve(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	alone := report.Figure{Key: "silent/alone", Name: "P2P, " + count(spec.Blocks) + " empty blocks, noop, alone", Unit: "s"}
	beside := report.Figure{Key: "silent/beside", Name: "P2P, " + count(spec.Blocks) + " empty blocks, noop, beside silent streams", Unit: "s"}
	catchUp := func(f report.Figure) (float64, error) {
		m, err := s.catchUp(ctx, nodeSpec{
			Config: config(noop, map[string]string{"p2p.peers": addr}), Until: uint64(spec.Blocks), //nolint:gosec // a count
		})
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f.Key, err)
		}
		s.add(f, m.seconds(), m.cpu())
		return m.seconds(), nil
	}
	for range s.runs {
		without, err := catchUp(alone)
		if err != nil {
			return err
		}
		leave, err := strangers(ctx, addr)
		if err != nil {
			return err
		}
		with, err := catchUp(beside)
		leave()
		if err != nil {
			return err
		}
		s.add(report.Figure{Key: "silent/ratio", Name: "beside silent streams against alone", Unit: "ratio", Most: 1.5}, with/without, noCPU)
	}
	return nil
}

// strangers hold silent streams at a node until leave is called. It returns when
// all of them are connected.
func strangers(ctx context.Context, addr string) (leave func(), err error) {
	to, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	leave = func() {
		cancel()
		all.Wait()
	}
	for range silentPeers {
		p, err := stream.NewPeer(ctx, stream.Config{ChainID: "bench", Bare: true})
		if err != nil {
			leave()
			return nil, err //nolint:wrapcheck // names itself
		}
		context.AfterFunc(ctx, p.Close)
		if err := p.Host.Connect(ctx, *to); err != nil {
			leave()
			return nil, fmt.Errorf("stranger: %w", err)
		}
		for i := range silentStreams {
			all.Go(func() { hold(ctx, p, to.ID, []stream.Kind{stream.Headers, stream.Data}[i%2]) })
		}
	}
	return leave, nil
}

// hold has a stream open and silent, another one when the node ends it, until ctx
// ends.
func hold(ctx context.Context, p *stream.Peer, to peer.ID, kind stream.Kind) {
	const again = 100 * time.Millisecond
	for ctx.Err() == nil {
		if s, err := p.Host.NewStream(ctx, to, p.Protocol(kind)); err == nil {
			stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
			_, _ = s.Write([]byte{1})
			_, _ = io.Copy(io.Discard, s) // until the node ends it
			stop()
			_ = s.Reset()
		}
		_ = pause(ctx, again)
	}
}
