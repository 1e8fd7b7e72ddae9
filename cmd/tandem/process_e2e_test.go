//go:build e2e && linux

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How long things may take. Waits end as soon as what they wait for is there,
// so that these only matter when something is broken.
const (
	patience = 3 * time.Minute
	glance   = 10 * time.Millisecond // between two looks
)

// slow stretches what the product promises, for machines that have other things
// to do and programs that are built to find faults. What was measured is logged;
// the promises to the second are checked in virtual time (testutil/testnet). 1
// holds the program to its word, which takes a machine of its own.
var slow = flag.Float64("slow", 5, "factor for the times that are required")

func promised(d time.Duration) time.Duration { return time.Duration(float64(d) * *slow) }

// binary returns the program under test: the one TANDEM_BINARY names, or one
// that is built for this run.
var binary = sync.OnceValues(func() (string, error) {
	if givenBinary != "" {
		return filepath.Abs(givenBinary)
	}
	dir, err := os.MkdirTemp("", "tandem-e2e")
	if err != nil {
		return "", err
	}
	atExit = append(atExit, func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "tandem")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// starters runs what it is given on one thread that never ends: the kernel
// kills children when the thread that started them does.
var starters = sync.OnceValue(func() chan<- func() {
	todo := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range todo {
			f()
		}
	}()
	return todo
})

// process is one running program and all it has printed.
type process struct {
	name    string
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{} // closed when it has ended and all output is read

	mu      sync.Mutex
	partial []byte
	lines   []string
	changed chan struct{} // closed and replaced at every line
}

// launch starts the program; at the end of the test it is killed.
func launch(t *testing.T, name string, args ...string) *process {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	return launchCommand(t, name, exec.Command(path, args...))
}

// launchCommand is launch for any program. What is in the environment of cmd comes
// on top of this process's.
func launchCommand(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, cmd: cmd, done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.Env = slices.Concat(os.Environ(), cmd.Env, []string{"NO_COLOR=1"})
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := make(chan error)
	starters() <- func() {
		p.started = time.Now()
		began <- p.cmd.Start()
	}
	require.NoError(t, <-began)
	go func() {
		_ = p.cmd.Wait() // the exit code is looked at by those who care
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("last lines of %s:\n%s", p.name, p.tail(40))
		}
	})
	return p
}

// Write takes output of the process, line by line.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partial = append(p.partial, b...)
	for {
		line, rest, ok := bytes.Cut(p.partial, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		p.lines = append(p.lines, string(line))
		p.partial = rest
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// printed returns the lines from a number on, and a channel that closes when
// there are more.
func (p *process) printed(from int) ([]string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines[min(from, len(p.lines)):], p.changed
}

func (p *process) tail(n int) string {
	lines, _ := p.printed(0)
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// await returns the first line that holds all of the texts.
func (p *process) await(t *testing.T, texts ...string) string {
	t.Helper()
	return p.awaitFrom(t, 0, texts...)
}

func (p *process) awaitFrom(t *testing.T, from int, texts ...string) string {
	t.Helper()
	over := time.After(patience)
	for {
		lines, more := p.printed(from)
		from += len(lines)
		for _, line := range lines {
			if holds(line, texts) {
				return line
			}
		}
		select {
		case <-more:
		case <-p.done:
			lines, _ := p.printed(from)
			for _, line := range lines {
				if holds(line, texts) {
					return line
				}
			}
			t.Fatalf("%s ended without a line that holds %q:\n%s", p.name, texts, p.tail(40))
		case <-over:
			t.Fatalf("%s printed no line that holds %q:\n%s", p.name, texts, p.tail(40))
		}
	}
}

func holds(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// entry is a log line.
type entry map[string]any

// logged returns the log lines of a level.
func (p *process) logged(level string) []entry {
	lines, _ := p.printed(0)
	var found []entry
	for _, line := range lines {
		if e := parse(line); e["level"] == level {
			found = append(found, e)
		}
	}
	return found
}

// warned counts the warnings of one kind.
func (p *process) warned(message string) int {
	count := 0
	for _, e := range p.logged("warn") {
		if e.text("msg") == message {
			count++
		}
	}
	return count
}

func parse(line string) entry {
	var e entry
	if json.Unmarshal([]byte(line), &e) != nil {
		return nil
	}
	return e
}

func (e entry) text(key string) string {
	s, _ := e[key].(string)
	return s
}

// kill ends the process as a power cut would end it, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// wait returns the exit code once the process has ended by itself.
func (p *process) wait(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("%s still runs after %s:\n%s", p.name, within, p.tail(40))
		return -1
	}
}

// terminate asks for a clean end and returns how long that took.
func (p *process) terminate(t *testing.T, signal os.Signal) time.Duration {
	t.Helper()
	begin := time.Now()
	require.NoError(t, p.cmd.Process.Signal(signal))
	code := p.wait(t, patience)
	took := time.Since(begin)
	require.Equal(t, exitOK, code, "%s: %s", p.name, p.tail(20))
	require.Less(t, took, promised(2*time.Second), "%s takes too long to stop: %s", p.name, p.tail(20))
	return took
}

// command runs the program to its end.
func command(t *testing.T, args ...string) result {
	t.Helper()
	return commandIn(t, nil, args...)
}

func commandIn(t *testing.T, in io.Reader, args ...string) result {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errOut
	err = cmd.Run()
	if _, ended := err.(*exec.ExitError); err != nil && !ended { //nolint:errorlint // os/exec does not wrap it
		require.NoError(t, err)
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errOut.String()}
}

// eventually looks again and again until done, and fails with the last state.
func eventually(t *testing.T, within time.Duration, look func() (done bool, state string)) {
	t.Helper()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	over := time.After(within)
	for {
		done, state := look()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not reached within %s: %s", within, state)
		}
	}
}

// meanwhile looks again and again for a while; it fails as soon as one look does.
func meanwhile(t *testing.T, during time.Duration, look func()) {
	t.Helper()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	over := time.After(during)
	for {
		look()
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}
