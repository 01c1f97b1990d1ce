package seal

import "context"

// A Wrapper encrypts the data keys of a ring in its file, with a key that lies elsewhere: in another file, or in a key
// service. What it wraps and unwraps is short (32 bytes in clear). It is safe for concurrent use, and prints as what it is,
// without a secret.
type Wrapper interface {
	// Wrap encrypts a data key.
	Wrap(ctx context.Context, key []byte) ([]byte, error)
	// Unwrap is the inverse of Wrap. It fails for what was not wrapped by this wrapper.
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
	String() string
}
