package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// TxHashHeader is the header of the answer to POST /tx that carries the hash of
// the transaction: SHA-256 of its bytes, in hex.
const TxHashHeader = "Tx-Hash"

// forwardTime bounds the time a transaction takes to the sequencer and back.
const forwardTime = 10 * time.Second

// maxForwardedAnswer bounds what is passed on of the sequencer's answer.
const maxForwardedAnswer = 64 << 10

// takeTx serves POST /tx. A node that makes no blocks passes the transaction on
// to the sequencer where one is configured, and refuses it otherwise: in its own
// mempool it would wait for ever.
func takeTx(p Params) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			p.App.ServeHTTP(w, r)
			return
		}
		if !p.Produces && p.Config.ForwardTo == "" {
			http.Error(w, "this node makes no blocks: send transactions to the sequencer, or set rpc.forward_to to the URL of its API",
				http.StatusMisdirectedRequest)
			return
		}
		tx, err := io.ReadAll(r.Body)
		if err != nil {
			refuseBody(w, err)
			return
		}
		sum := block.Sum(tx)
		w.Header().Set(TxHashHeader, sum.String())
		if p.Produces {
			r.Body = io.NopCloser(bytes.NewReader(tx))
			p.App.ServeHTTP(w, r)
			return
		}
		if err := forward(r.Context(), w, p.Config.ForwardTo, tx); err != nil {
			p.Log.Warn("transaction not forwarded", zap.String("to", redacted(p.Config.ForwardTo)), zap.Error(err))
			http.Error(w, "the sequencer at rpc.forward_to does not answer, try again later", http.StatusBadGateway)
		}
	})
}

// refuseBody answers a request whose body could not be read.
func refuseBody(w http.ResponseWriter, err error) {
	code := http.StatusBadRequest
	if errors.Is(err, errBusy) {
		code = http.StatusServiceUnavailable
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		code = http.StatusRequestEntityTooLarge
	}
	http.Error(w, err.Error(), code)
}

// forward posts a transaction to the API at to and gives the answer to w. It
// follows no redirect: the operator named one address.
func forward(ctx context.Context, w http.ResponseWriter, to string, tx []byte) error {
	ctx, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel()
	target, err := url.JoinPath(to, "tx")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(tx))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxForwardedAnswer))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
	return nil
}

// withoutURL leaves out the URL, which may carry a password.
func withoutURL(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}

func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Redacted()
}
