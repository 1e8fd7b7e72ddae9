package app

import (
	"fmt"
	"net"
	"net/netip"
	"os"
)

// exposed says what others can reach that they should perhaps not: files of keys
// that other users of the machine may read, and an API on all interfaces. c has
// absolute paths.
func exposed(c Config) (warnings []string) {
	for _, f := range []struct{ key, path string }{
		{"signer.key_file", c.Signer.KeyFile},
		{"signer.node_key_file", c.Signer.NodeKeyFile},
		{"signer.passphrase_file", c.Signer.PassphraseFile},
	} {
		info, err := os.Stat(f.path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			warnings = append(warnings, fmt.Sprintf("%s: %s has mode %#o, other users may read or change it, want 0600", f.key, f.path, info.Mode().Perm()))
		}
	}
	if host, _, err := net.SplitHostPort(c.RPC.Address); err == nil {
		if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
			warnings = append(warnings, fmt.Sprintf("rpc.address is %s: everybody who reaches this machine may use the API, want the address of one interface, or a firewall", c.RPC.Address))
		}
	}
	return warnings
}
