package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// childArg as first argument makes this program a child: the second says which
// kind. What it is to do comes as one line of JSON on stdin, then commands, a
// line each; the end of stdin ends it. Its messages are lines of JSON on stdout.
const childArg = "child"

// message is what a child says.
type message struct {
	Event  string   `json:"event"` // one of the events below
	Error  string   `json:"error,omitempty"`
	URL    string   `json:"url,omitempty"`   // of a DA node
	Addrs  []string `json:"addrs,omitempty"` // of a node, for peers
	Height uint64   `json:"height,omitempty"`
	Begin  usage    `json:"begin"` // just before the node was made
	Now    usage    `json:"now"`
	// Commits are height and Unix nanoseconds of every commit since start, or since
	// the last such message.
	Commits [][2]int64 `json:"commits,omitempty"`
	Samples []sample   `json:"samples,omitempty"`
	Value   float64    `json:"value,omitempty"`
}

const (
	eventReady   = "ready"   // it is running
	eventReached = "reached" // it is where it was told to go
	eventReport  = "report"  // as asked for
	eventFailed  = "failed"
)

// sample is the state of a node at one moment.
type sample struct {
	Seconds float64 `json:"seconds"` // since start
	Height  uint64  `json:"height"`
	RSS     float64 `json:"rss"` // MB
}

// seconds returns the wall time from Begin to Now.
func (m message) seconds() float64 { return m.Now.At.Sub(m.Begin.At).Seconds() }

// cpu returns the CPU seconds from Begin to Now.
func (m message) cpu() float64 { return m.Now.CPU - m.Begin.CPU }

// child is a started child, seen from the parent.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr *tail
	ended  bool
}

// childTimeout is for children that hang, not for slow ones.
const childTimeout = 15 * time.Minute

// spawn starts a child and waits until it is ready.
func (s *session) spawn(ctx context.Context, kind string, spec any) (*child, message, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, message{}, fmt.Errorf("start child: %w", err)
	}
	c := &child{cmd: exec.CommandContext(ctx, self, childArg, kind), stderr: new(tail)} //nolint:gosec // this program itself
	c.cmd.Stderr = c.stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, message{}, fmt.Errorf("start child: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, message{}, fmt.Errorf("start child: %w", err)
	}
	c.out = json.NewDecoder(bufio.NewReader(out))
	if err := c.cmd.Start(); err != nil {
		return nil, message{}, fmt.Errorf("start child: %w", err)
	}
	if err := json.NewEncoder(c.in).Encode(spec); err != nil {
		return nil, message{}, errors.Join(fmt.Errorf("start child: %w", err), c.stop())
	}
	m, err := c.wait(eventReady)
	if err != nil {
		return nil, m, errors.Join(fmt.Errorf("%s: %w", kind, err), c.stop())
	}
	return c, m, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// wait returns the next message of a kind.
func (c *child) wait(event string) (message, error) {
	hung := time.AfterFunc(childTimeout, func() { _ = c.cmd.Process.Kill() })
	defer hung.Stop()
	for {
		var m message
		if err := c.out.Decode(&m); err != nil {
			return m, fmt.Errorf("no %q message: %w; it said: %s", event, err, c.stderr)
		}
		switch m.Event {
		case event:
			return m, nil
		case eventFailed:
			return m, fmt.Errorf("%s; it said: %s", m.Error, c.stderr)
		}
	}
}

// ask sends a command and returns the answer.
func (c *child) ask(command string) (message, error) {
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		return message{}, fmt.Errorf("%s: %w; it said: %s", command, err, c.stderr)
	}
	return c.wait(eventReport)
}

// stop ends the child. It may be called again.
func (c *child) stop() error {
	if c == nil || c.ended {
		return nil
	}
	c.ended = true
	_ = c.in.Close() // it may be gone already
	hung := time.AfterFunc(time.Minute, func() { _ = c.cmd.Process.Kill() })
	defer hung.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("child: %w; it said: %s", err, c.stderr)
	}
	return nil
}

// tail keeps the end of what a child writes to stderr.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.buf = t.buf[max(0, len(t.buf)-most):]
	return len(b), nil
}

// String returns what was written last.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

// speaker is the child's side of the talk.
type speaker struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (s *speaker) say(m message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.out.Encode(m); err != nil {
		return fmt.Errorf("say %s: %w", m.Event, err)
	}
	return nil
}

// beChild is main of a child.
func beChild(ctx context.Context, kind string, in io.Reader, out io.Writer) error {
	say := &speaker{out: json.NewEncoder(out)}
	lines := bufio.NewReader(in)
	spec, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	commands := make(chan string)
	go func() {
		defer stop() // the parent has gone, or wants the end
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			select {
			case commands <- line[:len(line)-1]:
			case <-ctx.Done():
				return
			}
		}
	}()
	run, ok := map[string]func(context.Context, []byte, *speaker, <-chan string) error{
		"node": nodeChild, "da": daChild, "follow": followChild,
	}[kind]
	if !ok {
		return fmt.Errorf("no child of kind %q", kind)
	}
	if err := run(ctx, spec, say, commands); err != nil {
		return errors.Join(err, say.say(message{Event: eventFailed, Error: err.Error()}))
	}
	return nil
}
