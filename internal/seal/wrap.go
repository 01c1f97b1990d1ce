package seal

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// A Wrapper encrypts the ring's own key in its file, with a key that lies elsewhere: in another file, or in a key service.
// What it wraps is 32 bytes. It is safe for concurrent use, and prints as the configuration names it, without a secret.
type Wrapper interface {
	// Wrap encrypts a key of the ring with that id.
	Wrap(ctx context.Context, ring string, key []byte) ([]byte, error)
	// Unwrap is the inverse of Wrap. It fails for what was not wrapped by this wrapper.
	Unwrap(ctx context.Context, ring string, wrapped []byte) ([]byte, error)
	String() string
}

const (
	reachable = "is it within reach, and may it be used from here?"
	contract  = "docs/keyring.md says what such a command takes and gives"
)

// NewWrapper makes the wrapper that a text names: file:PATH, a file with a key of 32 bytes in base64 or hexadecimal, or
// exec:COMMAND, which asks a key service. Neither is touched before it is used.
func NewWrapper(text string) (Wrapper, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	rest = strings.TrimSpace(rest)
	switch {
	case scheme == "file" && rest != "":
		path, err := filepath.Abs(rest) // what stands in the ring's file is read from elsewhere
		return fileWrapper(path), err
	case scheme == "exec" && rest != "":
		args := strings.Fields(rest)
		if strings.ContainsRune(args[0], filepath.Separator) && !filepath.IsAbs(args[0]) {
			return nil, fmt.Errorf("%q is not the whole path of a command", args[0])
		}
		return &execWrapper{args: args, within: execWithin}, nil
	}
	return nil, fmt.Errorf("%q names nothing that wraps a key ring", text)
}

// A SealedError says that a ring is wrapped and cannot be unwrapped, or cannot be wrapped.
type SealedError struct {
	Path      string // the ring's file
	Ring      string // its id
	Text      string // what is wrong
	Hint      string // what to do
	NoWrapper bool   // nothing is configured to unwrap it
	Err       error  // what the wrapper said, nil if it was not asked
}

// Error implements error. It does not have the hint.
func (e *SealedError) Error() string {
	return fmt.Sprintf("%s: the key ring %s is sealed: %s", e.Path, e.Ring, e.Text)
}

// Unwrap gives what the wrapper said.
func (e *SealedError) Unwrap() error { return e.Err }
