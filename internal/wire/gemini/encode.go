package gemini

import (
	"maps"
	"regexp"
	"slices"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// Options say where a request goes.
type Options struct {
	// Vertex says that it goes to Vertex AI, which keeps labels with a call.
	Vertex bool
	// Tiers says that the class of service is passed on.
	Tiers bool
}

// EncodeChat writes a chat of any dialect as the body of a request; the model is in the path. adapted names what was left out or
// bent because the model does not take it, in the words of the canonical form: "temperature". What cannot be said is a
// *fault.Error of the code InvalidRequest that says where.
func EncodeChat(c *llm.Chat, t llm.Traits, o Options) (body []byte, adapted []string, err error) {
	e := encoder{Writer: rawjson.Writer{Dst: make([]byte, 0, c.Size())}, Notes: crossing.Notes{Chat: c, Whom: "a Gemini model"}, traits: t, options: o, called: map[string]string{}}
	e.Dst = append(e.Dst, '{')
	e.conversation()
	e.tools()
	e.generation()
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
	traits  llm.Traits
	options Options
	called  map[string]string // the tools that were called, by the ids of the calls
}

// extra are the members that the canonical form has no place for.
func (e *encoder) extra(name string) []byte {
	for _, m := range e.Chat.Extra {
		if m.Name == name && string(m.Value) != "null" {
			return m.Value
		}
	}
	return nil
}

// maxStops is how many sequences that end the answer there may be.
const maxStops = 5

// generation writes how the answer is generated. What the caller sends of it in the dialect's own words counts more than what is
// made of other members.
func (e *encoder) generation() {
	w := rawjson.Writer{Dst: []byte{'{'}}
	var given rawjson.Extra
	if own := e.extra(configField); own != nil && own[0] != '{' {
		e.Cannot(configField, "anything but an object", "Send an object.")
	} else if own != nil {
		given = rawjson.ObjectOf(own).Rest()
		w.Extra(given)
	}
	c, s := e.Chat, &e.Chat.Sampling
	temperature, topP, topK := s.Temperature, s.TopP, s.TopK
	if e.traits.NoSampling {
		e.dropped("temperature", temperature != nil)
		e.dropped("top_p", topP != nil)
		e.dropped("top_k", topK != nil)
		temperature, topP, topK = nil, nil, nil
	}
	if temperature != nil && *temperature > maxTemperature {
		most := float64(maxTemperature)
		temperature = &most
		e.Adapt("temperature")
	}
	frequency, presence := s.FrequencyPenalty, s.PresencePenalty
	if e.traits.NoPenalties {
		e.dropped("frequency_penalty", frequency != nil && *frequency != 0)
		e.dropped("presence_penalty", presence != nil && *presence != 0)
		frequency, presence = nil, nil
	}
	if len(c.Stop) > maxStops {
		e.Cannot("stop", "more than five sequences that end the answer", "Leave some of them out.")
	}
	w.Number(given, "temperature", temperature)
	w.Number(given, "topP", topP)
	w.Integer(given, "topK", topK)
	if s.N != nil && *s.N != 1 {
		w.Integer(given, "candidateCount", s.N)
	}
	w.Integer(given, "maxOutputTokens", c.MaxOutput)
	w.Strings(given, "stopSequences", c.Stop)
	w.Integer(given, "seed", s.Seed)
	w.Number(given, "presencePenalty", presence)
	w.Number(given, "frequencyPenalty", frequency)
	e.form(&w, given)
	e.thinking(&w, given)
	if w.Err != nil && e.Err == nil {
		e.Err = w.Err
	}
	if len(w.Dst) > 1 {
		e.Raw(configField, append(w.Dst, '}'))
	}
	e.dropped("logit_bias", s.LogitBias != nil)
	e.dropped("verbosity", s.Verbosity != "")
	if s.Logprobs != nil && *s.Logprobs || s.TopLogprobs != nil && *s.TopLogprobs > 0 {
		e.Cannot("logprobs", "the likelihood of tokens", "Leave it out, or ask a model of another dialect.")
	}
}

const maxTemperature = 2

// dropped notes that a knob was left out, if it was set.
func (e *encoder) dropped(name string, set bool) {
	if set {
		e.Adapt(name)
	}
}

// form writes the form that the answer must have.
func (e *encoder) form(w *rawjson.Writer, given rawjson.Extra) {
	f := &e.Chat.Format
	switch f.Kind {
	case llm.FormatUnset, llm.FormatText:
		return
	case llm.FormatJSON, llm.FormatJSONSchema:
	default:
		e.Cannot("response_format", "this form of the answer", "One of text, json_object and json_schema.")
		return
	}
	w.Text(given, "responseMimeType", "application/json")
	if f.Kind == llm.FormatJSONSchema && f.Schema != nil && !given.Has("responseSchema") {
		w.Object(given, "responseJsonSchema", f.Schema)
	}
}

// rest writes what is about the call and not about the answer.
func (e *encoder) rest() {
	c := e.Chat
	e.labels()
	switch tier := c.ServiceTier; {
	case tier == "", tier == "auto":
	case e.options.Tiers && tier == "default":
		e.Member(tierField, "standard")
	case e.options.Tiers && (tier == "flex" || tier == "priority"):
		e.Member(tierField, tier)
	case tier != "default":
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
		case m.Idle(), m.Name == configField: // written above
		case slices.Contains(ownMembers, m.Name):
			e.Raw(m.Name, m.Value)
		case m.Means == llm.MeansKnob:
			e.Adapt(m.Name)
		default:
			e.Cannot(m.Name, "this", crossing.Elsewhere)
		}
	}
}

// tierField is the class of service.
const tierField = "serviceTier"

// The forms of labels.
var (
	labelName  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	labelValue = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
)

// maxLabels is how many of them there may be.
const maxLabels = 64

// labels writes what the caller sends along with the call, and its end user, where the provider keeps that.
func (e *encoder) labels() {
	if e.extra(labelsField) != nil {
		return
	}
	all := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(e.Chat.Metadata)) {
		if v := e.Chat.Metadata[k]; e.options.Vertex && labelName.MatchString(k) && labelValue.MatchString(v) && len(all) < maxLabels {
			all[k] = v
		} else {
			e.Adapt("metadata")
		}
	}
	if user := e.Chat.User; user != "" {
		if e.options.Vertex && labelValue.MatchString(user) && len(all) < maxLabels && all["user"] == "" {
			all["user"] = user
		} else {
			e.Adapt("user")
		}
	}
	if len(all) == 0 {
		return
	}
	e.Name(labelsField)
	e.Dst = append(e.Dst, '{')
	for _, k := range slices.Sorted(maps.Keys(all)) {
		e.Member(k, all[k])
	}
	e.Dst = append(e.Dst, '}')
}

const labelsField = "labels"

// ownMembers are members of this dialect, which callers of others may send along.
var ownMembers = []string{"safetySettings", "cachedContent", labelsField}
