package leveldb

import (
	"errors"
	"fmt"
	"io"
	"os"

	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/journal"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// checkLogs looks for damage that goleveldb steps over in silence when it
// replays its logs: a bad piece with good ones behind it, which means that
// something that was written is gone. A bad end is what a killed process leaves
// and is fine. Together the logs are about as large as two write buffers.
func checkLogs(stor storage.Storage) error {
	fds, err := stor.List(storage.TypeJournal)
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	switch manifest, err := stor.GetMeta(); {
	case err == nil:
		fds = append(fds, manifest)
	case !errors.Is(err, os.ErrNotExist) && !lerrors.IsCorrupted(err):
		return fmt.Errorf("read CURRENT: %w", err)
	}
	for _, fd := range fds {
		if err := checkLog(stor, fd); err != nil {
			return fmt.Errorf("%s: %w", fd, err)
		}
	}
	return nil
}

func checkLog(stor storage.Storage, fd storage.FileDesc) error {
	f, err := stor.Open(fd)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	var lost dropped
	r := journal.NewReader(f, &lost, false, true)
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch _, err := io.Copy(io.Discard, record); {
		case errors.Is(err, io.ErrUnexpectedEOF):
			continue // cut off: fine at the end, and noted in lost
		case err != nil:
			return err
		case lost.err != nil:
			return lost.err
		}
	}
}

// dropped keeps the first thing a journal reader left out.
type dropped struct{ err error }

// Drop implements journal.Dropper.
func (d *dropped) Drop(err error) {
	if d.err == nil {
		d.err = err
	}
}
