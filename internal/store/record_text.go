package store

import (
	"bytes"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// recordText is how records are written: what is zero is left out, since the store's pages are filled by records more than by all else.
var recordText = json.JoinOptions(jsontext.AllowInvalidUTF8(true), json.OmitZeroStructFields(true))

// appendRecord appends the JSON of a record, but for the charges of its tries. To the byte it is what json makes of the record with
// recordText, without its reflection; a test compares the two over all fields.
func appendRecord(b []byte, r *usage.Record) ([]byte, error) {
	o := object(append(b, '{'))
	o.text("id", r.ID)
	if err := o.moment("time", r.Time); err != nil {
		return b, err
	}
	o.text("org", r.Org)
	o.text("project", r.Project)
	o.text("key", r.Key)
	o.text("user", r.User)
	o.text("model", r.Model)
	o.text("target", r.Target)
	o.text("op", string(r.Op))
	o.text("dialect", string(r.Dialect))
	o.flag("stream", r.Stream)
	o.number("status", int64(r.Status))
	if e := r.Error; e != nil {
		o.begin("error", '{')
		o.text("code", e.Code)
		o.text("message", e.Message)
		o.text("detail", e.Detail)
		o.put('}')
	}
	o.usage(&r.Usage)
	o.number("cost_nano", int64(r.CostNano))
	o.flag("unpriced", r.Unpriced)
	if t := &r.Timings; *t != (usage.Timings{}) {
		o.begin("timings", '{')
		o.number("total_ns", t.TotalNS)
		o.number("first_token_ns", t.FirstNS)
		o.number("overhead_ns", t.OverheadNS)
		o.put('}')
	}
	o.text("class", r.Class)
	// Few have a choice, and there is no end of ways to write a score.
	if c := r.Choice; c != nil && (c.Policy != "" || c.Rule != "" || c.Candidates != nil) {
		if err := o.other("choice", c); err != nil {
			return b, err
		}
	}
	if r.Tags != nil {
		listOf(&o, "tags", r.Tags)
	}
	o.text("client_request_id", r.ClientID)
	if !r.Trace.IsZero() {
		o.text("trace", r.Trace.String())
	}
	if !r.ParentSpan.IsZero() {
		o.text("parent_span", r.ParentSpan.String())
	}
	if r.Tries != nil {
		o.begin("tries", '[')
		for i := range r.Tries {
			o.element(i)
			o.try(&r.Tries[i])
		}
		o.put(']')
	}
	if r.Stages != nil {
		o.begin("stages", '[')
		for i := range r.Stages {
			d := &r.Stages[i]
			o.element(i)
			o.put('{')
			o.text("stage", d.Stage)
			o.text("decision", d.Decision)
			o.number("at_ns", d.AtNS)
			o.number("took_ns", d.TookNS)
			o.put('}')
		}
		o.put(']')
	}
	o.number("clock_corrected_ms", r.ClockMS)
	o.flag("replayed", r.Replayed)
	o.put('}')
	return o, nil
}

// An object is the JSON of one as far as it is written.
type object []byte

func (o *object) try(t *pipeline.Try) {
	o.put('{')
	o.text("id", t.ID)
	o.text("target", t.Target)
	o.number("start_ns", t.StartNS)
	o.number("took_ns", t.TookNS)
	o.number("first_token_ns", t.FirstNS)
	o.number("status", int64(t.Status))
	o.text("reason", t.Reason)
	o.text("detail", t.Detail)
	o.text("upstream_id", t.Upstream)
	o.text("endpoint", t.Endpoint)
	o.number("credential", int64(t.Credential))
	o.flag("hedge", t.Hedge)
	o.text("response_id", t.AnswerID)
	o.text("response_model", t.Model)
	if len(t.Finish) > 0 {
		listOf(o, "finish_reasons", t.Finish)
	}
	o.text("service_tier", t.Tier)
	o.text("inference_region", t.Region)
	o.flag("cut", t.Cut)
	o.text("outcome", string(t.Outcome))
	o.usage(&t.Usage)
	o.number("cost_nano", int64(t.CostNano))
	o.number("fee_nano", int64(t.FeeNano))
	o.flag("unpriced", t.Unpriced)
	o.number("max_output", t.MaxOutput)
	o.number("bound_nano", int64(t.BoundNano))
	o.put('}')
}

// usage appends the member of that name, if anything was used.
func (o *object) usage(u *llm.Usage) {
	if *u == (llm.Usage{}) {
		return
	}
	o.begin("usage", '{')
	o.number("input", u.Input)
	o.number("output", u.Output)
	o.number("cached_input", u.CachedInput)
	o.number("cache_write", u.CacheWrite)
	o.number("reasoning", u.Reasoning)
	o.flag("estimated", u.Estimated)
	if u.Parts != (llm.Parts{}) {
		for i, part := range u.Parts.All() {
			o.number(llm.PartNames[i], *part)
		}
	}
	o.put('}')
}

// name appends the name of a member and what is before it. Behind a brace there is no member yet: no value ends with one that opens.
func (o *object) name(name string) {
	b := *o
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	*o = append(append(append(b, '"'), name...), '"', ':')
}

func (o *object) begin(name string, bracket byte) {
	o.name(name)
	*o = append(*o, bracket)
}

// element appends what is before an element of a list.
func (o *object) element(i int) {
	if i > 0 {
		*o = append(*o, ',')
	}
}

func (o *object) put(bracket byte) { *o = append(*o, bracket) }

func (o *object) text(name, s string) {
	if s != "" {
		o.name(name)
		*o = appendText(*o, s)
	}
}

func listOf[T ~string](o *object, name string, all []T) {
	o.begin(name, '[')
	for i, s := range all {
		o.element(i)
		*o = appendText(*o, string(s))
	}
	o.put(']')
}

func (o *object) number(name string, n int64) {
	if n != 0 {
		o.name(name)
		*o = strconv.AppendInt(*o, n, 10)
	}
}

func (o *object) flag(name string, is bool) {
	if is {
		o.name(name)
		*o = append(*o, "true"...)
	}
}

// moment appends a time. Nearly all are of UTC, and of our age.
func (o *object) moment(name string, t time.Time) error {
	switch {
	case t.IsZero():
		return nil
	case t.Location() != time.UTC || t.Year() < 0 || t.Year() > 9999:
		return o.other(name, t)
	}
	o.begin(name, '"')
	*o = append(t.AppendFormat(*o, time.RFC3339Nano), '"')
	return nil
}

// other appends a value as json has it.
func (o *object) other(name string, v any) error {
	o.name(name)
	w := bytes.NewBuffer(*o)
	err := json.MarshalWrite(w, v, recordText)
	*o = w.Bytes()
	return err
}
