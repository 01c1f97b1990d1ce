package sim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The connection-level outcomes that stand beside statuses in a plan.
const (
	doDrop = "drop" // close the connection without an answer
	doRst  = "rst"  // reset it
	doHang = "hang" // never answer
)

// The setters below are what the table of knobs is made of. Each turns a knob's text into a field of the behaviour.

type setter = func(*behaviour, string) error

func text(field func(*behaviour) *string) setter {
	return func(b *behaviour, v string) error { *field(b) = v; return nil }
}

func oneOf(values []string, field func(*behaviour) *string) setter {
	return func(b *behaviour, v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("%q is unknown", v)
		}
		*field(b) = v
		return nil
	}
}

// flag takes 1 or nothing for yes and 0 for no.
func flag(field func(*behaviour) *bool) setter {
	return func(b *behaviour, v string) error {
		if v != "" && v != "0" && v != "1" {
			return fmt.Errorf("%q is neither 0 nor 1", v)
		}
		*field(b) = v != "0"
		return nil
	}
}

func number(field func(*behaviour) *int) setter {
	return func(b *behaviour, v string) error {
		n, err := count(v)
		*field(b) = n
		return err
	}
}

func duration(field func(*behaviour) *time.Duration) setter {
	return func(b *behaviour, v string) error {
		d, err := parseDuration(v)
		*field(b) = d
		return err
	}
}

func delay(field func(*behaviour) **distribution) setter {
	return func(b *behaviour, v string) error {
		d, err := parseDelay(v)
		*field(b) = &d
		return err
	}
}

func event(field func(*behaviour) *spot) setter {
	return func(b *behaviour, v string) error {
		k, err := count(v)
		*field(b) = spot{at: spotEvent, k: k}
		return err
	}
}

func pointer(field **int, v string) error {
	n, err := count(v)
	*field = &n
	return err
}

// maxCount bounds the numbers in knobs: events, tokens, bytes.
const maxCount = 64 << 20

// count reads a number from 0 to maxCount.
func count(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > maxCount {
		return 0, fmt.Errorf("%q is not a number from 0 to %d", v, maxCount)
	}
	return n, nil
}

func setPlan(b *behaviour, v string) error {
	b.plan = splitPlan(v)
	for _, step := range b.plan {
		switch step {
		case doDrop, doRst, doHang:
			continue
		}
		status, err := strconv.Atoi(step)
		if err != nil || status < 200 || status > 599 {
			return fmt.Errorf("%q is not a status from 200 to 599", step)
		}
	}
	return nil
}

// splitPlan splits a list by call, but leaves an HTTP date, which has a comma, whole.
func splitPlan(v string) []string {
	if _, err := http.ParseTime(v); err == nil {
		return []string{v}
	}
	return strings.Split(v, ",")
}

// step is the entry of a plan that holds for its n-th call, counted from 0; "" of an empty plan.
func step(plan []string, n int) string {
	if len(plan) == 0 {
		return ""
	}
	return plan[min(n, len(plan)-1)]
}

func setHeader(b *behaviour, v string) error {
	name, value, ok := strings.Cut(v, ":")
	if !ok || name == "" {
		return fmt.Errorf("%q is not a header", v)
	}
	// Behaviours are copied from the model's to each call's, so a shared map must not be written to.
	header := b.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Add(name, strings.TrimSpace(value))
	b.header = header
	return nil
}

func setEncoding(b *behaviour, v string) error {
	if v != "gzip" && v != "gzip-hidden" && !strings.HasSuffix(v, "-lie") {
		return fmt.Errorf("%q is unknown", v)
	}
	b.encoding = v
	return nil
}

func setStall(b *behaviour, v string) error {
	where, long, timed := strings.Cut(v, ":")
	b.stallFor = 0
	if timed {
		d, err := parseDuration(long)
		if err != nil {
			return err
		}
		b.stallFor = d
	}
	if where == spotHeaders || where == spotBody {
		b.stall = spot{at: where}
		return nil
	}
	k, err := count(where)
	b.stall = spot{at: spotEvent, k: k}
	return err
}

func setReasoning(field string) setter {
	return func(b *behaviour, v string) error {
		n, err := count(v)
		b.reasoning, b.reasoningField = n, field
		return err
	}
}

func share(to func(*behaviour) **float64) setter {
	return func(b *behaviour, v string) error {
		share, err := strconv.ParseFloat(v, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return fmt.Errorf("%q is not a share from 0 to 1", v)
		}
		*to(b) = &share
		return nil
	}
}

// cutHow reads "n" or "n:rst".
func cutHow(v string) (n int, reset bool, err error) {
	where, how, given := strings.Cut(v, ":")
	if given && how != doRst {
		return 0, false, fmt.Errorf("%q is not a way to cut", how)
	}
	n, err = count(where)
	return n, given, err
}

func setCut(b *behaviour, v string) (err error) {
	b.cut.at = spotEvent
	b.cut.k, b.reset, err = cutHow(v)
	return err
}

func setCutBytes(b *behaviour, v string) error {
	n, reset, err := cutHow(v)
	b.cutBytes, b.reset = &n, reset
	return err
}

func setChunks(b *behaviour, v string) error {
	b.chunks = nil
	for part := range strings.SplitSeq(v, ",") {
		n, err := count(part)
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("a packet has at least one byte")
		}
		b.chunks = append(b.chunks, n)
	}
	return nil
}
