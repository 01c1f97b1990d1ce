package gemini

import (
	"strconv"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// EncodeEmbeddings writes a request of the OpenAI dialect for vectors as the body of one here; model is the model as a resource,
// such as models/NAME. adapted and err are as those of [EncodeChat].
func EncodeEmbeddings(r *llm.Request, model string, o Options) (body []byte, adapted []string, err error) {
	e := vectors{Writer: rawjson.Writer{Dst: make([]byte, 0, len(r.Raw)+256)}, vertex: o.Vertex, model: model}
	for _, f := range r.Fields {
		value := r.Field(f.Name)
		switch {
		case value == nil, string(value) == "null":
			continue
		}
		switch f.Name {
		case "model", "input", "encoding_format":
		case "dimensions":
			e.dimensions = value
		case taskField:
			e.task = value
		case "user":
			adapted = append(adapted, f.Name)
		default:
			return nil, nil, unsaid(f.Name, "this", crossing.Elsewhere)
		}
	}
	e.Dst = append(e.Dst, '{')
	list := "requests"
	if o.Vertex {
		list = "instances"
	}
	e.Name(list)
	e.Dst = append(e.Dst, '[')
	input := rawjson.Cursor{Text: r.Field("input")}
	words := true
	if input.Kind() == '"' {
		e.input(input.Value())
	} else {
		for range input.Elements() {
			if words = words && input.Kind() == '"'; words {
				e.input(input.Value())
			}
		}
	}
	if !words {
		return nil, nil, unsaid("input", "tokens instead of text", "Send the text.")
	}
	e.Dst = append(e.Dst, ']')
	if o.Vertex && e.dimensions != nil {
		e.Name("parameters")
		e.Dst = append(e.Dst, '{')
		e.Raw(sizeField, e.dimensions)
		e.Dst = append(e.Dst, '}')
	}
	return append(e.Dst, '}'), adapted, nil
}

const (
	taskField = "taskType" // what the vectors are for, in the dialect's own word
	sizeField = "outputDimensionality"
)

// unsaid is the refusal of what vectors cannot be made of, or by.
func unsaid(param, what, hint string) error {
	f := fault.New(fault.InvalidRequest, "%s: %s cannot be asked of a Gemini model.", param, what)
	f.Param, f.Hint = param, hint
	return f
}

// A vectors writes a request for vectors.
type vectors struct {
	rawjson.Writer
	vertex           bool
	model            string
	dimensions, task []byte
}

// input writes one text, which is JSON already.
func (e *vectors) input(text []byte) {
	e.Comma()
	e.Dst = append(e.Dst, '{')
	if e.vertex {
		e.Raw(contentField, text)
		e.Object(nil, "task_type", e.task)
		e.Dst = append(e.Dst, '}')
		return
	}
	e.Member("model", e.model)
	e.Name(contentField)
	e.Dst = append(e.Dst, `{"parts":[{`...)
	e.Raw(textField, text)
	e.Dst = append(e.Dst, `}]}`...)
	e.Object(nil, sizeField, e.dimensions)
	e.Object(nil, taskField, e.task)
	e.Dst = append(e.Dst, '}')
}

// AppendVectors appends the answer to a request for vectors in the OpenAI dialect. Whether the vectors are such is for whoever reads
// them. Only Vertex AI, and newer models, count what was read. Errors are [ErrGarbage], [ErrEmpty] and *[InBandError].
func AppendVectors(dst, body []byte, model string) ([]byte, error) {
	if !rawjson.Valid(body) {
		return nil, garbage("not JSON")
	}
	if e, failed := ParseError(body); failed {
		return nil, &InBandError{e}
	}
	o := rawjson.ObjectOf(body)
	all, _ := rawjson.ObjectsOf(o.Value("embeddings"))
	if predictions, ok := rawjson.ObjectsOf(o.Value("predictions")); ok {
		all = nil
		for _, p := range predictions {
			all = append(all, rawjson.ObjectOf(p.Value("embeddings")))
		}
	}
	if len(all) == 0 {
		return nil, ErrEmpty
	}
	w := rawjson.Writer{Dst: append(dst, `{"object":"list","data":[`...)}
	tokens := rawjson.ObjectOf(o.Value("usageMetadata")).Integer("promptTokenCount")
	for i, v := range all {
		values := v.Value("values")
		if len(values) == 0 || values[0] != '[' {
			return nil, garbage("no vector")
		}
		w.Comma()
		w.Dst = append(w.Dst, `{"object":"embedding","index":`...)
		w.Dst = strconv.AppendInt(w.Dst, int64(i), 10)
		w.Raw("embedding", compact(values))
		w.Dst = append(w.Dst, '}')
		if n, ok := tokensOf(v); ok {
			sum := n
			if tokens != nil && i > 0 {
				sum += *tokens
			}
			tokens = &sum
		}
	}
	w.Dst = append(w.Dst, ']')
	w.Member("model", model)
	if tokens != nil && *tokens >= 0 {
		w.Name("usage")
		w.Dst = append(w.Dst, '{')
		w.Integer(nil, "prompt_tokens", tokens)
		w.Integer(nil, "total_tokens", tokens)
		w.Dst = append(w.Dst, '}')
	}
	return append(w.Dst, '}'), nil
}

// tokensOf is how many tokens a vector was made of. Vertex AI writes the count as it comes, with a point.
func tokensOf(v *rawjson.Object) (int64, bool) {
	statistics := rawjson.ObjectOf(v.Value("statistics"))
	for _, name := range []string{"token_count", "tokenCount"} {
		if n, err := strconv.ParseFloat(string(statistics.Value(name)), 64); err == nil && n >= 0 && n <= maxCount {
			return int64(n), true
		}
	}
	return 0, false
}
