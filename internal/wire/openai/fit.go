package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Server is what has to be known of a server of this dialect to write to it what came in another.
type Server struct {
	Model  string // as the server calls it
	Traits llm.Traits
	// StreamUsage asks for the usage of streams, whoever wants it; ServiceTiers passes the class of service on.
	StreamUsage, ServiceTiers bool
}

// TranslateChat writes a chat of another dialect in this one. adapted names what was left out or bent because the server or the
// model does not take it, in the words of the canonical form: "top_k". What cannot be said is a *fault.Error of the code
// InvalidRequest that says where, in the words of the caller's dialect.
func TranslateChat(c *llm.Chat, s Server) (body []byte, adapted []string, err error) {
	f := fitter{Notes: crossing.Notes{Chat: c, Whom: "a model that speaks OpenAI's dialect"}, server: s}
	f.out = llm.Chat{
		Model: s.Model, Stream: c.Stream, Choice: c.Choice, CacheKey: c.CacheKey, User: f.short("user", c.User, maxUserID),
	}
	f.messages()
	f.tools()
	f.format()
	f.effort()
	f.sampling()
	f.limits()
	f.rest()
	if f.Refused != nil {
		return nil, nil, f.Refused
	}
	body, err = EncodeChat(&f.out)
	if err != nil {
		return nil, nil, fault.Wrap(fault.InvalidRequest, err, "The request holds %s.", err.Error())
	}
	return body, f.Adapted, nil
}

// A fitter makes a chat that this dialect can say of one that came in another.
type fitter struct {
	crossing.Notes
	out    llm.Chat
	server Server
	place  string // of the message at hand, as the caller counts them
}

func (f *fitter) takes(what llm.Takes) bool { return f.server.Traits.Takes.All(what) }

// The longest names of end users and of calls that OpenAI takes, in bytes.
const (
	maxUserID = 64
	maxCallID = 40
)

// short is a name, or one in its place that is as good to tell apart if it is longer than servers take.
func (f *fitter) short(what, name string, most int) string {
	if len(name) <= most {
		return name
	}
	if what != "" {
		f.Adapt(what)
	}
	sum := sha256.Sum256([]byte(name))
	return "id_" + hex.EncodeToString(sum[:16])
}

// tools takes over those that may be called; few servers know a choice that is narrowed to some of them.
func (f *fitter) tools() {
	c := f.Chat
	narrowed := c.Choice.Mode != llm.ToolNamed && len(c.Choice.Names) > 0
	for i := range c.Tools {
		t := c.Tools[i]
		at := "tools[" + strconv.Itoa(i) + "]"
		if narrowed && !slices.Contains(c.Choice.Names, t.Name) {
			continue
		}
		if t.Name == "" {
			f.Cannot(at, "a tool of this type", crossing.Elsewhere)
			continue
		}
		t.Extra, t.Cache = f.grammar(at, &t), f.mark(t.Cache)
		f.out.Tools = append(f.out.Tools, t)
	}
	if narrowed {
		f.out.Choice.Names = nil
	}
	if len(f.out.Tools) == 0 { // then neither may be said
		if c.Choice.Mode == llm.ToolAuto || c.Choice.Mode == llm.ToolNone {
			f.out.Choice = llm.ToolChoice{}
		}
		return
	}
	f.out.Parallel = c.Parallel
}

// grammar is the form of free text that a tool takes, which two of the vendor's dialects say differently. Whatever else a tool has
// is refused.
func (f *fitter) grammar(at string, t *llm.Tool) (x []llm.Member) {
	rest := slices.Clone(t.Extra)
	if i := slices.IndexFunc(rest, func(m llm.Member) bool { return m.Name == "format" }); t.Custom && i >= 0 {
		format := rawjson.ObjectOf(rest[i].Value)
		if format.Str("type") == "grammar" && format.Only("type", "syntax", "definition") {
			w := rawjson.Writer{Dst: []byte(`{"format":{"type":"grammar","grammar":{`)}
			w.Member("syntax", format.Str("syntax"))
			w.Member("definition", format.Str("definition"))
			x = []llm.Member{{Name: customType, Value: append(w.Dst, `}}}`...)}}
			rest = slices.Delete(rest, i, i+1)
		}
	}
	f.Beside(at, rest)
	return x
}

// mark is a mark for caching, if the server takes such.
func (f *fitter) mark(m *llm.CacheMark) *llm.CacheMark {
	if m != nil && !f.takes(llm.TakesCacheMarks) {
		f.Adapt("cache_control")
		return nil
	}
	return m
}

// answerName is the name of a form for answers that has none; the dialect wants one.
const answerName = "answer"

// format takes over the form of the answer. Where the caller's dialect keeps to a schema without being told, so shall this one,
// if the schema is of the kind that it can keep to.
func (f *fitter) format() {
	f.out.Format = f.Chat.Format
	if f.out.Format.Kind != llm.FormatJSONSchema {
		return
	}
	if f.out.Format.Name == "" {
		f.out.Format.Name = answerName
	}
	if yes := true; f.out.Format.Strict == nil && f.Chat.Dialect == llm.Anthropic && isStrict(f.out.Format.Schema) {
		f.out.Format.Strict = &yes
	}
}

// isStrict reports whether all objects of a schema are closed and require all that they have, which is what OpenAI wants of a
// schema that answers keep to.
func isStrict(schema []byte) bool {
	if len(schema) == 0 {
		return false
	}
	switch schema[0] {
	case '[':
		c := rawjson.Cursor{Text: schema}
		strict := true
		for range c.Elements() {
			strict = isStrict(c.Value()) && strict
		}
		return strict
	case '{':
	default:
		return true
	}
	o := rawjson.ObjectOf(schema)
	if o.Kind("properties") == '{' && o.Str("type") == "object" {
		properties := rawjson.ObjectOf(o.Value("properties"))
		required, _ := rawjson.StringsOf(o.Value("required"))
		if string(o.Value("additionalProperties")) != "false" || len(required) != len(properties.Fields) {
			return false
		}
		for _, p := range properties.Fields {
			if !slices.Contains(required, p.Name) || !isStrict(p.Value.Of(properties.Text)) {
				return false
			}
		}
	} else if o.Str("type") == "object" {
		return false
	}
	for _, name := range []string{"items", "anyOf", "$defs", "definitions"} {
		value := o.Value(name)
		if len(value) == 0 {
			continue
		}
		if name[0] == '$' || name == "definitions" {
			defs := rawjson.ObjectOf(value)
			for _, d := range defs.Fields {
				if !isStrict(d.Value.Of(defs.Text)) {
					return false
				}
			}
		} else if !isStrict(value) {
			return false
		}
	}
	return !o.Has("oneOf") && !o.Has("allOf") && !o.Has("not") && !o.Has("patternProperties")
}

func (f *fitter) limits() {
	c := f.Chat
	if most := c.MaxOutput; most != nil {
		n := *most
		if n < 1 {
			f.Cannot("max_completion_tokens", "an answer of no tokens", "Ask for at least one.")
		}
		if can := f.server.Traits.MaxOutput; can > 0 && n > can {
			n = can // it ends there in any case
			f.Adapt("max_tokens")
		}
		if f.takes(llm.TakesCompletionCap) {
			f.out.MaxOutput = &n
		} else {
			f.say("max_tokens", strconv.AppendInt(nil, n, 10))
		}
	}
	if len(c.Stop) > maxStopWords {
		f.Cannot("stop", "more than 4 stop sequences", "Send at most 4.")
	}
	f.out.Stop = c.Stop
}

// maxStopWords is how many stop sequences the dialect has.
const maxStopWords = 4

// say has a member written as it is.
func (f *fitter) say(name string, value []byte) {
	f.out.Extra = append(f.out.Extra, llm.Member{Name: name, Value: value})
}

// rest takes over what is left: how streams are told, classes of service, and what the canonical form has no place for.
func (f *fitter) rest() {
	c := f.Chat
	if c.Stream && f.server.StreamUsage {
		f.say(optionsField, onlyUsage)
	}
	switch tier := c.ServiceTier; {
	case tier == "":
	case f.server.ServiceTiers:
		if f.out.ServiceTier = tier; tier == "standard_only" {
			f.out.ServiceTier = "default"
		}
	case tier != "auto":
		f.Adapt(tierField)
	}
	if len(c.Metadata) > 0 {
		f.Adapt("metadata")
	}
	for i := range c.Modalities {
		if c.Modalities[i] != "text" {
			f.Cannot("modalities", "an answer that is not text", "Ask for it in the dialect of the provider.")
		}
	}
	for _, m := range c.Extra {
		if c.Dialect == llm.Responses && slices.Contains(sameOfResponses, m.Name) && !m.Idle() {
			f.say(m.Name, m.Value)
			continue
		}
		f.Beside("", []llm.Member{m})
	}
}

// sameOfResponses are members that mean the same in both of the vendor's dialects.
var sameOfResponses = []string{"safety_identifier", "prompt_cache_retention", "prompt_cache_options", "moderation"}
