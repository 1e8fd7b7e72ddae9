package da

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/filecoin-project/go-jsonrpc/auth"
)

// Permissions of a token.
const (
	permRead  auth.Permission = "read"
	permWrite auth.Permission = "write"
)

// access is what every method does first: permission, latency, failures.
type access struct {
	*node
	open bool // no token is needed
}

// enter checks and delays one call. name is the method without its module.
func (a *access) enter(ctx context.Context, module, name string, perm auth.Permission) error {
	if !a.open && !auth.HasPerm(ctx, nil, perm) {
		return errors.New("missing permission to invoke '" + name + "' (need '" + string(perm) + "')")
	}
	lose, err := a.faults.pass(ctx, module+"."+name)
	if lose {
		loseReply(ctx)
	}
	return err
}

// blobAPI are the blob methods. GetProof and GetCommitmentProof are not there.
type blobAPI struct{ *access }

// Submit posts blobs in one transaction and returns the height it landed at.
func (a blobAPI) Submit(ctx context.Context, blobs []*rpcBlob, opts *submitOptions) (uint64, error) {
	if err := a.enter(ctx, "blob", "Submit", permWrite); err != nil {
		return 0, err
	}
	if opts == nil {
		// A real node falls over a null pointer here.
		return 0, errors.New("state: options must not be null")
	}
	in := make([]*ledgerBlob, 0, len(blobs))
	for _, b := range blobs {
		if b == nil {
			return 0, errNoBlobs
		}
		lb := &ledgerBlob{version: b.ShareVersion, signer: b.Signer}
		lb.Namespace, lb.Data = Namespace(b.Namespace), b.Data
		if lb.signer != nil && string(lb.signer) != string(account(a.chainID)) {
			return 0, errors.New("blob signer does not match MsgPayForBlobs signer: invalid blob signer")
		}
		var err error
		// Whatever commitment came with the blob does not count.
		if lb.Commitment, err = commit(lb.Namespace, lb.Data, lb.version, lb.signer); err != nil {
			return 0, err
		}
		in = append(in, lb)
	}
	return a.post(ctx, in, *opts)
}

// GetAll returns the blobs of the namespaces, null when there are none.
func (a blobAPI) GetAll(ctx context.Context, height uint64, namespaces []rpcNamespace) ([]*rpcBlob, error) {
	if err := a.enter(ctx, "blob", "GetAll", permRead); err != nil {
		return nil, err
	}
	if height == 0 && a.compat {
		return nil, nil
	}
	asked := make([]Namespace, len(namespaces))
	for i, ns := range namespaces {
		asked[i] = Namespace(ns)
	}
	blobs, err := a.blobs(ctx, height, asked)
	if err != nil {
		return nil, err
	}
	return encodeBlobs(blobs), nil
}

// Get returns one blob.
func (a blobAPI) Get(ctx context.Context, height uint64, ns rpcNamespace, commitment []byte) (*rpcBlob, error) {
	if err := a.enter(ctx, "blob", "Get", permRead); err != nil {
		return nil, err
	}
	b, err := a.blob(ctx, height, Namespace(ns), commitment)
	if err != nil {
		return nil, err
	}
	return encodeBlob(b), nil
}

// Included tells whether a blob is at a height. The proof must be there and is
// not looked at.
func (a blobAPI) Included(ctx context.Context, height uint64, ns rpcNamespace, proof json.RawMessage, commitment []byte) (bool, error) {
	if err := a.enter(ctx, "blob", "Included", permRead); err != nil {
		return false, err
	}
	if len(proof) == 0 || string(proof) == "null" {
		return false, errors.New("blob: proof cannot be nil")
	}
	_, err := a.blob(ctx, height, Namespace(ns), commitment)
	if errors.Is(err, errBlobMissing) {
		return false, nil
	}
	return err == nil, err
}

// Subscribe sends an event for every block from the next one on.
func (a blobAPI) Subscribe(ctx context.Context, ns rpcNamespace) (<-chan *blobEvent, error) {
	if err := a.enter(ctx, "blob", "Subscribe", permRead); err != nil {
		return nil, err
	}
	return stream(ctx, a.node, func(height uint64) (*blobEvent, error) {
		h, last, err := a.headers(height)
		if err != nil {
			return nil, err
		}
		blobs, err := a.blobs(ctx, height, []Namespace{Namespace(ns)})
		if err != nil {
			return nil, err
		}
		raw := encodeHeader[uint64](a.chainID, h, last)
		return &blobEvent{Blobs: encodeBlobs(blobs), Height: height, Header: &raw}, nil
	})
}

// stream turns the ledger's heights into events. It closes the channel when the
// reader lags too far, as well as at the end.
func stream[T any](ctx context.Context, n *node, event func(height uint64) (T, error)) (<-chan T, error) {
	sub, err := n.subscribe()
	if err != nil {
		return nil, err
	}
	out := make(chan T)
	go func() {
		defer close(out)
		defer n.unsubscribe(sub)
		for {
			select {
			case <-ctx.Done():
				return
			case height, ok := <-sub.heights:
				if !ok || n.faults.waitHang(ctx) != nil {
					return
				}
				ev, err := event(height)
				if err != nil {
					return
				}
				select {
				case out <- ev:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}

// headers reads a header and the one before it.
func (n *node) headers(height uint64) (ledgerHeader, *ledgerHeader, error) {
	h, err := n.header(height)
	if err != nil || height <= 1 {
		return h, nil, err
	}
	last, err := n.header(height - 1)
	return h, &last, err
}

// headerAPI are the header methods.
type headerAPI struct{ *access }

// extended is a header as it is answered: its type depends on the mode.
func (a headerAPI) extended(height uint64) (any, error) {
	h, last, err := a.headers(height)
	if err != nil {
		return nil, err
	}
	if !a.compat {
		return extend[quoted](a.chainID, h, last), nil
	}
	out := extend[uint64](a.chainID, h, last)
	top := quoted(h.height)
	out.Height, out.Time = &top, &h.time
	return out, nil
}

// NetworkHead returns the newest header.
func (a headerAPI) NetworkHead(ctx context.Context) (any, error) {
	if err := a.enter(ctx, "header", "NetworkHead", permRead); err != nil {
		return nil, err
	}
	_, head := a.bounds()
	return a.extended(head)
}

// LocalHead is the same: this node is never behind itself.
func (a headerAPI) LocalHead(ctx context.Context) (any, error) {
	if err := a.enter(ctx, "header", "LocalHead", permRead); err != nil {
		return nil, err
	}
	_, head := a.bounds()
	return a.extended(head)
}

// Tail returns the lowest header that is kept.
func (a headerAPI) Tail(ctx context.Context) (any, error) {
	if err := a.enter(ctx, "header", "Tail", permRead); err != nil {
		return nil, err
	}
	tail, _ := a.bounds()
	return a.extended(tail)
}

// GetByHeight returns a header; it waits for the one right above the head.
func (a headerAPI) GetByHeight(ctx context.Context, height uint64) (any, error) {
	if err := a.enter(ctx, "header", "GetByHeight", permRead); err != nil {
		return nil, err
	}
	if err := a.reach(ctx, height, false); err != nil {
		return nil, err
	}
	return a.extended(height)
}

// WaitForHeight returns a header once it is there.
func (a headerAPI) WaitForHeight(ctx context.Context, height uint64) (any, error) {
	if err := a.enter(ctx, "header", "WaitForHeight", permRead); err != nil {
		return nil, err
	}
	if err := a.reach(ctx, height, true); err != nil {
		return nil, err
	}
	return a.extended(height)
}

// syncState is the answer of SyncState.
type syncState struct {
	ID         uint64    `json:"id"`
	Height     uint64    `json:"height"`
	FromHeight uint64    `json:"from_height"`
	ToHeight   uint64    `json:"to_height"`
	FromHash   hexBytes  `json:"from_hash"`
	ToHash     hexBytes  `json:"to_hash"`
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"`
}

// SyncState says that everything is here.
func (a headerAPI) SyncState(ctx context.Context) (syncState, error) {
	if err := a.enter(ctx, "header", "SyncState", permRead); err != nil {
		return syncState{}, err
	}
	tail, head := a.bounds()
	from, err := a.header(tail)
	if err != nil {
		return syncState{}, err
	}
	to, err := a.header(head)
	if err != nil {
		return syncState{}, err
	}
	return syncState{
		ID: 1, Height: head, FromHeight: tail, ToHeight: head,
		FromHash: from.hash(a.chainID), ToHash: to.hash(a.chainID), Start: from.time, End: to.time,
	}, nil
}

// Subscribe sends every header from the next one on.
func (a headerAPI) Subscribe(ctx context.Context) (<-chan any, error) {
	if err := a.enter(ctx, "header", "Subscribe", permRead); err != nil {
		return nil, err
	}
	return stream(ctx, a.node, a.extended)
}
