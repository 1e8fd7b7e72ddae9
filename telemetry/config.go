package telemetry

import (
	"fmt"
	"slices"

	"go.uber.org/zap/zapcore"
)

// Config of logs and traces.
type Config struct {
	Log     LogConfig     `koanf:"log"`
	Tracing TracingConfig `koanf:"tracing"`
}

// LogConfig says what is logged and how.
type LogConfig struct {
	Level  string   `koanf:"level"`  // debug, info, warn, error
	Levels []string `koanf:"levels"` // of modules: syncer=debug
	Format string   `koanf:"format"` // console, json
}

// TracingConfig says where spans go. An empty endpoint turns tracing off.
type TracingConfig struct {
	Endpoint    string  `koanf:"endpoint"` // host:port of an OTLP collector
	Protocol    string  `koanf:"protocol"` // grpc, http
	SampleRatio float64 `koanf:"sample_ratio"`
	ServiceName string  `koanf:"service_name"`
	InstanceID  string  `koanf:"instance_id"`
}

// Default logs at info to the console and traces nothing.
func Default() Config {
	return Config{
		Log:     LogConfig{Level: "info", Levels: []string{}, Format: "console"},
		Tracing: TracingConfig{Protocol: "grpc", SampleRatio: 1, ServiceName: "tandem"},
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
	t := c.Tracing
	if !slices.Contains([]string{"grpc", "http"}, t.Protocol) {
		return fmt.Errorf("tracing.protocol is %q, want grpc or http", t.Protocol)
	}
	if t.SampleRatio < 0 || t.SampleRatio > 1 {
		return fmt.Errorf("tracing.sample_ratio is %v, want 0 to 1", t.SampleRatio)
	}
	if t.Endpoint != "" && t.ServiceName == "" {
		return fmt.Errorf("tracing.service_name is empty, want a name for %s", t.Endpoint)
	}
	return nil
}
