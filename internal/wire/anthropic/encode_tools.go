package anthropic

import (
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
)

// SchemaTool is the name of the tool by which models that take no schema are made to answer in one.
const SchemaTool = "structured_answer"

func (e *encoder) tools() {
	c := e.Chat
	forced := c.Format.Kind == llm.FormatJSONSchema && e.traits.NoSchema
	if forced && len(c.Tools) > 0 {
		e.Cannot("response_format", "a form for the answer beside tools", "Leave one of them out, or ask a newer model.")
		return
	}
	if forced {
		e.schemaTool()
		return
	}
	if len(c.Tools) == 0 {
		return
	}
	e.Name("tools")
	e.Dst = append(e.Dst, '[')
	for i := range c.Tools {
		t := &c.Tools[i]
		if allowed(c.Choice, t.Name) {
			e.tool(i, t)
		}
	}
	e.Dst = append(e.Dst, ']')
	e.choice()
}

// allowed reports whether a tool is among those that a choice narrows all to. A named tool is chosen by its name instead.
func allowed(c llm.ToolChoice, name string) bool {
	return c.Mode == llm.ToolNamed || len(c.Names) == 0 || slices.Contains(c.Names, name)
}

func (e *encoder) tool(i int, t *llm.Tool) {
	at := "tools[" + strconv.Itoa(i) + "]"
	switch {
	case t.Name == "":
		e.Cannot(at, "a tool of this type", crossing.Elsewhere)
		return
	case t.Custom:
		e.Cannot(at, "a tool that takes free text", "Give it a schema, or ask a model of another dialect.")
		return
	}
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member("name", t.Name)
	e.Text(nil, "description", t.Description)
	e.Raw("input_schema", objectSchema(t.Schema))
	e.Boolean(nil, "strict", t.Strict)
	e.cache(t.Cache)
	e.Beside(at, t.Extra)
	e.Dst = append(e.Dst, '}')
}

// choice writes how tools are chosen. That they are not to be called at once can be said only within one.
func (e *encoder) choice() {
	c := &e.Chat.Choice
	single := e.Chat.Parallel != nil && !*e.Chat.Parallel
	mode, name := "", ""
	switch c.Mode {
	case llm.ToolUnset:
		if single {
			mode = "auto"
		}
	case llm.ToolAuto:
		mode = "auto"
	case llm.ToolNone:
		mode = "none"
	case llm.ToolRequired:
		mode = "any"
	case llm.ToolNamed:
		mode = "tool"
		if len(c.Names) == 1 {
			name = c.Names[0]
		}
	default:
		e.Cannot("tool_choice", "this choice", "One of auto, required, none, or a tool by its name.")
	}
	if mode == "" {
		return
	}
	if e.thinking == llm.ThinkingBudget && (mode == "any" || mode == "tool") {
		e.Cannot("tool_choice", "a call that must be made, while the model is to reason,", "Leave out the reasoning, or let the model choose.")
	}
	e.Name("tool_choice")
	e.Dst = append(e.Dst, '{')
	e.Member("type", mode)
	e.Text(nil, "name", name)
	if single && mode != "none" {
		e.Dst = append(e.Dst, `,"disable_parallel_tool_use":true`...)
	}
	e.Dst = append(e.Dst, '}')
}

// schemaTool makes the form of the answer the only tool, which must be called.
func (e *encoder) schemaTool() {
	f := &e.Chat.Format
	e.schema = true
	e.Name("tools")
	e.Dst = append(e.Dst, `[{`...)
	e.Member("name", SchemaTool)
	description := "Give the answer by calling this tool."
	if f.Description != "" {
		description += " " + f.Description
	}
	e.Member("description", description)
	e.Raw("input_schema", objectSchema(f.Schema))
	e.Dst = append(e.Dst, `}]`...)
	e.Name("tool_choice")
	e.Dst = append(e.Dst, '{')
	e.Member("type", "tool")
	e.Member("name", SchemaTool)
	e.Dst = append(e.Dst, '}')
	if e.thinking == llm.ThinkingBudget {
		e.Cannot("response_format", "a form for the answer, while the model is to reason,", "Leave out one of them, or ask a newer model.")
	}
}
