package da

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// RPCError is a refusal in the endpoint's own words. It unwraps to its class,
// one of this package's errors.
type RPCError struct {
	// Method is the JSON-RPC method that was called.
	Method string
	// Code is the JSON-RPC code: 1 for everything the application says.
	Code int
	// Message is the endpoint's text, shortened.
	Message string
	class   error
}

// Error returns class, method and text.
func (e *RPCError) Error() string {
	return fmt.Sprintf("%s: %v: %s (code %d)", e.Method, e.class, e.Message, e.Code)
}

// Unwrap returns the class.
func (e *RPCError) Unwrap() error { return e.class }

// errNotFound is the class of an answer that means "no such blob".
var errNotFound = errors.New("da: blob not found")

// Codes of JSON-RPC 2.0 which mean that the call was never made.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
)

// maxMessage bounds the text kept of a refusal.
const maxMessage = 1 << 10

func newRPCError(method string, code int, message string, submit bool) *RPCError {
	e := &RPCError{Method: method, Code: code, Message: clip(message), class: classify(code, message)}
	if e.class == nil {
		e.class = ErrUnavailable
		if submit {
			// Not a refusal that is known to come before the broadcast.
			e.class = ErrUnknown
		}
	}
	return e
}

func clip(s string) string {
	if len(s) > maxMessage {
		return strings.ToValidUTF8(s[:maxMessage], "") + "..."
	}
	return s
}

// classify finds the class of a refusal. The endpoint types nothing, so its text
// is all there is; nil means that it says nothing known.
func classify(code int, message string) error {
	switch code {
	case codeMethodNotFound, codeInvalidParams, codeInvalidRequest:
		return ErrRejected
	}
	for _, p := range phrases() {
		if strings.Contains(message, p.text) {
			return p.class
		}
	}
	if abci, ok := abciCode(message); ok {
		return classifyABCI(abci)
	}
	if code == codeParse {
		return ErrRejected
	}
	return nil
}

type phrase struct {
	text  string
	class error
}

// phrases are the known texts, the first match counts.
func phrases() []phrase {
	return []phrase{
		{"blob: not found", errNotFound},
		{"given height is from the future", ErrFuture},
		{"syncing in progress", ErrSyncing},
		{"is below Tail", ErrPruned},
		{"height is equal to 0", ErrRejected},
		{"missing permission to invoke", ErrAuth},
		{"blob: over size limit", ErrTooLarge},
		{"blob(s) too large", ErrTooLarge}, // more than the square of the chain holds
		{"blob size too large", ErrTooLarge},
		{"request bigger than maximum", ErrTooLarge},
		{"larger than max", ErrTooLarge}, // gRPC between the endpoint and its validator
		{"exceeds max gas price", ErrFee},
		{"server busy", ErrBusy},
		{"incorrect account sequence", ErrBusy},
		{"account sequence mismatch", ErrBusy},
		{"state: no blobs provided", ErrRejected},
		{"data can not be empty", ErrRejected},
		{"invalid namespace", ErrRejected},
		{"invalid user namespace", ErrRejected},
		{"insufficient funds", ErrFunds},
		{"desc = account ", ErrFunds}, // the chain has not heard of the account: it was never funded
		{"fee limit exceeded", ErrFunds},
		{"fee allowance expired", ErrFunds},
		{"does not allow to pay fees", ErrAccount},
		{"fee-grant not found", ErrAccount},
		{"invalid blob signer", ErrAccount},
		{"failed to get tx author address", ErrAccount},
		{"decoding bech32 failed", ErrAccount},
		{"invalid Bech32 prefix", ErrAccount},
		{"key not found", ErrAccount},
	}
}

// Codes of a refused transaction, as printed at the end of the text.
const (
	abciUnauthorized   = 4
	abciFunds          = 5
	abciAddress        = 7
	abciPubKey         = 8
	abciUnknownAddress = 9
	abciOutOfGas       = 11
	abciFee            = 13
	abciInMempool      = 19
	abciMempoolFull    = 20
	abciTxTooLarge     = 21
	abciSequence       = 32
)

func classifyABCI(code int) error {
	switch code {
	case abciFee:
		return ErrFee
	case abciOutOfGas:
		return ErrGas
	case abciFunds:
		return ErrFunds
	case abciUnauthorized, abciAddress, abciPubKey, abciUnknownAddress:
		return ErrAccount
	case abciInMempool: // the same transaction is on its way already
		return ErrUnknown
	case abciMempoolFull, abciSequence:
		return ErrBusy
	case abciTxTooLarge:
		return ErrTooLarge
	default:
		return ErrRejected
	}
}

// abciCode reads N of the last "code: N" of a text.
func abciCode(message string) (int, bool) {
	const mark = "code: "
	at := strings.LastIndex(message, mark)
	if at < 0 {
		return 0, false
	}
	digits := message[at+len(mark):]
	end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		digits = digits[:end]
	}
	code, err := strconv.Atoi(digits)
	return code, err == nil
}
