package anthropic

import (
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// DefaultMaxOutput is the cap on generated tokens, which the dialect must have, where neither the caller nor the catalogue
// gives one. Every model takes it.
const DefaultMaxOutput = 4096

// minBudget is the smallest budget for reasoning that the dialect takes, in tokens.
const minBudget = 1024

// EncodeChat writes a chat of any dialect as a request in this one, for the model as its provider calls it. adapted names what
// was left out or bent because the model does not take it, in the words of the canonical form: "temperature". What cannot be
// said is a *fault.Error of the code InvalidRequest that says where.
func EncodeChat(c *llm.Chat, model string, t llm.Traits) (body []byte, adapted []string, err error) {
	e := encoder{Writer: rawjson.Writer{Dst: make([]byte, 0, c.Size())}, Notes: crossing.Notes{Chat: c, Whom: "a model that speaks Anthropic's dialect"}, traits: t}
	e.Dst = append(e.Dst, '{')
	e.Member("model", model)
	e.thinking = e.thinks()
	e.maxTokens()
	e.conversation()
	e.tools()
	e.sampling()
	e.reasoning()
	e.rest()
	e.Dst = append(e.Dst, '}')
	switch {
	case e.Refused != nil:
		return nil, nil, e.Refused
	case e.Err != nil:
		return nil, nil, fault.Wrap(fault.InvalidRequest, e.Err, "The request holds %s.", e.Err.Error())
	}
	return e.Dst, e.Adapted, nil
}

// An encoder writes a request.
type encoder struct {
	rawjson.Writer
	crossing.Notes
	traits   llm.Traits
	thinking llm.Thinking // how reasoning is asked for, ThinkingNone if it is not
	budget   int64        // of it, in tokens
	schema   bool         // the answer's form is asked for as a tool
}

// thinks decides how the model is asked to reason, and with how many tokens.
func (e *encoder) thinks() llm.Thinking {
	r := &e.Chat.Reasoning
	switch {
	case r.Off, r.Effort == "none", r.Effort == "" && r.Budget == 0:
		return llm.ThinkingNone
	case e.traits.Thinking == llm.ThinkingNone:
		e.Adapt("reasoning")
		return llm.ThinkingNone
	case e.traits.Thinking == llm.ThinkingBudget && crossing.LostByCaller(e.Chat.Messages):
		e.Adapt("reasoning") // in the middle of a tool loop it would be refused
		return llm.ThinkingNone
	}
	if e.budget = r.Budget; e.budget <= 0 {
		e.budget = crossing.Budgets[r.Effort]
	}
	e.budget = max(e.budget, minBudget)
	return e.traits.Thinking
}

// maxTokens writes the cap, which must be above what reasoning may take.
func (e *encoder) maxTokens() {
	most := int64(DefaultMaxOutput)
	switch {
	case e.Chat.MaxOutput != nil:
		most = *e.Chat.MaxOutput
	case e.traits.MaxOutput > 0:
		most = e.traits.MaxOutput
	}
	if e.thinking == llm.ThinkingBudget && most <= e.budget {
		if e.Chat.MaxOutput == nil {
			most = e.budget + DefaultMaxOutput
		} else if e.budget = most - 1; e.budget < minBudget {
			e.thinking = llm.ThinkingNone
			e.Adapt("reasoning")
		}
	}
	e.Integer(nil, "max_tokens", &most)
}

func (e *encoder) sampling() {
	s := &e.Chat.Sampling
	temperature, topP, topK := s.Temperature, s.TopP, s.TopK
	drop := func(name string, set *float64) {
		if set != nil {
			e.Adapt(name)
		}
	}
	switch {
	case e.traits.NoSampling:
		drop("temperature", temperature)
		drop("top_p", topP)
		temperature, topP = nil, nil
		if topK != nil {
			topK = nil
			e.Adapt("top_k")
		}
	case e.thinking != llm.ThinkingNone && temperature != nil && *temperature != 1:
		drop("temperature", temperature)
		temperature = nil
	case e.traits.OneSampling && temperature != nil:
		drop("top_p", topP)
		topP = nil
	}
	if temperature != nil && *temperature > 1 {
		one := 1.0
		temperature = &one
		e.Adapt("temperature")
	}
	e.Number(nil, "temperature", temperature)
	e.Number(nil, "top_p", topP)
	e.Integer(nil, "top_k", topK)
	drop("frequency_penalty", s.FrequencyPenalty)
	drop("presence_penalty", s.PresencePenalty)
	if s.Seed != nil {
		e.Adapt("seed")
	}
	if s.LogitBias != nil {
		e.Adapt("logit_bias")
	}
	if s.Verbosity != "" {
		e.Adapt("verbosity")
	}
	if s.N != nil && *s.N > 1 {
		e.Cannot("n", "more than one answer", "Ask as many times, or a model of another dialect.")
	}
	if s.Logprobs != nil && *s.Logprobs || s.TopLogprobs != nil && *s.TopLogprobs > 0 {
		e.Cannot("logprobs", "the likelihood of tokens", "Leave it out, or ask a model of another dialect.")
	}
}

func (e *encoder) reasoning() {
	switch e.thinking {
	case llm.ThinkingBudget:
		e.Name("thinking")
		e.Dst = append(e.Dst, `{"type":"enabled","budget_tokens":`...)
		e.Dst = append(strconv.AppendInt(e.Dst, e.budget, 10), '}')
	case llm.ThinkingAdaptive:
		e.Name("thinking")
		e.Dst = append(e.Dst, `{"type":"adaptive"}`...)
	}
	effort := ""
	if e.thinking == llm.ThinkingAdaptive {
		effort = e.Chat.Reasoning.Effort
	}
	f := &e.Chat.Format
	native := f.Kind == llm.FormatJSONSchema && !e.traits.NoSchema
	if effort == "" && !native {
		return
	}
	e.Name("output_config")
	e.Dst = append(e.Dst, '{')
	if effort == "minimal" {
		effort = "low"
	}
	e.Text(nil, "effort", effort)
	if native {
		e.Name("format")
		e.Dst = append(e.Dst, `{"type":"json_schema"`...)
		e.Raw("schema", objectSchema(f.Schema))
		e.Dst = append(e.Dst, '}')
	}
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) rest() {
	c := e.Chat
	for i, s := range c.Stop {
		if strings.TrimSpace(s) == "" {
			e.Cannot("stop["+strconv.Itoa(i)+"]", "a stop sequence of nothing but white space", "Leave it out, or ask a model of another dialect.")
		}
	}
	e.Strings(nil, "stop_sequences", c.Stop)
	if c.User != "" {
		e.Name("metadata")
		e.Dst = append(e.Dst, '{')
		e.Member("user_id", c.User)
		e.Dst = append(e.Dst, '}')
	}
	switch c.ServiceTier {
	case "", "auto":
	case "default":
		e.Member("service_tier", "standard_only")
	default:
		e.Adapt("service_tier")
	}
	for _, m := range c.Modalities {
		if m != "text" {
			e.Cannot("modalities", "an answer in "+m, "Ask a model of another dialect.")
		}
	}
	if len(c.Metadata) > 0 {
		e.Adapt("metadata")
	}
	if c.CacheKey != "" {
		e.Adapt("prompt_cache_key")
	}
	for _, m := range c.Extra {
		switch {
		case m.Idle():
		case m.Means == llm.MeansKnob:
			e.Adapt(m.Name)
		default:
			e.Cannot(m.Name, "this", crossing.Elsewhere)
		}
	}
	if c.Stream {
		e.Boolean(nil, "stream", &c.Stream)
	}
}

// objectSchema is a schema with the type that the dialect wants at its root, and an empty one for none.
func objectSchema(schema []byte) []byte {
	if len(schema) == 0 || string(schema) == "null" {
		return []byte(`{"type":"object","properties":{}}`)
	}
	r := llm.Request{Raw: schema, Fields: rawjson.Fields(schema)}
	if kind := r.Field(typeField); kind == nil || string(kind) == "null" {
		return r.AppendBody(make([]byte, 0, len(schema)+16), llm.Edit{Name: typeField, Value: []byte(`"object"`)})
	}
	return schema
}
