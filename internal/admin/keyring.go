package admin

import (
	"context"
	"errors"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// A Keyring is what may be known of the key ring.
type Keyring struct {
	ID           string    `json:"id"`
	File         string    `json:"file"` // as the process was told it
	Created      time.Time `json:"created"`
	Keys         []DataKey `json:"keys"`                   // the oldest first
	Wraps        []string  `json:"wraps"`                  // what the file is wrapped by; empty: its secrets are in clear
	Wrapper      string    `json:"wrapper,omitzero"`       // what this process unwraps it with: keyring_wrap
	WrapperError string    `json:"wrapper_error,omitzero"` // why that would not unwrap it now
	Unreadable   string    `json:"unreadable,omitzero"`    // why the file cannot be read any more; what is in memory is in use
	Serving      bool      `json:"serving"`                // this is what a running process says, and not only its file
}

// A DataKey is a data key of the ring.
type DataKey struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	From    time.Time `json:"from,omitzero"` // when it begins to seal, if that is not when it was made
	Current bool      `json:"current"`       // it seals; the others only open
	Values  *int64    `json:"values"`        // how many values in the store are sealed with it; null: not known
}

// A DataKeyInput says when a new data key begins to seal.
type DataKeyInput struct {
	From time.Time `json:"from,omitzero"` // by default at once; at most 30 days ahead
}

// furthest is how far ahead a data key may begin: further is a slip of the pen.
const furthest = 30 * 24 * time.Hour

// KeyringOf is the view of a ring's status.
func KeyringOf(s *seal.Status) Keyring {
	out := Keyring{
		ID: s.ID, File: s.File, Created: s.Created, Keys: []DataKey{}, Wraps: s.Wraps, Wrapper: s.Wrapper, WrapperError: s.Failing, Unreadable: s.Unread,
	}
	for _, k := range s.Keys {
		out.Keys = append(out.Keys, DataKey{ID: k.ID, Created: k.Created, From: k.From, Current: k.Current})
	}
	return out
}

// DataKeyState is what the audit chain keeps of a data key.
func DataKeyState(k seal.Key) any {
	return struct {
		Created time.Time `json:"created"`
		From    time.Time `json:"from,omitzero"`
	}{k.Created, k.From}
}

func (a *API) keyring(ctx context.Context, _ *call) (Keyring, error) {
	status := a.o.Ring.Status()
	out := KeyringOf(&status)
	out.Serving = true
	if a.o.Sealed == nil {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	values, err := a.o.Sealed(ctx)
	if err != nil { // all else is known, and matters more when the store is away
		a.o.Log.Warn("sealed values cannot be counted", "error", err)
		return out, nil
	}
	for i := range out.Keys {
		n := values[out.Keys[i].ID]
		out.Keys[i].Values = &n
	}
	return out, nil
}

func (a *API) rotateKeyring(ctx context.Context, _ *call, in DataKeyInput) (DataKey, error) {
	if now := a.o.Now(); in.From.After(now.Add(furthest)) {
		return DataKey{}, fault.New(fault.InvalidRequest, "from is more than 30 days ahead.")
	}
	k, err := a.o.Ring.Rotate(ctx, in.From, func(ctx context.Context, k seal.Key) error {
		return a.o.Audit.AppendAudit(ctx, audit.Act{Action: audit.DataKeyAdded, Object: k.ID, After: DataKeyState(k)})
	})
	if err != nil {
		return DataKey{}, ringFault(err)
	}
	return DataKey{ID: k.ID, Created: k.Created, From: k.From, Current: k.Current}, nil
}

// ringFault puts what is wrong with the ring's file into words for whoever asked; other errors stay as they are.
func ringFault(err error) error {
	text, hint := "", ""
	if p, ok := errors.AsType[fault.Problem](err); ok {
		text, hint = p.Path+": "+p.Text, p.Hint
	}
	if s, ok := errors.AsType[*seal.SealedError](err); ok {
		text, hint = s.Error(), s.Hint
	}
	if text == "" {
		return err
	}
	f := fault.Wrap(fault.KeyRingFailed, err, "No data key was added: %s.", text)
	f.Hint = hint
	return f
}
