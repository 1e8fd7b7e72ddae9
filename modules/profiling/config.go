package profiling

import (
	"fmt"
	"net"
	"strings"
)

// Config of the server.
type Config struct {
	// Address is host:port; port 0 takes a free one. Empty turns the server off.
	Address string `koanf:"address"`
	// AllowRemote permits an address that other machines reach.
	AllowRemote bool `koanf:"allow_remote"`
}

// Default serves nothing.
func Default() Config { return Config{} }

// Validate returns one error that names the key, the value and what was expected.
// Profiles show memory and cost time, so that the host has to be loopback: a name
// other than localhost may resolve to anything.
func (c Config) Validate() error {
	if c.Address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fmt.Errorf("profiling.address is %q, want host:port like 127.0.0.1:6060", c.Address)
	}
	loopback := strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
	if !loopback && !c.AllowRemote {
		return fmt.Errorf("profiling.address is %q, want a loopback address like 127.0.0.1:6060, or profiling.allow_remote: true", c.Address)
	}
	return nil
}
