package leveldb

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
)

// ErrNotFound is returned for a key that is not in the database.
var ErrNotFound = errors.New("key not found")

// ErrClosed is returned by a database that was not opened or is closed.
var ErrClosed = errors.New("database is not open")

// ErrInUse is wrapped by Open when another process holds the directory.
var ErrInUse = errors.New("already in use by another process")

// CorruptionError says that a database is damaged and where it is.
type CorruptionError struct {
	Path string
	Err  error
}

// Error names the directory, the damage and what to do.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("database %s is damaged (%v): 'tandem repair' says what is lost with it and removes it", e.Path, e.Err)
}

// Unwrap returns what goleveldb said.
func (e *CorruptionError) Unwrap() error { return e.Err }

// explain gives an error of goleveldb the form callers see.
func (db *DB) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, lerrors.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, leveldb.ErrClosed):
		return ErrClosed
	case isCorrupted(err):
		return &CorruptionError{Path: db.name(), Err: err}
	default:
		return fmt.Errorf("database %s: %w", db.name(), err)
	}
}

// isCorrupted looks through wrapping, which goleveldb's own test does not.
func isCorrupted(err error) bool {
	if _, damaged := errors.AsType[damage](err); damaged {
		return true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if lerrors.IsCorrupted(err) {
			return true
		}
	}
	return false
}
