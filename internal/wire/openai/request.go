package openai

import (
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// Members that an upstream body may need changed.
const (
	modelField   = "model"
	optionsField = "stream_options"
	usageField   = "include_usage"
	tierField    = "service_tier"
)

// AppendRequest appends the body for one try: the client's own, with the target's model in the place of the one that was
// asked for. In streams, streamUsage asks for the usage event whatever the client wants of it, next to the client's other
// stream options; without streamUsage, which is for servers that know no such option, the request for it is taken out.
// Without serviceTiers the service tier is taken out. All other bytes are as the client sent them.
func AppendRequest(dst []byte, r *llm.Request, model string, streamUsage, serviceTiers bool) []byte {
	var few [3]llm.Edit
	edits := few[:0]
	if model != r.Model {
		edits = append(edits, llm.Edit{Name: modelField, Value: rawjson.AppendQuoted(nil, model)})
	}
	if r.Stream {
		if value, change := streamOptionsFor(r.Field(optionsField), streamUsage); change {
			edits = append(edits, llm.Edit{Name: optionsField, Value: value})
		}
	}
	if !serviceTiers && r.Field(tierField) != nil {
		edits = append(edits, llm.Edit{Name: tierField})
	}
	return r.AppendBody(dst, edits...)
}

// onlyUsage is what stream options are where the client sent none.
var onlyUsage = []byte(`{"` + usageField + `":true}`)

// streamOptionsFor says whether, and into what, the client's stream options have to change; nil takes them out.
func streamOptionsFor(sent []byte, want bool) (value []byte, change bool) {
	if sent == nil || sent[0] != '{' {
		return onlyUsage, want
	}
	options := llm.Request{Raw: sent, Fields: rawjson.Fields(sent)}
	asked := options.Field(usageField)
	switch {
	case want && string(asked) == "true", !want && asked == nil:
		return nil, false
	case want:
		return options.AppendBody(nil, llm.Edit{Name: usageField, Value: []byte("true")}), true
	case len(options.Fields) == 1:
		return nil, true
	}
	return options.AppendBody(nil, llm.Edit{Name: usageField}), true
}

// spliced appends text with the JSON string at the span replaced by s; without a span, text as it is.
func spliced(dst, text []byte, at llm.Span, s string) []byte {
	if at.IsZero() {
		return append(dst, text...)
	}
	dst = append(dst, text[:at.Start]...)
	dst = rawjson.AppendQuoted(dst, s)
	return append(dst, text[at.End:]...)
}
