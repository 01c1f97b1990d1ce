package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// harmful is the word by which the simulator takes a text for harmful.
const harmful = "violence"

// moderate reads a request for a judgement: of a text, of several, or of parts, which are judged as one.
func (openAI) moderate(_ string, body []byte) (*ask, error) {
	var in struct {
		Model string          `json:"model"`
		Input json.RawMessage `json:"input"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, badRequest("", fmt.Sprintf("We could not parse the JSON body of your request. (%v)", err))
	}
	if in.Model == "" {
		in.Model = "omni-moderation-latest"
	}
	a := &ask{model: in.Model}
	said, images := contentText(in.Input)
	var texts []string
	switch {
	case json.Unmarshal(in.Input, &texts) == nil && len(texts) > 0:
		for _, t := range texts {
			a.inputs = append(a.inputs, []byte(t))
		}
	case said != "" || images > 0:
		a.inputs = [][]byte{[]byte(said)}
	default:
		return nil, badRequest("input", "input: neither a text, nor texts, nor parts")
	}
	return a, nil
}

func (openAI) judged(a *answer, in *ask) []byte {
	b := append([]byte(nil), `{"id":"modr-`...)
	b = append(b, a.id...)
	b = append(b, `","model":`...)
	b = appendString(b, a.model)
	b = append(b, `,"results":[`...)
	for i, text := range in.inputs {
		if i > 0 {
			b = append(b, ',')
		}
		yes, score := "false", "0.0001"
		if bytes.Contains(text, []byte(harmful)) {
			yes, score = "true", "0.98"
		}
		b = fmt.Appendf(b, `{"flagged":%s,"categories":{"harassment":false,"violence":%[1]s},"category_scores":{"harassment":0.0001,"violence":%s},`+
			`"category_applied_input_types":{"harassment":["text"],"violence":["text"]}}`, yes, score)
	}
	b = append(b, ']')
	b = appendPadding(b, a.do.pad)
	return append(b, '}')
}
