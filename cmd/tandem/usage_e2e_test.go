//go:build e2e && linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// usage is what a process has cost so far.
type usage struct {
	switches int // voluntary context switches: how often it went to sleep
	threads  int
	cpu      time.Duration
}

// usageOf adds up all threads of a process.
func usageOf(t *testing.T, p *process) usage {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", p.cmd.Process.Pid)
	tasks, err := filepath.Glob(proc + "/task/*/status")
	require.NoError(t, err)
	require.NotEmpty(t, tasks)
	u := usage{threads: len(tasks)}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if count, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
				n, err := strconv.Atoi(strings.TrimSpace(count))
				require.NoError(t, err)
				u.switches += n
			}
		}
	}
	text, err := os.ReadFile(proc + "/stat")
	require.NoError(t, err)
	// Behind the name in brackets: state is the first field, utime the twelfth.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux Go runs on
	for _, i := range []int{11, 12} {
		n, err := strconv.Atoi(fields[i])
		require.NoError(t, err)
		u.cpu += time.Duration(n) * tick
	}
	return u
}
