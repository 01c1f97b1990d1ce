package openai

import (
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
)

// The checks of members that have an inside: stream options, inputs, messages, tools.

var includeUsage = boolean(func(req *llm.Request, b bool) { req.IncludeUsage = b })

func streamOptions(r *reader, req *llm.Request) error {
	kind, _, err := r.next()
	if err != nil {
		return err
	}
	if kind != '{' {
		return r.wrong("an object")
	}
	return r.members(func(name []byte) error {
		check := anything
		if r.peek() != 'n' {
			switch string(name) {
			case "include_usage":
				check = includeUsage
			case "include_obfuscation":
				check = boolean(nil)
			}
		}
		return check(r, req)
	})
}

func encodingFormat(r *reader, req *llm.Request) error {
	_, raw, err := r.next()
	if err != nil {
		return err
	}
	if s := string(raw); s != `"float"` && s != `"base64"` {
		return r.wrong(`"float" or "base64"`)
	}
	req.Base64 = string(raw) == `"base64"`
	return nil
}

// input is a text, several texts, the tokens of one text, or those of several.
func input(r *reader, _ *llm.Request) error {
	if r.peek() == '"' {
		return r.skip()
	}
	first := byte(0)
	n, err := r.elements("a string, an array of strings, or an array of tokens", func(kind byte, raw []byte) error {
		if first == 0 {
			first = kind
		}
		switch {
		case kind == first && kind == '"':
			return nil
		case kind == first && kind == '0':
			return r.token(raw)
		case kind == first && kind == '[':
			return r.tokens()
		case first == '"' || first == '0' || first == '[':
			return r.wrong("the same as before it: all strings, all tokens, or all arrays of tokens")
		}
		return r.wrong("a string, a token, or an array of tokens")
	})
	if err == nil && n == 0 {
		return r.refuse("Send at least one text.", "an empty array")
	}
	return err
}

// tokens reads the rest of an array of token numbers.
func (r *reader) tokens() error {
	for n := 0; ; n++ {
		kind, raw, err := r.next()
		switch {
		case err != nil:
			return err
		case kind == ']' && n == 0:
			return r.refuse("Leave it out.", "an empty array of tokens")
		case kind == ']':
			return nil
		case kind != '0':
			return r.wrong("a token")
		}
		if err := r.token(raw); err != nil {
			return err
		}
	}
}

func (r *reader) token(raw []byte) error {
	if n, err := strconv.ParseInt(string(raw), 10, 32); err != nil || n < 0 {
		return r.wrong("the number of a token")
	}
	return nil
}

// roles are those of the dialect.
var roles = []llm.Role{
	llm.RoleDeveloper, llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool, llm.RoleFunction,
}

func messages(r *reader, _ *llm.Request) error {
	n, err := r.elements("an array of messages", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.wrong("a message, which is an object")
		}
		return r.message()
	})
	if err == nil && n == 0 {
		return r.refuse("Send at least one message.", "an empty array")
	}
	return err
}

// message reads the rest of a message.
func (r *reader) message() error {
	role := false
	err := r.members(func(name []byte) error {
		check := anything
		switch string(name) {
		case "role":
			role, check = true, messageRole
		case "content":
			check = content
		case "name", "tool_call_id", "refusal", "reasoning_content":
			check = text
		case "tool_calls":
			check = objects
		}
		if string(name) != "role" && r.peek() == 'n' {
			check = anything
		}
		return check(r, nil)
	})
	if err == nil && !role {
		return missing(r.place(r.dec.StackPointer())+".role", roleHint)
	}
	return err
}

const roleHint = "One of developer, system, user, assistant, tool, function."

func messageRole(r *reader, _ *llm.Request) error {
	kind, raw, err := r.next()
	if err != nil {
		return err
	}
	if kind != '"' {
		return r.wrong("a role, which is a string")
	}
	if s := unquoted(raw); !slices.Contains(roles, llm.Role(s)) {
		return r.refuse(roleHint, "there is no role %s", quote(string(s)))
	}
	return nil
}

// content is a text, or an array of parts.
func content(r *reader, _ *llm.Request) error {
	if r.peek() == '"' {
		return r.skip()
	}
	_, err := r.elements("a string, an array of parts, or null", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.wrong("a part, which is an object")
		}
		return r.members(func(name []byte) error {
			if string(name) == "type" {
				return text(r, nil)
			}
			return r.skip()
		})
	})
	return err
}

// tools are objects; functions and custom tools among them have a name of their own each.
func tools(r *reader, _ *llm.Request) error {
	names := make(map[string]struct{})
	_, err := r.elements("an array of tools", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.wrong("a tool, which is an object")
		}
		return r.members(func(name []byte) error {
			switch {
			case string(name) == "type":
				return text(r, nil)
			case (string(name) == "function" || string(name) == "custom") && r.peek() == '{':
				return r.tool(names)
			}
			return r.skip()
		})
	})
	return err
}

// tool reads the inside of a tool.
func (r *reader) tool(names map[string]struct{}) error {
	if _, _, err := r.next(); err != nil {
		return err
	}
	return r.members(func(name []byte) error {
		if string(name) != "name" {
			return r.skip()
		}
		tool, err := r.short("the name of a tool", maxToolName)
		if err != nil {
			return err
		}
		if tool == "" {
			return r.wrong("the name of a tool")
		}
		if _, twice := names[tool]; twice {
			return r.refuse("Give each tool a name of its own.", "a tool before it has the name %s too", quote(tool))
		}
		names[tool] = struct{}{}
		return nil
	})
}
