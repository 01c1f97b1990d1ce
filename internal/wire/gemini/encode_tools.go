package gemini

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
)

// toolNames is what tools may be called.
var toolNames = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$`)

const nameHint = "Take up to 128 letters, digits, and _ . : -, and a letter or _ first."

// modes are the dialect's words for how tools are chosen.
var modes = map[llm.ToolMode]string{llm.ToolAuto: "AUTO", llm.ToolNone: "NONE", llm.ToolRequired: "ANY", llm.ToolNamed: "ANY"}

// tools writes the tools that may be called, and how they are chosen.
func (e *encoder) tools() {
	c := &e.Chat.Choice
	mode, ok := modes[c.Mode]
	if !ok && c.Mode != llm.ToolUnset {
		e.Cannot("tool_choice", "this choice", "One of auto, required, none, or a tool by its name.")
	}
	if len(e.Chat.Tools) == 0 {
		return
	}
	e.Name("tools")
	e.Dst = append(e.Dst, `[{"functionDeclarations":[`...)
	opened := len(e.Dst)
	for i := range e.Chat.Tools {
		if t := &e.Chat.Tools[i]; c.Mode != llm.ToolAuto || len(c.Names) == 0 || slices.Contains(c.Names, t.Name) {
			e.tool(i, t)
		}
	}
	if len(e.Dst) == opened {
		e.Cannot("tool_choice", "a choice among tools that are not there", "Allow at least one of the tools.")
	}
	e.Dst = append(e.Dst, `]}]`...)
	if mode == "" {
		return
	}
	e.Name("toolConfig")
	e.Dst = append(e.Dst, `{"functionCallingConfig":{`...)
	e.Member("mode", mode)
	if c.Mode == llm.ToolRequired || c.Mode == llm.ToolNamed {
		e.Strings(nil, "allowedFunctionNames", c.Names)
	}
	e.Dst = append(e.Dst, `}}`...)
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
	case !toolNames.MatchString(t.Name):
		e.Cannot(at, "a tool of this name", nameHint)
		return
	}
	// Calls that must be made keep to the schema as it is.
	forced := e.Chat.Choice.Mode == llm.ToolRequired || e.Chat.Choice.Mode == llm.ToolNamed
	e.dropped("strict", t.Strict != nil && *t.Strict && !forced)
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member(nameField, t.Name)
	e.Text(nil, "description", t.Description)
	if len(t.Schema) > 0 && string(t.Schema) != "null" {
		e.Raw("parametersJsonSchema", t.Schema)
	}
	e.Dst = append(e.Dst, '}')
	e.marked(t.Cache)
	e.Beside(at, t.Extra)
}
