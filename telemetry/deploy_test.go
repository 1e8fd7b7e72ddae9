package telemetry_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/stretchr/testify/require"
)

func readYAML(t *testing.T, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("deploy", name))
	require.NoError(t, err)
	parsed, err := yaml.Parser().Unmarshal(raw)
	require.NoError(t, err, name)
	return parsed
}

// at returns what stands under a path of keys.
func at(t *testing.T, in any, path ...string) any {
	t.Helper()
	for _, key := range path {
		table, ok := in.(map[string]any)
		require.True(t, ok, "%v has no %s", in, key)
		require.Contains(t, table, key)
		in = table[key]
	}
	return in
}

// TestComposeFile holds the compose file against what Compose takes, and against the
// files it mounts.
func TestComposeFile(t *testing.T) {
	compose := readYAML(t, "compose.yaml")
	for key := range compose {
		require.Contains(t, []string{"name", "services", "volumes"}, key)
	}
	known := []string{"image", "command", "environment", "volumes", "ports", "restart", "extra_hosts", "depends_on"}
	volumes, _ := at(t, compose, "volumes").(map[string]any)
	services, _ := at(t, compose, "services").(map[string]any)
	require.Len(t, services, 3)
	for name, service := range services {
		s, _ := service.(map[string]any)
		for key := range s {
			require.Contains(t, known, key, name)
		}
		image, _ := at(t, s, "image").(string)
		_, tag, ok := strings.Cut(image, ":")
		require.True(t, ok && tag != "latest", "%s is pinned", image)
		ports, _ := at(t, s, "ports").([]any)
		require.NotEmpty(t, ports)
		for _, p := range ports {
			text, _ := p.(string)
			require.Regexp(t, `^127\.0\.0\.1:\d+:\d+$`, text, "published on loopback")
		}
		mounts, _ := at(t, s, "volumes").([]any)
		for _, m := range mounts {
			text, _ := m.(string)
			source, target, ok := strings.Cut(text, ":")
			require.True(t, ok && strings.HasPrefix(target, "/"), text)
			if strings.HasPrefix(source, "./") {
				require.FileExists(t, filepath.Join("deploy", source))
			} else {
				require.Contains(t, volumes, source)
			}
		}
		after, _ := s["depends_on"].([]any)
		for _, other := range after {
			require.Contains(t, services, other)
		}
	}
	uid := at(t, readYAML(t, "grafana/datasources.yaml"), "datasources")
	require.Len(t, uid, 2)
	require.NotEmpty(t, at(t, readYAML(t, "prometheus.yaml"), "scrape_configs"))
}

// TestJaegerListensOnLoopback: every endpoint has a variable and a loopback default.
func TestJaegerListensOnLoopback(t *testing.T) {
	config, environment := readYAML(t, "jaeger.yaml"), at(t, readYAML(t, "compose.yaml"), "services", "jaeger", "environment")
	for _, endpoint := range [][]string{
		{"receivers", "otlp", "protocols", "grpc", "endpoint"},
		{"receivers", "otlp", "protocols", "http", "endpoint"},
		{"extensions", "jaeger_query", "http", "endpoint"},
		{"extensions", "jaeger_query", "grpc", "endpoint"},
	} {
		text, _ := at(t, config, endpoint...).(string)
		require.Regexp(t, `^\$\{env:JAEGER_[A-Z_]+:-127\.0\.0\.1:\d+\}$`, text)
		name, _, _ := strings.Cut(strings.TrimPrefix(text, "${env:"), ":-")
		require.Contains(t, environment, name, "the container listens elsewhere")
	}
}
