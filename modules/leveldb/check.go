package leveldb

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// cutJournal is a journal whose end was cut off: a power cut left a hole in what
// was not synced.
type cutJournal struct {
	name string
	lost int64 // bytes
}

// damage says that something is gone that was on the disk.
type damage struct{ error }

// checkLogs looks for damage that goleveldb steps over in silence when it replays
// its logs: a bad piece with good ones behind it, which means that something that
// was written is gone. No damage is what a killed process or a power cut leaves: a
// journal that cannot be read behind what was synced. It is cut off there, with all
// that is behind it, since goleveldb would go on behind a hole. Together the logs
// are about as large as two write buffers.
func checkLogs(stor *syncedStorage) (*cutJournal, error) {
	switch manifest, err := stor.GetMeta(); {
	case err == nil:
		if err := checkManifest(stor, manifest); err != nil {
			return nil, fmt.Errorf("%s: %w", manifest, err)
		}
	case lerrors.IsCorrupted(err):
		return nil, damage{fmt.Errorf("read CURRENT: %w", err)}
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("read CURRENT: %w", err)
	}
	journals, err := stor.List(storage.TypeJournal)
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	slices.SortFunc(journals, func(a, b storage.FileDesc) int { return cmp.Compare(b.Num, a.Num) })
	var cut *cutJournal
	followed := false // a newer journal holds records
	for _, fd := range journals {
		log, err := readLog(stor, fd)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fd, err)
		}
		s := inspect(log, fd.Num)
		switch {
		case s.bad && followed:
			return nil, damage{fmt.Errorf("%s: cannot be read at byte %d, and a newer journal holds records", fd, s.whole)}
		case s.synced > s.whole:
			return nil, damage{fmt.Errorf("%s: cannot be read at byte %d of %d that were synced", fd, s.whole, s.synced)}
		case s.bad:
			if err := cutLog(stor, fd, log[:s.whole]); err != nil {
				return nil, fmt.Errorf("cut %s to %d bytes: %w", fd, s.whole, err)
			}
			if s.beyond > 0 {
				cut = &cutJournal{name: fd.String(), lost: int64(len(log)) - s.whole}
			}
		}
		followed = followed || s.whole > 0 || s.beyond > 0
	}
	return cut, nil
}

// checkManifest: each record is synced before the next one is written.
func checkManifest(stor storage.Storage, fd storage.FileDesc) error {
	log, err := readLog(stor, fd)
	if err != nil {
		return err
	}
	if s := inspect(log, fd.Num); s.beyond > 0 {
		return damage{fmt.Errorf("cannot be read at byte %d", s.whole)}
	}
	return nil
}

func readLog(stor storage.Storage, fd storage.FileDesc) ([]byte, error) {
	f, err := stor.Open(fd)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the file
	}
	log, err := io.ReadAll(f)
	return log, errors.Join(err, f.Close())
}

// cutLog replaces a log by its beginning.
func cutLog(stor *syncedStorage, fd storage.FileDesc, log []byte) error {
	temp := storage.FileDesc{Type: storage.TypeTemp, Num: fd.Num}
	f, err := stor.Create(temp)
	if err != nil {
		return err //nolint:wrapcheck // the caller names the file
	}
	_, err = f.Write(log)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, stor.Remove(temp))
	}
	if err := stor.Rename(temp, fd); err != nil {
		return err //nolint:wrapcheck // the caller names the file
	}
	return syncDir(stor.Storage)
}
