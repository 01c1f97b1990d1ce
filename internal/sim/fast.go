package sim

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// fastTokens is how many tokens a fast model answers.
const fastTokens = 50

// A fastAnswer is the prepared answer of a fast model. Only the usage differs between calls.
type fastAnswer struct {
	plain          []byte // up to the usage
	events         []byte // of a stream, the finish event included
	eventsAndUsage []byte // the same where usage was asked for, up to the usage
}

// newFastAnswer renders an ordinary answer once and cuts it where the usage goes.
func newFastAnswer(name string) *fastAnswer {
	m := &model{name: name, length: distribution{a: fastTokens}}
	render := func(withUsage bool) *answer {
		in := &ask{n: 1, usage: withUsage}
		a := newAnswer("fast", in, m, &behaviour{}, randomness(0, "", name, 0))
		a.created = 1735689600
		return a
	}
	stream := func(a *answer) []byte {
		var b []byte
		add := func(f frame) { b = appendEvent(b, f, 0, a.do) }
		d := openAI{}
		for _, f := range d.opening(a) {
			add(f)
		}
		for _, p := range a.pieces {
			for _, f := range d.content(a, p) {
				add(f)
			}
		}
		for _, f := range d.closing(a) {
			add(f)
		}
		return b
	}
	f := &fastAnswer{plain: openAI{}.plain(render(false)), events: stream(render(false)), eventsAndUsage: stream(render(true))}
	f.plain = f.plain[:bytes.LastIndex(f.plain, []byte(fastUsage))]
	f.eventsAndUsage = f.eventsAndUsage[:bytes.LastIndex(f.eventsAndUsage, []byte(fastUsage))]
	return f
}

// fastUsage is how the usage begins.
const fastUsage = `{"prompt_tokens":`

// appendPlain adds the plain answer to b.
func (f *fastAnswer) appendPlain(b []byte, prompt int) []byte {
	b = append(b, f.plain...)
	return append(appendFastUsage(b, prompt), '}')
}

// appendStream adds all events to b.
func (f *fastAnswer) appendStream(b []byte, prompt int, withUsage bool) []byte {
	if !withUsage {
		b = append(b, f.events...)
		return append(b, "data: [DONE]\n\n"...)
	}
	b = append(b, f.eventsAndUsage...)
	b = appendFastUsage(b, prompt)
	return append(b, "}\n\ndata: [DONE]\n\n"...)
}

func appendFastUsage(b []byte, prompt int) []byte {
	b = strconv.AppendInt(append(b, fastUsage...), int64(prompt), 10)
	b = strconv.AppendInt(append(b, `,"completion_tokens":`...), fastTokens, 10)
	b = strconv.AppendInt(append(b, `,"total_tokens":`...), int64(prompt+fastTokens), 10)
	return append(b, `,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}`...)
}

// A fastCall is what is seen at a glance of a call to a fast model.
type fastCall struct {
	model         *model
	stream, usage bool
	prompt        int
}

// fastCall reads a chat request's body just far enough. ok is false if it is not one to a fast model; then the ordinary
// way decides what it is.
func (p *provider) fastCall(body []byte) (f fastCall, ok bool) {
	whole := members(body, func(key, value []byte) {
		switch string(key) {
		case "model":
			if len(value) > 2 && value[0] == '"' {
				f.model = p.models[string(value[1:len(value)-1])]
			}
		case "stream":
			f.stream = string(value) == "true"
		case "stream_options":
			members(value, func(key, value []byte) {
				f.usage = f.usage || (string(key) == "include_usage" && string(value) == "true")
			})
		}
	})
	f.prompt = (len(body) + 3) / 4
	return f, whole && f.model != nil && f.model.fast != nil
}

// bill is the call's line, all but its times.
func (f *fastCall) bill(c *Call) {
	c.Model, c.Operation, c.Status, c.Stream = f.model.name, opChat.String(), http.StatusOK, f.stream
	c.Number = f.model.calls.Add(1)
	c.Prompt, c.Completion = int64(f.prompt), fastTokens
	c.Cost = f.model.price.cost(usage{prompt: int(c.Prompt), completion: int(c.Completion)})
}

// fast answers a call to a fast model under net/http, and reports whether it was one.
func (c *call) fast(known bool) bool {
	if !known || c.op != opChat || !c.p.plainSailing(c.line.Started) || c.r.Header.Get(KnobHeader) != "" || !c.p.allowed(c.r, c.body) {
		return false
	}
	f, ok := c.p.fastCall(c.body)
	if !ok {
		return false
	}
	f.bill(&c.line)
	kind, body := typeJSON, []byte(nil)
	if f.stream {
		kind, body = typeStream, f.model.fast.appendStream(nil, f.prompt, f.usage)
	} else {
		body = f.model.fast.appendPlain(nil, f.prompt)
	}
	c.conclude(c.player.whole(http.StatusOK, kind, body, nil))
	return true
}

// plainSailing reports that neither outage nor rate limit can touch a call now, and that there are fast models at all.
func (p *provider) plainSailing(now time.Time) bool {
	return p.anyFast && p.limit.requests == 0 && p.down(now) == ""
}

// members calls f with each member of a JSON object; the key without its quotes, the value as it is. It reports whether
// the object's end was found. It does not check what it passes over: it is for finding, not for judging.
func members(b []byte, f func(key, value []byte)) bool {
	i := blank(b, 0)
	if i >= len(b) || b[i] != '{' {
		return false
	}
	for i = blank(b, i+1); i < len(b) && b[i] == '"'; i = blank(b, i+1) {
		keyEnd := pastString(b, i)
		colon := blank(b, keyEnd)
		if colon >= len(b) || b[colon] != ':' {
			return false
		}
		start := blank(b, colon+1)
		end := pastValue(b, start)
		if end > len(b) || end == start {
			return false
		}
		f(b[i+1:keyEnd-1], b[start:end])
		if i = blank(b, end); i >= len(b) || b[i] != ',' {
			break
		}
	}
	return i < len(b) && b[i] == '}'
}

// blank is the place of the first byte from i on that is not white space.
func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// pastString is the place after the string that begins at i; beyond b if it does not end.
func pastString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			break
		}
		i += n
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
	return len(b) + 1
}

// pastValue is the place after the value that begins at i; beyond b if it does not end.
func pastValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = pastString(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of the object around a bare value
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b) + 1
}
