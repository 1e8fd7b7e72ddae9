package da

import (
	"context"
	"errors"
	"time"
)

// Errors of a DA layer. Clients wrap them; branch with errors.Is.
var (
	// ErrDisabled is returned by None.
	ErrDisabled = errors.New("da: disabled")
	// ErrFuture means the height was not produced yet.
	ErrFuture = errors.New("da: height is from the future")
	// ErrPruned means the height is below what the endpoint keeps; it never comes back.
	ErrPruned = errors.New("da: height is pruned")
	// ErrSyncing means the endpoint itself is behind.
	ErrSyncing = errors.New("da: endpoint is syncing")
	// ErrTooLarge means a submission is over the layer's limit; split it.
	ErrTooLarge = errors.New("da: submission is too large")
	// ErrFee means the fee or gas was refused. ErrGas, ErrFunds and ErrAccount are ErrFee too.
	ErrFee = errors.New("da: fee or gas refused")
	// ErrGas means the gas limit of the submission is too low for what it carries.
	ErrGas error = &subclass{"da: gas limit of the submission is too low", ErrFee}
	// ErrFunds means that the account cannot pay, or was never funded.
	ErrFunds error = &subclass{"da: account of the endpoint has not enough funds", ErrFee}
	// ErrAccount means that the endpoint cannot sign for the account, or that the
	// signer, key or fee granter of da.submit_options is not one of its own.
	ErrAccount error = &subclass{"da: account or signer refused", ErrFee}
	// ErrBusy means the endpoint or mempool is full, or the account sequence raced:
	// nothing was posted, retry later.
	ErrBusy = errors.New("da: busy")
	// ErrUnknown means a submission was sent and its outcome is not known; reconcile by commitment.
	ErrUnknown = errors.New("da: outcome of the submission is unknown")
	// ErrAuth means the token was refused.
	ErrAuth = errors.New("da: not authorized")
	// ErrUnavailable means no answer could be had; retry later.
	ErrUnavailable = errors.New("da: unavailable")
	// ErrRejected means the endpoint refused the request itself: it had no effect,
	// and the same request will be refused again.
	ErrRejected = errors.New("da: rejected")
	// ErrDishonest means that an endpoint contradicts itself or the DA chain: what
	// it sent is not to be believed. Another endpoint, or a later answer, may do.
	ErrDishonest = errors.New("da: endpoint is not to be believed")
)

// subclass is a class that is part of a wider one.
type subclass struct {
	text string
	of   error
}

// Error returns the text of the narrow class.
func (e *subclass) Error() string { return e.text }

// Unwrap returns the wider class.
func (e *subclass) Unwrap() error { return e.of }

// NothingPosted reports whether a failed submission is certain to have had no
// effect, now or later. It is false for ErrBusy and ErrUnavailable as well, where
// a look at the DA layer settles it.
func NothingPosted(err error) bool {
	if err == nil || errors.Is(err, ErrUnknown) {
		return false
	}
	for _, class := range []error{ErrFee, ErrAuth, ErrRejected, ErrTooLarge, ErrDisabled, ErrIdentity} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// NamespaceSize is the length of a namespace, in bytes.
const NamespaceSize = 29

// Namespace addresses blobs: version byte and 28 bytes of id.
type Namespace [NamespaceSize]byte

// Commitment identifies a blob's content within a namespace: 32 bytes.
type Commitment [32]byte

// Blob is one blob as read from DA. Its commitment was computed here from the
// bytes, never taken from the endpoint.
type Blob struct {
	Namespace  Namespace
	Data       []byte
	Commitment Commitment
}

// Head is the newest block of the DA layer as the endpoint knows it.
type Head struct {
	Height uint64
	Time   time.Time
	Chain  string // id of the DA chain; empty where the endpoint does not say
	Hash   string // of the block, in upper-case hex; empty where the endpoint does not say
}

// Client is what the node needs of a DA layer. Every call honours ctx and has a
// deadline of its own; all methods may be used from many goroutines.
type Client interface {
	// Head returns the newest height, 0 before the first block. Its time tells a
	// stalled layer from a live one: a stalled one answers with its last block.
	Head(ctx context.Context) (Head, error)
	// HeaderAt returns height and time of one DA block, or ErrFuture, ErrPruned,
	// ErrSyncing. The height right above the head may be waited for.
	HeaderAt(ctx context.Context, height uint64) (Head, error)
	// Blobs returns all blobs of the namespaces at a height, in DA order; none
	// is an empty list and no error. ErrFuture, ErrPruned, ErrSyncing as above.
	// The caller owns the blobs.
	Blobs(ctx context.Context, height uint64, namespaces ...Namespace) ([]Blob, error)
	// Submit posts blobs of one namespace in one transaction and returns the
	// height they landed at; it blocks until then. ErrTooLarge, ErrFee, ErrBusy and
	// ErrRejected mean that nothing was posted; ErrUnknown that it may have been,
	// now or later, even if ctx ended.
	Submit(ctx context.Context, ns Namespace, blobs [][]byte) (uint64, error)
	// Watch sends new heights as hints until ctx ends: it may miss some, repeat
	// some or close early. It returns an error when the endpoint has no such stream.
	Watch(ctx context.Context) (<-chan uint64, error)
}
