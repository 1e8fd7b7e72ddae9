package da

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// MaxTxBytes is the largest transaction a Celestia network takes, and so the
// bound of everything one Submit carries.
const MaxTxBytes = 8 << 20

// Config is the connection to a DA layer.
type Config struct {
	// Addresses are the URLs of the endpoints, of one DA chain: http, https, ws or
	// wss. None means no DA layer.
	Addresses []string `koanf:"address"`
	// Identity is what the DA layer has to be, as CHAIN@HEIGHT:HASH of one of its
	// headers. Empty takes what answers first. A home that was synced from another
	// one moves to it: it reads and posts again from the beginning.
	Identity string `koanf:"identity"`
	// AuthToken is sent as a bearer token when it is not empty. An endpoint that
	// wants another one has it in its URL, as ?token=.
	AuthToken string `koanf:"auth_token"`
	// RequestTimeout bounds every call, and is the deadline of a submission. Time that
	// an answer waits for others is not counted.
	RequestTimeout time.Duration `koanf:"request_timeout"`
	// HeadTimeout is the deadline of a question for the newest header. Both this and
	// ReadTimeout are put off by a second for each 64 KiB that arrive.
	HeadTimeout time.Duration `koanf:"head_timeout"`
	// ReadTimeout is the deadline of a read at one height.
	ReadTimeout time.Duration `koanf:"read_timeout"`
	// WatchTimeout closes a subscription that has been silent for so long.
	WatchTimeout time.Duration `koanf:"watch_timeout"`
	// MaxBlobBytes is the largest blob that is read or submitted; larger ones are dropped on read.
	MaxBlobBytes int `koanf:"max_blob_bytes"`
	// MaxResponseBytes bounds one answer of the endpoint, as it is sent and as it is
	// kept. Blobs travel as base64, so it must be a third above the largest DA block.
	MaxResponseBytes int64 `koanf:"max_response_bytes"`
	// AnswerBytes bounds what all answers that are read at once hold in memory. The
	// endpoints have equal parts, and one answer of each may go above its part.
	AnswerBytes int `koanf:"answer_bytes"`
	// SubmitOptions is the JSON object sent with every submission: gas_price with
	// is_gas_price_set, max_gas_price, gas, tx_priority, key_name, signer_address,
	// fee_granter_address.
	SubmitOptions string `koanf:"submit_options"`
}

// Default returns the configuration of a node without a DA layer; setting
// Addresses is enough to have one.
func Default() Config {
	return Config{
		Addresses:        []string{},
		RequestTimeout:   time.Minute,
		HeadTimeout:      10 * time.Second,
		ReadTimeout:      30 * time.Second,
		WatchTimeout:     30 * time.Second,
		MaxBlobBytes:     MaxTxBytes,
		MaxResponseBytes: 64 << 20,
		AnswerBytes:      128 << 20,
		SubmitOptions:    "{}",
	}
}

// Validate returns the first problem, with the key, the value and what was expected.
func (c Config) Validate() error {
	if len(c.Addresses) == 0 {
		return nil
	}
	if err := validateAddresses(c.Addresses); err != nil {
		return err
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"request_timeout", c.RequestTimeout},
		{"head_timeout", c.HeadTimeout},
		{"read_timeout", c.ReadTimeout},
		{"watch_timeout", c.WatchTimeout},
	} {
		if d.value <= 0 {
			return fmt.Errorf("da.%s is %s, want more than 0s", d.key, d.value)
		}
	}
	if c.MaxBlobBytes < 1 || c.MaxBlobBytes > MaxTxBytes {
		return fmt.Errorf("da.max_blob_bytes is %d, want 1 to %d", c.MaxBlobBytes, MaxTxBytes)
	}
	if c.MaxResponseBytes < 1<<20 {
		return fmt.Errorf("da.max_response_bytes is %d, want at least %d", c.MaxResponseBytes, 1<<20)
	}
	if c.AnswerBytes < 1<<20 {
		return fmt.Errorf("da.answer_bytes is %d, want at least %d", c.AnswerBytes, 1<<20)
	}
	if c.Identity != "" {
		if _, err := parseIdentity(c.Identity); err != nil {
			return err
		}
	}
	_, err := parseSubmitOptions(c.SubmitOptions)
	return err
}

// maxEndpoints bounds how many are asked when one looks ill.
const maxEndpoints = 16

func validateAddresses(addresses []string) error {
	if len(addresses) > maxEndpoints {
		return fmt.Errorf("da.address has %d URLs, want at most %d", len(addresses), maxEndpoints)
	}
	seen := make(map[string]bool, len(addresses))
	for _, address := range addresses {
		u, err := parseAddress(address)
		if err != nil {
			return err
		}
		if name := endpointName(u); seen[name] {
			return fmt.Errorf("da.address names %s twice, want each endpoint once", name)
		}
		seen[endpointName(u)] = true
	}
	return nil
}

// endpointName is the URL without what may be secret.
func endpointName(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}).String()
}

// parseAddress checks the endpoint's URL. Errors do not repeat it: it may hold a token.
func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("da.address is not a URL, want for example http://127.0.0.1:26658")
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	default:
		return nil, fmt.Errorf("da.address is %q, want a URL that starts with http, https, ws or wss", endpointName(u))
	}
	if u.Host == "" {
		return nil, fmt.Errorf("da.address is %q, want a host", endpointName(u))
	}
	return u, nil
}

// submitOptions are the members of the options object the node knows.
type submitOptions struct {
	GasPrice          float64 `json:"gas_price,omitempty"`
	IsGasPriceSet     bool    `json:"is_gas_price_set,omitempty"`
	MaxGasPrice       float64 `json:"max_gas_price,omitempty"`
	Gas               uint64  `json:"gas,omitempty"`
	TxPriority        int     `json:"tx_priority,omitempty"`
	KeyName           string  `json:"key_name,omitempty"`
	SignerAddress     string  `json:"signer_address,omitempty"`
	FeeGranterAddress string  `json:"fee_granter_address,omitempty"`
}

// parseSubmitOptions checks the options and returns them as they are sent. It
// refuses what a node would ignore without a word or panic at.
func parseSubmitOptions(text string) (json.RawMessage, error) {
	trimmed := bytes.TrimSpace([]byte(text))
	if len(trimmed) == 0 {
		return json.RawMessage("{}"), nil
	}
	if trimmed[0] != '{' {
		return nil, fmt.Errorf("da.submit_options is %q, want a JSON object", text)
	}
	var opts submitOptions
	dec := json.NewDecoder(bytes.NewReader(trimmed))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&opts); err != nil {
		return nil, fmt.Errorf("da.submit_options is %q, want a JSON object of known options: %w", text, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("da.submit_options is %q, want one JSON object", text)
	}
	switch {
	case opts.GasPrice != 0 && !opts.IsGasPriceSet:
		return nil, fmt.Errorf("da.submit_options sets gas_price %v without is_gas_price_set, which the endpoint ignores: "+
			`want {"gas_price":%v,"is_gas_price_set":true}`, opts.GasPrice, opts.GasPrice)
	case opts.GasPrice < 0 || opts.MaxGasPrice < 0:
		return nil, errors.New("da.submit_options has a negative gas price, want 0 or more")
	case opts.TxPriority < 0 || opts.TxPriority > 3:
		return nil, fmt.Errorf("da.submit_options has tx_priority %d, want 1 to 3", opts.TxPriority)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, trimmed); err != nil {
		return nil, fmt.Errorf("da.submit_options is %q, want a JSON object: %w", text, err)
	}
	return compact.Bytes(), nil
}
