package rpc

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config of the server.
type Config struct {
	// Address is host:port; port 0 takes a free one. Empty turns the server off.
	Address string `koanf:"address"`
	// MaxRequestBytes bounds the body of one request.
	MaxRequestBytes int `koanf:"max_request_bytes"`
	// ReadTimeout bounds the time a client takes to send a request.
	ReadTimeout time.Duration `koanf:"read_timeout"`
	// WriteTimeout bounds the time from the request to the end of the answer, so
	// that a client that does not read holds nothing for ever.
	WriteTimeout time.Duration `koanf:"write_timeout"`
	// MaxConnections bounds the open connections of clients.
	MaxConnections int `koanf:"max_connections"`
	// BodyBytes bounds what the bodies of all requests under way take in memory.
	BodyBytes int `koanf:"body_bytes"`
	// AllowedHosts are the names under which the server is reached, beside IP
	// addresses and localhost; "*" allows any.
	AllowedHosts []string `koanf:"allowed_hosts"`
	// CORSOrigins are the origins whose web pages may use the API, as
	// https://example.org; "*" allows any.
	CORSOrigins []string `koanf:"cors_origins"`
	// ForwardTo is the URL of the API of a sequencer to which this node passes on
	// transactions. Empty: only a sequencer takes transactions.
	ForwardTo string `koanf:"forward_to"`
}

// maxHeaderTime bounds the time a client takes to send the header of a request,
// which is small whatever the request is.
const maxHeaderTime = 10 * time.Second

// minConnections leaves room for probes, a scraper and a few users.
const minConnections = 8

// Default serves loopback only.
func Default() Config {
	return Config{
		Address: "127.0.0.1:7331", MaxRequestBytes: 6 << 20,
		ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute,
		MaxConnections: 512, BodyBytes: 64 << 20, AllowedHosts: []string{}, CORSOrigins: []string{},
	}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	if c.Address == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("rpc.address is %q, want host:port like 127.0.0.1:7331", c.Address)
	}
	if c.MaxRequestBytes < 1<<10 {
		return fmt.Errorf("rpc.max_request_bytes is %d, want at least 1024", c.MaxRequestBytes)
	}
	if c.ReadTimeout <= 0 {
		return fmt.Errorf("rpc.read_timeout is %s, want more than 0", c.ReadTimeout)
	}
	if c.WriteTimeout <= 0 {
		return fmt.Errorf("rpc.write_timeout is %s, want more than 0", c.WriteTimeout)
	}
	if c.MaxConnections < minConnections {
		return fmt.Errorf("rpc.max_connections is %d, want at least %d", c.MaxConnections, minConnections)
	}
	if least := 2 * c.MaxRequestBytes; c.BodyBytes < least {
		return fmt.Errorf("rpc.body_bytes is %d, want at least %d, twice rpc.max_request_bytes", c.BodyBytes, least)
	}
	return c.validateAccess()
}

// validateAccess checks who may use the API, and to whom it passes on.
func (c Config) validateAccess() error {
	for _, host := range c.AllowedHosts {
		if host == "" || strings.ContainsAny(host, "/: ") {
			return fmt.Errorf("rpc.allowed_hosts has %q, want a name like node.example.org, without scheme and port", host)
		}
	}
	check := http.NewCrossOriginProtection()
	for _, origin := range c.CORSOrigins {
		if err := check.AddTrustedOrigin(origin); origin != anything && err != nil {
			return fmt.Errorf("rpc.cors_origins has %q, want an origin like https://example.org", origin)
		}
	}
	if c.ForwardTo == "" {
		return nil
	}
	if u, err := url.Parse(c.ForwardTo); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("rpc.forward_to is %q, want a URL like http://10.0.0.5:7331", c.ForwardTo)
	}
	return nil
}
