package app

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// isSize reports whether a config key counts bytes. Such keys take units.
func isSize(key string) bool {
	name := key[strings.LastIndex(key, ".")+1:]
	return strings.HasSuffix(name, "bytes") || name == "serve_rate"
}

// parseSize reads a number of bytes, plain or with one of the units B, KB, MB, GB
// (powers of 1,000), KiB, MiB and GiB (powers of 1,024).
func parseSize(text string) (int64, error) {
	wrong := fmt.Errorf("%q is not a size, want bytes like 67108864 or 64MiB", text)
	number, factor := strings.TrimSpace(text), int64(1)
	for _, unit := range []struct {
		name   string
		factor int64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
	} {
		if rest, ok := strings.CutSuffix(number, unit.name); ok {
			number, factor = strings.TrimSpace(rest), unit.factor
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/factor || n < math.MinInt64/factor {
		return 0, wrong
	}
	return n * factor, nil
}

// sizeHook lets sizes have units where a config is decoded.
func sizeHook(from, to reflect.Type, v any) (any, error) {
	text, ok := v.(string)
	if !ok || from.Kind() != reflect.String || to.Kind() != reflect.Int && to.Kind() != reflect.Int64 {
		return v, nil
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil || !strings.HasSuffix(text, "B") {
		return v, nil
	}
	return parseSize(text)
}

// sizeValue is the value of a flag that takes a size.
type sizeValue int64

// String implements pflag.Value.
func (s *sizeValue) String() string { return strconv.FormatInt(int64(*s), 10) }

// Set implements pflag.Value.
func (s *sizeValue) Set(text string) error {
	n, err := parseSize(text)
	if err == nil {
		*s = sizeValue(n)
	}
	return err
}

// Type implements pflag.Value.
func (s *sizeValue) Type() string { return "size" }
