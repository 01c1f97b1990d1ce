package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// The text of a record keeps the charges of its tries in a member of its own, the last one: for each try a list of charges, and each of
// those a list of budget, subject, window, lease, amount, and what else is to be known of these if anything is. A caller with a few
// budgets has as many bytes of charges as of all else, and without names that is a half of it. Who reads a record finds them at the
// tries, as in records of before.
const chargesMember = `,"charges":[[`

// What else is to be known of a charge; the sum is written.
const (
	countsTokens = 1 << iota // its unit is tokens
	ofItsUser                // its subject is the record's user
	inMicros                 // its window is in microseconds, and not in minutes
)

var errCharges = errors.New("its charges cannot be read")

// encode appends the text of a record.
func encode(b []byte, r *usage.Record) ([]byte, error) {
	b, err := appendRecord(b, r)
	if err != nil || !slices.ContainsFunc(r.Tries, func(t pipeline.Try) bool { return len(t.Charges) > 0 }) {
		return b, err
	}
	return appendCharges(b[:len(b)-len("}")], r), nil
}

// appendCharges appends the member, and the end of the record.
func appendCharges(b []byte, r *usage.Record) []byte {
	b = append(b, chargesMember[:len(chargesMember)-1]...)
	for i := range r.Tries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		for j := range r.Tries[i].Charges {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendCharge(b, &r.Tries[i].Charges[j], r.User)
		}
		b = append(b, ']')
	}
	return append(b, "]}"...)
}

func appendCharge(b []byte, c *pipeline.Charge, user string) []byte {
	also, subject, window := int64(0), c.Subject, c.Start/minute
	if c.Tokens {
		also |= countsTokens
	}
	if subject != "" && subject == user {
		also, subject = also|ofItsUser, ""
	}
	if c.Start%minute != 0 {
		also, window = also|inMicros, c.Start
	}
	b = appendText(append(b, '['), c.Budget)
	b = appendText(append(b, ','), subject)
	b = strconv.AppendInt(append(b, ','), window, 10)
	b = appendText(append(b, ','), c.Lease)
	b = strconv.AppendInt(append(b, ','), c.Held, 10)
	if also != 0 {
		b = strconv.AppendInt(append(b, ','), also, 10)
	}
	return append(b, ']')
}

// appendText appends a text as JSON. Nearly all are ids, in which nothing needs to be escaped.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ = jsontext.AppendQuote(b, s) // what is no UTF-8 is replaced
			return b
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// readCharges gives the tries of a record the charges of its text, if they stand there by themselves.
func readCharges(text []byte, r *usage.Record) error {
	at := bytes.LastIndex(text, []byte(chargesMember)) // within a text, quotes have backslashes before them
	if at < 0 {
		return nil
	}
	var tries [][]jsontext.Value
	if err := json.Unmarshal(text[at+len(`,"charges":`):len(text)-len("}")], &tries); err != nil {
		return fmt.Errorf("%w: %w", errCharges, err)
	}
	if len(tries) != len(r.Tries) {
		return errCharges
	}
	for i, charges := range tries {
		if len(charges) == 0 {
			continue
		}
		all := make([]pipeline.Charge, len(charges))
		for j, charge := range charges {
			if err := readCharge(charge, r.User, &all[j]); err != nil {
				return err
			}
		}
		r.Tries[i].Charges = all
	}
	return nil
}

func readCharge(charge jsontext.Value, user string, into *pipeline.Charge) error {
	var fields []jsontext.Value
	if err := json.Unmarshal(charge, &fields); err != nil || len(fields) < 5 {
		return errCharges
	}
	var also int64
	for i, field := range []any{&into.Budget, &into.Subject, &into.Start, &into.Lease, &into.Held, &also}[:min(len(fields), 6)] {
		if err := json.Unmarshal(fields[i], field); err != nil {
			return fmt.Errorf("%w: %w", errCharges, err)
		}
	}
	into.Tokens = also&countsTokens != 0
	if also&ofItsUser != 0 {
		into.Subject = user
	}
	if also&inMicros == 0 {
		into.Start *= minute
	}
	return nil
}
