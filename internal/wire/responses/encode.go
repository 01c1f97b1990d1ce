package responses

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// EncodeChat writes a chat in this dialect. What a chat of this dialect has in an Extra is written as it came, and instead of what
// the canonical form made of it (see [DecodeChat]); Extras of others are left out, so that whoever encodes their chats has to look
// at them before. What the dialect has no words for is a *fault.Error.
func EncodeChat(c *llm.Chat) ([]byte, error) {
	e := encoder{Writer: rawjson.Writer{Dst: append(make([]byte, 0, 1024), '{')}, chat: c, same: c.Dialect == llm.Responses}
	x := e.extra(c.Extra)
	e.Text(x, "model", c.Model)
	e.input(x)
	e.tools(x)
	e.choice(x)
	e.text(x)
	e.reasoning(x)
	s := &c.Sampling
	e.Number(x, "temperature", s.Temperature)
	e.Number(x, "top_p", s.TopP)
	e.Integer(x, "top_logprobs", s.TopLogprobs)
	e.Integer(x, "max_output_tokens", c.MaxOutput)
	e.Boolean(x, "parallel_tool_calls", c.Parallel)
	e.Text(x, "user", c.User)
	e.Text(x, "service_tier", c.ServiceTier)
	e.Text(x, "prompt_cache_key", c.CacheKey)
	e.metadata(x)
	if c.Stream && !x.Has("stream") {
		e.Boolean(x, "stream", &c.Stream)
	}
	e.unsaid()
	e.Extra(x)
	if e.Err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, e.Err, "The request holds %s.", e.Err.Error())
	}
	return append(e.Dst, '}'), nil
}

// An encoder writes a chat.
type encoder struct {
	rawjson.Writer
	chat *llm.Chat
	same bool // it came in this dialect
}

// extra are the members that are written as they came: none in a chat of another dialect.
func (e *encoder) extra(all []llm.Member) rawjson.Extra {
	if !e.same {
		return nil
	}
	return all
}

// unsaid refuses what only other dialects can ask for.
func (e *encoder) unsaid() {
	c := e.chat
	if len(c.Stop) > 0 {
		e.Refuse("stop sequences")
	}
	if n := c.Sampling.N; n != nil && *n > 1 {
		e.Refuse("a call for more than one answer")
	}
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

func (e *encoder) text(x rawjson.Extra) {
	f := &e.chat.Format
	if f.Kind == llm.FormatUnset && e.chat.Sampling.Verbosity == "" || x.Has(textField) {
		return
	}
	e.Name(textField)
	e.Dst = append(e.Dst, '{')
	if f.Kind != llm.FormatUnset {
		e.Name("format")
		e.Dst = append(e.Dst, '{')
		e.Member(typeField, string(f.Kind))
		if f.Kind == llm.FormatJSONSchema {
			e.Text(nil, nameField, f.Name)
			e.Text(nil, "description", f.Description)
			e.Object(nil, "schema", f.Schema)
			e.Boolean(nil, "strict", f.Strict)
		}
		e.Dst = append(e.Dst, '}')
	}
	e.Text(nil, "verbosity", e.chat.Sampling.Verbosity)
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) reasoning(x rawjson.Extra) {
	r := &e.chat.Reasoning
	effort := r.Effort
	if r.Off && effort == "" {
		effort = "none"
	}
	if (effort != "" || r.Summary != "") && !x.Has(reasoningItem) {
		e.Name(reasoningItem)
		e.Dst = append(e.Dst, '{')
		e.Text(nil, "effort", effort)
		e.Text(nil, "summary", r.Summary)
		e.Dst = append(e.Dst, '}')
	}
	e.Strings(x, "include", includes(e.chat))
}

func (e *encoder) tools(x rawjson.Extra) {
	if len(e.chat.Tools) == 0 || x.Has(toolsField) {
		return
	}
	e.Name(toolsField)
	e.Dst = append(e.Dst, '[')
	for i := range e.chat.Tools {
		t := &e.chat.Tools[i]
		e.Comma()
		e.Dst = append(e.Dst, '{')
		switch {
		case t.Name != "":
			e.Member(typeField, toolType(t.Custom))
			e.Member(nameField, t.Name)
			e.Text(nil, "description", t.Description)
			e.Object(nil, "parameters", t.Schema)
			e.Boolean(nil, "strict", t.Strict)
		case !e.same:
			e.Refuse("a tool of another vendor's")
		}
		e.Extra(e.extra(t.Extra))
		e.Dst = append(e.Dst, '}')
	}
	e.Dst = append(e.Dst, ']')
}

func (e *encoder) choice(x rawjson.Extra) {
	c := &e.chat.Choice
	if c.Mode == llm.ToolUnset || x.Has("tool_choice") {
		return
	}
	e.Name("tool_choice")
	custom := customTools(e.chat)
	switch {
	case c.Mode == llm.ToolNamed && len(c.Names) == 1:
		e.reference(c.Names[0], custom)
	case c.Mode == llm.ToolNamed:
		e.Refuse("%d tools named at once", len(c.Names))
	case len(c.Names) == 0:
		e.Quoted(string(c.Mode))
	default:
		e.Dst = append(e.Dst, `{"type":"allowed_tools"`...)
		e.Member("mode", string(c.Mode))
		e.Name(toolsField)
		e.Dst = append(e.Dst, '[')
		for _, name := range c.Names {
			e.Comma()
			e.reference(name, custom)
		}
		e.Dst = append(e.Dst, `]}`...)
	}
}

func (e *encoder) reference(name string, custom map[string]bool) {
	e.Dst = append(e.Dst, '{')
	e.Member(typeField, toolType(custom[name]))
	e.Member(nameField, name)
	e.Dst = append(e.Dst, '}')
}

// dataURL is the bytes of a part in the form that the dialect has for them.
func dataURL(p *llm.Part) string {
	return "data:" + p.MediaType + ";base64," + base64.StdEncoding.EncodeToString(p.Data)
}

// textOf joins the text of some parts.
func textOf(parts []llm.Part) string {
	if len(parts) == 1 {
		return parts[0].Text
	}
	var b strings.Builder
	for i := range parts {
		b.WriteString(parts[i].Text)
	}
	return b.String()
}
