package powerdisk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// dir is one directory: what programs see, and what is on the disk for sure.
type dir struct {
	owner   *files // who has it open
	entries map[string]*file
	synced  map[string]*file
	pending []change // of entries since the last sync, in order
}

func newDir() *dir { return &dir{entries: map[string]*file{}, synced: map[string]*file{}} }

// file is what a name leads to. Its first bytes are synced.
type file struct {
	content []byte
	synced  int
}

// change is one change to a directory: an entry that goes, one that comes, or both.
type change struct {
	gone, name string
	file       *file
}

func (c change) apply(to map[string]*file) {
	delete(to, c.gone)
	if c.file != nil {
		to[c.name] = c.file
	}
}

// files is a directory as goleveldb sees it, with the same steps in the same order
// as goleveldb's storage of files.
type files struct {
	disk   *Disk
	dir    *dir
	run    int
	locked bool
	closed bool
}

type lock struct{ f *files }

// Unlock implements storage.Locker.
func (l lock) Unlock() {
	l.f.disk.mu.Lock()
	defer l.f.disk.mu.Unlock()
	l.f.locked = false
}

// Lock implements storage.Storage.
func (f *files) Lock() (storage.Locker, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.locked {
		return nil, storage.ErrLocked
	}
	f.locked = true
	return lock{f}, f.usable()
}

// Log implements storage.Storage.
func (*files) Log(string) {}

// Close implements storage.Storage.
func (f *files) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.dir.owner == f {
		f.dir.owner = nil
	}
	f.closed = true
	return nil
}

func (f *files) usable() error {
	if f.closed {
		return storage.ErrClosed
	}
	return f.disk.alive(f.run)
}

// link changes the directory.
func (f *files) link(c change) error {
	if f.closed {
		return storage.ErrClosed
	}
	err := f.disk.change(f.run)
	if err == nil || errors.Is(err, errCutHere) {
		c.apply(f.dir.entries)
		f.dir.pending = append(f.dir.pending, c)
	}
	return f.cutHere(err)
}

// cutHere carries out the cut that change has announced.
func (f *files) cutHere(err error) error {
	if errors.Is(err, errCutHere) {
		f.disk.cut()
		return ErrNoPower
	}
	return err
}

// SyncDir makes the entries of the directory durable.
func (f *files) SyncDir() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.syncDir()
}

func (f *files) syncDir() error {
	if f.closed {
		return storage.ErrClosed
	}
	if err := f.disk.change(f.run); err != nil {
		return f.cutHere(err)
	}
	for _, c := range f.dir.pending {
		c.apply(f.dir.synced)
	}
	f.dir.pending = nil
	return nil
}

// write adds to a file, of which a cut keeps a part.
func (f *files) write(to *file, p []byte) error {
	if f.closed {
		return storage.ErrClosed
	}
	err := f.disk.change(f.run)
	switch {
	case err == nil:
		to.content = append(to.content, p...)
	case errors.Is(err, errCutHere):
		to.content = append(to.content, p[:f.disk.rand.IntN(len(p)+1)]...)
	}
	return f.cutHere(err)
}

func (f *files) sync(x *file) error {
	if f.closed {
		return storage.ErrClosed
	}
	if err := f.disk.change(f.run); err != nil {
		return f.cutHere(err)
	}
	f.disk.synced++
	x.synced = len(x.content)
	return nil
}

// writeSynced writes a small file as goleveldb writes CURRENT.
func (f *files) writeSynced(name string, content []byte) error {
	x := &file{}
	if err := f.link(change{name: name, file: x}); err != nil {
		return err
	}
	if err := f.write(x, content); err != nil {
		return err
	}
	return f.sync(x)
}

func name(fd storage.FileDesc) string {
	switch fd.Type {
	case storage.TypeManifest:
		return fmt.Sprintf("MANIFEST-%06d", fd.Num)
	case storage.TypeJournal:
		return fmt.Sprintf("%06d.log", fd.Num)
	case storage.TypeTable:
		return fmt.Sprintf("%06d.ldb", fd.Num)
	default:
		return fmt.Sprintf("%06d.tmp", fd.Num)
	}
}

func parse(name string) (fd storage.FileDesc, ok bool) {
	number, kind, _ := strings.Cut(name, ".")
	if n, found := strings.CutPrefix(name, "MANIFEST-"); found {
		number, kind = n, "manifest"
	}
	num, err := strconv.ParseInt(number, 10, 64)
	fd.Num = num
	fd.Type = map[string]storage.FileType{
		"manifest": storage.TypeManifest, "log": storage.TypeJournal, "ldb": storage.TypeTable, "tmp": storage.TypeTemp,
	}[kind]
	return fd, err == nil && fd.Type != 0
}

const current = "CURRENT"

// SetMeta implements storage.Storage.
func (f *files) SetMeta(fd storage.FileDesc) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.setMeta(fd)
}

func (f *files) setMeta(fd storage.FileDesc) error {
	if err := f.usable(); err != nil {
		return err
	}
	content := []byte(name(fd) + "\n")
	if old := f.dir.entries[current]; old != nil {
		if bytes.Equal(old.content, content) {
			return nil
		}
		if err := f.writeSynced(current+".bak", old.content); err != nil {
			return err
		}
	}
	pending := fmt.Sprintf("%s.%d", current, fd.Num)
	if err := f.writeSynced(pending, content); err != nil {
		return err
	}
	if err := f.link(change{gone: pending, name: current, file: f.dir.entries[pending]}); err != nil {
		return err
	}
	return f.syncDir()
}

// GetMeta implements storage.Storage.
func (f *files) GetMeta() (storage.FileDesc, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(); err != nil {
		return storage.FileDesc{}, err
	}
	var numbers []int64
	for name := range f.dir.entries {
		if n, found := strings.CutPrefix(name, current+"."); found {
			if num, err := strconv.ParseInt(n, 10, 64); err == nil {
				numbers = append(numbers, num)
			}
		}
	}
	slices.SortFunc(numbers, func(a, b int64) int { return cmp.Compare(b, a) })
	pending := make([]string, len(numbers))
	for i, n := range numbers {
		pending[i] = fmt.Sprintf("%s.%d", current, n)
	}
	from, fd, err := f.pointer(current, current+".bak")
	if next, other, bad := f.pointer(pending...); bad == nil && (err != nil || other.Num > fd.Num) {
		from, fd, err = next, other, nil
	}
	if err != nil {
		return fd, err
	}
	if from != current || len(pending) > 0 {
		if f.setMeta(fd) == nil {
			for _, name := range pending {
				_ = f.link(change{gone: name}) // as goleveldb does
			}
		}
	}
	return fd, f.usable()
}

// pointer returns the first of several files that names a manifest that is there.
func (f *files) pointer(names ...string) (from string, fd storage.FileDesc, err error) {
	err = fs.ErrNotExist
	for _, from := range names {
		x := f.dir.entries[from]
		if x == nil {
			continue
		}
		target, whole := strings.CutSuffix(string(x.content), "\n")
		fd, ok := parse(target)
		switch {
		case !whole || !ok:
			err = &storage.ErrCorrupted{Err: fmt.Errorf("%s holds %q", from, x.content)}
		case f.dir.entries[target] != nil:
			return from, fd, nil
		}
	}
	return "", storage.FileDesc{}, err
}

// List implements storage.Storage.
func (f *files) List(kinds storage.FileType) (out []storage.FileDesc, err error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	for name := range f.dir.entries {
		if fd, ok := parse(name); ok && fd.Type&kinds != 0 {
			out = append(out, fd)
		}
	}
	return out, f.usable()
}

// Open implements storage.Storage.
func (f *files) Open(fd storage.FileDesc) (storage.Reader, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(); err != nil {
		return nil, err
	}
	x := f.dir.entries[name(fd)]
	if x == nil {
		return nil, &fs.PathError{Op: "open", Path: name(fd), Err: os.ErrNotExist}
	}
	return &reader{Reader: bytes.NewReader(x.content), f: f}, nil
}

// Create implements storage.Storage.
func (f *files) Create(fd storage.FileDesc) (storage.Writer, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	x := &file{}
	if err := f.link(change{name: name(fd), file: x}); err != nil {
		return nil, err
	}
	return &writer{f: f, file: x, manifest: fd.Type == storage.TypeManifest}, nil
}

// Remove implements storage.Storage.
func (f *files) Remove(fd storage.FileDesc) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.dir.entries[name(fd)] == nil {
		return &fs.PathError{Op: "remove", Path: name(fd), Err: os.ErrNotExist}
	}
	return f.link(change{gone: name(fd)})
}

// Rename implements storage.Storage.
func (f *files) Rename(from, to storage.FileDesc) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	x := f.dir.entries[name(from)]
	if x == nil {
		return &fs.PathError{Op: "rename", Path: name(from), Err: os.ErrNotExist}
	}
	return f.link(change{gone: name(from), name: name(to), file: x})
}

type reader struct {
	*bytes.Reader
	f *files
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.alive(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.alive(); err != nil {
		return 0, err
	}
	return r.Reader.ReadAt(p, off)
}

func (r *reader) alive() error {
	r.f.disk.mu.Lock()
	defer r.f.disk.mu.Unlock()
	return r.f.disk.alive(r.f.run)
}

// Close implements io.Closer.
func (*reader) Close() error { return nil }

type writer struct {
	f        *files
	file     *file
	manifest bool
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	w.f.disk.mu.Lock()
	defer w.f.disk.mu.Unlock()
	if err := w.f.write(w.file, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Sync implements storage.Syncer. As goleveldb's own storage it syncs the directory
// with a manifest, and with nothing else.
func (w *writer) Sync() error {
	w.f.disk.mu.Lock()
	defer w.f.disk.mu.Unlock()
	if err := w.f.sync(w.file); err != nil || !w.manifest {
		return err
	}
	return w.f.syncDir()
}

// Close implements io.Closer.
func (w *writer) Close() error { return nil }
