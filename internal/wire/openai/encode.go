package openai

import (
	"maps"
	"slices"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// EncodeChat writes a chat in this dialect. What a chat has in an Extra is written as it is, and instead of what the
// canonical form made of it (see [DecodeChat]). It refuses parts that the dialect has no words for rather than drop them;
// reasoning is reduced to its text, and citations, a reasoning budget and its summary are not said.
func EncodeChat(c *llm.Chat) ([]byte, error) {
	e := encoder{Writer: rawjson.Writer{Dst: append(make([]byte, 0, c.Size()), '{')}, chat: c}
	x := rawjson.Extra(c.Extra)
	e.Text(x, modelField, c.Model)
	e.Name("messages")
	e.Dst = append(e.Dst, '[')
	for i := range c.Messages {
		e.message(&c.Messages[i])
	}
	e.Dst = append(e.Dst, ']')
	e.tools(x)
	e.choice(x)
	e.format(x)
	e.sampling(x)
	e.limits(x)
	e.Text(x, "reasoning_effort", c.Reasoning.Effort)
	if c.Reasoning.Off && c.Reasoning.Effort == "" {
		e.Text(x, "reasoning_effort", "none")
	}
	e.Text(x, "user", c.User)
	e.Text(x, tierField, c.ServiceTier)
	e.Text(x, "prompt_cache_key", c.CacheKey)
	e.Boolean(x, "parallel_tool_calls", c.Parallel)
	if c.Stream && !x.Has("stream") {
		e.Boolean(x, "stream", &c.Stream)
	}
	e.Strings(x, "modalities", c.Modalities)
	e.metadata(x)
	e.Extra(c.Extra)
	return append(e.Dst, '}'), e.Err
}

// An encoder writes a chat.
type encoder struct {
	rawjson.Writer
	chat *llm.Chat
}

func (e *encoder) sampling(x rawjson.Extra) {
	s := &e.chat.Sampling
	e.Number(x, "temperature", s.Temperature)
	e.Number(x, "top_p", s.TopP)
	e.Number(x, "frequency_penalty", s.FrequencyPenalty)
	e.Number(x, "presence_penalty", s.PresencePenalty)
	e.Integer(x, "top_k", s.TopK)
	e.Integer(x, "seed", s.Seed)
	e.Integer(x, "n", s.N)
	e.Boolean(x, "logprobs", s.Logprobs)
	e.Integer(x, "top_logprobs", s.TopLogprobs)
	e.Object(x, "logit_bias", s.LogitBias)
	e.Text(x, "verbosity", s.Verbosity)
}

func (e *encoder) limits(x rawjson.Extra) {
	if !x.Has("max_tokens") {
		e.Integer(x, "max_completion_tokens", e.chat.MaxOutput)
	}
	e.Strings(x, "stop", e.chat.Stop)
}

func (e *encoder) metadata(x rawjson.Extra) {
	if len(e.chat.Metadata) == 0 || x.Has("metadata") {
		return
	}
	e.Name("metadata")
	e.Dst = append(e.Dst, '{')
	for _, name := range slices.Sorted(maps.Keys(e.chat.Metadata)) {
		e.Member(name, e.chat.Metadata[name])
	}
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) format(x rawjson.Extra) {
	f := &e.chat.Format
	if f.Kind == llm.FormatUnset || x.Has("response_format") {
		return
	}
	e.Name("response_format")
	e.Dst = append(e.Dst, '{')
	e.Member("type", string(f.Kind))
	if f.Kind == llm.FormatJSONSchema {
		e.Name("json_schema")
		e.Dst = append(e.Dst, '{')
		e.Text(nil, "name", f.Name)
		e.Text(nil, "description", f.Description)
		e.Object(nil, "schema", f.Schema)
		e.Boolean(nil, "strict", f.Strict)
		e.Dst = append(e.Dst, '}')
	}
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) tools(x rawjson.Extra) {
	if len(e.chat.Tools) == 0 || x.Has("tools", "functions") {
		return
	}
	e.Name("tools")
	e.Dst = append(e.Dst, '[')
	for i := range e.chat.Tools {
		e.tool(&e.chat.Tools[i])
	}
	e.Dst = append(e.Dst, ']')
}

func (e *encoder) tool(t *llm.Tool) {
	kind := toolType(t.Custom)
	e.Comma()
	e.Dst = append(e.Dst, '{')
	if t.Name != "" {
		e.Member("type", kind)
		e.Name(kind)
		e.Dst = append(e.Dst, '{')
		e.Member("name", t.Name)
		e.Text(nil, "description", t.Description)
		e.Object(nil, "parameters", t.Schema)
		e.Boolean(nil, "strict", t.Strict)
		e.inner(t.Extra, kind)
		e.Dst = append(e.Dst, '}')
	}
	e.cache(t.Cache)
	e.beside(t.Extra, kind, t.Name != "")
	e.Dst = append(e.Dst, '}')
}

// inner writes what Extra holds of the inside of a tool or a call: the members of its member kind.
func (e *encoder) inner(x rawjson.Extra, kind string) {
	for _, m := range x {
		if m.Name == kind {
			e.Extra(rawjson.ObjectOf(m.Value).Rest())
		}
	}
}

// beside writes what Extra holds beside that inside, or, if there is no such inside, all of it.
func (e *encoder) beside(x rawjson.Extra, kind string, inside bool) {
	for _, m := range x {
		if !inside || m.Name != kind {
			e.Raw(m.Name, m.Value)
		}
	}
}

func (e *encoder) cache(mark *llm.CacheMark) {
	if mark == nil {
		return
	}
	e.Name("cache_control")
	e.Dst = append(e.Dst, '{')
	e.Member("type", "ephemeral")
	e.Text(nil, "ttl", mark.TTL)
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) choice(x rawjson.Extra) {
	choice := &e.chat.Choice
	if choice.Mode == llm.ToolUnset || x.Has("tool_choice", "function_call") {
		return
	}
	e.Name("tool_choice")
	custom := customTools(e.chat)
	switch {
	case choice.Mode == llm.ToolNamed && len(choice.Names) == 1:
		e.reference(choice.Names[0], custom)
	case choice.Mode == llm.ToolNamed:
		e.Refuse("%d tools named at once", len(choice.Names))
	case len(choice.Names) == 0:
		e.Quoted(string(choice.Mode))
	default:
		e.Dst = append(e.Dst, `{"type":"allowed_tools","allowed_tools":{`...)
		e.Member("mode", string(choice.Mode))
		e.Name("tools")
		e.Dst = append(e.Dst, '[')
		for _, name := range choice.Names {
			e.Comma()
			e.reference(name, custom)
		}
		e.Dst = append(e.Dst, `]}}`...)
	}
}

// reference names a tool.
func (e *encoder) reference(name string, custom map[string]bool) {
	kind := toolType(custom[name])
	e.Dst = append(e.Dst, '{')
	e.Member("type", kind)
	e.Name(kind)
	e.Dst = append(e.Dst, '{')
	e.Member("name", name)
	e.Dst = append(e.Dst, `}}`...)
}
