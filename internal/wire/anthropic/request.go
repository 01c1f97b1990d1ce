package anthropic

import (
	"math"
	"slices"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// ParseMessages reads the body of a messages call in one strict pass (see [rawjson.Parse]). Errors are *fault.Error. The request
// keeps body, which must not change until the exchange ends.
func ParseMessages(body []byte) (*llm.Request, error) { return parse(body, llm.OpChat, messagesShape) }

// ParseCount is ParseMessages for the body of a call that counts tokens, which needs no cap on them.
func ParseCount(body []byte) (*llm.Request, error) { return parse(body, llm.OpCount, countShape) }

func parse(body []byte, op llm.Operation, s rawjson.Shape) (*llm.Request, error) {
	r := &llm.Request{Dialect: llm.Anthropic, Op: op, Choices: 1, IncludeUsage: true, DecodeChat: DecodeChat}
	if err := rawjson.Parse(body, s, r); err != nil {
		return nil, err
	}
	if op == llm.OpCount {
		r.Stream = false
	}
	return r, nil
}

// Limits of what ends up in records and budgets, in bytes.
const (
	maxModel = 1024
	maxUser  = 512
	maxTier  = 64
	maxStops = 8192 // of all elements; a provider has its own limit
)

var (
	messagesShape = shapeOf(rawjson.Field{Name: "max_tokens", Check: outputCap, Hint: "Say how many tokens may be generated."})
	countShape    = shapeOf(rawjson.Field{Name: "max_tokens", Check: outputCap})
)

func shapeOf(more ...rawjson.Field) rawjson.Shape {
	return rawjson.ShapeOf(slices.Concat(members, more)...)
}

// members are those of a messages call whose types are known here. Of their insides, the provider that is asked is the judge on
// the raw way, and [DecodeChat] on the others.
var members = []rawjson.Field{
	{Name: "model", Check: model, Hint: "Name the model to use; all: GET /v1/models"},
	{Name: messagesField, Check: messages, Hint: "Send at least one message."},
	{Name: systemField, Check: textOrObjects},
	{Name: "stop_sequences", Check: stops},
	{Name: "stream", Check: rawjson.Boolean(func(r *llm.Request, b bool) { r.Stream = b })},
	{Name: "temperature", Check: rawjson.Number},
	{Name: "top_p", Check: rawjson.Number},
	{Name: "top_k", Check: rawjson.Integer("a whole number", math.MinInt32, math.MaxInt32, nil)},
	{Name: "tools", Check: rawjson.Objects},
	{Name: "tool_choice", Check: rawjson.AnyObject},
	{Name: "thinking", Check: rawjson.AnyObject},
	{Name: "output_config", Check: rawjson.AnyObject},
	{Name: "metadata", Check: metadata},
	{Name: "service_tier", Check: rawjson.ShortText(maxTier, func(r *llm.Request, s string) { r.ServiceTier = s })},
	{Name: "cache_control", Check: rawjson.AnyObject},
	{Name: "container", Check: rawjson.TextOrObject},
	{Name: "context_management", Check: rawjson.AnyObject},
	{Name: "mcp_servers", Check: rawjson.Objects},
	{Name: "inference_geo", Check: rawjson.Text},
	{Name: "speed", Check: rawjson.Text},
}

// outputCap takes 0 too, which fills the provider's cache and generates nothing.
var outputCap = rawjson.Integer("a whole number from 0 to 2,147,483,647", 0, math.MaxInt32, func(r *llm.Request, n int64) {
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

// metadata holds the end user. One that is longer than the vendor takes is the vendor's to refuse, and not recorded.
func metadata(r *rawjson.Reader, req *llm.Request) error {
	kind, _, err := r.Next()
	if err != nil {
		return err
	}
	if kind != '{' {
		return r.Wrong("an object")
	}
	return r.Members(func(name []byte) error {
		if string(name) != "user_id" || r.Peek() != '"' {
			return r.Skip()
		}
		_, raw, err := r.Next()
		if len(raw) <= maxUser {
			req.User = string(rawjson.Unquoted(raw))
		}
		return err
	})
}

func stops(r *rawjson.Reader, _ *llm.Request) error {
	n := 0
	_, err := r.Elements("an array of strings", func(kind byte, _ []byte) error {
		if n++; n > maxStops {
			return r.Refuse("Send fewer.", "more than %d stop sequences", maxStops)
		}
		if kind != '"' {
			return r.Wrong("a string")
		}
		return nil
	})
	return err
}

// textOrObjects takes a text, or an array of blocks.
func textOrObjects(r *rawjson.Reader, _ *llm.Request) error {
	if r.Peek() == '"' {
		return r.Skip()
	}
	_, err := r.Elements("a string or an array of blocks", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("a block, which is an object")
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

func messages(r *rawjson.Reader, _ *llm.Request) error {
	n, err := r.Elements("an array of messages", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("a message, which is an object")
		}
		return turn(r)
	})
	if err == nil && n == 0 {
		return r.Refuse("Send at least one message.", "an empty array")
	}
	return err
}

const roleHint = "One of user, assistant, system."

// turn reads the rest of a message.
func turn(r *rawjson.Reader) error {
	role, content := false, false
	err := r.Members(func(name []byte) error {
		switch string(name) {
		case "role":
			role = true
			return messageRole(r)
		case contentField:
			content = true
			return textOrObjects(r, nil)
		}
		return r.Skip()
	})
	switch {
	case err != nil:
		return err
	case !role:
		return rawjson.Missing(r.Here()+".role", roleHint)
	case !content:
		return rawjson.Missing(r.Here()+".content", "A text, or an array of blocks.")
	}
	return nil
}

func messageRole(r *rawjson.Reader) error {
	kind, raw, err := r.Next()
	if err != nil {
		return err
	}
	if kind != '"' {
		return r.Wrong("a role, which is a string")
	}
	switch s := string(rawjson.Unquoted(raw)); llm.Role(s) {
	case llm.RoleUser, llm.RoleAssistant, llm.RoleSystem:
		return nil
	default:
		return r.Refuse(roleHint, "there is no role %s", rawjson.Quote(s))
	}
}
