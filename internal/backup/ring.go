package backup

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// The outer layer is a file of the age format. Its file key is sealed by the key ring, as a recipient of our own kind: the
// stanza names the ring, so that whoever has only the file can tell which ring it takes.
const stanzaType = "penstock-keyring"

// boundTo keeps a sealed file key from being taken for another sealed value.
var boundTo = seal.Bind(nil, "backup")

type recipient struct{ ring *seal.Ring }

// Wrap implements [age.Recipient].
func (r recipient) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	sealed, err := r.ring.Seal(nil, fileKey, boundTo)
	if err != nil {
		return nil, err
	}
	return []*age.Stanza{{Type: stanzaType, Args: []string{r.ring.ID(), seal.KeyID(sealed)}, Body: sealed}}, nil
}

// A WrongRingError says that a backup belongs to another key ring.
type WrongRingError struct{ Needs, Has string } // ids; Has is "" if there was none

// Error implements error.
func (e *WrongRingError) Error() string {
	if e.Has == "" {
		return fmt.Sprintf("the backup belongs to key ring %s", e.Needs)
	}
	return fmt.Sprintf("the backup belongs to key ring %s, and this is key ring %s", e.Needs, e.Has)
}

type identity struct{ ring *seal.Ring } // nil only asks which ring it takes

// Unwrap implements [age.Identity].
func (i identity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type != stanzaType || len(s.Args) != 2 {
			continue
		}
		switch {
		case i.ring == nil:
			return nil, &WrongRingError{Needs: s.Args[0]}
		case s.Args[0] != i.ring.ID():
			return nil, &WrongRingError{Needs: s.Args[0], Has: i.ring.ID()}
		}
		key, err := i.ring.Unseal(nil, s.Body, boundTo)
		var missing *seal.MissingKeyError
		if errors.As(err, &missing) {
			return nil, fault.Problem{
				Text: fmt.Sprintf("the backup was encrypted with the data key %s, which this copy of the key ring %s does not have", missing.KeyID, i.ring.ID()),
				Hint: "take a copy of the ring that is as new as the backup",
			}
		}
		return key, err
	}
	return nil, age.ErrIncorrectIdentity
}

// open opens the outer layer.
func open(r io.Reader, ring *seal.Ring) (io.Reader, error) {
	plain, err := age.Decrypt(r, identity{ring})
	var wrong *WrongRingError
	var problem fault.Problem
	var foreign *age.NoIdentityMatchError
	switch {
	case err == nil:
		return plain, nil
	case errors.As(err, &wrong):
		return nil, wrong
	case errors.As(err, &problem):
		return nil, problem
	case errors.As(err, &foreign):
		return nil, fault.Problem{Text: "it is not a backup of Penstock, but another file of the age format"}
	case errors.Is(err, seal.ErrForeign), errors.Is(err, seal.ErrNewer):
		return nil, damaged("%v", err)
	}
	return nil, fault.Problem{Text: "it is not a backup of Penstock, or damaged at its beginning: " + err.Error()}
}

// RingOf says which key ring a backup takes, without opening it.
func RingOf(r io.Reader) (id string, err error) {
	_, err = open(r, nil)
	var wrong *WrongRingError
	if errors.As(err, &wrong) {
		return wrong.Needs, nil
	}
	return "", err
}
