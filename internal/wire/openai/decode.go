package openai

import (
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// A source is a JSON object on its way into the canonical form. Members that the form can hold exactly are taken; all
// others stay, and end up in some Extra: unknown ones, null, and older or odder ways to say something. Of the latter the
// meaning is decoded nevertheless, so that whoever reads the canonical form sees it; [EncodeChat] then writes what is in
// Extra and leaves out what it made of it.
type source struct {
	text   []byte
	fields []llm.Field
}

// sourceOf finds the members of a value; one that is no object has none.
func sourceOf(value []byte) *source {
	return &source{text: value, fields: fieldsOf(value)}
}

// value is the text of a member, nil if it is not there, or taken.
func (o *source) value(name string) []byte {
	for _, f := range o.fields {
		if f.Name == name {
			return f.Value.Of(o.text)
		}
	}
	return nil
}

// kind is the first byte of a member, 0 if it is not there.
func (o *source) kind(name string) byte {
	if v := o.value(name); v != nil {
		return v[0]
	}
	return 0
}

// has reports whether a member is there, be it null, and has not been taken.
func (o *source) has(name string) bool { return o.value(name) != nil }

// take marks members as held by the canonical form.
func (o *source) take(names ...string) {
	o.fields = slices.DeleteFunc(o.fields, func(f llm.Field) bool { return slices.Contains(names, f.Name) })
}

// rest are the members that were not taken.
func (o *source) rest() []llm.Member {
	var all []llm.Member
	for _, f := range o.fields {
		all = append(all, llm.Member{Name: f.Name, Value: f.Value.Of(o.text)})
	}
	return all
}

// only reports whether there are no members but these.
func (o *source) only(names ...string) bool {
	return !slices.ContainsFunc(o.fields, func(f llm.Field) bool { return !slices.Contains(names, f.Name) })
}

// str is a member as a string, "" if it is none.
func (o *source) str(name string) string {
	if o.kind(name) != '"' {
		return ""
	}
	return string(unquoted(o.value(name)))
}

// takeString takes a string, unless it is empty and so could not be told from one that is absent.
func (o *source) takeString(name string, to *string) {
	if s := o.str(name); s != "" {
		*to = s
		o.take(name)
	}
}

func (o *source) takeNumber(name string, to **float64) {
	if n, err := strconv.ParseFloat(string(o.value(name)), 64); err == nil {
		*to = &n
		o.take(name)
	}
}

// integer is a member as a whole number, nil if it is none.
func (o *source) integer(name string) *int64 {
	n, err := strconv.ParseInt(string(o.value(name)), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

func (o *source) takeInteger(name string, to **int64) {
	if n := o.integer(name); n != nil {
		*to = n
		o.take(name)
	}
}

func (o *source) takeBool(name string, to **bool) {
	if k := o.kind(name); k == 't' || k == 'f' {
		b := k == 't'
		*to = &b
		o.take(name)
	}
}

// takeObject takes an object as it stands.
func (o *source) takeObject(name string, to *[]byte) {
	if o.kind(name) == '{' {
		*to = o.value(name)
		o.take(name)
	}
}

// stringsOf reads an array of strings; ok is false if it is empty or something else.
func stringsOf(value []byte) (all []string, ok bool) {
	c := cursor{text: value}
	ok = true
	for range c.elements() {
		if c.kind() != '"' {
			ok = false
			continue
		}
		all = append(all, string(unquoted(c.value())))
	}
	return all, ok && len(all) > 0
}

// objectsOf opens the objects of an array; ok is false if it is empty or something else.
func objectsOf(value []byte) (all []*source, ok bool) {
	c := cursor{text: value}
	ok = true
	for range c.elements() {
		if c.kind() != '{' {
			ok = false
			continue
		}
		all = append(all, sourceOf(c.value()))
	}
	return all, ok && len(all) > 0
}

// DecodeChat makes the canonical form of the body of a chat. It loses nothing: what the form has no place for is in the
// Extra of the chat, of its messages, of their parts, or of its tools. The form points into body. The error, a
// *fault.Error, is for a body that is no JSON object or has no messages; [ParseChat] has refused such before.
func DecodeChat(body []byte) (*llm.Chat, error) {
	if !isJSON(body) {
		return nil, fault.New(fault.InvalidJSON, "The body is not JSON.")
	}
	o := sourceOf(body)
	all, ok := objectsOf(o.value("messages"))
	if !ok {
		return nil, fault.New(fault.InvalidRequest, "messages: expected an array of messages.")
	}
	c := &llm.Chat{}
	for _, m := range all {
		c.Messages = append(c.Messages, decodeMessage(m))
	}
	o.take("messages")
	decodeTools(o, c)
	decodeChoice(o, c)
	decodeFormat(o, &c.Format)
	decodeSampling(o, &c.Sampling)
	decodeLimits(o, c)
	o.takeString(modelField, &c.Model)
	o.takeString("reasoning_effort", &c.Reasoning.Effort)
	o.takeString("user", &c.User)
	o.takeString(tierField, &c.ServiceTier)
	o.takeString("prompt_cache_key", &c.CacheKey)
	o.takeBool("parallel_tool_calls", &c.Parallel)
	if c.Stream = o.kind("stream") == 't'; c.Stream {
		o.take("stream")
	}
	if all, ok := stringsOf(o.value("modalities")); ok {
		c.Modalities = all
		o.take("modalities")
	}
	decodeMetadata(o, c)
	c.Extra = o.rest()
	return c, nil
}

func decodeSampling(o *source, s *llm.Sampling) {
	o.takeNumber("temperature", &s.Temperature)
	o.takeNumber("top_p", &s.TopP)
	o.takeNumber("frequency_penalty", &s.FrequencyPenalty)
	o.takeNumber("presence_penalty", &s.PresencePenalty)
	o.takeInteger("top_k", &s.TopK)
	o.takeInteger("seed", &s.Seed)
	o.takeInteger("n", &s.N)
	o.takeBool("logprobs", &s.Logprobs)
	o.takeInteger("top_logprobs", &s.TopLogprobs)
	o.takeObject("logit_bias", &s.LogitBias)
	o.takeString("verbosity", &s.Verbosity)
}

// decodeLimits reads what ends generation. max_tokens is the older name, which some models refuse and some servers need,
// so it stays; so does a lone stop sequence that is no array.
func decodeLimits(o *source, c *llm.Chat) {
	const name, old = "max_completion_tokens", "max_tokens"
	c.MaxOutput = o.integer(name)
	switch {
	case c.MaxOutput != nil && !o.has(old):
		o.take(name)
	case c.MaxOutput == nil:
		c.MaxOutput = o.integer(old)
	}
	if s := o.str("stop"); s != "" {
		c.Stop = []string{s}
	} else if all, ok := stringsOf(o.value("stop")); ok {
		c.Stop = all
		o.take("stop")
	}
}

// decodeMetadata reads metadata if it is what the vendor says: strings by name.
func decodeMetadata(o *source, c *llm.Chat) {
	inner := sourceOf(o.value("metadata"))
	all := make(map[string]string, len(inner.fields))
	for _, f := range inner.fields {
		value := f.Value.Of(inner.text)
		if value[0] != '"' {
			return
		}
		all[f.Name] = string(unquoted(value))
	}
	if len(all) > 0 {
		c.Metadata = all
		o.take("metadata")
	}
}

func decodeFormat(o *source, f *llm.Format) {
	inner := sourceOf(o.value("response_format"))
	kind := llm.FormatKind(inner.str("type"))
	switch kind {
	case llm.FormatText, llm.FormatJSON:
		f.Kind = kind
		if inner.only("type") {
			o.take("response_format")
		}
	case llm.FormatJSONSchema:
		f.Kind = kind
		schema := sourceOf(inner.value("json_schema"))
		schema.takeString("name", &f.Name)
		schema.takeString("description", &f.Description)
		schema.takeObject("schema", &f.Schema)
		schema.takeBool("strict", &f.Strict)
		if inner.only("type", "json_schema") && len(schema.fields) == 0 && inner.kind("json_schema") == '{' {
			o.take("response_format")
		}
	}
}
