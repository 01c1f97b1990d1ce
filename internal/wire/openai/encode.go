package openai

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// EncodeChat writes a chat in this dialect. What a chat has in an Extra is written as it is, and instead of what the
// canonical form made of it (see [DecodeChat]). It refuses parts that the dialect has no words for rather than drop them;
// reasoning is reduced to its text, and citations, a reasoning budget and its summary are not said.
func EncodeChat(c *llm.Chat) ([]byte, error) {
	e := encoder{dst: []byte{'{'}, chat: c}
	x := extra(c.Extra)
	e.text(x, modelField, c.Model)
	e.name("messages")
	e.dst = append(e.dst, '[')
	for i := range c.Messages {
		e.message(&c.Messages[i])
	}
	e.dst = append(e.dst, ']')
	e.tools(x)
	e.choice(x)
	e.format(x)
	e.sampling(x)
	e.limits(x)
	e.text(x, "reasoning_effort", c.Reasoning.Effort)
	if c.Reasoning.Off && c.Reasoning.Effort == "" {
		e.text(x, "reasoning_effort", "none")
	}
	e.text(x, "user", c.User)
	e.text(x, tierField, c.ServiceTier)
	e.text(x, "prompt_cache_key", c.CacheKey)
	e.boolean(x, "parallel_tool_calls", c.Parallel)
	if c.Stream && !x.has("stream") {
		e.boolean(x, "stream", &c.Stream)
	}
	e.strings(x, "modalities", c.Modalities)
	e.metadata(x)
	e.extra(c.Extra)
	return append(e.dst, '}'), e.err
}

// An extra is the members that are carried and not understood.
type extra []llm.Member

// has reports whether any of these members is there.
func (x extra) has(names ...string) bool {
	return slices.ContainsFunc(x, func(m llm.Member) bool { return slices.Contains(names, m.Name) })
}

// An encoder writes JSON. Names are followed by their values, elements by each other; the commas come by themselves.
type encoder struct {
	dst  []byte
	chat *llm.Chat
	err  error // the first thing that could not be said
}

func (e *encoder) refuse(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

// comma puts one where an element or a name is to follow another.
func (e *encoder) comma() {
	if last := e.dst[len(e.dst)-1]; last != '{' && last != '[' {
		e.dst = append(e.dst, ',')
	}
}

func (e *encoder) name(name string) {
	e.comma()
	e.quoted(name)
	e.dst = append(e.dst, ':')
}

// quoted writes a string.
func (e *encoder) quoted(s string) {
	var err error
	if e.dst, err = jsontext.AppendQuote(e.dst, s); err != nil {
		e.refuse("a text that is not UTF-8")
	}
}

// member writes a member with a string.
func (e *encoder) member(name, value string) {
	e.name(name)
	e.quoted(value)
}

func (e *encoder) raw(name string, value []byte) {
	e.name(name)
	e.dst = append(e.dst, value...)
}

func (e *encoder) extra(x extra) {
	for _, m := range x {
		e.raw(m.Name, m.Value)
	}
}

// The following write a member unless it is unset or in x.

func (e *encoder) text(x extra, name, value string) {
	if value != "" && !x.has(name) {
		e.member(name, value)
	}
}

func (e *encoder) boolean(x extra, name string, value *bool) {
	if value != nil && !x.has(name) {
		e.name(name)
		e.dst = strconv.AppendBool(e.dst, *value)
	}
}

func (e *encoder) number(x extra, name string, value *float64) {
	if value != nil && !x.has(name) {
		e.name(name)
		e.dst = jsontext.AppendFloat(e.dst, *value, 64)
	}
}

func (e *encoder) integer(x extra, name string, value *int64) {
	if value != nil && !x.has(name) {
		e.name(name)
		e.dst = strconv.AppendInt(e.dst, *value, 10)
	}
}

func (e *encoder) object(x extra, name string, value []byte) {
	if value != nil && !x.has(name) {
		e.raw(name, value)
	}
}

func (e *encoder) strings(x extra, name string, values []string) {
	if len(values) == 0 || x.has(name) {
		return
	}
	e.name(name)
	e.dst = append(e.dst, '[')
	for _, v := range values {
		e.comma()
		e.quoted(v)
	}
	e.dst = append(e.dst, ']')
}

func (e *encoder) sampling(x extra) {
	s := &e.chat.Sampling
	e.number(x, "temperature", s.Temperature)
	e.number(x, "top_p", s.TopP)
	e.number(x, "frequency_penalty", s.FrequencyPenalty)
	e.number(x, "presence_penalty", s.PresencePenalty)
	e.integer(x, "top_k", s.TopK)
	e.integer(x, "seed", s.Seed)
	e.integer(x, "n", s.N)
	e.boolean(x, "logprobs", s.Logprobs)
	e.integer(x, "top_logprobs", s.TopLogprobs)
	e.object(x, "logit_bias", s.LogitBias)
	e.text(x, "verbosity", s.Verbosity)
}

func (e *encoder) limits(x extra) {
	if !x.has("max_tokens") {
		e.integer(x, "max_completion_tokens", e.chat.MaxOutput)
	}
	e.strings(x, "stop", e.chat.Stop)
}

func (e *encoder) metadata(x extra) {
	if len(e.chat.Metadata) == 0 || x.has("metadata") {
		return
	}
	e.name("metadata")
	e.dst = append(e.dst, '{')
	for _, name := range slices.Sorted(maps.Keys(e.chat.Metadata)) {
		e.member(name, e.chat.Metadata[name])
	}
	e.dst = append(e.dst, '}')
}

func (e *encoder) format(x extra) {
	f := &e.chat.Format
	if f.Kind == llm.FormatUnset || x.has("response_format") {
		return
	}
	e.name("response_format")
	e.dst = append(e.dst, '{')
	e.member("type", string(f.Kind))
	if f.Kind == llm.FormatJSONSchema {
		e.name("json_schema")
		e.dst = append(e.dst, '{')
		e.text(nil, "name", f.Name)
		e.text(nil, "description", f.Description)
		e.object(nil, "schema", f.Schema)
		e.boolean(nil, "strict", f.Strict)
		e.dst = append(e.dst, '}')
	}
	e.dst = append(e.dst, '}')
}

func (e *encoder) tools(x extra) {
	if len(e.chat.Tools) == 0 || x.has("tools", "functions") {
		return
	}
	e.name("tools")
	e.dst = append(e.dst, '[')
	for i := range e.chat.Tools {
		e.tool(&e.chat.Tools[i])
	}
	e.dst = append(e.dst, ']')
}

func (e *encoder) tool(t *llm.Tool) {
	kind := toolType(t.Custom)
	e.comma()
	e.dst = append(e.dst, '{')
	if t.Name != "" {
		e.member("type", kind)
		e.name(kind)
		e.dst = append(e.dst, '{')
		e.member("name", t.Name)
		e.text(nil, "description", t.Description)
		e.object(nil, "parameters", t.Schema)
		e.boolean(nil, "strict", t.Strict)
		e.inner(t.Extra, kind)
		e.dst = append(e.dst, '}')
	}
	e.cache(t.Cache)
	e.beside(t.Extra, kind, t.Name != "")
	e.dst = append(e.dst, '}')
}

// inner writes what Extra holds of the inside of a tool or a call: the members of its member kind.
func (e *encoder) inner(x extra, kind string) {
	for _, m := range x {
		if m.Name == kind {
			e.extra(sourceOf(m.Value).rest())
		}
	}
}

// beside writes what Extra holds beside that inside, or, if there is no such inside, all of it.
func (e *encoder) beside(x extra, kind string, inside bool) {
	for _, m := range x {
		if !inside || m.Name != kind {
			e.raw(m.Name, m.Value)
		}
	}
}

func (e *encoder) cache(mark *llm.CacheMark) {
	if mark == nil {
		return
	}
	e.name("cache_control")
	e.dst = append(e.dst, '{')
	e.member("type", "ephemeral")
	e.text(nil, "ttl", mark.TTL)
	e.dst = append(e.dst, '}')
}

func (e *encoder) choice(x extra) {
	choice := &e.chat.Choice
	if choice.Mode == llm.ToolUnset || x.has("tool_choice", "function_call") {
		return
	}
	e.name("tool_choice")
	custom := customTools(e.chat)
	switch {
	case choice.Mode == llm.ToolNamed && len(choice.Names) == 1:
		e.reference(choice.Names[0], custom)
	case choice.Mode == llm.ToolNamed:
		e.refuse("%d tools named at once", len(choice.Names))
	case len(choice.Names) == 0:
		e.quoted(string(choice.Mode))
	default:
		e.dst = append(e.dst, `{"type":"allowed_tools","allowed_tools":{`...)
		e.member("mode", string(choice.Mode))
		e.name("tools")
		e.dst = append(e.dst, '[')
		for _, name := range choice.Names {
			e.comma()
			e.reference(name, custom)
		}
		e.dst = append(e.dst, `]}}`...)
	}
}

// reference names a tool.
func (e *encoder) reference(name string, custom map[string]bool) {
	kind := toolType(custom[name])
	e.dst = append(e.dst, '{')
	e.member("type", kind)
	e.name(kind)
	e.dst = append(e.dst, '{')
	e.member("name", name)
	e.dst = append(e.dst, `}}`...)
}
