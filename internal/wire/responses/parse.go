package responses

import (
	"math"
	"slices"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// Parse reads the body of a call in one strict pass (see [rawjson.Parse]). What would be kept at the provider, where all of a
// Penstock's callers are one, is refused: conversations, and answers that are made in the background. Errors are *fault.Error. The
// request keeps body, which must not change until the exchange ends.
func Parse(body []byte) (*llm.Request, error) { return parse(body, llm.OpChat) }

// ParseCount is Parse for the body of a call that counts tokens.
func ParseCount(body []byte) (*llm.Request, error) {
	r, err := parse(body, llm.OpCount)
	if err == nil {
		r.Stream = false
	}
	return r, err
}

func parse(body []byte, op llm.Operation) (*llm.Request, error) {
	r := &llm.Request{Dialect: llm.Responses, Op: op, Choices: 1, IncludeUsage: true, DecodeChat: DecodeChat}
	if err := rawjson.Parse(body, shape, r); err != nil {
		return nil, err
	}
	if string(r.Field("background")) == "true" {
		return nil, refused("background", "an answer that is made in the background is not kept here", "Leave it out, and stream the answer.")
	}
	if v := r.Field("conversation"); v != nil && string(v) != nullValue {
		return nil, refused("conversation", "conversations are not kept here", "Go on from an answer with previous_response_id.")
	}
	return r, nil
}

func refused(param, what, hint string) *fault.Error {
	e := fault.New(fault.InvalidRequest, "%s: %s.", param, what)
	e.Param, e.Hint = param, hint
	return e
}

// Limits of what ends up in records and budgets, in bytes.
const (
	maxModel    = 1024
	maxUser     = 512
	maxTier     = 64
	maxToolName = 128
)

// shape holds the members of a call.
var shape = rawjson.ShapeOf(
	rawjson.Field{Name: "model", Check: model, Hint: "Name the model to use; all: GET /v1/models"},
	rawjson.Field{Name: inputField, Check: input, Hint: "Send a text, or items."},
	rawjson.Field{Name: "background", Check: rawjson.Boolean(nil)},
	rawjson.Field{Name: "conversation", Check: rawjson.TextOrObject},
	rawjson.Field{Name: "context_management", Check: rawjson.Objects},
	rawjson.Field{Name: "include", Check: rawjson.Texts},
	rawjson.Field{Name: instructionsField, Check: rawjson.Text},
	rawjson.Field{Name: "max_output_tokens", Check: outputCap},
	rawjson.Field{Name: "max_tool_calls", Check: rawjson.Integer("a whole number", 0, math.MaxInt32, nil)},
	rawjson.Field{Name: "metadata", Check: rawjson.AnyObject},
	rawjson.Field{Name: "moderation", Check: rawjson.AnyObject},
	rawjson.Field{Name: "parallel_tool_calls", Check: rawjson.Boolean(nil)},
	rawjson.Field{Name: "previous_response_id", Check: rawjson.Text},
	rawjson.Field{Name: "prompt", Check: rawjson.AnyObject},
	rawjson.Field{Name: "prompt_cache_key", Check: rawjson.Text},
	rawjson.Field{Name: "prompt_cache_options", Check: rawjson.AnyObject},
	rawjson.Field{Name: "prompt_cache_retention", Check: rawjson.Text},
	rawjson.Field{Name: "reasoning", Check: rawjson.AnyObject},
	rawjson.Field{Name: "safety_identifier", Check: rawjson.Text},
	rawjson.Field{Name: "service_tier", Check: rawjson.ShortText(maxTier, func(r *llm.Request, s string) { r.ServiceTier = s })},
	rawjson.Field{Name: "store", Check: rawjson.Boolean(nil)},
	rawjson.Field{Name: "stream", Check: rawjson.Boolean(func(r *llm.Request, b bool) { r.Stream = b })},
	rawjson.Field{Name: "stream_options", Check: rawjson.AnyObject},
	rawjson.Field{Name: "temperature", Check: rawjson.Number},
	rawjson.Field{Name: "text", Check: rawjson.AnyObject},
	rawjson.Field{Name: "tool_choice", Check: rawjson.TextOrObject},
	rawjson.Field{Name: toolsField, Check: tools},
	rawjson.Field{Name: "top_logprobs", Check: rawjson.Integer("a whole number", math.MinInt32, math.MaxInt32, nil)},
	rawjson.Field{Name: "top_p", Check: rawjson.Number},
	rawjson.Field{Name: "truncation", Check: rawjson.Text},
	rawjson.Field{Name: "user", Check: rawjson.ShortText(maxUser, func(r *llm.Request, s string) { r.User = s })},
)

var outputCap = rawjson.Integer("a whole number from 1 to 2,147,483,647", 1, math.MaxInt32, func(r *llm.Request, n int64) {
	r.MaxOutput = n
})

func model(r *rawjson.Reader, req *llm.Request) error {
	name, err := r.Short("the name of a model", maxModel)
	if err == nil && name == "" {
		return r.Wrong("the name of a model")
	}
	req.Model = name
	return err
}

// input is a text or items.
func input(r *rawjson.Reader, _ *llm.Request) error {
	if r.Peek() == '"' {
		return r.Skip()
	}
	n, err := r.Elements("a string or an array of items", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("an item, which is an object")
		}
		return r.Members(func(name []byte) error { return itemMember(r, string(name)) })
	})
	if err == nil && n == 0 {
		return r.Refuse("Send at least one item.", "an empty array")
	}
	return err
}

// itemMember reads a member of an item. What it must be depends on the type, which may come later; these are the same in all types
// that have them.
func itemMember(r *rawjson.Reader, name string) error {
	check := rawjson.Check(rawjson.Anything)
	if r.Peek() != 'n' {
		switch name {
		case typeField, idField, "call_id", nameField, encryptedField:
			check = rawjson.Text
		case "role":
			check = role
		case contentField:
			check = content
		case "summary":
			check = rawjson.Objects
		}
	}
	return check(r, nil)
}

// roles are those of messages.
var roles = []llm.Role{llm.RoleUser, llm.RoleAssistant, llm.RoleSystem, llm.RoleDeveloper}

const roleHint = "One of user, assistant, system, developer."

func role(r *rawjson.Reader, _ *llm.Request) error {
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
	_, err := r.Elements("a string or an array of parts", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("a part, which is an object")
		}
		return r.Members(func(name []byte) error {
			if string(name) == typeField {
				return rawjson.Text(r, nil)
			}
			return r.Skip()
		})
	})
	return err
}

// tools are objects. Functions and custom tools among them have a name of their own each.
func tools(r *rawjson.Reader, _ *llm.Request) error {
	names := make(map[string]struct{})
	_, err := r.Elements("an array of tools", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("a tool, which is an object")
		}
		return r.Members(func(name []byte) error {
			switch {
			case string(name) == typeField:
				return rawjson.Text(r, nil)
			case string(name) == nameField && r.Peek() != 'n':
				return toolName(r, names)
			}
			return r.Skip()
		})
	})
	return err
}

func toolName(r *rawjson.Reader, names map[string]struct{}) error {
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
}
