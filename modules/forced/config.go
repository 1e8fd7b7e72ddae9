package forced

import "fmt"

// Policy says what a follower does when the sequencer censors.
type Policy string

// The policies.
const (
	PolicyWait Policy = "wait" // apply nothing more, go on serving, until a block on DA has what was left out
	PolicyHalt Policy = "halt" // stop as well, once per transaction
	PolicyWarn Policy = "warn" // log and count, and follow all the same
)

// Config is what an operator may set.
type Config struct {
	// Policy is wait, halt or warn.
	Policy Policy `koanf:"policy"`
	// GraceEpochs is in how many epochs, one after the other, the sequencer may post
	// blocks without taking the first forced transaction that waits.
	GraceEpochs uint64 `koanf:"grace_epochs"`
	// PendingBytes bounds what was read and is not in a block. When it is full, no
	// more is read.
	PendingBytes int `koanf:"pending_bytes"`
}

// Default returns the configuration of a node with nothing configured.
func Default() Config {
	return Config{Policy: PolicyWait, GraceEpochs: 4, PendingBytes: 64 << 20}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	const least = 1 << 20
	switch {
	case c.Policy != PolicyWait && c.Policy != PolicyHalt && c.Policy != PolicyWarn:
		return fmt.Errorf("policy is %q, want %s, %s or %s", c.Policy, PolicyWait, PolicyHalt, PolicyWarn)
	case c.GraceEpochs < 1:
		return fmt.Errorf("grace_epochs is %d, want at least 1", c.GraceEpochs)
	case c.PendingBytes < least:
		return fmt.Errorf("pending_bytes is %d, want at least %d", c.PendingBytes, least)
	}
	return nil
}
