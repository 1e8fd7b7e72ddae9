package signer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/tandem-node/tandem/modules/block"
)

// refusal is an error that trying again does not change.
type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

// Permanent reports that trying again does not help.
func (refusal) Permanent() bool { return true }

// Errors of a guard.
const (
	// ErrSigned means that other bytes were signed at this height, or that a higher
	// height was signed.
	ErrSigned refusal = "refused, the key has signed this height"
	// ErrUncertain means that it is not known what the key has signed; Raise changes that.
	ErrUncertain refusal = "refused, it is not known what the key has signed"
	// ErrNotOpen means that the guard's file is not open.
	ErrNotOpen refusal = "signer state is not open"
)

// Guard remembers the newest header that was signed with a key in a file of its
// own and refuses to let another one be signed at its height or below. All methods
// may be called from many goroutines.
type Guard struct {
	path string
	of   owner
	boot block.Hash // of this run of the machine; zero when not known

	mu       sync.Mutex
	locked   *os.File // nil: not open
	file     *os.File // nil: not open, or there is none yet
	last     record
	previous record
	certain  bool
	allowed  bool // a header was let through since Open
}

// NewGuard returns the guard of a key and a chain, closed.
func NewGuard(path string, address block.Hash, chainID string) *Guard {
	return &Guard{path: path, of: owner{address: address, chain: block.Sum([]byte(chainID))}, boot: bootID()}
}

// Reboot gives the run of the machine another name than the one it has. It is for
// machines that are simulated, and has to be called before Open.
func (g *Guard) Reboot(name block.Hash) { g.boot = name }

// Open reads the file and locks it against other processes. A file that is missing,
// or that lost a record, leaves the guard uncertain. One that is damaged or belongs
// to another key or chain is an error.
func (g *Guard) Open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.locked != nil {
		return fmt.Errorf("open signer state %s: it is open already", g.path)
	}
	locked, err := LockFile(g.path + ".lock")
	if errors.Is(err, ErrLocked) {
		return fmt.Errorf("open signer state: another node signs with this key: %w", err)
	}
	if err != nil {
		return fmt.Errorf("open signer state: %w", err)
	}
	g.last, g.previous, g.certain, g.allowed = record{}, record{}, false, false
	f, err := os.OpenFile(g.path, os.O_RDWR|writeThrough, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return errors.Join(fmt.Errorf("open signer state: %w", err), locked.Close())
	default:
		if g.last, g.previous, g.certain, err = readSlots(f, g.of); err != nil {
			return errors.Join(fmt.Errorf("signer state %s: %w", g.path, err), f.Close(), locked.Close())
		}
	}
	g.locked, g.file = locked, f
	return nil
}

// Close closes the file.
func (g *Guard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, f := range []*os.File{g.file, g.locked} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	g.file, g.locked = nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close signer state: %w", err)
	}
	return nil
}

// Signed returns what is remembered.
func (g *Guard) Signed(context.Context) (block.Memory, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.usable(); err != nil {
		return block.Memory{}, err
	}
	return block.Memory{Mark: g.last.mark, Certain: g.certain, Disownable: g.disownable()}, nil
}

// Allow returns nil once m is on the disk as the newest signed header. It refuses
// heights below the newest, and other bytes at it.
func (g *Guard) Allow(m block.Mark) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch err := g.usable(); {
	case err != nil:
		return err
	case !g.certain:
		return fmt.Errorf("block %d: %w", m.Height, ErrUncertain)
	case m == g.last.mark:
	case m.Height <= g.last.mark.Height:
		return fmt.Errorf("block %d with payload %s: %w: up to block %d, with payload %s, by %s",
			m.Height, m.Payload.Short(), ErrSigned, g.last.mark.Height, g.last.mark.Payload.Short(), g.path)
	default:
		if err := g.write(m); err != nil {
			return err
		}
	}
	g.allowed = true
	return nil
}

// Raise makes m the newest signed header if it is higher than the one that is
// remembered, gives a height without payload its payload, and makes an uncertain
// guard certain. It makes the file when there is none.
func (g *Guard) Raise(_ context.Context, m block.Mark) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.usable(); err != nil {
		return err
	}
	have := g.last.mark
	if m.Height < have.Height || m.Height == have.Height && !have.Payload.IsZero() {
		m = have
	}
	switch {
	case m == have && g.certain:
		return nil
	case g.certain:
		return g.write(m)
	}
	return g.create(m, true)
}

// Note remembers that headers up to a height may have been signed. It leaves an
// uncertain guard uncertain.
func (g *Guard) Note(_ context.Context, height uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch err := g.usable(); {
	case err != nil:
		return err
	case height <= g.last.mark.Height:
		return nil
	case g.certain:
		return g.write(block.Mark{Height: height})
	}
	return g.create(block.Mark{Height: height}, false)
}

// Disown takes back the newest mark, whose signature was never given out. Only the
// mark that was written last before the machine went down can be disowned.
func (g *Guard) Disown(_ context.Context, m block.Mark) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch err := g.usable(); {
	case err != nil:
		return err
	case m != g.last.mark || !g.disownable():
		return fmt.Errorf("block %d with payload %s: %w", m.Height, m.Payload.Short(), ErrSigned)
	}
	return g.write(g.previous.mark)
}

// disownable reports whether the newest mark was written before the machine went
// down, on top of the one before it.
func (g *Guard) disownable() bool {
	return g.certain && !g.allowed && g.previous.mark.Height < g.last.mark.Height && g.last.boot != g.boot && !g.boot.IsZero() && !g.last.boot.IsZero()
}

func (g *Guard) usable() error {
	if g.locked == nil {
		return fmt.Errorf("%s: %w", g.path, ErrNotOpen)
	}
	return nil
}

// write puts a mark on the disk in place of the older of the two. After a failure
// the same record is written again.
func (g *Guard) write(m block.Mark) error {
	next := record{seq: g.last.seq + 1, mark: m, boot: g.boot}
	if err := writeSlot(g.file, g.of, next); err != nil {
		return fmt.Errorf("write signer state: %w", err)
	}
	g.previous, g.last = g.last, next
	return nil
}

// create makes the file anew. An uncertain one has one record only.
func (g *Guard) create(m block.Mark, certain bool) error {
	last := record{seq: g.last.seq + 2, mark: m, boot: g.boot}
	previous := record{seq: last.seq - 1, mark: m, boot: g.boot}
	records := []record{last}
	if certain {
		records = append(records, previous)
	}
	f, err := createSlots(g.path, g.of, records)
	if err != nil {
		return fmt.Errorf("make signer state %s: %w", g.path, err)
	}
	if g.file != nil {
		err = g.file.Close()
	}
	g.file, g.last, g.previous, g.certain = f, last, previous, certain
	return err
}
