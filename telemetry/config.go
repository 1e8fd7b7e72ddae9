package telemetry

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap/zapcore"
)

// Config of logs, traces and metrics.
type Config struct {
	Log     LogConfig     `koanf:"log"`
	Tracing TracingConfig `koanf:"tracing"`
	Metrics MetricsConfig `koanf:"metrics"`
}

// LogConfig says what is logged and how.
type LogConfig struct {
	Level  string   `koanf:"level"`  // debug, info, warn, error
	Levels []string `koanf:"levels"` // of modules: syncer=debug
	Format string   `koanf:"format"` // console, json
}

// TracingConfig says where spans go. An empty endpoint turns tracing off.
type TracingConfig struct {
	Endpoint    string  `koanf:"endpoint"` // host:port or URL of an OTLP collector
	Protocol    string  `koanf:"protocol"` // grpc, http
	SampleRatio float64 `koanf:"sample_ratio"`
	ServiceName string  `koanf:"service_name"`
	InstanceID  string  `koanf:"instance_id"`
}

// MetricsConfig says where metrics are pushed, beside /metrics, under the names of
// TracingConfig. An empty endpoint pushes nothing.
type MetricsConfig struct {
	Endpoint string        `koanf:"endpoint"` // host:port or URL of an OTLP collector
	Protocol string        `koanf:"protocol"` // grpc, http
	Interval time.Duration `koanf:"interval"`
}

// Default logs at info to the console, traces and pushes nothing.
func Default() Config {
	return Config{
		Log:     LogConfig{Level: "info", Levels: []string{}, Format: "console"},
		Tracing: TracingConfig{Protocol: "grpc", SampleRatio: 1, ServiceName: "tandem"},
		Metrics: MetricsConfig{Protocol: "grpc", Interval: 15 * time.Second},
	}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	if _, err := zapcore.ParseLevel(c.Log.Level); err != nil {
		return fmt.Errorf("log.level is %q, want debug, info, warn or error", c.Log.Level)
	}
	if _, err := newLevels(c.Log); err != nil {
		return err
	}
	if !slices.Contains([]string{"console", "json"}, c.Log.Format) {
		return fmt.Errorf("log.format is %q, want console or json", c.Log.Format)
	}
	if c.Metrics.Interval < time.Second {
		return fmt.Errorf("metrics.interval is %s, want at least 1s", c.Metrics.Interval)
	}
	t := c.Tracing
	for section, to := range map[string][2]string{"tracing": {t.Endpoint, t.Protocol}, "metrics": {c.Metrics.Endpoint, c.Metrics.Protocol}} {
		if err := validateCollector(section, to[0], to[1]); err != nil {
			return err
		}
	}
	if t.SampleRatio < 0 || t.SampleRatio > 1 {
		return fmt.Errorf("tracing.sample_ratio is %v, want 0 to 1", t.SampleRatio)
	}
	if to := cmp.Or(t.Endpoint, c.Metrics.Endpoint); to != "" && t.ServiceName == "" {
		return fmt.Errorf("tracing.service_name is empty, want a name for %s", to)
	}
	return nil
}
