package rpc

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/rs/cors"
)

// access decides which requests are served at all. A browser that was led here
// must not read or change anything on behalf of a web page: the Host has to be an
// address, localhost or a configured name, which keeps DNS rebinding out, and
// requests of other origins may change nothing unless the origin is configured.
// Programs, which send no Origin, are not affected.
func access(next http.Handler, c Config) http.Handler {
	check := http.NewCrossOriginProtection()
	for _, origin := range c.CORSOrigins {
		if origin != anything {
			_ = check.AddTrustedOrigin(origin) // Validate has seen it
		}
	}
	inner := next
	if !slices.Contains(c.CORSOrigins, anything) {
		inner = check.Handler(next)
	}
	if len(c.CORSOrigins) > 0 {
		inner = cors.New(cors.Options{
			AllowedOrigins: c.CORSOrigins, AllowedMethods: []string{http.MethodGet, http.MethodPost},
			AllowedHeaders: []string{"*"}, ExposedHeaders: []string{TxHashHeader},
		}).Handler(inner)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.serves(r.Host) {
			http.Error(w, fmt.Sprintf("host is %q, want an IP address, localhost or a name in rpc.allowed_hosts", r.Host), http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// anything stands for all hosts or origins in the config.
const anything = "*"

// serves reports whether requests for a host are answered.
func (c Config) serves(host string) bool {
	if slices.Contains(c.AllowedHosts, anything) {
		return true
	}
	bare := hostOf(host)
	if _, err := netip.ParseAddr(strings.Trim(bare, "[]")); err == nil || strings.EqualFold(bare, "localhost") {
		return true
	}
	listen := hostOf(c.Address)
	return slices.ContainsFunc(append([]string{listen}, c.AllowedHosts...), func(name string) bool {
		return name != "" && strings.EqualFold(strings.TrimSuffix(bare, "."), name)
	})
}

// hostOf returns a host without its port.
func hostOf(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return hostPort
}
