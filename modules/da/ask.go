package da

import (
	"context"
	"errors"
	"strings"
)

// Questions of operators. A running node does not ask them.

// Tail returns the lowest header the endpoint keeps.
func (c *Celestia) Tail(ctx context.Context) (Head, error) {
	return c.header(ctx, request{method: "header.Tail", params: []byte("[]"), timeout: c.cfg.HeadTimeout})
}

// Balance returns what the account of the endpoint holds, in utia.
func (c *Celestia) Balance(ctx context.Context) (uint64, error) {
	req := request{method: "state.Balance", params: []byte("[]"), timeout: c.cfg.HeadTimeout}
	return call(ctx, c, req, func(r *reply) (amount uint64) {
		r.object(func(key string) {
			if strings.EqualFold(key, "amount") {
				amount = r.number()
			} else {
				r.skip()
			}
		})
		return amount
	})
}

// MayPost returns nil if the token may post and ErrAuth if it may not. It submits no
// blobs: the endpoint looks at the token first, and refuses an empty submission then.
func (c *Celestia) MayPost(ctx context.Context) error {
	req := request{method: "blob.Submit", params: []byte("[[],{}]"), timeout: c.cfg.HeadTimeout}
	_, err := call(ctx, c, req, func(r *reply) uint64 { return r.number() })
	if errors.Is(err, ErrRejected) && !Unsupported(err) {
		return nil
	}
	return err
}

// Unsupported reports whether an endpoint does not know the method it was asked.
func Unsupported(err error) bool {
	refused, ok := errors.AsType[*RPCError](err)
	return ok && refused.Code == codeMethodNotFound
}
