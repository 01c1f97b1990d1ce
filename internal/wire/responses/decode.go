package responses

import (
	"slices"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// DecodeChat makes the canonical form of the body of a call. It loses nothing: what the form has no place for is in the Extra of the
// chat, of its messages, of their parts, or of its tools; where it stands there and means something, the meaning is in the form as
// well. The form points into body. The error, a *fault.Error, is for a body that is no JSON object or has no input; [Parse] has
// refused such before.
//
// Instructions are the first message. What a model made of one answer, which is one item after the other here, is one message; its
// items begin at the parts that have one in their Extra (see [startItem]).
func DecodeChat(body []byte) (*llm.Chat, error) {
	if !rawjson.Valid(body) {
		return nil, fault.New(fault.InvalidJSON, "The body is not JSON.")
	}
	o := rawjson.ObjectOf(body)
	c := &llm.Chat{Dialect: llm.Responses}
	if text := o.Str(instructionsField); text != "" { // it stays in Extra, which tells it from a message
		c.Messages = append(c.Messages, llm.Message{Role: llm.RoleSystem, Plain: true, Parts: []llm.Part{{Kind: llm.PartText, Text: text}}})
	}
	if !decodeInput(o, c) {
		return nil, fault.New(fault.InvalidRequest, "input: expected a string or an array of items.")
	}
	decodeTools(o, c)
	decodeChoice(o, c)
	decodeText(o, c)
	decodeReasoning(o, c)
	o.TakeString("model", &c.Model)
	o.TakeNumber("temperature", &c.Sampling.Temperature)
	o.TakeNumber("top_p", &c.Sampling.TopP)
	o.TakeInteger("top_logprobs", &c.Sampling.TopLogprobs)
	o.TakeInteger("max_output_tokens", &c.MaxOutput)
	o.TakeBool("parallel_tool_calls", &c.Parallel)
	o.TakeString("user", &c.User)
	o.TakeString("service_tier", &c.ServiceTier)
	o.TakeString("prompt_cache_key", &c.CacheKey)
	decodeMetadata(o, c)
	if c.Stream = o.Kind("stream") == 't'; c.Stream {
		o.Take("stream")
	}
	c.Extra = o.Rest()
	meanings(c)
	return c, nil
}

// knobs are members that make an answer quicker or cheaper, or say what becomes of it at a vendor.
var knobs = []string{"safety_identifier", "prompt_cache_retention", "prompt_cache_options", "moderation", "metadata", "user"}

// included are what can be asked for beside an answer that means nothing where there is none of it.
var included = []string{
	includeEncrypted, includeLogprobs, "message.input_image.image_url", "file_search_call.results", "web_search_call.results",
	"web_search_call.action.sources", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
}

// meanings says what the members of the chat that stay as they came mean to other dialects.
func meanings(c *llm.Chat) {
	for i := range c.Extra {
		m := &c.Extra[i]
		switch m.Name {
		case instructionsField, inputField, "stream_options", "store", "previous_response_id", "background":
			m.Means = llm.MeansNothing // they are in the form, or for who keeps conversations
		case "truncation": // "auto" makes an answer of what would be an error
			if m.Means = llm.MeansKnob; string(m.Value) == `"disabled"` {
				m.Means = llm.MeansNothing
			}
		case "include":
			if all, ok := rawjson.StringsOf(m.Value); ok && !slices.ContainsFunc(all, func(s string) bool { return !slices.Contains(included, s) }) {
				m.Means = llm.MeansNothing
			}
		case "text":
			if o := rawjson.ObjectOf(m.Value); o.Only("format", "verbosity") && (!o.Has("format") || o.Kind("format") == 'n' || c.Format.Kind != "") {
				m.Means = llm.MeansNothing
			}
		case reasoningItem:
			if rawjson.ObjectOf(m.Value).Only("effort", "summary", "generate_summary") {
				m.Means = llm.MeansNothing
			}
		case "tool_choice":
			if c.Choice.Mode != llm.ToolUnset {
				m.Means = llm.MeansNothing
			}
		}
		if slices.Contains(knobs, m.Name) {
			m.Means = llm.MeansKnob
		}
	}
}

// decodeMetadata reads metadata if it is what the vendor says: strings by name.
func decodeMetadata(o *rawjson.Object, c *llm.Chat) {
	inner := rawjson.ObjectOf(o.Value("metadata"))
	all := make(map[string]string, len(inner.Fields))
	for _, f := range inner.Fields {
		value := f.Value.Of(inner.Text)
		if value[0] != '"' {
			return
		}
		all[f.Name] = string(rawjson.Unquoted(value))
	}
	if len(all) > 0 {
		c.Metadata = all
		o.Take("metadata")
	}
}

// decodeText reads the form of the answer, and how long it shall be.
func decodeText(o *rawjson.Object, c *llm.Chat) {
	text := rawjson.ObjectOf(o.Value(textField))
	format := rawjson.ObjectOf(text.Value("format"))
	f := &c.Format
	kind := llm.FormatKind(format.Str(typeField))
	exact := len(text.Fields) > 0
	switch kind {
	case llm.FormatText, llm.FormatJSON:
		f.Kind = kind
		exact = exact && format.Only(typeField)
	case llm.FormatJSONSchema:
		f.Kind = kind
		format.TakeString(nameField, &f.Name)
		format.TakeString("description", &f.Description)
		format.TakeObject("schema", &f.Schema)
		format.TakeBool("strict", &f.Strict)
		exact = exact && format.Only(typeField)
	default:
		exact = exact && !text.Has("format")
	}
	text.TakeString("verbosity", &c.Sampling.Verbosity)
	if exact && text.Only("format") {
		o.Take(textField)
	}
}

// decodeReasoning reads how much the model shall think, and what of it is shown.
func decodeReasoning(o *rawjson.Object, c *llm.Chat) {
	r := &c.Reasoning
	inner := rawjson.ObjectOf(o.Value(reasoningItem))
	some := len(inner.Fields) > 0
	inner.TakeString("effort", &r.Effort)
	inner.TakeString("summary", &r.Summary)
	if some && len(inner.Fields) == 0 {
		o.Take(reasoningItem)
	}
	if r.Summary == "" {
		r.Summary = inner.Str("generate_summary") // the older name, which stays
	}
	all, _ := rawjson.StringsOf(o.Value("include"))
	r.Encrypted = slices.Contains(all, includeEncrypted)
	if yes := slices.Contains(all, includeLogprobs); yes {
		c.Sampling.Logprobs = &yes
	}
	if known := includes(c); len(known) > 0 && slices.Equal(all, known) {
		o.Take("include")
	}
}

// What can be asked for beside an answer, and has a place in the canonical form.
const (
	includeEncrypted = "reasoning.encrypted_content"
	includeLogprobs  = "message.output_text.logprobs"
)

// includes is what a chat asks for beside the answer.
func includes(c *llm.Chat) (all []string) {
	if c.Reasoning.Encrypted {
		all = append(all, includeEncrypted)
	}
	if c.Sampling.Logprobs != nil && *c.Sampling.Logprobs {
		all = append(all, includeLogprobs)
	}
	return all
}

// decodeTools reads the tools. Those that run at the vendor have no name here and all in Extra.
func decodeTools(o *rawjson.Object, c *llm.Chat) {
	all, ok := rawjson.ObjectsOf(o.Value(toolsField))
	if !ok {
		return
	}
	for _, t := range all {
		kind := t.Str(typeField)
		if kind != functionType && kind != customType || t.Str(nameField) == "" {
			c.Tools = append(c.Tools, llm.Tool{Extra: t.Rest()})
			continue
		}
		tool := llm.Tool{Custom: kind == customType}
		t.Take(typeField)
		t.TakeString(nameField, &tool.Name)
		t.TakeString("description", &tool.Description)
		t.TakeObject("parameters", &tool.Schema)
		t.TakeBool("strict", &tool.Strict)
		tool.Extra = t.Rest()
		for i := range tool.Extra {
			if m := &tool.Extra[i]; m.Name == "format" && string(rawjson.ObjectOf(m.Value).Value(typeField)) == `"text"` {
				m.Means = llm.MeansNothing // free text is what there is without
			}
		}
		c.Tools = append(c.Tools, tool)
	}
	o.Take(toolsField)
}

// decodeChoice reads how tools are chosen.
func decodeChoice(o *rawjson.Object, c *llm.Chat) {
	const name = "tool_choice"
	choice := rawjson.ObjectOf(o.Value(name))
	custom := customTools(c)
	exact := false
	switch kind := choice.Str(typeField); {
	case o.Kind(name) == '"':
		mode := llm.ToolMode(o.Str(name))
		if exact = slices.Contains([]llm.ToolMode{llm.ToolAuto, llm.ToolNone, llm.ToolRequired}, mode); exact {
			c.Choice.Mode = mode
		}
	case kind == functionType || kind == customType:
		var tool string
		tool, exact = reference(choice, custom)
		c.Choice = llm.ToolChoice{Mode: llm.ToolNamed, Names: []string{tool}}
	case kind == "allowed_tools":
		exact = decodeAllowed(choice, custom, &c.Choice)
	}
	if exact {
		o.Take(name)
	}
}

// decodeAllowed reads a choice that is narrowed to some tools. One that the form cannot hold, since there are tools of the vendor's
// among them, is left unset.
func decodeAllowed(choice *rawjson.Object, custom map[string]bool, c *llm.ToolChoice) bool {
	mode := llm.ToolMode(choice.Str("mode"))
	all, ok := rawjson.ObjectsOf(choice.Value(toolsField))
	if !ok || mode != llm.ToolAuto && mode != llm.ToolRequired || !choice.Only(typeField, "mode", toolsField) {
		return false
	}
	var names []string
	for _, t := range all {
		name, exact := reference(t, custom)
		if !exact {
			return false
		}
		names = append(names, name)
	}
	*c = llm.ToolChoice{Mode: mode, Names: names}
	return true
}

// reference reads {"type":T,"name":N}; exact is false if encoding N again would give something else.
func reference(o *rawjson.Object, custom map[string]bool) (name string, exact bool) {
	name = o.Str(nameField)
	return name, name != "" && o.Str(typeField) == toolType(custom[name]) && o.Only(typeField, nameField)
}

// customTools has the names of the custom tools. A tool that is named and not there counts as a function.
func customTools(c *llm.Chat) map[string]bool {
	all := make(map[string]bool)
	for i := range c.Tools {
		if c.Tools[i].Custom {
			all[c.Tools[i].Name] = true
		}
	}
	return all
}

func toolType(custom bool) string {
	if custom {
		return customType
	}
	return functionType
}
