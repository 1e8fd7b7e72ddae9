package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap/zapcore"

	"github.com/tandem-node/tandem/telemetry/names"
)

// Levels are what a logger and those named after modules log. They may be changed
// at any time, by any goroutine.
type Levels struct {
	mu  sync.Mutex // orders changes
	now atomic.Pointer[levels]
}

// levels never changes.
type levels struct {
	all    zapcore.Level
	byName map[string]zapcore.Level
	least  zapcore.Level // of all of them
}

func (l *levels) of(logger string) zapcore.Level {
	for len(l.byName) > 0 && logger != "" { // node.module: the last name is the module's
		i := strings.LastIndexByte(logger, '.')
		if level, ok := l.byName[logger[i+1:]]; ok {
			return level
		}
		logger = logger[:max(i, 0)]
	}
	return l.all
}

// LevelSettings is Levels as people write them, and as /log/level serves them.
type LevelSettings struct {
	Level  string            `json:"level"`
	Levels map[string]string `json:"levels"` // by module
}

// newLevels reads the levels of a config.
func newLevels(cfg LogConfig) (*Levels, error) {
	l := &Levels{}
	l.now.Store(&levels{all: zapcore.InfoLevel, least: zapcore.InfoLevel})
	set := LevelSettings{Level: cfg.Level, Levels: map[string]string{}}
	for _, pair := range cfg.Levels {
		module, level, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("log.levels has %q, want MODULE=LEVEL like syncer=debug", pair)
		}
		set.Levels[strings.TrimSpace(module)] = strings.TrimSpace(level)
	}
	if err := l.Set(set); err != nil {
		return nil, fmt.Errorf("log.levels: %w", err)
	}
	return l, nil
}

// Settings returns the levels.
func (l *Levels) Settings() LevelSettings {
	now := l.now.Load()
	s := LevelSettings{Level: now.all.String(), Levels: map[string]string{}}
	for name, level := range now.byName {
		s.Levels[name] = level.String()
	}
	return s
}

// Set changes what change names and leaves the rest. An empty level of a module
// makes it follow the common one again. When anything is wrong nothing changes.
func (l *Levels) Set(change LevelSettings) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.now.Load()
	next := &levels{all: old.all, byName: maps.Clone(old.byName)}
	var err error
	if change.Level != "" {
		if next.all, err = parseLevel(change.Level); err != nil {
			return err
		}
	}
	if next.byName == nil {
		next.byName = map[string]zapcore.Level{}
	}
	for module, text := range change.Levels {
		if !slices.Contains(names.LogModules(), module) {
			return fmt.Errorf("there is no module %q, want one of %s", module, strings.Join(names.LogModules(), ", "))
		}
		if text == "" {
			delete(next.byName, module)
			continue
		}
		if next.byName[module], err = parseLevel(text); err != nil {
			return fmt.Errorf("%s: %w", module, err)
		}
	}
	next.least = next.all
	for _, level := range next.byName {
		next.least = min(next.least, level)
	}
	l.now.Store(next)
	return nil
}

func parseLevel(text string) (zapcore.Level, error) {
	level, err := zapcore.ParseLevel(text)
	if err != nil || level > zapcore.ErrorLevel {
		return level, fmt.Errorf("level is %q, want debug, info, warn or error", text)
	}
	return level, nil
}

// ServeHTTP shows the levels on GET and changes them on PUT. Only this machine may
// change them, wherever the server listens.
func (l *Levels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const most = 4 << 10
	if r.Method == http.MethodPut {
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err != nil || !net.ParseIP(host).IsLoopback() {
			http.Error(w, "log levels can be changed from the node's own machine only", http.StatusForbidden)
			return
		}
		var change LevelSettings
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
		in.DisallowUnknownFields()
		err := in.Decode(&change)
		if err == nil {
			err = l.Set(change)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(l.Settings()) // the client went away: nobody is left to tell
}

// leveled is a core that asks the levels, by the name of the logger.
type leveled struct {
	zapcore.Core
	levels *Levels
}

// Enabled implements zapcore.LevelEnabler: whether any module logs this.
func (c leveled) Enabled(level zapcore.Level) bool { return level >= c.levels.now.Load().least }

// With implements zapcore.Core.
func (c leveled) With(fields []zapcore.Field) zapcore.Core {
	return leveled{c.Core.With(fields), c.levels}
}

// Check implements zapcore.Core.
func (c leveled) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level < c.levels.now.Load().of(e.LoggerName) {
		return checked
	}
	return checked.AddCore(e, c)
}
