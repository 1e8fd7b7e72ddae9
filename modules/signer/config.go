package signer

import "errors"

// Config says where the keys are. Paths are relative to the node's home.
type Config struct {
	KeyFile        string `koanf:"key_file"`
	PassphraseFile string `koanf:"passphrase_file"`
	NodeKeyFile    string `koanf:"node_key_file"`
	// StateFile is where a sequencer remembers the newest header it signed.
	StateFile string `koanf:"state_file"`
}

// Default returns the file names ev-node uses too.
func Default() Config {
	return Config{KeyFile: "config/signer.json", NodeKeyFile: "config/node_key.json", StateFile: "signer.state"}
}

// Validate returns one error that names the key and what was expected.
func (c Config) Validate() error {
	switch {
	case c.KeyFile == "":
		return errors.New("signer.key_file is empty, want a path")
	case c.NodeKeyFile == "":
		return errors.New("signer.node_key_file is empty, want a path")
	case c.StateFile == "":
		return errors.New("signer.state_file is empty, want a path")
	}
	return nil
}
