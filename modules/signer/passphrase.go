package signer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// EnvPassphrase is the environment variable a passphrase may come in.
const EnvPassphrase = "TANDEM_SIGNER_PASSPHRASE" //nolint:gosec // a name, not a secret

const maxPassphrase = 4 << 10

// ErrNoPassphrase means none of the ways to pass one was used.
var ErrNoPassphrase = errors.New("no passphrase: set signer.passphrase_file, or " + EnvPassphrase + ", or run in a terminal to be asked")

// Passphrase finds the passphrase: in file if one is named, else in the
// environment, else by asking on the terminal in (which may be nil). White
// space around it is trimmed.
func Passphrase(file string, in *os.File, prompt io.Writer) ([]byte, error) {
	if given, err := givenPassphrase(file); given != nil || err != nil {
		return given, err
	}
	return typed(in, prompt, "Passphrase of the signer key: ")
}

// NewPassphrase is Passphrase for a key that is about to be encrypted: one that is
// typed has to be typed twice.
func NewPassphrase(file string, in *os.File, prompt io.Writer) ([]byte, error) {
	if given, err := givenPassphrase(file); given != nil || err != nil {
		return given, err
	}
	first, err := typed(in, prompt, "New passphrase of the signer key: ")
	if err != nil {
		return nil, err
	}
	second, err := typed(in, prompt, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passphrases differ")
	}
	return first, nil
}

// givenPassphrase returns the passphrase of the file or the environment; nil when
// neither has one.
func givenPassphrase(file string) ([]byte, error) {
	if file != "" {
		return passphraseFile(file)
	}
	if v, ok := os.LookupEnv(EnvPassphrase); ok {
		return nonEmpty([]byte(v), EnvPassphrase)
	}
	return nil, nil
}

// typed asks for a passphrase on the terminal in, which may be nil.
func typed(in *os.File, prompt io.Writer, question string) ([]byte, error) {
	if in == nil || !term.IsTerminal(int(in.Fd())) {
		return nil, ErrNoPassphrase
	}
	_, _ = fmt.Fprint(prompt, question)
	b, err := term.ReadPassword(int(in.Fd()))
	_, _ = fmt.Fprintln(prompt)
	if err != nil {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	return nonEmpty(b, "the passphrase typed")
}

func passphraseFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("signer.passphrase_file: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxPassphrase+1))
	if err != nil {
		return nil, fmt.Errorf("signer.passphrase_file: %w", err)
	}
	if len(b) > maxPassphrase {
		return nil, fmt.Errorf("signer.passphrase_file %s: over %d bytes", path, maxPassphrase)
	}
	return nonEmpty(b, "signer.passphrase_file "+path)
}

func nonEmpty(b []byte, what string) ([]byte, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return nil, fmt.Errorf("%s is empty", what)
	}
	return b, nil
}
