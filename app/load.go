package app

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// EnvPrefix starts the environment variables that set config keys:
// TANDEM_P2P_PEERS sets p2p.peers.
const EnvPrefix = "TANDEM_"

// ConfigFile is where the config lies below a home.
const ConfigFile = "config/tandem.yaml"

// ReferenceFile is where 'tandem init' explains all keys, below a home.
const ReferenceFile = "config/reference.yaml"

const maxConfigBytes = 1 << 20

// foreignEnv are variables with our prefix that are not config keys.
func foreignEnv() []string { return []string{"TANDEM_HOME", "TANDEM_SIGNER_PASSPHRASE"} }

// Sources says where a config comes from. Later ones win: defaults, file,
// environment, flags.
type Sources struct {
	Home  string
	Env   []string       // as os.Environ returns it
	Flags *pflag.FlagSet // only changed flags count; may be nil
}

// Loaded is a config and where each of its values came from.
type Loaded struct {
	Config Config
	Origin map[string]string // key → default, file, env, flag
	Values map[string]any    // key → value, as set
}

// Load reads the config. All problems are reported together, one line each.
func Load(src Sources) (Loaded, error) {
	l, err := newLoader()
	if err != nil {
		return Loaded{}, err
	}
	l.file(filepath.Join(src.Home, ConfigFile))
	l.env(src.Env)
	l.flags(src.Flags)
	return l.loaded()
}

// CheckConfig reports what is wrong with the text of a config file, as a node in
// that environment would.
func CheckConfig(text string, env []string) error {
	l, err := newLoader()
	if err != nil {
		return err
	}
	l.yaml(ConfigFile, given(text))
	l.env(env)
	_, err = l.loaded()
	return err
}

func newLoader() (*loader, error) {
	k, err := defaults()
	if err != nil {
		return nil, err
	}
	l := &loader{k: k, origin: map[string]string{}}
	l.known = l.k.Keys()
	for _, key := range l.known {
		l.origin[key] = "default"
	}
	return l, nil
}

func (l *loader) loaded() (Loaded, error) {
	cfg := l.decode()
	if len(l.problems) == 0 {
		l.problems = cfg.Problems()
	}
	if len(l.problems) > 0 {
		return Loaded{}, errors.Join(l.problems...)
	}
	return Loaded{Config: cfg, Origin: l.origin, Values: l.k.All()}, nil
}

type loader struct {
	k        *koanf.Koanf
	known    []string
	origin   map[string]string
	problems []error
}

func (l *loader) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Errorf(format, args...))
}

func (l *loader) file(path string) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return // defaults do; a home without genesis is reported by its own check
	}
	if err == nil && info.Size() > maxConfigBytes {
		l.problem("%s: has %d bytes, want at most %d", path, info.Size(), maxConfigBytes)
		return
	}
	text, err := os.ReadFile(path) //nolint:gosec // the config file of whoever runs the node
	if err != nil {
		l.problem("%s: %w", path, err)
		return
	}
	l.yaml(path, given(text))
}

// defaults returns the value of every key that nobody sets.
func defaults() (*koanf.Koanf, error) {
	var parts map[string]any
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: &parts, TagName: "koanf"})
	if err == nil {
		err = d.Decode(Default())
	}
	k := koanf.New(".")
	for key, value := range parts {
		err = errors.Join(err, k.Set(key, value))
	}
	if err != nil {
		return nil, fmt.Errorf("config defaults: %w", err)
	}
	return k, nil
}

// yaml takes every key of a YAML text; where is its name in problems.
func (l *loader) yaml(where string, text koanf.Provider) {
	in := koanf.New(".")
	if err := in.Load(text, yaml.Parser()); err != nil {
		l.problem("%s: %s", where, oneLine(err))
		return
	}
	for _, key := range in.Keys() {
		l.set(key, in.Get(key), "file", where)
	}
}

// given is a config text that is not in a file.
type given string

// ReadBytes implements koanf.Provider.
func (g given) ReadBytes() ([]byte, error) { return []byte(g), nil }

// Read implements koanf.Provider.
func (g given) Read() (map[string]any, error) { return nil, errors.ErrUnsupported }

func (l *loader) env(environ []string) {
	byName := make(map[string]string, len(l.known))
	for _, key := range l.known {
		byName[EnvName(key)] = key
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(foreignEnv(), name) {
			continue
		}
		key, ok := byName[name]
		if !ok {
			l.problem("environment: unknown variable %s%s", name, l.suggest(strings.ToLower(strings.TrimPrefix(name, EnvPrefix))))
			continue
		}
		l.set(key, value, "env", name)
	}
}

// EnvName returns the environment variable of a config key.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func (l *loader) flags(flags *pflag.FlagSet) {
	if flags == nil {
		return
	}
	flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains(l.known, f.Name) {
			return // a flag of the command itself
		}
		if s, ok := f.Value.(pflag.SliceValue); ok {
			l.set(f.Name, s.GetSlice(), "flag", "--"+f.Name)
			return
		}
		l.set(f.Name, f.Value.String(), "flag", "--"+f.Name)
	})
}

// set takes a value for a known key, or reports the key.
func (l *loader) set(key string, value any, origin, where string) {
	if !slices.Contains(l.known, key) {
		l.problem("%s: unknown key %q%s", where, key, l.suggest(key))
		return
	}
	if err := l.k.Set(key, value); err != nil {
		l.problem("%s: %s: %w", where, key, err)
		return
	}
	l.origin[key] = origin
}

// suggest names the known key that looks most like key, written with dots or, as
// in the environment, with underscores.
func (l *loader) suggest(key string) string {
	near := nearest(key, l.known, func(k string) []string { return []string{k, strings.ReplaceAll(k, ".", "_")} })
	if near == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", near)
}

// Nearest returns the name among known that looks most like name, or nothing when
// none is close.
func Nearest(name string, known []string) string {
	return nearest(name, known, func(k string) []string { return []string{k} })
}

func nearest(name string, known []string, forms func(string) []string) string {
	best, bestDistance := "", len(name)/2+1
	for _, k := range known {
		for _, form := range forms(k) {
			if d := distance(name, form); d < bestDistance {
				best, bestDistance = k, d
			}
		}
	}
	return best
}

func (l *loader) decode() Config {
	var cfg Config
	err := l.k.UnmarshalWithConf("", &cfg, koanf.UnmarshalConf{
		Tag: "koanf",
		DecoderConfig: &mapstructure.DecoderConfig{
			Result: &cfg, TagName: "koanf", ErrorUnused: true, WeaklyTypedInput: true,
			DecodeHook: mapstructure.ComposeDecodeHookFunc(
				durationHook, sizeHook, mapstructure.StringToSliceHookFunc(","),
			),
		},
	})
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			if line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "* ")); line != "" && !strings.HasSuffix(line, "error(s) decoding:") && line != "decoding failed due to the following error(s):" {
				l.problem("config: %s", line)
			}
		}
	}
	return cfg
}

// durationHook reads durations as Go writes them and refuses bare numbers,
// whose unit nobody could know.
func durationHook(from, to reflect.Type, v any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() || from == to {
		return v, nil
	}
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%v is not a duration, want a number with a unit like 1s or 500ms", v)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not a duration, want a number with a unit like 1s or 500ms", s)
	}
	return d, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// distance is the edit distance of two short texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Differs reports whether the value of a key is another than the default.
func (l Loaded) Differs(key string) bool {
	k, err := defaults()
	if err != nil {
		return true
	}
	return fmt.Sprint(k.Get(key)) != fmt.Sprint(l.Values[key])
}

// urls finds URLs in the text of a value, which may be a list of them.
var urls = regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^\s\]]+`)

// WithoutSecrets returns the text of a config value with the passwords and query
// values of its URLs hidden: providers of DA put tokens there.
func WithoutSecrets(value string) string {
	return urls.ReplaceAllStringFunc(value, func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil {
			return "(hidden)"
		}
		if _, secret := u.User.Password(); secret {
			u.User = url.UserPassword(u.User.Username(), hidden)
		}
		query := u.Query()
		for name := range query {
			query.Set(name, hidden)
		}
		u.RawQuery = query.Encode()
		return u.String()
	})
}

const hidden = "hidden"
