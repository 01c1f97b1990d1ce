package limit

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// What a request may ask for that nothing here bounds: it is refused where a budget binds.

// freeTools are the beginnings of the types of tools that cost nothing but tokens: the caller runs them itself, or they only find others.
// Of all others it is not known: there are new ones each month that a provider runs for a price that tokens do not bound.
var freeTools = []string{
	"function", "custom", "computer", "bash_", "text_editor_", "memory_", "local_shell", "apply_patch", "tool_search",
}

// paidMembers have a provider, of whatever dialect, search or fetch for a price of its own, unless they are empty or off.
var paidMembers = []string{"mcp_servers", "web_search_options", "search_parameters", "plugins", "enable_search"}

// paidTool is the type of a tool of the request that its provider may charge for beside tokens, "" if there is none.
func paidTool(r *llm.Request) string {
	if name := paidMember(r); name != "" {
		return name
	}
	if !filled(r.Field("tools"), '[') {
		return ""
	}
	var tools []map[string]jsontext.Value
	if json.Unmarshal(r.Field("tools"), &tools) != nil {
		return ""
	}
	for _, t := range tools {
		name, err := jsontext.AppendUnquote(nil, t["type"]) // it may be written with escapes
		if err != nil || len(name) == 0 {
			if t["name"] != nil || t["function"] != nil || len(t) == 0 { // of the caller's, as Anthropic's dialect has them
				continue
			}
			return slices.Min(slices.Collect(maps.Keys(t)))
		}
		if !isFree(string(name)) {
			return string(name)
		}
	}
	return ""
}

// paidMember is the member of a request that has its provider search or fetch, "" if there is none.
func paidMember(r *llm.Request) string {
	for _, name := range paidMembers {
		raw := r.Field(name)
		if filled(raw, '[') || len(raw) > 0 && raw[0] == '{' || string(raw) == "true" {
			return name
		}
	}
	return ""
}

// isFree reports whether tools of a type cost nothing but tokens.
func isFree(kind string) bool {
	return slices.ContainsFunc(freeTools, func(free string) bool { return strings.HasPrefix(kind, free) })
}

// keptPrompt reports whether the prompt is one that the provider keeps, of any length and with tools of its own.
func keptPrompt(r *llm.Request) bool {
	return r.Dialect == llm.Responses && filled(r.Field("prompt"), '{')
}

// filled reports whether a value is an array, or an object, with something in it.
func filled(raw []byte, opens byte) bool { return len(raw) > 2 && raw[0] == opens }

// unpriced is the member of a request that makes its price one that is not known here, "" if there is none: a prompt that the provider
// keeps brings its own tools, a faster speed of Anthropic's costs a multiple of the model's price, and of a list of models (as OpenRouter
// takes one) another may answer.
func unpriced(r *llm.Request) string {
	switch {
	case keptPrompt(r):
		return "prompt"
	case r.Dialect == llm.Anthropic && !standard(r.Field("speed")):
		return "speed"
	case filled(r.Field("models"), '['):
		return "models"
	}
	return ""
}

// endless is the member of a request that has the provider bill more tokens than prompt and cap bound, "" if there is none: what of a
// prediction does not come true is billed as if it had been generated, and OpenAI takes no cap beside it; to compact what was said
// before is a call of its own, with all of the prompt, as often as the provider finds it useful; other models are other calls, too; and
// nobody says what more than one train of thought comes to.
func endless(r *llm.Request) string {
	for _, name := range [...]string{"prediction", "compaction", "fallbacks"} {
		if raw := r.Field(name); len(raw) > 0 && string(raw) != "null" && string(raw) != "[]" {
			return name
		}
	}
	if compacts(r.Field("context_management")) {
		return "context_management"
	}
	if raw := r.Field("reasoning"); filled(raw, '{') {
		var reasoning struct {
			Mode jsontext.Value `json:"mode"`
		}
		if json.Unmarshal(raw, &reasoning) == nil && !standard(reasoning.Mode) {
			return "reasoning"
		}
	}
	return ""
}

// usual reports whether a request has none of the members that [unpriced] and [endless] look for, as nearly all do: one walk says so.
func usual(r *llm.Request) bool {
	if r.Edited() {
		return false
	}
	for i := range r.Fields {
		switch r.Fields[i].Name {
		case "prediction", "compaction", "fallbacks", "context_management", "reasoning", "prompt", "speed", "models":
			return false
		}
	}
	return true
}

// standard reports whether a member asks for nothing but what is usual.
func standard(raw []byte) bool {
	switch string(raw) {
	case "", "null", `"standard"`, `"auto"`:
		return true
	}
	return false
}

// compacts reports whether the provider is to do more with what was said before than to leave out parts of it: "edits" of Anthropic's
// that clear something cost nothing.
func compacts(raw []byte) bool {
	if !filled(raw, '{') && !filled(raw, '[') {
		return false
	}
	type edit struct {
		Type string `json:"type"`
	}
	var edits []edit
	if raw[0] == '{' {
		var all struct {
			Edits []edit `json:"edits"`
		}
		if json.Unmarshal(raw, &all) != nil {
			return true
		}
		edits = all.Edits
	} else if json.Unmarshal(raw, &edits) != nil {
		return true
	}
	return slices.ContainsFunc(edits, func(e edit) bool { return !strings.HasPrefix(e.Type, "clear_") })
}
