package leveldb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry/problems"
)

// Watch hears what databases meet on their disk and makes it known. All methods may
// be called on a nil *Watch, which hears nothing.
type Watch struct {
	board *problems.Board
	log   *zap.Logger
	heard chan struct{} // closed at the first failure

	mu    sync.Mutex
	path  string // of the database that failed first
	cause error
}

// NewWatch returns a watch for the databases of one node.
func NewWatch(board *problems.Board, log *zap.Logger) *Watch {
	return &Watch{board: board, log: log, heard: make(chan struct{})}
}

// Watched makes a database tell w what it meets.
func Watched(w *Watch) Option { return func(db *DB) { db.watch = w } }

func (w *Watch) cut(path string, c cutJournal) {
	if w == nil {
		return
	}
	w.log.Warn("journal cut behind the last synced record, a power cut had left a hole",
		zap.String("database", path), zap.String("journal", c.name), zap.Int64("bytes_lost", c.lost))
}

func (w *Watch) failed(path string, err error) {
	if w == nil {
		return
	}
	w.mu.Lock()
	first := w.cause == nil
	if first {
		w.path, w.cause = path, err
		close(w.heard)
	}
	w.mu.Unlock()
	if !first {
		return
	}
	w.log.Error("a write failed, the database refuses writes until it is opened again", zap.String("database", path), zap.Error(err))
	kind, advice := problems.Disk, "make room on its disk, or repair the disk"
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		kind, advice = problems.Descriptors, "raise the limit of open files (ulimit -n, or LimitNOFILE= of a systemd unit)"
	}
	w.board.Report(problems.Problem{
		Kind: kind, Subject: path, Unready: true,
		Reason: fmt.Sprintf("a write to database %s failed and no more are accepted (%v): %s; "+
			"the node exits when files can be written there again, and continues once it is started", path, err, advice),
	})
}

// Failed returns why writes are refused, nil while they are not.
func (w *Watch) Failed() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil {
		return nil
	}
	return fmt.Errorf("writes are refused since one failed: %w", w.cause)
}

// Probing the disk of a failed database.
const (
	probeBytes = 8 << 20 // more than opening a database takes
	probeFirst = time.Second
	probeLast  = 30 * time.Second
)

// Run waits until a write has failed and then until the disk takes writes again. It
// returns an error then, which ends the node: all that was read from the databases
// has to be read again once they are open, and that is what a start does. A
// supervisor that starts the node again finds a disk it can start on.
func (w *Watch) Run(ctx context.Context) error {
	select {
	case <-w.heard:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	path, cause := w.path, w.cause
	w.mu.Unlock()
	for wait := probeFirst; ; wait = min(2*wait, probeLast) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := probe(path); err == nil {
			return fmt.Errorf("the disk of database %s takes writes again after one had failed (%w): start the node again to open the database",
				path, cause)
		}
	}
}

// probe writes a file of some size beside the files of a database.
func probe(path string) error {
	name := filepath.Join(path, "PROBE")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // in the node's home
	if err != nil {
		return err //nolint:wrapcheck // it is only looked at
	}
	_, err = f.Write(make([]byte, probeBytes))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(name))
}
