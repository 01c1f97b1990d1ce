package seal

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"

	"github.com/penstock/penstock/internal/fault"
)

// A fileWrapper is the path of a file with a key-encryption key. It is read at each use, so that the key is in memory no
// longer than it is needed.
type fileWrapper string

func (w fileWrapper) String() string { return "file:" + string(w) }

// key reads the key. Errors are [fault.Problem].
func (w fileWrapper) key() ([]byte, error) {
	path := string(w)
	text, err := ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Problem{Path: path, Text: "is not there"}
	}
	if err != nil {
		return nil, err
	}
	key, wrong := decodeKey(strings.TrimSpace(string(text)))
	if wrong == "" {
		wrong = checkSecret(key, dataKeySize, dataKeySize)
	}
	if wrong != "" {
		return nil, fault.Problem{Path: path, Text: wrong, Hint: "a key is made with: openssl rand -base64 32"}
	}
	return key, nil
}

// decodeKey reads 32 bytes in hexadecimal or in base64. The lengths tell them apart.
func decodeKey(text string) (key []byte, wrong string) {
	var err error
	if len(text) == hex.EncodedLen(dataKeySize) {
		key, err = hex.DecodeString(text)
	} else {
		key, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil {
		return nil, "holds no key of 32 bytes in base64 or hexadecimal"
	}
	return key, ""
}

// boundToRing keeps a wrapped key from being taken for that of another ring.
func boundToRing(ring string) []byte { return Bind(nil, "penstock keyring wrap 1", ring) }

func (w fileWrapper) Wrap(_ context.Context, ring string, key []byte) ([]byte, error) {
	kek, err := w.key()
	if err != nil {
		return nil, err
	}
	aead, err := gcm(kek)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, key, boundToRing(ring)), nil
}

func (w fileWrapper) Unwrap(_ context.Context, ring string, wrapped []byte) ([]byte, error) {
	kek, err := w.key()
	if err != nil {
		return nil, err
	}
	aead, err := gcm(kek)
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, nil, wrapped, boundToRing(ring))
	if err != nil {
		return nil, errors.New("its key is not the one that wrapped it")
	}
	return key, nil
}
