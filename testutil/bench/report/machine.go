package report

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// Machine is where a report comes from, as far as it matters for the figures.
type Machine struct {
	CPU      string  `json:"cpu"`
	Cores    int     `json:"cores"`
	MemoryGB float64 `json:"memory_gb"`
	Kernel   string  `json:"kernel"`
	OS       string  `json:"os"`
	Go       string  `json:"go"`
	Commit   string  `json:"commit,omitempty"`
	Load     float64 `json:"load_before"` // of the last minute, as the run began
}

// ThisMachine describes the machine the program runs on. What cannot be read is
// left out.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	m.CPU = field("/proc/cpuinfo", "model name")
	if kb, ok := strings.CutSuffix(field("/proc/meminfo", "MemTotal"), " kB"); ok {
		if n, err := strconv.ParseFloat(kb, 64); err == nil {
			m.MemoryGB = float64(int(n/(1<<20)*10)) / 10
		}
	}
	if out, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(out))
	}
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil { //nolint:noctx // answers at once
		m.Commit = strings.TrimSpace(string(out))
	}
	if out, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(out), " ")
		m.Load, _ = strconv.ParseFloat(first, 64)
	}
	return m
}

// field returns the first value of a name in a file of "name: value" lines.
func field(path, name string) string {
	out, err := os.ReadFile(path) //nolint:gosec // fixed names below /proc
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(out)) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
