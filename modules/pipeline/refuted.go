package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Execution refutes a header that is linked and properly signed but names another
// state than the executor came to, or commits to data that the executor refuses. It becomes evidence and is removed with all
// that is stored above it; while this process runs it is not taken again. What
// stands at its height is for DA to say, or for another header of the proposer's
// that execution does not refute. A restart judges it anew: the executor may have
// been the one at fault, and then the evidence is dropped (ADR 025).

// RefutedPolicy says what a node does that has refuted a header.
type RefutedPolicy string

// The policies.
const (
	RefutedWait RefutedPolicy = "wait" // go on serving; take another header of the height, or wait for DA's word
	RefutedHalt RefutedPolicy = "halt" // stop, once per header
)

// maxRefuted bounds the hashes of refuted headers that are remembered, to about
// 64 KiB. More than one of a height takes a proposer that signs them.
const maxRefuted = 1024

// RefutedError says that execution refutes a header.
type RefutedError struct {
	Height   uint64
	Hash     block.Hash
	Got      []byte // app hash of the header
	Want     []byte // the executor's state root after the block before
	Executor string // its configured name
	DAHeight uint64 // where DA holds the header; 0 while it is not known to
	Refused  string // why the executor refuses the data; empty when the app hash is the reason
	Halt     bool   // the policy is to stop
	Local    bool   // the block was made here
	Panic    bool   // the executor panicked, and not for the first time
}

// Error names the two values, the two causes there can be, and what to compare.
func (e *RefutedError) Error() string {
	said := e.said()
	const causes = "either the proposer is faulty, or this executor is not the chain's: compare execution.name, its version and this " +
		"state root with other nodes, see 'tandem evidence list'"
	switch {
	case e.Panic:
		return said + "; this process applies no more blocks, a start tries again; " + causes
	case e.Local:
		return said + "; the block was made here, so the executor is not deterministic or was changed since: run the one that made it"
	case e.Halt:
		return said + "; pipeline.refuted is halt; " + causes + "; a start goes on with another block, or with DA's word"
	case e.DAHeight != 0:
		return fmt.Sprintf("%s; DA holds this block at its height %d, so nothing above block %d is applied; %s", said, e.DAHeight, e.Height-1, causes)
	}
	return fmt.Sprintf("%s; waiting for another block %d, or for DA's word; %s", said, e.Height, causes)
}

func (e *RefutedError) said() string {
	if e.Refused != "" {
		return fmt.Sprintf("block %d (%s) has data that the executor here (execution.name %s) refuses on state root %s: %s",
			e.Height, e.Hash.Short(), e.Executor, root(e.Want), e.Refused)
	}
	return fmt.Sprintf("block %d (%s) has app hash %s, the executor here (execution.name %s) has state root %s after block %d",
		e.Height, e.Hash.Short(), root(e.Got), e.Executor, root(e.Want), e.Height-1)
}

// Unwrap returns the rule that does not hold.
func (e *RefutedError) Unwrap() error {
	if e.Refused != "" {
		return block.ErrRefusedData
	}
	return block.ErrWrongAppHash
}

// Permanent reports that trying again does not help.
func (e *RefutedError) Permanent() bool { return e.Halt }

// refutations is what is known of refuted headers, also to those outside the gate.
type refutations struct {
	mu     sync.Mutex
	hashes map[block.Hash]uint64 // judged by this process → height
	// signed is the lowest height above the applied one that the proposer is known
	// to have signed a refuted header for, by this process or an earlier one.
	signed uint64
}

func (r *refutations) has(hash block.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.hashes[hash]
	return ok
}

func (r *refutations) add(hash block.Hash, height uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hashes == nil {
		r.hashes = make(map[block.Hash]uint64)
	}
	if len(r.hashes) >= maxRefuted {
		clear(r.hashes) // they are judged again, should they come again
	}
	r.hashes[hash] = height
}

// lowest returns the lowest height above the applied one of a refuted header.
func (r *refutations) lowest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.signed
}

// settled forgets what is not above the applied height.
func (r *refutations) settled(applied, signed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signed = signed
	for hash, height := range r.hashes {
		if height <= applied {
			delete(r.hashes, hash)
		}
	}
}

// Refuted reports whether this process has refuted a header. Such a header is not
// to be stored or relayed, and who sends it has done no wrong.
func (p *Pipeline) Refuted(hash block.Hash) bool { return p.refuted.has(hash) }

// Disputed says why no other block of the next height may be signed with the key
// of this chain: one that execution refutes was signed before. It is empty when
// there is none.
func (p *Pipeline) Disputed() string {
	height := p.refuted.lowest()
	if height == 0 {
		return ""
	}
	return fmt.Sprintf("block %d: one that execution here refutes was signed with the proposer's key, so no other is signed; "+
		"see 'tandem evidence list', and compare execution.name and its version with other nodes", height)
}

// recallRefuted finds the refuted headers above the applied height among the evidence.
func (p *Pipeline) recallRefuted(ctx context.Context) error {
	clear(p.accused)
	p.standing = nil
	if p.cfg.HeadersOnly {
		return nil
	}
	all, err := p.store.Evidence(ctx)
	if err != nil {
		return fmt.Errorf("read evidence: %w", err)
	}
	for _, e := range all {
		if e.Refuted != nil && e.Refuted.Forced == nil && e.Height() > applied(p.state) {
			p.accused[e.Second.Header.Digest()] = e
		}
	}
	p.refuted.settled(applied(p.state), p.disputedHeight())
	return nil
}

// disputedHeight returns the lowest height of a refuted header above the applied one.
func (p *Pipeline) disputedHeight() (lowest uint64) {
	for _, e := range p.accused {
		if lowest == 0 || e.Height() < lowest {
			lowest = e.Height()
		}
	}
	return lowest
}

// refute looks at why a block was refused. One that is stored and can never be
// applied is removed with all above it: it would be refused at every start. It
// returns the error that follows.
func (p *Pipeline) refute(ctx context.Context, refused error, rest []block.Block, src block.Source) error {
	if len(rest) == 0 {
		return refused
	}
	h := rest[0].Header // the one that was refused
	if p.refusedData(refused) {
		return p.contradicted(ctx, h, src, block.NewRefutation(block.ErrRefusedData, []byte(refused.Error()), p.executor))
	}
	rule, broken := errors.AsType[*block.Violation](refused)
	switch {
	case !broken || rule.Rule == block.ErrFutureTime:
		return refused
	case rule.Rule == block.ErrUnexpectedProposer:
		stale, err := p.staleAbove(ctx)
		switch {
		case err != nil:
			return errors.Join(refused, err)
		case !stale:
			return refused
		}
		return p.discard(ctx)
	case rule.Rule == block.ErrWrongAppHash:
		return p.contradicted(ctx, h, src, block.NewRefutation(block.ErrWrongAppHash, p.state.AppHash, p.executor))
	}
	return p.dropBroken(ctx, refused, h)
}

// refusedData reports whether the executor says that data can never be executed, or
// panicked on it.
func (p *Pipeline) refusedData(err error) bool {
	return errors.Is(err, block.ErrRefusedData) || p.halt != nil
}

// contradicted deals with a header that names another state than the executor has,
// or whose data the executor refuses.
func (p *Pipeline) contradicted(ctx context.Context, h *block.SignedHeader, src block.Source, against *block.Refutation) error {
	if err := h.VerifySignature(); err != nil {
		return p.dropBroken(ctx, err, h)
	}
	why := p.refutedBy(h, against)
	if why.Local = src == block.SourceLocal; why.Local {
		if p.halt != nil {
			return p.halt
		}
		p.report(why)
		return why
	}
	e, err := p.refutation(ctx, h, src, against)
	if err != nil {
		return err
	}
	fresh, err := p.store.SaveEvidence(context.WithoutCancel(ctx), e)
	if err != nil {
		return err
	}
	why.DAHeight = e.Second.DAHeight
	if p.halt != nil {
		return p.endAfterPanic(why, fresh)
	}
	p.accused[why.Hash] = e
	p.refuted.add(why.Hash, why.Height)
	p.refuted.settled(applied(p.state), p.disputedHeight())
	p.stand(why)
	log := p.log.Warn
	if fresh {
		log = p.log.Error
	}
	log("execution refutes a block that the proposer signed", zap.Uint64("height", why.Height), zap.String("hash", why.Hash.Short()),
		zap.String("app_hash", root(why.Got)), zap.String("state_root", root(why.Want)), zap.String("executor", p.executor), zap.Stringer("source", e.Second.Source))
	p.pairUp(ctx, h)
	if fresh && p.cfg.Refuted == RefutedHalt {
		halted := *why
		halted.Halt = true
		p.stop(&halted)
	}
	return p.removeStored(ctx, h, why)
}

// endAfterPanic decides what becomes of a process whose executor panicked. What the
// panic left behind is not known, so nothing is called any more. A new process may
// do better, so this one ends; if it did not, the next one goes on serving.
func (p *Pipeline) endAfterPanic(why *RefutedError, fresh bool) error {
	if fresh {
		return p.halt
	}
	why.Panic = true
	p.halt = why
	p.stand(why)
	p.log.Error("the executor panics on a block again, no more blocks are applied", zap.Uint64("height", why.Height),
		zap.String("hash", why.Hash.Short()), zap.String("executor", p.executor), zap.Error(why))
	return why
}

// refutedBy says what execution holds against a header.
func (p *Pipeline) refutedBy(h *block.SignedHeader, against *block.Refutation) *RefutedError {
	why := &RefutedError{Height: h.Height(), Hash: h.Digest(), Got: h.Header.AppHash, Want: p.state.AppHash, Executor: p.executor}
	if against.Rule == block.ErrRefusedData {
		why.Refused = string(against.Want)
	}
	return why
}

// refutation makes the evidence against a header.
func (p *Pipeline) refutation(ctx context.Context, h *block.SignedHeader, src block.Source, against *block.Refutation) (block.Evidence, error) {
	in, err := p.included(ctx, h.Height())
	if err != nil {
		return block.Evidence{}, err
	}
	now := p.now()
	e := block.Evidence{
		Second:  block.Sighting{Header: h, Source: src, At: now},
		Refuted: against,
	}
	if in.HeaderDA != 0 && in.HeaderHash == h.Digest() {
		e.Second.Source, e.Second.DAHeight = block.SourceDA, in.HeaderDA
	}
	if !p.state.Started() {
		return e, nil
	}
	prev, err := p.stored(ctx, p.state.LastHeight)
	if err != nil {
		return e, err
	}
	before, err := p.included(ctx, prev.Height())
	if err != nil {
		return e, err
	}
	e.First = p.sighting(prev, before, now)
	return e, nil
}

// pairUp keeps the proof that the proposer signed two headers of one height, where
// one of them was refuted before.
func (p *Pipeline) pairUp(ctx context.Context, h *block.SignedHeader) {
	for hash, e := range p.accused {
		if e.Height() != h.Height() || hash == h.Digest() || rivals(e.Second.Header, h) {
			continue
		}
		second := block.Sighting{Header: h, Source: block.SourceP2P, At: p.now()}
		if _, err := p.accuse(ctx, block.Evidence{First: e.Second, Second: second}); err != nil {
			p.log.Error("evidence of two headers was not kept", zap.Uint64("height", h.Height()), zap.Error(err))
		}
	}
}

// removeStored removes the header of the next height with all above, if it is
// this one. Otherwise the stores were changed meanwhile, and are to be read again.
func (p *Pipeline) removeStored(ctx context.Context, h *block.SignedHeader, why error) error {
	next := p.state.NextHeight()
	if h.Height() != next || p.headers.Height() < next {
		return why
	}
	have, err := p.stored(ctx, next)
	switch {
	case err != nil:
		return errors.Join(why, err)
	case have.Digest() != h.Digest():
		return why
	}
	p.log.Warn("removing blocks that cannot be applied", zap.Uint64("above", next-1), zap.Uint64("stored", p.headers.Height()), zap.Error(why))
	return p.owe(p.revert(ctx, block.Revert{To: next - 1}))
}

// giveWay removes a stored header that an earlier process refuted and this one cannot
// judge, since its data is not here: there is another one of its height. Without DA
// nothing else would ever remove it.
func (p *Pipeline) giveWay(ctx context.Context, h *block.SignedHeader) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	if err := p.settle(ctx); err != nil {
		return p.owe(err)
	}
	e, ok := p.accused[h.Digest()]
	if !ok || h.Height() != p.state.NextHeight() || p.data.Height() >= h.Height() {
		return nil
	}
	in, err := p.included(ctx, h.Height())
	if err != nil || in.HeaderHash == h.Digest() {
		return err // DA's word
	}
	p.refuted.add(h.Digest(), h.Height())
	if err = p.removeStored(ctx, h, p.refutedBy(h, e.Refuted)); isReverted(err) {
		return nil
	}
	return err
}

// dropBroken removes a stored header, or its data, that break a rule they were to
// be checked for before they were stored: the disk, or an older version, let them
// in. It does so once per height, so that what comes back in the same form is an error.
func (p *Pipeline) dropBroken(ctx context.Context, refused error, h *block.SignedHeader) error {
	if h == nil || h.Height() != p.state.NextHeight() || h.Height() == p.dropped || p.headers.Height() < h.Height() {
		return refused
	}
	have, err := p.stored(ctx, h.Height())
	if err != nil {
		return errors.Join(refused, err)
	}
	if !bytes.Equal(have.Encode(), h.Encode()) {
		return refused // read before the stores were changed
	}
	if block.VerifyNext(p.state, have) == nil && !p.dataBroken(ctx, have) {
		return refused
	}
	p.dropped = h.Height()
	return p.removeStored(ctx, h, refused)
}

// dataBroken reports whether the stored data is not what its header commits to.
func (p *Pipeline) dataBroken(ctx context.Context, h *block.SignedHeader) bool {
	if p.cfg.HeadersOnly {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	d, err := p.data.GetByHeight(ctx, h.Height())
	return err == nil && block.VerifyData(h, d) != nil
}

// stand makes a refuted header the one that keeps the next height from being applied.
func (p *Pipeline) stand(why *RefutedError) {
	if p.standing != nil && p.standing.DAHeight != 0 && p.standing.Height == why.Height && why.DAHeight == 0 {
		return // DA holds another one; that is what keeps the chain
	}
	p.standing = why
	p.report(why)
}

func (p *Pipeline) report(why *RefutedError) {
	if p.told != 0 && p.told != why.Height {
		p.board.Clear(problems.Refuted, subject(p.told))
	}
	p.told = why.Height
	p.board.Report(problems.Problem{Kind: problems.Refuted, Subject: subject(why.Height), Reason: why.Error(), Unready: true})
}

func subject(height uint64) string { return fmt.Sprintf("block %d", height) }

// heardAmong notes that DA's first header of the next height is a refuted one.
func (p *Pipeline) heardAmong(fresh []block.Inclusion) {
	for _, inc := range fresh {
		e, ok := p.accused[inc.Hash]
		if !ok || inc.Kind != block.KindHeader || inc.Height != p.state.NextHeight() || !p.refuted.has(inc.Hash) {
			continue
		}
		p.log.Error("da holds a block that execution refutes, nothing above is applied", zap.Uint64("height", inc.Height),
			zap.String("hash", inc.Hash.Short()), zap.Uint64("da_height", inc.DAHeight))
		why := p.refutedBy(e.Second.Header, e.Refuted)
		why.DAHeight = inc.DAHeight
		p.stand(why)
	}
}

// floor keeps the DA height a restart reads from at or below a refuted header on
// DA: the next process has to judge it anew.
func (p *Pipeline) floor(read block.DAPositions) block.DAPositions {
	if s := p.standing; s != nil && s.DAHeight != 0 && read.Floor > s.DAHeight {
		read.Floor = s.DAHeight
	}
	return read
}

// acceptedTo is told of blocks that were applied: whatever was held against their
// heights is settled.
func (p *Pipeline) acceptedTo(blocks []block.Block) {
	if len(blocks) == 0 || p.told == 0 && len(p.accused) == 0 {
		return
	}
	top := blocks[len(blocks)-1].Height()
	if p.told != 0 && p.told <= top {
		p.board.Clear(problems.Refuted, subject(p.told))
		p.told, p.standing = 0, nil
		p.log.Info("the chain goes on above a block that execution refuted", zap.Uint64("height", top))
	}
	for _, b := range blocks {
		p.pairUp(context.Background(), b.Header)
		if e, ok := p.accused[b.Header.Digest()]; ok {
			p.acquit(e)
		}
	}
	maps.DeleteFunc(p.accused, func(_ block.Hash, e block.Evidence) bool { return e.Height() <= top })
	p.refuted.settled(top, p.disputedHeight())
}

// acquit drops the evidence against a header that is accepted now: the executor
// that refuted it was at fault.
func (p *Pipeline) acquit(e block.Evidence) {
	p.log.Warn("execution accepts a block it refuted before, the evidence is dropped", zap.Uint64("height", e.Height()),
		zap.String("hash", e.Second.Header.Digest().Short()), zap.String("refuted_by", e.Refuted.Executor))
	if err := p.store.DropEvidence(context.Background(), e); err != nil {
		p.log.Warn("evidence that proves nothing was not dropped", zap.Uint64("height", e.Height()), zap.Error(err))
	}
}

// rolledBack forgets what kept a height that is no longer the next one.
func (p *Pipeline) rolledBack(to uint64) {
	if p.told > to+1 {
		p.board.Clear(problems.Refuted, subject(p.told))
		p.told, p.standing = 0, nil
	}
}
