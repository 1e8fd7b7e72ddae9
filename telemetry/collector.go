package telemetry

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// validateCollector checks where a signal is sent, and how.
func validateCollector(section, endpoint, protocol string) error {
	if !slices.Contains([]string{"grpc", "http"}, protocol) {
		return fmt.Errorf("%s.protocol is %q, want grpc or http", section, protocol)
	}
	if endpoint == "" {
		return nil
	}
	u, err := collectorURL(endpoint, "")
	if err != nil || u.Hostname() == "" || u.Port() == "" {
		return fmt.Errorf("%s.endpoint is %q, want host:port like 127.0.0.1:4317, or a URL with http or https and a port", section, endpoint)
	}
	if protocol == "grpc" && u.Path != defaultPath("") {
		return fmt.Errorf("%s.endpoint is %q, want no path: %s.protocol is grpc", section, endpoint, section)
	}
	return nil
}

// defaultPath is where OTLP over HTTP takes a signal.
func defaultPath(signal string) string { return "/v1/" + signal }

// collectorURL returns where a signal (traces, metrics) is sent: an endpoint without
// a scheme is not encrypted, one without a path has the usual one.
func collectorURL(endpoint, signal string) (*url.URL, error) {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("scheme is %q, want http or https", u.Scheme)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = defaultPath(signal)
	}
	return u, nil
}
