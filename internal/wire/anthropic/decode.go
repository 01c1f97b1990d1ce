package anthropic

import (
	"encoding/base64"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// DecodeChat makes the canonical form of the body of a messages call. It loses nothing: what the form has no place for is in the
// Extra of the chat, of its messages, of their parts, or of its tools; where it stands there and means something, the meaning is
// in the form as well. The form points into body. The error, a *fault.Error, is for a body that is no JSON object or has no
// messages; [ParseMessages] has refused such before.
//
// The system prompt is the first message. A turn of the user that holds results of tools is a message for each, and one for what
// else it says. A text is a list of one block.
func DecodeChat(body []byte) (*llm.Chat, error) {
	if !rawjson.Valid(body) {
		return nil, fault.New(fault.InvalidJSON, "The body is not JSON.")
	}
	o := rawjson.ObjectOf(body)
	all, ok := rawjson.ObjectsOf(o.Value(messagesField))
	if !ok {
		return nil, fault.New(fault.InvalidRequest, "messages: expected an array of messages.")
	}
	c := &llm.Chat{Dialect: llm.Anthropic, Messages: make([]llm.Message, 0, len(all)+1)}
	if parts, ok := decodeContent(o.Value(systemField)); ok {
		c.Messages = append(c.Messages, llm.Message{Role: llm.RoleSystem, Parts: parts})
		o.Take(systemField)
	}
	for _, m := range all {
		c.Messages = decodeMessage(c.Messages, m)
	}
	o.Take(messagesField)
	decodeTools(o, c)
	decodeChoice(o, c)
	decodeThinking(o, c)
	decodeOutput(o, c)
	o.TakeString("model", &c.Model)
	o.TakeInteger("max_tokens", &c.MaxOutput)
	o.TakeNumber("temperature", &c.Sampling.Temperature)
	o.TakeNumber("top_p", &c.Sampling.TopP)
	o.TakeInteger("top_k", &c.Sampling.TopK)
	o.TakeString("service_tier", &c.ServiceTier)
	if stops, ok := rawjson.StringsOf(o.Value("stop_sequences")); ok {
		c.Stop = stops
		o.Take("stop_sequences")
	}
	if user := rawjson.ObjectOf(o.Value("metadata")); user.Str("user_id") != "" {
		c.User = user.Str("user_id")
		if user.Only("user_id") {
			o.Take("metadata")
		}
	}
	if c.Stream = o.Kind("stream") == 't'; c.Stream {
		o.Take("stream")
	}
	c.Extra = o.Rest()
	meanings(c)
	return c, nil
}

// meanings says what the members of the chat and of its tools that stay as they came mean to other dialects.
func meanings(c *llm.Chat) {
	for i := range c.Extra {
		m := &c.Extra[i]
		switch m.Name {
		case "cache_control", "speed", "context_management":
			m.Means = llm.MeansKnob
		case "thinking":
			if r := &c.Reasoning; r.Budget != 0 || r.Off {
				m.Means = llm.MeansNothing
			}
		case "output_config", "output_format":
			if o := rawjson.ObjectOf(m.Value); o.Only("effort", "format", typeField, "schema") && (c.Reasoning.Effort != "" || c.Format.Kind != "") {
				m.Means = llm.MeansNothing
			}
		case "metadata":
			if m.Means = llm.MeansKnob; string(m.Value) == "{}" {
				m.Means = llm.MeansNothing
			}
		case "tool_choice":
			if c.Choice.Mode != llm.ToolUnset {
				m.Means = llm.MeansNothing
			}
		}
	}
	for i := range c.Tools {
		for k := range c.Tools[i].Extra {
			if m := &c.Tools[i].Extra[k]; c.Tools[i].Name != "" && m.Name == "eager_input_streaming" {
				m.Means = llm.MeansKnob
			}
		}
	}
}

// meaning says what the members of a block that stay as they came mean to other dialects.
func meaning(p *llm.Part) {
	for i := range p.Extra {
		switch m := &p.Extra[i]; m.Name {
		case "cache_control":
			m.Means = llm.MeansKnob
		case "caller":
			if rawjson.ObjectOf(m.Value).Str(typeField) == "direct" {
				m.Means = llm.MeansNothing
			}
		case "citations":
			if string(rawjson.ObjectOf(m.Value).Value("enabled")) == "false" {
				m.Means = llm.MeansNothing
			}
		}
	}
}

// decodeMessage adds what a message is: of the user, a message for each result of a tool, and one for the rest.
func decodeMessage(all []llm.Message, o *rawjson.Object) []llm.Message {
	role := llm.Role(o.Str("role"))
	parts, ok := decodeContent(o.Value(contentField))
	o.Take("role")
	if ok {
		o.Take(contentField)
	}
	rest := llm.Message{Role: role, Extra: o.Rest()}
	results := false
	for _, p := range parts {
		if p.Kind == llm.PartToolResult && role == llm.RoleUser {
			all = append(all, llm.Message{Role: llm.RoleTool, Parts: []llm.Part{p}})
			results = true
			continue
		}
		rest.Parts = append(rest.Parts, p)
	}
	if results && len(rest.Parts) == 0 && len(rest.Extra) == 0 {
		return all
	}
	return append(all, rest)
}

// decodeContent reads a text or blocks; ok is false for what is neither.
func decodeContent(value []byte) (parts []llm.Part, ok bool) {
	switch {
	case len(value) == 0:
		return nil, false
	case value[0] == '"':
		if text := str(value); text != "" {
			parts = []llm.Part{{Kind: llm.PartText, Text: text}}
		}
		return parts, true
	case value[0] != '[':
		return nil, false
	}
	c := rawjson.Cursor{Text: value}
	for range c.Elements() {
		if c.Kind() != '{' {
			return nil, false
		}
		parts = append(parts, decodeBlock(c.Value()))
	}
	return parts, true
}

// decodeBlock reads a block. One that the form cannot hold exactly is PartOther, with all of it in Extra.
func decodeBlock(value []byte) llm.Part {
	o := rawjson.ObjectOf(value)
	kind := o.Str(typeField)
	var p llm.Part
	ok := false
	switch kind {
	case textBlock:
		p, ok = llm.Part{Kind: llm.PartText, Text: o.Str(textField)}, o.Kind(textField) == '"'
		o.Take(textField)
		if o.Kind("citations") == '[' {
			p.Citations = o.Value("citations")
			o.Take("citations")
		}
	case imageBlock:
		p, ok = decodeSource(llm.PartImage, o)
	case documentBlock:
		p, ok = decodeSource(llm.PartFile, o)
		o.TakeString("title", &p.Filename)
	case thinkingBlock:
		p, ok = decodeThought(o)
	case redactedBlock:
		by, data := signerOf(o.Str("data"))
		p, ok = llm.Part{Kind: llm.PartReasoning, Redacted: []byte(data), Signer: by}, data != ""
		o.Take("data")
	case toolUse:
		p, ok = decodeCall(o)
	case toolResult:
		p, ok = decodeResult(o)
	}
	if !ok {
		return llm.Part{Kind: llm.PartOther, Extra: rawjson.ObjectOf(value).Rest()}
	}
	o.Take(typeField)
	p.Cache = takeMark(o)
	p.Extra = o.Rest()
	meaning(&p)
	return p
}

// decodeSource reads where the bytes of an image or a document are. A document that is text has the type of its text.
func decodeSource(kind llm.PartKind, o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: kind}
	s := rawjson.ObjectOf(o.Value("source"))
	form := s.Str(typeField)
	ok := false
	switch form {
	case "base64":
		p.MediaType = s.Str("media_type")
		data := s.Str("data")
		var err error
		p.Data, err = base64.StdEncoding.Strict().DecodeString(data)
		ok = err == nil && len(p.Data) > 0 && p.MediaType != "" && base64.StdEncoding.EncodedLen(len(p.Data)) == len(data) &&
			!strings.HasPrefix(p.MediaType, "text/") && s.Only(typeField, "media_type", "data")
	case "text":
		p.MediaType = s.Str("media_type")
		p.Data = []byte(s.Str("data"))
		ok = kind == llm.PartFile && p.MediaType == plainText && len(p.Data) > 0 && s.Only(typeField, "media_type", "data")
	case "url":
		p.URL = s.Str("url")
		ok = p.URL != "" && s.Only(typeField, "url")
	case "file":
		p.FileID = s.Str("file_id")
		ok = p.FileID != "" && s.Only(typeField, "file_id")
	}
	o.Take("source")
	return p, ok
}

// plainText is the type of a document that is text.
const plainText = "text/plain"

// decodeThought reads reasoning, whose proof may be another vendor's (see [Foreign]).
func decodeThought(o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartReasoning, Text: o.Str("thinking")}
	p.Signer, p.Signature = signerOf(o.Str("signature"))
	o.Take("thinking", "signature")
	return p, true
}

func decodeCall(o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartToolCall, CallID: o.Str("id"), ToolName: o.Str("name"), Arguments: string(o.Value("input"))}
	ok := p.CallID != "" && p.ToolName != "" && o.Kind("input") == '{'
	o.Take("id", "name", "input")
	return p, ok
}

func decodeResult(o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartToolResult, CallID: o.Str("tool_use_id")}
	ok := p.CallID != ""
	o.Take("tool_use_id")
	if o.Has(contentField) {
		var read bool
		p.Result, read = decodeContent(o.Value(contentField))
		ok = ok && read
		o.Take(contentField)
	}
	if p.IsError = o.Kind("is_error") == 't'; p.IsError || o.Kind("is_error") == 'f' {
		o.Take("is_error")
	}
	return p, ok
}

// takeMark takes a mark for caching if it is one of the form's.
func takeMark(o *rawjson.Object) *llm.CacheMark {
	m := rawjson.ObjectOf(o.Value("cache_control"))
	if m.Str(typeField) != "ephemeral" || !m.Only(typeField, "ttl") || m.Has("ttl") && m.Str("ttl") == "" {
		return nil
	}
	o.Take("cache_control")
	return &llm.CacheMark{TTL: m.Str("ttl")}
}

// decodeTools reads the tools. Those of the vendor's own types, which have no schema, have no name here and all in Extra.
func decodeTools(o *rawjson.Object, c *llm.Chat) {
	all, ok := rawjson.ObjectsOf(o.Value("tools"))
	if !ok {
		return
	}
	for _, t := range all {
		if kind := t.Str(typeField); t.Has(typeField) && kind != "custom" || t.Str("name") == "" || t.Kind("input_schema") != '{' {
			c.Tools = append(c.Tools, llm.Tool{Extra: t.Rest()})
			continue
		}
		var tool llm.Tool
		t.Take(typeField)
		t.TakeString("name", &tool.Name)
		t.TakeString("description", &tool.Description)
		t.TakeObject("input_schema", &tool.Schema)
		t.TakeBool("strict", &tool.Strict)
		tool.Cache = takeMark(t)
		tool.Extra = t.Rest()
		c.Tools = append(c.Tools, tool)
	}
	o.Take("tools")
}

// modes are the canonical choices of the dialect's.
var modes = map[string]llm.ToolMode{"auto": llm.ToolAuto, "any": llm.ToolRequired, "tool": llm.ToolNamed, "none": llm.ToolNone}

func decodeChoice(o *rawjson.Object, c *llm.Chat) {
	choice := rawjson.ObjectOf(o.Value("tool_choice"))
	mode, ok := modes[choice.Str(typeField)]
	if !ok {
		return
	}
	c.Choice.Mode = mode
	exact := choice.Only(typeField, "name", "disable_parallel_tool_use")
	if name := choice.Str("name"); mode == llm.ToolNamed {
		c.Choice.Names = []string{name}
	} else {
		exact = exact && !choice.Has("name")
	}
	switch choice.Kind("disable_parallel_tool_use") {
	case 't':
		no := false
		c.Parallel = &no
		exact = exact && mode != llm.ToolNone
	case 'f', 'n':
		exact = false // the same as nothing
	}
	if exact {
		o.Take("tool_choice")
	}
}

// decodeThinking reads how the model shall reason. What was said stays beside what it means: the form holds less.
func decodeThinking(o *rawjson.Object, c *llm.Chat) {
	thinking := rawjson.ObjectOf(o.Value("thinking"))
	switch thinking.Str(typeField) {
	case "enabled":
		if n := thinking.Integer("budget_tokens"); n != nil && *n > 0 {
			c.Reasoning.Budget = *n
		}
	case "adaptive", "between_tools":
		c.Reasoning.Budget = -1
	case "disabled":
		c.Reasoning.Off = true
	}
	switch thinking.Str("display") {
	case "summarized":
		c.Reasoning.Summary = "auto"
	case "omitted":
		c.Reasoning.Summary = "omitted"
	}
}

// decodeOutput reads the effort and the form of the answer. Effort is not only of reasoning, but others have no other word for it.
func decodeOutput(o *rawjson.Object, c *llm.Chat) {
	for _, name := range []string{"output_config", "output_format"} { // the latter is the beta's
		config := rawjson.ObjectOf(o.Value(name))
		if effort := config.Str("effort"); effort != "" {
			c.Reasoning.Effort = effort
		}
		format := config
		if config.Kind("format") == '{' {
			format = rawjson.ObjectOf(config.Value("format"))
		}
		if format.Str(typeField) == "json_schema" {
			c.Format = llm.Format{Kind: llm.FormatJSONSchema, Schema: format.Value("schema")}
		}
	}
}
