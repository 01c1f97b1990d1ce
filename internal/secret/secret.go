// Package secret holds strings that cannot be printed by accident.
//
// It is for provider credentials, keys and peppers. It is not for encryption at rest, and not for deciding who may see
// what.
package secret

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
)

// shown is what every printing of a secret yields.
const shown = "[redacted]"

// A String is a secret. Every formatting, logging and encoding of it yields "[redacted]"; only [String.Reveal] gives the
// value, so that a search for that word finds every use.
//
// The value lies behind a pointer: fmt calls no methods on unexported fields of other types, and then prints an address.
type String struct{ value *string }

// New wraps a value.
func New(value string) String { return String{&value} }

// Reveal gives the value. Hand it only to what must send or compare it.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no secret.
func (s String) IsZero() bool { return s.Reveal() == "" }

// String implements [fmt.Stringer].
func (s String) String() string { return shown }

// GoString implements [fmt.GoStringer].
func (s String) GoString() string { return shown }

// Format implements [fmt.Formatter], so that no verb shows the value.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(shown)) }

// LogValue implements [slog.LogValuer].
func (s String) LogValue() slog.Value { return slog.StringValue(shown) }

// MarshalText implements [encoding.TextMarshaler], and so covers JSON and YAML.
func (s String) MarshalText() ([]byte, error) { return []byte(shown), nil }

// Redact replaces every occurrence of the secret in text, by value. A secret shorter than eight bytes is not looked for:
// it would blot out innocent text.
func (s String) Redact(text string) string {
	value := s.Reveal()
	if len(value) < 8 {
		return text
	}
	return strings.ReplaceAll(text, value, shown)
}

// RedactBytes is Redact for bytes; it returns text itself if the secret is not in it.
func (s String) RedactBytes(text []byte) []byte {
	value := []byte(s.Reveal())
	if len(value) < 8 || !bytes.Contains(text, value) {
		return text
	}
	return bytes.ReplaceAll(text, value, []byte(shown))
}
