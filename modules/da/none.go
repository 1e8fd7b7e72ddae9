package da

import "context"

// None is the client of a node without a DA layer: every call is ErrDisabled.
type None struct{}

var _ Client = None{}

// Head returns ErrDisabled.
func (None) Head(context.Context) (Head, error) { return Head{}, ErrDisabled }

// HeaderAt returns ErrDisabled.
func (None) HeaderAt(context.Context, uint64) (Head, error) { return Head{}, ErrDisabled }

// Blobs returns ErrDisabled.
func (None) Blobs(context.Context, uint64, ...Namespace) ([]Blob, error) { return nil, ErrDisabled }

// Submit returns ErrDisabled.
func (None) Submit(context.Context, Namespace, [][]byte) (uint64, error) { return 0, ErrDisabled }

// Watch returns ErrDisabled.
func (None) Watch(context.Context) (<-chan uint64, error) { return nil, ErrDisabled }
