package usage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// The kinds of journal entries. Each holds a Record, as far as it is known by then.
const (
	kindIntent  journal.Kind = iota + 1 // whose exchange it is, and one try that is about to be sent
	kindOutcome                         // only the exchange's id, and how one try ended
	kindRecord                          // the whole: the exchange is over
	kindCarried                         // an open exchange, written again so that its first segment can go
)

// An entry's payload is a version, then the fields in the order of appendRecord, without names: numbers as varints, texts
// and lists behind their length. This costs a tenth of JSON, on the request's path and in the worker. Whoever changes the
// fields makes another version and keeps reading the older ones.
const (
	entryVersion = 8
	// wholesVersion knew no parts of usage.
	wholesVersion = 7
	// lengthyVersion had all of a charge at length.
	lengthyVersion = 6
	// budgetsVersion knew nothing of how and where tries were served, and of what is for a call itself.
	budgetsVersion = 5
	// choicesVersion knew no budgets.
	choicesVersion = 4
	// clocksVersion knew no classes, no choices, and of tries neither servers nor credentials nor hedges.
	clocksVersion = 3
	// tracesVersion knew neither what providers say of their answers, nor when stages decided, nor of clocks that are wrong.
	tracesVersion = 2
	// firstVersion knew no traces.
	firstVersion = 1
)

// maxText is how much of a text a record keeps, in bytes. Callers and providers write into it.
const maxText = 4096

var (
	errNewer   = errors.New("the journal was written by a newer Penstock (start that one, or let it write its records first)")
	errGarbled = errors.New("the entry cannot be decoded")
)

// appendRecord appends the payload for a record. The id comes first, for entryID.
func appendRecord(b []byte, r *Record) []byte {
	b = append(b, entryVersion)
	b = appendText(b, r.ID)
	b = appendInt(b, r.Time.UnixMicro())
	b = appendText(b, r.Org)
	b = appendText(b, r.Project)
	b = appendText(b, r.Key)
	b = appendText(b, r.User)
	b = appendText(b, r.Model)
	b = appendText(b, r.Target)
	b = appendText(b, string(r.Op))
	b = appendText(b, string(r.Dialect))
	b = appendInt(b, int64(r.Status))
	b = append(b, flags(r.Stream, r.Unpriced, r.Replayed, r.Error != nil))
	if r.Error != nil {
		b = appendText(b, r.Error.Code)
		b = appendText(b, r.Error.Message)
		b = appendText(b, r.Error.Detail)
	}
	b = appendUsage(b, r.Usage)
	b = appendInt(b, int64(r.CostNano))
	b = appendInt(b, r.Timings.TotalNS)
	b = appendInt(b, r.Timings.FirstNS)
	b = appendInt(b, r.Timings.OverheadNS)
	b = appendText(b, r.ClientID)
	b = appendTrace(b, r)
	b = appendInt(b, int64(len(r.Tags)))
	for _, tag := range r.Tags {
		b = appendText(b, tag)
	}
	b = appendInt(b, int64(len(r.Tries)))
	for i := range r.Tries {
		b = appendTry(b, &r.Tries[i], r.User)
	}
	b = appendInt(b, int64(len(r.Stages)))
	for i := range r.Stages {
		b = appendText(b, r.Stages[i].Stage)
		b = appendText(b, r.Stages[i].Decision)
		b = appendInt(b, r.Stages[i].TookNS)
		b = appendInt(b, r.Stages[i].AtNS)
	}
	b = appendInt(b, r.ClockMS)
	b = appendText(b, r.Class)
	return appendChoice(b, r.Choice)
}

func appendChoice(b []byte, c *pipeline.Choice) []byte {
	b = append(b, flags(c != nil))
	if c == nil {
		return b
	}
	b = appendText(b, c.Policy)
	b = appendText(b, c.Rule)
	b = appendInt(b, int64(len(c.Candidates)))
	for i := range c.Candidates {
		one := &c.Candidates[i]
		b = appendText(b, one.Target)
		b = appendText(b, one.Excluded)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(one.Score))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(one.Probability))
	}
	return b
}

// appendTrace appends what is known of the trace, behind a byte that says what that is.
func appendTrace(b []byte, r *Record) []byte {
	b = append(b, flags(!r.Trace.IsZero(), !r.ParentSpan.IsZero(), r.TraceState != "")|byte(r.TraceFlags)<<4)
	if !r.Trace.IsZero() {
		b = append(b, r.Trace[:]...)
	}
	if !r.ParentSpan.IsZero() {
		b = append(b, r.ParentSpan[:]...)
	}
	if r.TraceState != "" {
		b = appendText(b, r.TraceState)
	}
	return b
}

func appendTry(b []byte, t *pipeline.Try, user string) []byte {
	b = appendText(b, t.ID)
	b = appendText(b, t.Target)
	b = appendInt(b, t.StartNS)
	b = appendInt(b, t.TookNS)
	b = appendInt(b, t.FirstNS)
	b = appendInt(b, int64(t.Status))
	b = appendText(b, t.Reason)
	b = appendText(b, t.Detail)
	b = appendText(b, t.Upstream)
	b = appendText(b, string(t.Outcome))
	b = appendUsage(b, t.Usage)
	b = appendInt(b, int64(t.CostNano))
	b = append(b, flags(t.Unpriced))
	b = appendText(b, t.AnswerID)
	b = appendText(b, t.Model)
	b = appendInt(b, int64(len(t.Finish)))
	for _, reason := range t.Finish {
		b = appendText(b, string(reason))
	}
	b = appendText(b, t.Endpoint)
	b = appendInt(b, int64(t.Credential))
	b = append(b, flags(t.Hedge, t.Cut))
	b = appendInt(b, t.MaxOutput)
	b = appendInt(b, int64(t.BoundNano))
	b = appendInt(b, int64(len(t.Charges)))
	for i := range t.Charges {
		b = appendCharge(b, &t.Charges[i], t.BoundNano, user)
	}
	b = appendText(b, t.Tier)
	b = appendText(b, t.Region)
	return appendInt(b, int64(t.FeeNano))
}

// What the first byte of a charge says. What nearly always is of a few kinds is told by it: a call may have many charges, and they are
// written twice.
const (
	chargeTokens  = 1 << iota
	chargeSubject // there is one
	chargeUser    // it is the record's user
	chargeMinute  // the window begins with a whole one, and they are counted
	chargeBound   // what is reserved is the bound of the try
)

// minute is in microseconds.
const minute = 60_000_000

func appendCharge(b []byte, c *pipeline.Charge, bound llm.Money, user string) []byte {
	own := c.Subject != "" && c.Subject == user
	whole, bounded := c.Start%minute == 0, c.Held == int64(bound)
	b = append(b, flags(c.Tokens, c.Subject != "", own, whole, bounded))
	b = appendText(b, c.Budget)
	if c.Subject != "" && !own {
		b = appendText(b, c.Subject)
	}
	if whole {
		b = appendInt(b, c.Start/minute)
	} else {
		b = appendInt(b, c.Start)
	}
	b = appendText(b, c.Lease)
	if !bounded {
		b = appendInt(b, c.Held)
	}
	return b
}

func appendInt(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

// appendText cuts what is longer than maxText.
func appendText(b []byte, s string) []byte {
	s = clip(s, maxText)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// clip cuts a text that is longer than most bytes, at a rune.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

func flags(bits ...bool) (b byte) {
	for i, bit := range bits {
		if bit {
			b |= 1 << i
		}
	}
	return b
}

// entryID gives the exchange's id of a payload, which is enough to know what an entry is about, without a copy of either.
func entryID(payload []byte) (id []byte, err error) {
	if len(payload) == 0 {
		return nil, errGarbled
	}
	if err := readable(payload[0]); err != nil {
		return nil, err
	}
	n, size := binary.Uvarint(payload[1:])
	if rest := payload[1+max(size, 0):]; size > 0 && n <= uint64(len(rest)) {
		return rest[:n], nil
	}
	return nil, errGarbled
}

// readable says whether entries of a version can be read.
func readable(made byte) error {
	if made < firstVersion || made > entryVersion {
		return fmt.Errorf("%w: version %d, this one reads %d", errNewer, made, entryVersion)
	}
	return nil
}

// decodeRecord is the inverse of appendRecord. The record shares the payload's memory. Its texts are valid UTF-8 without
// NUL, whatever was sent to us, so that every store takes them.
func decodeRecord(payload string) (*Record, error) {
	d := decoder{rest: payload}
	d.version()
	r := &Record{
		ID: d.text(), Time: time.UnixMicro(d.int()).UTC(), Org: d.text(), Project: d.text(), Key: d.text(), User: d.text(),
		Model: d.text(), Target: d.text(), Op: llm.Operation(d.text()), Dialect: llm.Dialect(d.text()), Status: int(d.int()),
	}
	bits := d.byte()
	r.Stream, r.Unpriced, r.Replayed = bits&1 != 0, bits&2 != 0, bits&4 != 0
	if bits&8 != 0 {
		r.Error = &Error{Code: d.text(), Message: d.text(), Detail: d.text()}
	}
	r.Usage = d.usage()
	r.CostNano = llm.Money(d.int())
	r.Timings = Timings{TotalNS: d.int(), FirstNS: d.int(), OverheadNS: d.int()}
	r.ClientID = d.text()
	d.trace(r)
	r.Tags = list(&d, (*decoder).text)
	r.Tries = list(&d, func(d *decoder) pipeline.Try { return d.try(r.User) })
	r.Stages = list(&d, (*decoder).stage)
	if d.made > tracesVersion {
		r.ClockMS = d.int()
	}
	if d.made > clocksVersion {
		r.Class = d.text()
		r.Choice = d.choice()
	}
	if d.err == nil && d.rest != "" {
		d.err = errGarbled
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

// A decoder reads fields one after the other. After an error it gives zero values.
type decoder struct {
	made byte // the entry's version
	rest string
	err  error
}

func (d *decoder) version() {
	if d.made = d.byte(); d.err != nil {
		return
	}
	if err := readable(d.made); err != nil {
		d.fail(err)
	}
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = ""
}

func (d *decoder) byte() byte {
	if d.rest == "" {
		d.fail(errGarbled)
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uint() uint64 {
	var n uint64
	for i := range min(len(d.rest), binary.MaxVarintLen64) {
		b := d.rest[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			d.rest = d.rest[i+1:]
			return n
		}
	}
	d.fail(errGarbled)
	return 0
}

func (d *decoder) int() int64 {
	u := d.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) text() string {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.fail(errGarbled)
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}
	return s
}

// fill reads as many bytes as there is room for.
func (d *decoder) fill(b []byte) {
	if len(d.rest) < len(b) {
		d.fail(errGarbled)
		return
	}
	copy(b, d.rest)
	d.rest = d.rest[len(b):]
}

// trace is the inverse of appendTrace.
func (d *decoder) trace(r *Record) {
	if d.made == firstVersion {
		return
	}
	bits := d.byte()
	r.TraceFlags = w3c.Flags(bits >> 4)
	if bits&1 != 0 {
		d.fill(r.Trace[:])
	}
	if bits&2 != 0 {
		d.fill(r.ParentSpan[:])
	}
	if bits&4 != 0 {
		r.TraceState = d.text()
	}
}

func (d *decoder) try(user string) pipeline.Try {
	t := pipeline.Try{
		ID: d.text(), Target: d.text(), StartNS: d.int(), TookNS: d.int(), FirstNS: d.int(), Status: int(d.int()),
		Reason: d.text(), Detail: d.text(), Upstream: d.text(), Outcome: pipeline.Outcome(d.text()),
		Usage: d.usage(), CostNano: llm.Money(d.int()), Unpriced: d.byte()&1 != 0,
	}
	if d.made > tracesVersion {
		t.AnswerID, t.Model = d.text(), d.text()
		t.Finish = list(d, func(d *decoder) llm.FinishReason { return llm.FinishReason(d.text()) })
	}
	if d.made > clocksVersion {
		t.Endpoint, t.Credential = d.text(), int(d.int())
		bits := d.byte()
		t.Hedge, t.Cut = bits&1 != 0, bits&2 != 0
	}
	if d.made > choicesVersion {
		t.MaxOutput, t.BoundNano = d.int(), llm.Money(d.int())
		t.Charges = list(d, func(d *decoder) pipeline.Charge { return d.charge(t.BoundNano, user) })
	}
	if d.made > budgetsVersion {
		t.Tier, t.Region, t.FeeNano = d.text(), d.text(), llm.Money(d.int())
	}
	return t
}

// charge is the inverse of appendCharge.
func (d *decoder) charge(bound llm.Money, user string) (c pipeline.Charge) {
	if d.made <= lengthyVersion {
		return pipeline.Charge{
			Budget: d.text(), Subject: d.text(), Start: d.int(), Lease: d.text(), Held: d.int(), Tokens: d.byte()&1 != 0,
		}
	}
	bits := d.byte()
	c.Budget, c.Tokens = d.text(), bits&chargeTokens != 0
	switch {
	case bits&chargeUser != 0:
		c.Subject = user
	case bits&chargeSubject != 0:
		c.Subject = d.text()
	}
	if c.Start = d.int(); bits&chargeMinute != 0 {
		c.Start *= minute
	}
	if c.Lease = d.text(); bits&chargeBound != 0 {
		c.Held = int64(bound)
	} else {
		c.Held = d.int()
	}
	return c
}

// choice is the inverse of appendChoice.
func (d *decoder) choice() *pipeline.Choice {
	if d.byte()&1 == 0 {
		return nil
	}
	return &pipeline.Choice{Policy: d.text(), Rule: d.text(), Candidates: list(d, func(d *decoder) pipeline.Candidate {
		return pipeline.Candidate{Target: d.text(), Excluded: d.text(), Score: d.float(), Probability: d.float()}
	})}
}

// float gives what JSON can hold: records go there.
func (d *decoder) float() float64 {
	var b [8]byte
	d.fill(b[:])
	f := math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

func (d *decoder) stage() pipeline.Decision {
	s := pipeline.Decision{Stage: d.text(), Decision: d.text(), TookNS: d.int()}
	if d.made > tracesVersion {
		s.AtNS = d.int()
	}
	return s
}

// list reads a list. It grows as elements are read, so that a garbled length does not take memory.
func list[T any](d *decoder, element func(*decoder) T) []T {
	n := d.int()
	if n < 0 || n > int64(len(d.rest)) {
		d.fail(errGarbled)
	}
	if n == 0 || d.err != nil {
		return nil
	}
	all := make([]T, 0, min(n, 16))
	for range n {
		all = append(all, element(d))
		if d.err != nil {
			return nil
		}
	}
	return all
}
