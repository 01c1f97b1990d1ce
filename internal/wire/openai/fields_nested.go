package openai

import (
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// The checks of members that have an inside: stream options, inputs, messages, tools.

var includeUsage = rawjson.Boolean(func(req *llm.Request, b bool) { req.IncludeUsage = b })

func streamOptions(r *rawjson.Reader, req *llm.Request) error {
	kind, _, err := r.Next()
	if err != nil {
		return err
	}
	if kind != '{' {
		return r.Wrong("an object")
	}
	return r.Members(func(name []byte) error {
		check := rawjson.Check(rawjson.Anything)
		if r.Peek() != 'n' {
			switch string(name) {
			case "include_usage":
				check = includeUsage
			case "include_obfuscation":
				check = rawjson.Boolean(nil)
			}
		}
		return check(r, req)
	})
}

func encodingFormat(r *rawjson.Reader, req *llm.Request) error {
	_, raw, err := r.Next()
	if err != nil {
		return err
	}
	if s := string(raw); s != `"float"` && s != `"base64"` {
		return r.Wrong(`"float" or "base64"`)
	}
	req.Base64 = string(raw) == `"base64"`
	return nil
}

// input is a text, several texts, the tokens of one text, or those of several.
func input(r *rawjson.Reader, _ *llm.Request) error {
	if r.Peek() == '"' {
		return r.Skip()
	}
	first := byte(0)
	n, err := r.Elements("a string, an array of strings, or an array of tokens", func(kind byte, raw []byte) error {
		if first == 0 {
			first = kind
		}
		switch {
		case kind == first && kind == '"':
			return nil
		case kind == first && kind == '0':
			return token(r, raw)
		case kind == first && kind == '[':
			return tokens(r)
		case first == '"' || first == '0' || first == '[':
			return r.Wrong("the same as before it: all strings, all tokens, or all arrays of tokens")
		}
		return r.Wrong("a string, a token, or an array of tokens")
	})
	if err == nil && n == 0 {
		return r.Refuse("Send at least one text.", "an empty array")
	}
	return err
}

// moderated takes a text, texts, or parts that are texts and links to images.
func moderated(r *rawjson.Reader, _ *llm.Request) error {
	if r.Peek() == '"' {
		return r.Skip()
	}
	first := byte(0)
	n, err := r.Elements("a string, an array of strings, or an array of parts", func(kind byte, _ []byte) error {
		if first == 0 {
			first = kind
		}
		switch {
		case kind != first || kind != '"' && kind != '{':
			return r.Wrong("a string or a part, the same as before it")
		case kind == '{':
			return r.Members(func([]byte) error { return r.Skip() })
		}
		return nil
	})
	if err == nil && n == 0 {
		return r.Refuse("Send at least one text.", "an empty array")
	}
	return err
}

// tokens reads the rest of an array of token numbers.
func tokens(r *rawjson.Reader) error {
	for n := 0; ; n++ {
		kind, raw, err := r.Next()
		switch {
		case err != nil:
			return err
		case kind == ']' && n == 0:
			return r.Refuse("Leave it out.", "an empty array of tokens")
		case kind == ']':
			return nil
		case kind != '0':
			return r.Wrong("a token")
		}
		if err := token(r, raw); err != nil {
			return err
		}
	}
}

func token(r *rawjson.Reader, raw []byte) error {
	if n, err := strconv.ParseInt(string(raw), 10, 32); err != nil || n < 0 {
		return r.Wrong("the number of a token")
	}
	return nil
}

// roles are those of the dialect.
var roles = []llm.Role{
	llm.RoleDeveloper, llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool, llm.RoleFunction,
}

func messages(r *rawjson.Reader, _ *llm.Request) error {
	n, err := r.Elements("an array of messages", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("a message, which is an object")
		}
		return message(r)
	})
	if err == nil && n == 0 {
		return r.Refuse("Send at least one message.", "an empty array")
	}
	return err
}

// message reads the rest of a message.
func message(r *rawjson.Reader) error {
	role := false
	err := r.Members(func(name []byte) error {
		check := rawjson.Check(rawjson.Anything)
		switch string(name) {
		case "role":
			role, check = true, messageRole
		case "content":
			check = content
		case "name", "tool_call_id", "refusal", "reasoning_content":
			check = rawjson.Text
		case "tool_calls":
			check = rawjson.Objects
		}
		if string(name) != "role" && r.Peek() == 'n' {
			check = rawjson.Anything
		}
		return check(r, nil)
	})
	if err == nil && !role {
		return rawjson.Missing(r.Here()+".role", roleHint)
	}
	return err
}

const roleHint = "One of developer, system, user, assistant, tool, function."

func messageRole(r *rawjson.Reader, _ *llm.Request) error {
	kind, raw, err := r.Next()
	if err != nil {
		return err
	}
	if kind != '"' {
		return r.Wrong("a role, which is a string")
	}
	if s := rawjson.Unquoted(raw); !slices.Contains(roles, llm.Role(s)) {
		return r.Refuse(roleHint, "there is no role %s", rawjson.Quote(string(s)))
	}
	return nil
}

// content is a text, or an array of parts.
func content(r *rawjson.Reader, _ *llm.Request) error {
	if r.Peek() == '"' {
		return r.Skip()
	}
	_, err := r.Elements("a string, an array of parts, or null", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("a part, which is an object")
		}
		return r.Members(func(name []byte) error {
			if string(name) == "type" {
				return rawjson.Text(r, nil)
			}
			return r.Skip()
		})
	})
	return err
}

// tools are objects; functions and custom tools among them have a name of their own each.
func tools(r *rawjson.Reader, _ *llm.Request) error {
	names := make(map[string]struct{})
	_, err := r.Elements("an array of tools", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("a tool, which is an object")
		}
		return r.Members(func(name []byte) error {
			switch {
			case string(name) == "type":
				return rawjson.Text(r, nil)
			case (string(name) == "function" || string(name) == "custom") && r.Peek() == '{':
				return tool(r, names)
			}
			return r.Skip()
		})
	})
	return err
}

// tool reads the inside of a tool.
func tool(r *rawjson.Reader, names map[string]struct{}) error {
	if _, _, err := r.Next(); err != nil {
		return err
	}
	return r.Members(func(name []byte) error {
		if string(name) != "name" {
			return r.Skip()
		}
		tool, err := r.Short("the name of a tool", maxToolName)
		if err != nil {
			return err
		}
		if tool == "" {
			return r.Wrong("the name of a tool")
		}
		if _, twice := names[tool]; twice {
			return r.Refuse("Give each tool a name of its own.", "a tool before it has the name %s too", rawjson.Quote(tool))
		}
		names[tool] = struct{}{}
		return nil
	})
}
