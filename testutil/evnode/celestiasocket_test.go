package evnode

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// hangUp breaks all sockets, as a node does that is killed.
func (c *celestia) hangUp() {
	c.set(func() {
		for conn := range c.sockets {
			_ = conn.CloseNow()
		}
		clear(c.sockets)
	})
}

// serveSocket answers calls and serves subscriptions of one connection.
func (c *celestia) serveSocket(w http.ResponseWriter, r *http.Request, may rights) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	c.set(func() { c.sockets[conn] = struct{}{} })
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer func() { _ = conn.CloseNow() }()
	wg.Go(func() { c.ping(ctx, conn) })
	for channel := 1; ; {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var req celRequest
		if json.Unmarshal(raw, &req) != nil {
			return
		}
		c.takeFault(req.Method)
		switch req.Method {
		case "header.Subscribe", "blob.Subscribe":
			if may < mayRead {
				c.send(ctx, conn, fmt.Sprintf(`{"error":{"code":1,"message":"missing permission to invoke 'Subscribe' (need 'read')"},"id":%s,"jsonrpc":"2.0"}`, req.ID))
				continue
			}
			c.send(ctx, conn, fmt.Sprintf(`{"id":%s,"jsonrpc":"2.0","result":%d}`, req.ID, channel))
			n, method := channel, req.Method
			wg.Go(func() { c.stream(ctx, conn, n, method) })
			channel++
		default:
			c.send(ctx, conn, fmt.Sprintf(`{"error":{"code":-32601,"message":"method '%s' not found"},"id":%s,"jsonrpc":"2.0"}`, req.Method, req.ID))
		}
	}
}

func (c *celestia) send(ctx context.Context, conn *websocket.Conn, frame string) {
	_ = conn.Write(ctx, websocket.MessageText, []byte(frame)) // a client that is gone ends the read too
}

// ping is what keeps a client's connection open, and ends one that does not answer.
func (c *celestia) ping(ctx context.Context, conn *websocket.Conn) {
	ticker := time.NewTicker(2 * pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if conn.Ping(ctx) != nil {
			return
		}
		c.set(func() { c.pongs++ })
	}
}

// stream sends an event per block from the next one on; some may be missing.
func (c *celestia) stream(ctx context.Context, conn *websocket.Conn, channel int, method string) {
	var next uint64
	c.set(func() { next = c.head + 1 })
	for ; ; next++ {
		if c.reach(ctx, next) != nil {
			return
		}
		missing := false
		c.set(func() {
			if missing = c.skip > 0; missing {
				c.skip--
			}
		})
		if missing {
			continue
		}
		event := c.extended(next)
		if method == "blob.Subscribe" {
			event = fmt.Appendf(nil, `{"Blobs":null,"Height":%d,"Header":{"version":{"block":11,"app":9},"height":%d}}`, next, next)
		}
		c.send(ctx, conn, fmt.Sprintf(`{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[%d,%s]}`, channel, event))
	}
}
