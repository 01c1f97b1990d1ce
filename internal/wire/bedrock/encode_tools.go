package bedrock

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
)

// tools writes the tools that may be called. A conversation in which tools were used needs them even where the caller sends none,
// or forbids their use: then they are made up of the calls, or sent without a choice, and the prompt says that none is to be called.
// A call that is made nevertheless is passed on: what was generated is never dropped.
func (e *encoder) tools() {
	c := e.Chat
	forced := c.Format.Kind == llm.FormatJSONSchema && e.traits.NoSchema
	used := e.usesTools()
	switch {
	case forced && (len(c.Tools) > 0 || used):
		e.Cannot("response_format", "a form for the answer beside tools", "Leave one of them out, or ask a newer model.")
	case forced:
		e.schemaTool()
	case len(c.Tools) == 0 && used:
		e.rebuilt()
	case len(c.Tools) == 0, c.Choice.Mode == llm.ToolNone && !used:
		e.choice(true) // its mistakes are mistakes all the same
	default:
		e.Name("toolConfig")
		e.Dst = append(e.Dst, `{"tools":[`...)
		opened := len(e.Dst)
		for i := range c.Tools {
			if t := &c.Tools[i]; allowed(c.Choice, t.Name) {
				e.tool(i, t)
			}
		}
		if len(e.Dst) == opened {
			e.Cannot("tool_choice", "a choice among tools that are not there", "Allow at least one of the tools.")
		}
		e.Dst = append(e.Dst, ']')
		e.choice(false)
		e.Dst = append(e.Dst, '}')
	}
}

// allowed reports whether a tool is among those that a choice narrows all to. A named tool is chosen by its name instead.
func allowed(c llm.ToolChoice, name string) bool {
	return c.Mode == llm.ToolNamed || len(c.Names) == 0 || slices.Contains(c.Names, name)
}

// toolNames is what tools may be called.
var toolNames = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func (e *encoder) tool(i int, t *llm.Tool) {
	at := "tools[" + strconv.Itoa(i) + "]"
	switch {
	case t.Name == "":
		e.Cannot(at, "a tool of this type", crossing.Elsewhere)
		return
	case t.Custom:
		e.Cannot(at, "a tool that takes free text", "Give it a schema, or ask a model of another dialect.")
		return
	case !toolNames.MatchString(t.Name):
		e.Cannot(at, "a tool of this name", "Take up to 64 letters, digits, underscores and hyphens.")
		return
	}
	strict := t.Strict != nil && *t.Strict
	if strict && e.traits.NoSchema {
		e.Adapt("strict")
		strict = false
	}
	e.spec(t.Name, t.Description, objectSchema(t.Schema), strict)
	e.close(t.Cache)
	e.Beside(at, t.Extra)
}

// spec writes a tool, but for its last bracket.
func (e *encoder) spec(name, description string, schema []byte, strict bool) {
	e.open("toolSpec")
	e.Member(nameField, name)
	e.Text(nil, "description", description)
	e.Dst = append(e.Dst, `,"inputSchema":{`...)
	e.Raw("json", schema)
	e.Dst = append(e.Dst, '}')
	if strict {
		e.Boolean(nil, "strict", &strict)
	}
	e.Dst = append(e.Dst, '}')
}

// rebuilt writes the tools that the conversation has calls of.
func (e *encoder) rebuilt() {
	e.Name("toolConfig")
	e.Dst = append(e.Dst, `{"tools":[`...)
	seen := map[string]bool{}
	write := func(name string) {
		if !seen[name] {
			seen[name] = true
			e.spec(name, "", objectSchema(nil), false)
			e.close(nil)
		}
	}
	for i := range e.Chat.Messages {
		for _, p := range e.Chat.Messages[i].Parts {
			if p.Kind == llm.PartToolCall {
				write(p.ToolName)
			}
		}
	}
	if len(seen) == 0 {
		write("tool") // results alone have no names
	}
	e.Dst = append(e.Dst, `]}`...)
}

// choice writes how tools are chosen; there is no word for none, and where nothing is to be written, it is only looked at.
func (e *encoder) choice(silent bool) {
	c := &e.Chat.Choice
	switch c.Mode {
	case llm.ToolUnset, llm.ToolNone:
		return
	case llm.ToolAuto, llm.ToolRequired, llm.ToolNamed:
	default:
		e.Cannot("tool_choice", "this choice", "One of auto, required, none, or a tool by its name.")
		return
	}
	if silent {
		return
	}
	if c.Mode != llm.ToolAuto && e.thinking == llm.ThinkingBudget {
		e.Cannot("tool_choice", "a call that must be made, while the model is to reason,", "Leave out the reasoning, or let the model choose.")
	}
	e.Name("toolChoice")
	switch {
	case c.Mode == llm.ToolNamed && len(c.Names) == 1:
		e.named(c.Names[0])
	case c.Mode == llm.ToolAuto:
		e.Dst = append(e.Dst, `{"auto":{}}`...)
	default:
		e.Dst = append(e.Dst, `{"any":{}}`...)
	}
}

func (e *encoder) named(tool string) {
	e.Dst = append(e.Dst, `{"tool":{`...)
	e.Member(nameField, tool)
	e.Dst = append(e.Dst, `}}`...)
}

// schemaTool makes the form of the answer the only tool, which must be called.
func (e *encoder) schemaTool() {
	f := &e.Chat.Format
	if e.thinking == llm.ThinkingBudget {
		e.Cannot("response_format", "a form for the answer, while the model is to reason,", "Leave out one of them, or ask a newer model.")
	}
	description := "Give the answer by calling this tool."
	if f.Description != "" {
		description += " " + f.Description
	}
	e.Name("toolConfig")
	e.Dst = append(e.Dst, `{"tools":[`...)
	e.spec(SchemaTool, description, objectSchema(f.Schema), false)
	e.close(nil)
	e.Dst = append(e.Dst, ']')
	e.Name("toolChoice")
	e.named(SchemaTool)
	e.Dst = append(e.Dst, '}')
}
