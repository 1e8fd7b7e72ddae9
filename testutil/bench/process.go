package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a process used up to a moment.
type usage struct {
	At       time.Time `json:"at"`
	CPU      float64   `json:"cpu"`      // seconds, user and system
	RSS      float64   `json:"rss"`      // MB, now
	Peak     float64   `json:"peak"`     // MB, the most so far
	Switches float64   `json:"switches"` // voluntary context switches of all threads
}

// usageOf reads /proc, so that looking at a process does not wake it.
func usageOf(pid int) (usage, error) {
	u := usage{At: time.Now()}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status")) //nolint:gosec // of a process of ours
	if err != nil {
		return u, fmt.Errorf("usage: %w", err)
	}
	const kb = 1024
	u.RSS, u.Peak = statusField(status, "VmRSS")/kb, statusField(status, "VmHWM")/kb
	tasks, err := filepath.Glob(filepath.Join(dir, "task", "*", "status"))
	if err != nil {
		return u, fmt.Errorf("usage: %w", err)
	}
	for _, task := range tasks { // a thread may end meanwhile
		if status, err := os.ReadFile(task); err == nil { //nolint:gosec // of a process of ours
			u.Switches += statusField(status, "voluntary_ctxt_switches")
		}
		if stat, err := os.ReadFile(filepath.Join(filepath.Dir(task), "schedstat")); err == nil {
			ran, _, _ := strings.Cut(string(stat), " ")
			ns, _ := strconv.ParseFloat(ran, 64)
			u.CPU += ns / float64(time.Second)
		}
	}
	return u, nil
}

func statusField(status []byte, name string) float64 {
	for l := range strings.Lines(string(status)) {
		if key, value, ok := strings.Cut(l, ":"); ok && key == name {
			number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
			n, _ := strconv.ParseFloat(number, 64)
			return n
		}
	}
	return 0
}

// cpuSeconds returns what this process used, exactly.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// mine is the usage of this process, with exact CPU time.
func mine() usage {
	u, err := usageOf(os.Getpid())
	if err != nil {
		return usage{At: time.Now(), CPU: cpuSeconds()}
	}
	u.CPU = cpuSeconds()
	return u
}

// timed runs f and returns its seconds on the wall and on the cores.
func timed(f func() error) (wall, cpu float64, err error) {
	begin, used := time.Now(), cpuSeconds()
	err = f()
	return time.Since(begin).Seconds(), cpuSeconds() - used, err
}
