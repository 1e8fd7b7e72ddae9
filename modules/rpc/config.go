package rpc

import (
	"fmt"
	"net"
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
}

// maxHeaderTime bounds the time a client takes to send the header of a request,
// which is small whatever the request is.
const maxHeaderTime = 10 * time.Second

// Default serves loopback only.
func Default() Config {
	return Config{
		Address: "127.0.0.1:7331", MaxRequestBytes: 6 << 20,
		ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute,
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
	return nil
}
