package signer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tandem-node/tandem/modules/block"
)

// The file has two slots of one page each, written in turn: what a write that is
// cut short destroys is the older record. A slot is
//
//	8  magic, with the version
//	8  sequence number, big endian, as all numbers
//	8  height
//	32 hash of the signed payload, zero when not known
//	32 address of the key
//	32 hash of the chain id
//	32 run of the machine it was written in
//	32 SHA-256 of the above
const (
	slotMagic  = "tdmsign1"
	slotBytes  = 8 + 8 + 8 + 32 + 32 + 32 + 32
	slotPage   = 4096
	stateBytes = 2 * slotPage
)

// owner is whose file it is.
type owner struct {
	address block.Hash
	chain   block.Hash // of the chain id
}

// record is the content of a slot.
type record struct {
	seq  uint64
	mark block.Mark
	boot block.Hash
}

func (r record) encode(of owner) []byte {
	b := make([]byte, 0, slotBytes+block.HashSize)
	b = append(b, slotMagic...)
	b = binary.BigEndian.AppendUint64(b, r.seq)
	b = binary.BigEndian.AppendUint64(b, r.mark.Height)
	for _, h := range []block.Hash{r.mark.Payload, of.address, of.chain, r.boot} {
		b = append(b, h[:]...)
	}
	sum := block.Sum(b)
	return append(b, sum[:]...)
}

// errSlot means that a slot was not written completely, or was changed.
var errSlot = errors.New("record is damaged")

func decodeSlot(b []byte) (r record, of owner, err error) {
	sum := block.Sum(b[:slotBytes])
	if !bytes.HasPrefix(b, []byte(slotMagic)) || !bytes.Equal(sum[:], b[slotBytes:slotBytes+block.HashSize]) {
		return r, of, errSlot
	}
	r.seq, r.mark.Height = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	for i, h := range []*block.Hash{&r.mark.Payload, &of.address, &of.chain, &r.boot} {
		copy(h[:], b[24+i*block.HashSize:])
	}
	return r, of, nil
}

// readSlots returns the two records, the newer one first. It is certain that the
// newer one is the newest that was ever completed when both are sound and follow
// each other.
func readSlots(f io.ReaderAt, of owner) (last, previous record, certain bool, err error) {
	const advice = "restore it, or move it away: the node then asks DA and its peers what was signed before it signs"
	b := make([]byte, stateBytes+1)
	if n, err := f.ReadAt(b, 0); n != stateBytes || err != io.EOF {
		if err != nil && err != io.EOF {
			return last, previous, false, err //nolint:wrapcheck // the caller names the file
		}
		return last, previous, false, fmt.Errorf("has %d bytes, want %d; %s", n, stateBytes, advice)
	}
	var sound []record
	for at := 0; at < stateBytes; at += slotPage {
		r, have, err := decodeSlot(b[at : at+slotPage])
		switch {
		case err != nil:
			continue
		case have.address != of.address:
			return last, previous, false, fmt.Errorf("belongs to the key with address %s, and this one is %s: set signer.state_file to the file of this key", have.address, of.address)
		case have.chain != of.chain:
			return last, previous, false, errors.New("belongs to another chain: set signer.state_file to the file of this chain")
		}
		sound = append(sound, r)
	}
	switch len(sound) {
	case 0:
		return last, previous, false, fmt.Errorf("both records are damaged; %s", advice)
	case 1:
		return sound[0], record{}, false, nil
	}
	last, previous = sound[0], sound[1]
	if last.seq < previous.seq {
		last, previous = previous, last
	}
	return last, previous, last.seq == previous.seq+1, nil
}

// writeSlot overwrites the older record and waits for the disk.
func writeSlot(f *os.File, of owner, r record) error {
	if _, err := f.WriteAt(r.encode(of), int64(r.seq%2)*slotPage); err != nil {
		return err //nolint:wrapcheck // the caller names the file
	}
	return flush(f)
}

// createSlots makes a file of one or two records. It replaces an older file as a
// whole or not at all.
func createSlots(path string, of owner, records []record) (f *os.File, err error) {
	if f, err = os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC|writeThrough, keyFileMode); err != nil { //nolint:gosec // the operator names the file
		return nil, err //nolint:wrapcheck // names the file
	}
	b := make([]byte, stateBytes)
	for _, r := range records {
		copy(b[r.seq%2*slotPage:], r.encode(of))
	}
	_, err = f.WriteAt(b, 0)
	for _, step := range []func() error{
		f.Sync, func() error { return os.Rename(path+".new", path) }, func() error { return syncFolder(filepath.Dir(path)) },
	} {
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		err = step()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func syncFolder(path string) error {
	d, err := os.Open(path) //nolint:gosec // the folder of a file the operator names
	if err != nil {
		return err //nolint:wrapcheck // names the folder
	}
	return errors.Join(d.Sync(), d.Close())
}

// ErrLocked means that another process has locked a file.
var ErrLocked = errors.New("held by another process")

// LockFile makes a file, and its folder, and locks it against other processes until
// it is closed.
func LockFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), keyFolderMode); err != nil {
		return nil, err //nolint:wrapcheck // names the folder
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, keyFileMode) //nolint:gosec // beside a file the operator names
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %w", path, ErrLocked, err), f.Close())
	}
	return f, nil
}
