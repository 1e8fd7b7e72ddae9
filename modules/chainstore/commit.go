package chainstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// Commit writes everything in b as one, then makes it visible. Blocks must
// follow the stored ones, or be the same; another block at a stored height is a
// *block.Conflict. States must follow the newest state.
func (s *Store) Commit(ctx context.Context, b block.Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.progress.Load()
	if old == nil {
		return fmt.Errorf("commit: %w", errNotOpen)
	}
	reuse(&s.batch)
	w := commit{s: s, b: &s.batch, old: *old, p: *old}
	defer w.unlock()
	if err := w.stage(b); err != nil {
		return err
	}
	s.stageProgress(&s.batch, w.old, w.p)
	if s.batch.Len() == 0 {
		return nil
	}
	synced := b.Sync || s.cfg.Sync
	if err := s.db.Write(&s.batch, synced); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if w.p.hasState && (len(b.States) > 0 || synced) {
		s.noteState(w.p.state, synced)
	}
	w.publish(b)
	return nil
}

// commit is one Commit on its way.
type commit struct {
	s       *Store
	b       *leveldb.Batch
	old, p  progress
	blocks  bool // the locks of both chains are held
	headers staged[*block.SignedHeader]
	data    staged[*block.Data]
}

func (w *commit) stage(b block.Batch) error {
	if err := w.stageBlocks(b.Blocks); err != nil {
		return err
	}
	if err := w.stageStates(b.States); err != nil {
		return err
	}
	if err := w.s.stageInclusions(w.b, &w.p, b.Inclusions); err != nil {
		return err
	}
	if b.Final != 0 {
		w.p.final = b.Final
	}
	if b.DA.Floor != 0 {
		w.p.floor = b.DA.Floor
	}
	if b.DA.Scanned != 0 {
		w.p.scanned = b.DA.Scanned
	}
	if b.DropPending {
		w.b.Delete(keyNamed(nsMark, markPending))
	}
	if b.DropRevert {
		w.b.Delete(keyNamed(nsMark, markRevert))
	}
	return nil
}

func (w *commit) stageBlocks(blocks []block.Block) error {
	if len(blocks) == 0 {
		return nil
	}
	w.s.headers.mu.Lock()
	w.s.data.mu.Lock()
	w.blocks = true
	headers := make([]*block.SignedHeader, 0, len(blocks))
	data := make([]*block.Data, 0, len(blocks))
	for _, b := range blocks {
		if b.Header == nil {
			return errors.New("commit: block without header")
		}
		headers = append(headers, b.Header)
		if b.Data != nil {
			data = append(data, b.Data)
		}
	}
	var err error
	if w.headers, err = w.s.headers.stage(w.b, headers); err != nil {
		return err
	}
	if len(data) > 0 {
		w.data, err = w.s.data.stage(w.b, data)
	}
	return err
}

func (w *commit) stageStates(states []block.State) error {
	for _, st := range states {
		height := stateHeight(st)
		if w.p.hasState && height != w.p.state+1 {
			return fmt.Errorf("commit: state after %d cannot follow the one after %d", height, w.p.state)
		}
		key := keyAt(nsState, height)
		w.b.Put(key[:], st.Encode())
		w.p.state, w.p.hasState = height, true
	}
	return nil
}

// publish shows the items before the state that was made of them.
func (w *commit) publish(b block.Batch) {
	w.s.headers.publish(w.headers)
	w.s.data.publish(w.data)
	if n := len(b.States); n > 0 {
		newest := b.States[n-1]
		w.s.newest.Store(&newest)
	}
	w.s.progress.Store(&w.p)
}

func (w *commit) unlock() {
	if w.blocks {
		w.s.data.mu.Unlock()
		w.s.headers.mu.Unlock()
	}
}
