package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"runtime"
	"sync"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// measureSignatures checks the same signatures one by one and in batches, on one
// core.
func measureSignatures(ctx context.Context, s *session) error {
	const batch = 512
	_, chain, err := blocks(ctx, chainSpec{Blocks: batch * pick(s, 8, 1), Executor: noop}) // some tens of milliseconds
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name  string
		check func([]*block.SignedHeader) error
		size  int
	}{
		{"crypto/ed25519, one by one", oneByOne, 1},
		{"generic batch of 64", genericBatch, 64},
		{"generic batch of 512", genericBatch, batch},
		{"one by one", ours, 1},
		{"batch of 64", ours, 64},
		{"batch of 512", ours, batch},
	} {
		for range s.runs {
			hs := fresh(chain)
			_, cpu, err := timed(func() error {
				for from := 0; from < len(hs); from += c.size {
					if err := c.check(hs[from:min(from+c.size, len(hs))]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			const micro = 1e6
			s.add(report.Figure{Key: "signature/" + c.name, Name: "signature check, " + c.name, Unit: "µs"}, cpu/float64(len(hs))*micro, noCPU)
		}
	}
	return nil
}

// fresh returns the headers as if they had just been received.
func fresh(chain []block.Block) []*block.SignedHeader {
	out := make([]*block.SignedHeader, len(chain))
	for i, b := range chain {
		out[i] = block.NewSignedHeader(b.Header.Header, b.Header.Signature, b.Header.Signer)
	}
	return out
}

var errSignature = errors.New("signature does not match")

func ours(hs []*block.SignedHeader) error {
	_, err := block.VerifySignatures(hs)
	return err //nolint:wrapcheck // names itself
}

func oneByOne(hs []*block.SignedHeader) error {
	for _, h := range hs {
		if !ed25519.Verify(h.Signer.RawPubKey(), h.Payload(), h.Signature) {
			return errSignature
		}
	}
	return nil
}

func genericBatch(hs []*block.SignedHeader) error {
	v := voi.NewBatchVerifierWithCapacity(len(hs))
	for _, h := range hs {
		v.AddWithOptions(h.Signer.RawPubKey(), h.Payload(), h.Signature, &voi.Options{Verify: voi.VerifyOptionsZIP_215})
	}
	if !v.VerifyBatchOnly(nil) {
		return errSignature
	}
	return nil
}

// measureLimit does what a catch-up cannot do without, and nothing else, in one
// process on all cores: decode and hash both halves, check signatures in
// batches, link and pair, write headers, data, indexes and states. The whole
// catch-up is held against it.
func measureLimit(ctx context.Context, s *session) error {
	for _, c := range []struct {
		spec  chainSpec
		name  string
		key   string
		whole string
	}{
		{chainSpec{Blocks: pick(s, 100_000, 2000), Executor: noop}, "empty blocks", "limit/empty", "p2p/empty-100k"},
		{chainSpec{Blocks: pick(s, 50_000, 2000), Txs: 10, Executor: noop}, "blocks of 10 × 100 B", "limit/10tx", "p2p/10tx-50k"},
	} {
		_, chain, err := blocks(ctx, c.spec)
		if err != nil {
			return err
		}
		headers, data := make([][]byte, len(chain)), make([][]byte, len(chain))
		for i, b := range chain {
			headers[i], data[i] = b.Header.EncodeP2P(), b.Data.EncodeP2P()
		}
		if c.spec.Txs == 0 {
			data = nil // made from the header, not sent
		}
		for range s.runs {
			wall, cpu, err := timed(func() error { return limit(s.newHome(), headers, data) })
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			n := float64(len(headers))
			const micro = 1e6
			s.add(report.Figure{
				Key: c.key, Name: "limit of the parts, " + c.name, Unit: "blocks/s",
				EvNode: map[int]string{0: "41,000", 10: "30,000"}[c.spec.Txs],
			}, n/wall, cpu)
			s.add(report.Figure{
				Key: c.key + "/cpu", Name: "limit of the parts, " + c.name + ": CPU", Unit: "µs/block", EvNode: map[int]string{0: "34", 10: "51"}[c.spec.Txs],
			}, cpu/n*micro, noCPU)
		}
		s.againstLimit(c.name, c.key, c.whole)
	}
	return nil
}

// againstLimit holds the whole, where it was measured, against the sum of its
// parts.
func (s *session) againstLimit(name, limit, whole string) {
	rate, cpu := s.median(whole+"/rate"), s.median(whole+"/cpu")
	if rate == 0 || cpu == 0 {
		return
	}
	s.add(report.Figure{Key: limit + "/ratio", Name: "P2P catch-up against that limit, " + name, Unit: "ratio"}, rate/s.median(limit), noCPU)
	s.add(report.Figure{
		Key: limit + "/cpu-ratio", Name: "CPU per block of the P2P follower against that of the parts, " + name, Unit: "ratio",
	}, cpu/s.median(limit+"/cpu"), noCPU)
}

// part is a run of blocks on its way through limit.
type part struct {
	headers []*block.SignedHeader
	data    []*block.Data // nil for empty ones
	err     error
	done    chan struct{}
}

// limit decodes and checks on all cores, and links and writes behind, in order.
func limit(path string, headers, data [][]byte) (err error) {
	db, err := openDB(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	parts := make([]*part, (len(headers)+chunk-1)/chunk)
	jobs := make(chan int)
	var wg sync.WaitGroup
	for i := range parts {
		parts[i] = &part{done: make(chan struct{})}
	}
	for range runtime.NumCPU() {
		wg.Go(func() {
			for i := range jobs {
				parts[i].decode(headers[i*chunk:min((i+1)*chunk, len(headers))], data, i*chunk)
			}
		})
	}
	wg.Go(func() {
		defer close(jobs)
		for i := range parts {
			jobs <- i
		}
	})
	defer wg.Wait()
	w := writer{db: db, last: block.State{}}
	for i, p := range parts {
		<-p.done
		if err = errors.Join(err, p.err); err == nil {
			err = w.write(p)
		}
		parts[i] = nil
	}
	return err
}

func (p *part) decode(headers, data [][]byte, from int) {
	defer close(p.done)
	for i, raw := range headers {
		h, err := block.DecodeSignedHeader(raw)
		if err != nil {
			p.err = err
			return
		}
		p.headers = append(p.headers, h)
		if data == nil {
			continue
		}
		d, err := block.DecodeData(data[from+i])
		if err == nil {
			err = block.VerifyData(h, d)
		}
		if err != nil {
			p.err = err
			return
		}
		p.data = append(p.data, d)
	}
	_, p.err = block.VerifySignatures(p.headers)
}

// writer links what was decoded and writes it.
type writer struct {
	db       *leveldb.DB
	batch    leveldb.Batch
	previous *block.SignedHeader
	lastData []byte
	last     block.State
}

func (w *writer) write(p *part) error {
	const hashBytes = 16
	w.batch.Reset()
	for i, h := range p.headers {
		if w.previous != nil {
			if err := block.VerifyLink(w.previous, h); err != nil {
				return err //nolint:wrapcheck // names itself
			}
		}
		w.previous = h
		var d *block.Data
		if p.data == nil {
			d = block.EmptyData(h, w.lastData)
		} else if d = p.data[i]; w.lastData != nil {
			if err := block.VerifyDataLink(d, w.lastData); err != nil {
				return err //nolint:wrapcheck // names itself
			}
		}
		w.lastData = d.Hash()
		w.last = w.last.Next(h, block.ExecResult{StateRoot: h.Header.AppHash})
		height, body, hash, dataHash := heightBytes(h.Height()), h.Encode(), h.Digest(), d.Digest()
		alias := block.Sum(body)
		w.batch.Put(recordKey('h', height), body)
		w.batch.Put(recordKey('H', hash[:hashBytes]), height)
		w.batch.Put(recordKey('H', alias[:hashBytes]), height)
		w.batch.Put(recordKey('d', height), d.Encode())
		w.batch.Put(recordKey('D', dataHash[:hashBytes]), height)
		w.batch.Put(recordKey('s', height), w.last.Encode())
	}
	return w.db.Write(&w.batch, false)
}
