package bedrock

import (
	"maps"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// defaultMaxOutput is the cap on generated tokens, without those of reasoning, where reasoning needs one and neither the caller nor
// the catalogue gives it.
const defaultMaxOutput = 4096

// minBudget is the smallest budget for reasoning that is taken, in tokens.
const minBudget = 1024

// EncodeChat writes a chat of any dialect as the body of a Converse request; the model is in the path. tiers says that the class of
// service is passed on. adapted names what was left out or bent because the model does not take it, in the words of the canonical
// form: "temperature". What cannot be said is a *fault.Error of the code InvalidRequest that says where.
func EncodeChat(c *llm.Chat, t llm.Traits, tiers bool) (body []byte, adapted []string, err error) {
	e := encoder{Writer: rawjson.Writer{Dst: make([]byte, 0, c.Size())}, Notes: crossing.Notes{Chat: c, Whom: "a model at Bedrock"}, traits: t, ids: map[string]string{}, names: map[string]bool{}}
	e.Dst = append(e.Dst, '{')
	e.thinking = e.thinks()
	e.conversation()
	e.inference()
	e.tools()
	e.additional()
	e.output()
	e.rest(tiers)
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
	thinking llm.Thinking      // how reasoning is asked for, ThinkingNone if it is not
	budget   int64             // of it, in tokens
	ids      map[string]string // of calls, by the caller's
	names    map[string]bool   // of documents so far
}

// thinks decides how the model is asked to reason, and with how many tokens.
func (e *encoder) thinks() llm.Thinking {
	r := &e.Chat.Reasoning
	switch {
	case r.Off, r.Effort == "none", r.Effort == "" && r.Budget == 0:
		return llm.ThinkingNone
	case e.traits.Thinking == llm.ThinkingNone, e.traits.Thinking == llm.ThinkingBudget && crossing.LostByCaller(e.Chat.Messages):
		e.Adapt("reasoning") // not known, or refused in the middle of a tool loop
		return llm.ThinkingNone
	}
	if e.budget = r.Budget; e.budget <= 0 {
		e.budget = crossing.Budgets[r.Effort]
	}
	e.budget = max(e.budget, minBudget)
	if e.traits.Thinking == llm.ThinkingBudget && e.Chat.MaxOutput != nil && *e.Chat.MaxOutput <= e.budget {
		if e.budget = *e.Chat.MaxOutput - 1; e.budget < minBudget {
			e.Adapt("reasoning")
			return llm.ThinkingNone
		}
	}
	return e.traits.Thinking
}

// effort is how hard the model shall think in the dialect's words.
func (e *encoder) effort() string {
	switch effort := e.Chat.Reasoning.Effort; {
	case effort == "minimal":
		return "low"
	case effort == "" && e.thinking != llm.ThinkingAdaptive: // only a budget was given
		return "medium"
	default:
		return effort
	}
}

// inference writes the knobs that all models of the dialect have.
func (e *encoder) inference() {
	most := e.Chat.MaxOutput
	if most == nil && e.thinking == llm.ThinkingBudget {
		n := e.traits.MaxOutput
		if n <= e.budget {
			n = e.budget + defaultMaxOutput
		}
		most = &n
	}
	temperature, topP := e.likelihood()
	if most == nil && temperature == nil && topP == nil && len(e.Chat.Stop) == 0 {
		return
	}
	e.Name("inferenceConfig")
	e.Dst = append(e.Dst, '{')
	e.Integer(nil, "maxTokens", most)
	e.Number(nil, "temperature", temperature)
	e.Number(nil, "topP", topP)
	e.Strings(nil, "stopSequences", e.Chat.Stop)
	e.Dst = append(e.Dst, '}')
}

// likelihood are temperature and top_p as far as the model takes them; what no model of the dialect takes is named or refused.
func (e *encoder) likelihood() (temperature, topP *float64) {
	s := &e.Chat.Sampling
	temperature, topP = s.Temperature, s.TopP
	drop := func(name string, set bool) {
		if set {
			e.Adapt(name)
		}
	}
	switch {
	case e.traits.NoSampling:
		drop("temperature", temperature != nil)
		drop("top_p", topP != nil)
		temperature, topP = nil, nil
	case e.claudeThinks() && temperature != nil && *temperature != 1:
		drop("temperature", true)
		temperature = nil
	case e.traits.OneSampling && temperature != nil:
		drop("top_p", topP != nil)
		topP = nil
	}
	if temperature != nil && *temperature > 1 {
		one := 1.0
		temperature = &one
		e.Adapt("temperature")
	}
	drop("frequency_penalty", s.FrequencyPenalty != nil)
	drop("presence_penalty", s.PresencePenalty != nil)
	drop("seed", s.Seed != nil)
	drop("logit_bias", s.LogitBias != nil)
	drop("verbosity", s.Verbosity != "")
	if s.N != nil && *s.N > 1 {
		e.Cannot("n", "more than one answer", "Ask as many times, or a model of another dialect.")
	}
	if s.Logprobs != nil && *s.Logprobs || s.TopLogprobs != nil && *s.TopLogprobs > 0 {
		e.Cannot("logprobs", "the likelihood of tokens", "Leave it out, or ask a model of another dialect.")
	}
	return temperature, topP
}

// claudeThinks reports whether reasoning is asked for in the way that has rules about other members.
func (e *encoder) claudeThinks() bool {
	return e.thinking == llm.ThinkingBudget || e.thinking == llm.ThinkingAdaptive
}

// additional writes what is the model's own and not the dialect's: how it reasons, and top_k. The caller may send more of it.
func (e *encoder) additional() {
	const name = "additionalModelRequestFields"
	w := rawjson.Writer{Dst: []byte{'{'}}
	var given rawjson.Extra // which says more than what is made of other members
	for _, m := range e.Chat.Extra {
		switch {
		case m.Name != name:
		case m.Value[0] != '{':
			e.Cannot(name, "anything but an object of the model's own members", "Send an object.")
		default:
			given = rawjson.ObjectOf(m.Value).Rest()
		}
	}
	w.Extra(given)
	if member, value := e.reasoning(); member != "" && !given.Has(member) {
		w.Raw(member, value)
	}
	switch k := e.Chat.Sampling.TopK; {
	case k == nil:
	case e.traits.NoSampling, e.claudeThinks(), e.traits.Thinking == llm.ThinkingNova:
		e.Adapt("top_k")
	default:
		w.Integer(given, "top_k", k)
	}
	if len(w.Dst) > 1 {
		e.Raw(name, append(w.Dst, '}'))
	}
}

// reasoning is how the model is asked to reason, "" if it is not.
func (e *encoder) reasoning() (member string, value []byte) {
	w := rawjson.Writer{Dst: []byte{'{'}}
	switch e.thinking {
	case llm.ThinkingBudget:
		w.Member(typeField, "enabled")
		w.Integer(nil, "budget_tokens", &e.budget)
		return "thinking", append(w.Dst, '}')
	case llm.ThinkingAdaptive:
		return "thinking", []byte(`{"type":"adaptive"}`)
	case llm.ThinkingEffort:
		return "reasoning_effort", rawjson.AppendQuoted(nil, e.effort())
	case llm.ThinkingNova:
		w.Member(typeField, "enabled")
		w.Member("maxReasoningEffort", e.effort())
		return "reasoningConfig", append(w.Dst, '}')
	}
	return "", nil
}

// output writes the form of the answer and how hard the model shall think.
func (e *encoder) output() {
	f := &e.Chat.Format
	effort := ""
	if e.thinking == llm.ThinkingAdaptive {
		effort = e.effort()
	}
	native := f.Kind == llm.FormatJSONSchema && !e.traits.NoSchema
	if effort == "" && !native {
		return
	}
	e.Name("outputConfig")
	e.Dst = append(e.Dst, '{')
	if native {
		e.Name("textFormat")
		e.Dst = append(e.Dst, `{"type":"json_schema","structure":{"jsonSchema":{`...)
		e.Member("schema", compact(objectSchema(f.Schema)))
		e.Text(nil, nameField, f.Name)
		e.Text(nil, "description", f.Description)
		e.Dst = append(e.Dst, `}}}`...)
	}
	e.Text(nil, "effort", effort)
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) rest(tiers bool) {
	c := e.Chat
	if len(c.Stop) > 0 && !e.Extra().Has("additionalModelResponseFieldPaths") {
		// Which of the sequences ended the answer is told by models that have a word for it; others pass over it.
		e.Raw("additionalModelResponseFieldPaths", []byte(`["/stop_sequence"]`))
	}
	e.metadata()
	switch tier := c.ServiceTier; {
	case tier == "", tier == "auto", tier == "default":
	case tiers && (tier == "flex" || tier == "priority" || tier == "reserved"):
		e.Name("serviceTier")
		e.Dst = append(e.Dst, '{')
		e.Member(typeField, tier)
		e.Dst = append(e.Dst, '}')
	default:
		e.Adapt("service_tier")
	}
	for _, m := range c.Modalities {
		if m != "text" {
			e.Cannot("modalities", "an answer in "+m, "Ask a model of another dialect.")
		}
	}
	if c.CacheKey != "" {
		e.Adapt("prompt_cache_key")
	}
	for _, m := range c.Extra {
		switch {
		case m.Idle(), m.Name == "additionalModelRequestFields": // written above
		case slices.Contains(ownMembers, m.Name):
			e.Raw(m.Name, m.Value)
		case m.Means == llm.MeansKnob:
			e.Adapt(m.Name)
		default:
			e.Cannot(m.Name, "this", crossing.Elsewhere)
		}
	}
}

// Extra are the members that the canonical form has no place for.
func (e *encoder) Extra() rawjson.Extra { return e.Chat.Extra }

// metadataForm is what values of requestMetadata may be.
var metadataForm = regexp.MustCompile(`^[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}$`)

// maxMetadata is how many of them there may be.
const maxMetadata = 16

// metadata writes what is kept with the call in the provider's logs: what the caller sends along, and its end user.
func (e *encoder) metadata() {
	if e.Extra().Has("requestMetadata") {
		return
	}
	all := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(e.Chat.Metadata)) {
		v := e.Chat.Metadata[k]
		if !metadataForm.MatchString(k) || !metadataForm.MatchString(v) || len(all) == maxMetadata {
			e.Adapt("metadata")
			continue
		}
		all[k] = v
	}
	if user := e.Chat.User; user != "" {
		if metadataForm.MatchString(user) && len(all) < maxMetadata && all["user"] == "" {
			all["user"] = user
		} else {
			e.Adapt("user")
		}
	}
	if len(all) == 0 {
		return
	}
	e.Name("requestMetadata")
	e.Dst = append(e.Dst, '{')
	for _, k := range slices.Sorted(maps.Keys(all)) {
		e.Member(k, all[k])
	}
	e.Dst = append(e.Dst, '}')
}

// compact is JSON without white space.
func compact(text []byte) string {
	v := jsontext.Value(slices.Clone(text))
	if v.Compact() != nil {
		return string(text)
	}
	return string(v)
}

// ownMembers are members of this dialect, which callers of others may send along.
var ownMembers = []string{
	"guardrailConfig", "performanceConfig", "requestMetadata", "promptVariables", "additionalModelResponseFieldPaths", "serviceTier",
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
