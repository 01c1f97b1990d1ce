package anthropic

import (
	"encoding/base64"
	"strconv"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// EncodeSame writes a chat that came in this dialect in it again, for whoever has changed its canonical form: all that the form
// has no place for is written as it came. Turns are kept apart, but for results of tools, which are one turn with what the user
// says behind them. Errors are *fault.Error.
func EncodeSame(c *llm.Chat) ([]byte, error) {
	e := again{encoder{Writer: rawjson.Writer{Dst: append(make([]byte, 0, 1024), '{')}, Notes: crossing.Notes{Chat: c}}}
	x := rawjson.Extra(c.Extra)
	e.Text(x, "model", c.Model)
	e.Integer(x, "max_tokens", c.MaxOutput)
	e.conversation(x)
	e.tools(x)
	e.Number(x, "temperature", c.Sampling.Temperature)
	e.Number(x, "top_p", c.Sampling.TopP)
	e.Integer(x, "top_k", c.Sampling.TopK)
	e.Strings(x, "stop_sequences", c.Stop)
	e.Text(x, "service_tier", c.ServiceTier)
	if c.User != "" && !x.Has("metadata") {
		e.Name("metadata")
		e.Dst = append(e.Dst, '{')
		e.Member("user_id", c.User)
		e.Dst = append(e.Dst, '}')
	}
	if c.Stream {
		e.Boolean(x, "stream", &c.Stream)
	}
	e.Extra(x)
	if e.Err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, e.Err, "The request holds %s.", e.Err.Error())
	}
	return append(e.Dst, '}'), nil
}

// An again writes what came in the dialect.
type again struct{ encoder }

func (e *again) conversation(x rawjson.Extra) {
	all := e.Chat.Messages
	if len(all) > 0 && all[0].Role == llm.RoleSystem && len(all[0].Extra) == 0 && !x.Has(systemField) {
		e.Name(systemField)
		e.blocks(all[0].Parts)
		all = all[1:]
	}
	e.Name(messagesField)
	e.Dst = append(e.Dst, '[')
	for i := 0; i < len(all); {
		first := i
		for i < len(all) && all[i].Role == llm.RoleTool {
			i++
		}
		if i == len(all) || i > first && (all[i].Role != llm.RoleUser || len(all[i].Parts) == 0) {
			i--
		}
		i++
		e.turn(all[first:i])
	}
	e.Dst = append(e.Dst, ']')
}

// turn writes messages that are one turn.
func (e *again) turn(all []llm.Message) {
	role, last := llm.RoleUser, &all[len(all)-1]
	if last.Role != llm.RoleTool {
		role = last.Role
	}
	var parts []llm.Part
	for i := range all {
		parts = append(parts, all[i].Parts...)
	}
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member("role", string(role))
	if !rawjson.Extra(last.Extra).Has(contentField) {
		e.Name(contentField)
		e.blocks(parts)
	}
	e.Extra(last.Extra)
	e.Dst = append(e.Dst, '}')
}

func (e *again) blocks(parts []llm.Part) {
	e.Dst = append(e.Dst, '[')
	for i := range parts {
		e.Comma()
		e.Dst = append(e.Dst, '{')
		e.block(&parts[i])
		e.cache(parts[i].Cache)
		e.Extra(parts[i].Extra)
		e.Dst = append(e.Dst, '}')
	}
	e.Dst = append(e.Dst, ']')
}

// block writes the members of a block that the form holds.
func (e *again) block(p *llm.Part) {
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		e.Member(typeField, textBlock)
		e.Member(textField, p.Text)
		e.Object(nil, "citations", p.Citations)
	case llm.PartImage:
		e.Member(typeField, imageBlock)
		e.from(p)
	case llm.PartFile:
		e.Member(typeField, documentBlock)
		e.from(p)
		e.Text(nil, "title", p.Filename)
	case llm.PartToolCall:
		e.Member(typeField, toolUse)
		e.Member("id", p.CallID)
		e.Member("name", p.ToolName)
		e.Raw("input", input(p.Arguments))
	case llm.PartToolResult:
		e.Member(typeField, toolResult)
		e.Member("tool_use_id", p.CallID)
		if len(p.Result) > 0 {
			e.Name(contentField)
			e.blocks(p.Result)
		}
		if p.IsError {
			e.Boolean(nil, "is_error", &p.IsError)
		}
	case llm.PartReasoning:
		if p.Redacted != nil {
			e.Member(typeField, redactedBlock)
			e.Member("data", signed(p.Signer, string(p.Redacted)))
			return
		}
		e.Member(typeField, thinkingBlock)
		e.Member("thinking", p.Text)
		e.Member("signature", signed(p.Signer, p.Signature))
	case llm.PartOther: // all of it is in its Extra
	default:
		e.Refuse("a part of the kind %s, which the dialect does not have", p.Kind)
	}
}

// from writes where the bytes of an image or a document are.
func (e *again) from(p *llm.Part) {
	e.Name("source")
	e.Dst = append(e.Dst, '{')
	switch {
	case p.FileID != "":
		e.Member(typeField, "file")
		e.Member("file_id", p.FileID)
	case p.Data == nil:
		e.Member(typeField, "url")
		e.Member("url", p.URL)
	case p.MediaType == plainText:
		e.Member(typeField, "text")
		e.Member("media_type", plainText)
		e.Member("data", string(p.Data))
	default:
		e.Member(typeField, "base64")
		e.Member("media_type", p.MediaType)
		e.Member("data", base64.StdEncoding.EncodeToString(p.Data))
	}
	e.Dst = append(e.Dst, '}')
}

func (e *again) tools(x rawjson.Extra) {
	if len(e.Chat.Tools) > 0 {
		e.Name("tools")
		e.Dst = append(e.Dst, '[')
		for i := range e.Chat.Tools {
			e.tool(&e.Chat.Tools[i])
		}
		e.Dst = append(e.Dst, ']')
	}
	if c := &e.Chat.Choice; c.Mode != llm.ToolUnset && !x.Has("tool_choice") {
		e.Name("tool_choice")
		e.Dst = append(e.Dst, '{')
		for word, mode := range modes {
			if mode == c.Mode {
				e.Member(typeField, word)
			}
		}
		if c.Mode == llm.ToolNamed {
			e.Member("name", c.Names[0])
		}
		if p := e.Chat.Parallel; p != nil && !*p {
			e.Dst = strconv.AppendBool(append(e.Dst, `,"disable_parallel_tool_use":`...), true)
		}
		e.Dst = append(e.Dst, '}')
	}
}

func (e *again) tool(t *llm.Tool) {
	e.Comma()
	e.Dst = append(e.Dst, '{')
	if t.Name != "" {
		e.Member("name", t.Name)
		e.Text(nil, "description", t.Description)
		e.Object(nil, "input_schema", t.Schema)
		e.Boolean(nil, "strict", t.Strict)
		e.cache(t.Cache)
	}
	e.Extra(t.Extra)
	e.Dst = append(e.Dst, '}')
}
