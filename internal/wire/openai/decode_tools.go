package openai

import (
	"slices"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// The two types of tools that the canonical form knows. Each is also the name of the member with the tool inside.
const (
	functionType = "function"
	customType   = "custom"
)

// decodeTools reads tools, or functions, their older form.
func decodeTools(o *rawjson.Object, c *llm.Chat) {
	if all, ok := rawjson.ObjectsOf(o.Value("tools")); ok {
		for _, t := range all {
			c.Tools = append(c.Tools, decodeTool(t))
		}
		if !o.Has("functions") {
			o.Take("tools")
		}
		return
	}
	all, _ := rawjson.ObjectsOf(o.Value("functions"))
	for _, f := range all {
		c.Tools = append(c.Tools, decodeFunction(f))
	}
}

// decodeTool reads a tool. One of a kind that the form does not know has all its members in Extra, and no name.
func decodeTool(o *rawjson.Object) llm.Tool {
	kind := o.Str("type")
	inner := rawjson.ObjectOf(o.Value(kind))
	if kind != functionType && kind != customType || inner.Str("name") == "" {
		return llm.Tool{Extra: o.Rest()}
	}
	t := decodeFunction(inner)
	t.Custom = kind == customType
	t.Cache = takeCache(o)
	o.Take("type", kind)
	t.Extra = o.Rest()
	if len(inner.Fields) > 0 {
		t.Extra = append(t.Extra, inner.Member(kind))
	}
	return t
}

// decodeFunction reads a tool's inside.
func decodeFunction(o *rawjson.Object) llm.Tool {
	var t llm.Tool
	o.TakeString("name", &t.Name)
	o.TakeString("description", &t.Description)
	o.TakeObject("parameters", &t.Schema)
	o.TakeBool("strict", &t.Strict)
	return t
}

// takeCache takes the mark for caching that some vendors have added to the dialect.
func takeCache(o *rawjson.Object) *llm.CacheMark {
	const name = "cache_control"
	inner := rawjson.ObjectOf(o.Value(name))
	if inner.Str("type") != "ephemeral" || !inner.Only("type", "ttl") {
		return nil
	}
	mark := &llm.CacheMark{}
	inner.TakeString("ttl", &mark.TTL)
	if !inner.Only("type") {
		return nil
	}
	o.Take(name)
	return mark
}

// decodeChoice reads tool_choice, or function_call, its older form.
func decodeChoice(o *rawjson.Object, c *llm.Chat) {
	const name, old = "tool_choice", "function_call"
	choice, custom := rawjson.ObjectOf(o.Value(name)), customTools(c)
	var exact bool
	switch kind := choice.Str("type"); {
	case o.Kind(name) == '"':
		c.Choice.Mode = llm.ToolMode(o.Str(name))
		exact = slices.Contains([]llm.ToolMode{llm.ToolAuto, llm.ToolNone, llm.ToolRequired}, c.Choice.Mode)
	case kind == functionType || kind == customType:
		tool, ok := decodeReference(choice, custom)
		c.Choice = llm.ToolChoice{Mode: llm.ToolNamed, Names: []string{tool}}
		exact = ok
	case kind == "allowed_tools":
		c.Choice, exact = decodeAllowed(choice, custom)
	default:
		if s := o.Str(old); s != "" {
			c.Choice.Mode = llm.ToolMode(s)
		} else if s := rawjson.ObjectOf(o.Value(old)).Str("name"); s != "" {
			c.Choice = llm.ToolChoice{Mode: llm.ToolNamed, Names: []string{s}}
		}
	}
	if exact && !o.Has(old) {
		o.Take(name)
	}
}

// decodeReference reads {"type":T,T:{"name":N}}; exact is false if encoding N again would give something else.
func decodeReference(o *rawjson.Object, custom map[string]bool) (name string, exact bool) {
	kind := o.Str("type")
	inner := rawjson.ObjectOf(o.Value(kind))
	name = inner.Str("name")
	return name, name != "" && kind == toolType(custom[name]) && o.Only("type", kind) && inner.Only("name")
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

func decodeAllowed(o *rawjson.Object, custom map[string]bool) (choice llm.ToolChoice, exact bool) {
	inner := rawjson.ObjectOf(o.Value("allowed_tools"))
	choice.Mode = llm.ToolMode(inner.Str("mode"))
	tools, exact := rawjson.ObjectsOf(inner.Value("tools"))
	exact = exact && (choice.Mode == llm.ToolAuto || choice.Mode == llm.ToolRequired) &&
		o.Only("type", "allowed_tools") && inner.Only("mode", "tools")
	for _, t := range tools {
		name, ok := decodeReference(t, custom)
		choice.Names = append(choice.Names, name)
		exact = exact && ok
	}
	return choice, exact
}
