package powerdisk

import (
	"errors"
	"maps"
	"math/rand/v2"
	"sync"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// ErrNoPower is returned by every operation after the cut, until Restart and on
// what was opened before it.
var ErrNoPower = errors.New("no power")

// Mode says what a cut leaves.
type Mode int

// The modes.
const (
	Synced Mode = iota // exactly what was synced
	Torn               // and a random part of what was not
)

// Disk is one disk.
type Disk struct {
	mode Mode

	mu     sync.Mutex
	rand   *rand.Rand
	dirs   map[string]*dir
	run    int // counts restarts; what belongs to an earlier run is dead
	off    bool
	left   int // operations until the cut; 0 is never
	done   int // operations since the last restart
	onCut  func()
	synced int
}

// New returns an empty disk. What a cut keeps of what was not synced follows from
// the seed.
func New(seed uint64, mode Mode) *Disk {
	return &Disk{mode: mode, rand: rand.New(rand.NewPCG(seed, 1)), dirs: map[string]*dir{}} //nolint:gosec // repeatable, not secret
}

// CutAfter cuts the power at one of the next operations that change something: a
// write, a sync, and a change to a directory each count one. 0 takes it back.
func (d *Disk) CutAfter(operations int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = operations
}

// OnCut sets what is called at the cut, with the disk locked.
func (d *Disk) OnCut(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onCut = f
}

// Cut cuts the power now.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut()
}

// Off reports whether the power was cut since the last Restart.
func (d *Disk) Off() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// Operations returns how many operations changed something since the last Restart.
func (d *Disk) Operations() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// Syncs returns how many of them were syncs of files.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.synced
}

// Restart brings the power back, or takes it away for a moment when it is on.
// Storages have to be opened again.
func (d *Disk) Restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut()
	d.off, d.left, d.done, d.synced, d.onCut = false, 0, 0, 0, nil
	d.run++
}

// Open implements leveldb.Disk.
func (d *Disk) Open(path string) (storage.Storage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, ErrNoPower
	}
	in := d.dirs[path]
	if in == nil {
		in = newDir()
		d.dirs[path] = in
	}
	if in.owner != nil {
		return nil, storage.ErrLocked
	}
	in.owner = &files{disk: d, dir: in, run: d.run}
	return in.owner, nil
}

// change counts an operation. It fails when there is no power for it.
func (d *Disk) change(run int) error {
	if err := d.alive(run); err != nil {
		return err
	}
	d.done++
	if d.left > 0 {
		if d.left--; d.left == 0 {
			return errCutHere
		}
	}
	return nil
}

// errCutHere says that the power fails during the operation; the operation decides
// what of it reaches the memory of the disk, and calls cut.
var errCutHere = errors.New("the power fails here")

func (d *Disk) alive(run int) error {
	if d.off || run != d.run {
		return ErrNoPower
	}
	return nil
}

// cut makes what survives the content of the disk.
func (d *Disk) cut() {
	if d.off {
		return
	}
	d.off = true
	for _, in := range d.dirs {
		d.settle(in)
		in.owner = nil
	}
	if d.onCut != nil {
		d.onCut()
	}
}

// settle drops what a directory loses.
func (d *Disk) settle(in *dir) {
	if d.mode == Torn {
		for _, c := range in.pending[:d.rand.IntN(len(in.pending)+1)] {
			c.apply(in.synced)
		}
	}
	in.entries, in.pending = maps.Clone(in.synced), nil
	for name, f := range in.entries {
		left := &file{content: f.content[:f.synced:f.synced]}
		if d.mode == Torn {
			left.content = d.tear(f)
		}
		left.synced = len(left.content)
		in.entries[name], in.synced[name] = left, left
	}
}

const page = 4096

// tear returns what is left of a file: what was synced, and a part of the rest, in
// which pages may be missing. A file that was made longer before it was written
// ends with pages of zeroes.
func (d *Disk) tear(f *file) []byte {
	out := append([]byte{}, f.content[:f.synced]...)
	rest := f.content[f.synced:]
	if len(rest) == 0 {
		return out
	}
	out = append(out, rest[:d.rand.IntN(len(rest)+1)]...)
	lost := d.rand.IntN(4) // of four pages
	for at := f.synced; at < len(out); {
		end := min(len(out), (at/page+1)*page)
		if d.rand.IntN(4) < lost {
			clear(out[at:end])
		}
		at = end
	}
	return out
}
