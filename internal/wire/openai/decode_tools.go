package openai

import (
	"slices"

	"github.com/penstock/penstock/internal/llm"
)

// The two types of tools that the canonical form knows. Each is also the name of the member with the tool inside.
const (
	functionType = "function"
	customType   = "custom"
)

// decodeTools reads tools, or functions, their older form.
func decodeTools(o *source, c *llm.Chat) {
	if all, ok := objectsOf(o.value("tools")); ok {
		for _, t := range all {
			c.Tools = append(c.Tools, decodeTool(t))
		}
		if !o.has("functions") {
			o.take("tools")
		}
		return
	}
	all, _ := objectsOf(o.value("functions"))
	for _, f := range all {
		c.Tools = append(c.Tools, decodeFunction(f))
	}
}

// decodeTool reads a tool. One of a kind that the form does not know has all its members in Extra, and no name.
func decodeTool(o *source) llm.Tool {
	kind := o.str("type")
	inner := sourceOf(o.value(kind))
	if kind != functionType && kind != customType || inner.str("name") == "" {
		return llm.Tool{Extra: o.rest()}
	}
	t := decodeFunction(inner)
	t.Custom = kind == customType
	t.Cache = takeCache(o)
	o.take("type", kind)
	t.Extra = o.rest()
	if len(inner.fields) > 0 {
		t.Extra = append(t.Extra, inner.member(kind))
	}
	return t
}

// decodeFunction reads a tool's inside.
func decodeFunction(o *source) llm.Tool {
	var t llm.Tool
	o.takeString("name", &t.Name)
	o.takeString("description", &t.Description)
	o.takeObject("parameters", &t.Schema)
	o.takeBool("strict", &t.Strict)
	return t
}

// member makes one member of those that were not taken.
func (o *source) member(name string) llm.Member {
	e := encoder{dst: []byte{'{'}}
	e.extra(o.rest())
	return llm.Member{Name: name, Value: append(e.dst, '}')}
}

// takeCache takes the mark for caching that some vendors have added to the dialect.
func takeCache(o *source) *llm.CacheMark {
	const name = "cache_control"
	inner := sourceOf(o.value(name))
	if inner.str("type") != "ephemeral" || !inner.only("type", "ttl") {
		return nil
	}
	mark := &llm.CacheMark{}
	inner.takeString("ttl", &mark.TTL)
	if !inner.only("type") {
		return nil
	}
	o.take(name)
	return mark
}

// decodeChoice reads tool_choice, or function_call, its older form.
func decodeChoice(o *source, c *llm.Chat) {
	const name, old = "tool_choice", "function_call"
	choice, custom := sourceOf(o.value(name)), customTools(c)
	var exact bool
	switch kind := choice.str("type"); {
	case o.kind(name) == '"':
		c.Choice.Mode = llm.ToolMode(o.str(name))
		exact = slices.Contains([]llm.ToolMode{llm.ToolAuto, llm.ToolNone, llm.ToolRequired}, c.Choice.Mode)
	case kind == functionType || kind == customType:
		tool, ok := decodeReference(choice, custom)
		c.Choice = llm.ToolChoice{Mode: llm.ToolNamed, Names: []string{tool}}
		exact = ok
	case kind == "allowed_tools":
		c.Choice, exact = decodeAllowed(choice, custom)
	default:
		if s := o.str(old); s != "" {
			c.Choice.Mode = llm.ToolMode(s)
		} else if s := sourceOf(o.value(old)).str("name"); s != "" {
			c.Choice = llm.ToolChoice{Mode: llm.ToolNamed, Names: []string{s}}
		}
	}
	if exact && !o.has(old) {
		o.take(name)
	}
}

// decodeReference reads {"type":T,T:{"name":N}}; exact is false if encoding N again would give something else.
func decodeReference(o *source, custom map[string]bool) (name string, exact bool) {
	kind := o.str("type")
	inner := sourceOf(o.value(kind))
	name = inner.str("name")
	return name, name != "" && kind == toolType(custom[name]) && o.only("type", kind) && inner.only("name")
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

func decodeAllowed(o *source, custom map[string]bool) (choice llm.ToolChoice, exact bool) {
	inner := sourceOf(o.value("allowed_tools"))
	choice.Mode = llm.ToolMode(inner.str("mode"))
	tools, exact := objectsOf(inner.value("tools"))
	exact = exact && (choice.Mode == llm.ToolAuto || choice.Mode == llm.ToolRequired) &&
		o.only("type", "allowed_tools") && inner.only("mode", "tools")
	for _, t := range tools {
		name, ok := decodeReference(t, custom)
		choice.Names = append(choice.Names, name)
		exact = exact && ok
	}
	return choice, exact
}
