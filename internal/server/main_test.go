package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	chatPath  = "/v1/chat/completions"
	embedPath = "/v1/embeddings"
)

// A world is a whole Penstock before simulated providers, and a key of the project "acme".
type world struct {
	*penstocktest.Env
	t   testing.TB
	key string
}

func start(t testing.TB, o penstocktest.Options) *world {
	t.Helper()
	w := &world{Env: penstocktest.Start(t, o), t: t}
	w.key = w.Key("acme")
	return w
}

// settings is penstocktest.Config with the models of names, each over its targets, and further lines.
func settings(models map[string][]string, more ...string) string {
	text := penstocktest.Config + strings.Join(more, "\n") + "\n"
	if len(models) > 0 {
		text += "models:\n"
	}
	for name, targets := range models {
		quoted, _ := json.Marshal(targets)
		text += fmt.Sprintf("  %q: { targets: %s, tries: %d }\n", name, quoted, len(targets))
	}
	return text
}

// model gives a model of sim-a with knobs, priced.
func (w *world) model(knobs string) string {
	w.t.Helper()
	name := "sim-a/gpt-x"
	if knobs != "" {
		name += "?" + knobs
	}
	w.Price(name)
	return name
}

// ask posts a chat.
func (w *world) ask(model, text string, stream bool, headers ...string) penstocktest.Answer {
	w.t.Helper()
	return w.Post(w.key, chatPath, penstocktest.Chat(model, text, stream), headers...)
}

// A chunk is what an event of a stream, or a plain answer, may say.
type chunk struct {
	ID, Object, Model string
	Choices           []struct {
		Index          int
		Delta, Message struct{ Role, Content string }
		Finish         *string `json:"finish_reason"`
	}
	Usage *struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
	}
	Error *struct{ Message, Type, Code string }
}

// A transcript is a stream as its client read it.
type transcript struct {
	names  []string // of the events that have one
	data   []string // of each event
	chunks []chunk  // of each event that is JSON
	done   bool     // [DONE] came, and came last
}

func read(t testing.TB, body string) transcript {
	t.Helper()
	var s transcript
	for event := range strings.SplitSeq(body, "\n\n") {
		if event == "" {
			continue
		}
		if name, rest, ok := strings.Cut(event, "\n"); ok && strings.HasPrefix(name, "event: ") {
			s.names, event = append(s.names, name[len("event: "):]), rest
		}
		data, ok := strings.CutPrefix(event, "data: ")
		switch {
		case !ok || strings.Contains(data, "\n"):
			t.Errorf("not an event: %q", event)
			continue
		case s.done:
			t.Errorf("after the end: %q", event)
		}
		s.data = append(s.data, data)
		if data == "[DONE]" {
			s.done = true
			continue
		}
		var c chunk
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Errorf("%v in %q", err, data)
		}
		s.chunks = append(s.chunks, c)
	}
	return s
}

// text is what a choice says.
func (s transcript) text(choice int) string {
	var b strings.Builder
	for _, c := range s.chunks {
		for _, one := range c.Choices {
			if one.Index == choice {
				b.WriteString(one.Delta.Content)
			}
		}
	}
	return b.String()
}

// failure is the code of the error event, "" if there is none.
func (s transcript) failure() string {
	for _, c := range s.chunks {
		if c.Error != nil {
			return c.Error.Code
		}
	}
	return ""
}

// plainText is what a plain answer's first choice says.
func plainText(t testing.TB, body []byte) string {
	t.Helper()
	var c chunk
	if err := json.Unmarshal(body, &c); err != nil || len(c.Choices) == 0 {
		t.Errorf("%v: not an answer: %s", err, body)
		return ""
	}
	return c.Choices[0].Message.Content
}

// errorOf is the code and the words of an error answer.
func errorOf(t testing.TB, a penstocktest.Answer) (code, message string) {
	t.Helper()
	var c chunk
	if err := json.Unmarshal(a.Body, &c); err != nil || c.Error == nil {
		t.Errorf("%d is not an error in the dialect: %s (%v)", a.Status, a.Body, err)
		return "", ""
	}
	return c.Error.Code, c.Error.Message
}

// record reads the record of an answer's exchange.
func (w *world) record(a penstocktest.Answer) *usage.Record {
	w.t.Helper()
	r := w.Record(a.ID())
	if r == nil {
		w.t.Fatalf("no record of %s (%d %s, %v)", a.ID(), a.Status, a.Body, a.Err)
	}
	return r
}

// reasons are how the tries of a record ended.
func reasons(r *usage.Record) []string {
	var list []string
	for _, try := range r.Tries {
		list = append(list, try.Target+" "+try.Reason)
	}
	return list
}

// calls are the models that the simulated providers were asked for, in order.
func (w *world) calls() []string {
	var list []string
	for _, r := range w.Sim.Requests() {
		var body struct{ Model string }
		if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
			w.t.Errorf("%v: the provider was sent %q", err, r.Body)
		}
		list = append(list, r.Provider+"/"+body.Model)
	}
	return list
}

// lastRequest is what a simulated provider was sent last.
func (w *world) lastRequest() simRequest {
	w.t.Helper()
	all := w.Sim.Requests()
	if len(all) == 0 {
		w.t.Fatal("no provider was asked anything")
	}
	return all[len(all)-1]
}

// simRequest is what a simulated provider was sent.
type simRequest = sim.Request

// Two targets of which the first misbehaves: what a test of fallback asks for.
func twoTargets(knobs string) map[string][]string {
	return map[string][]string{"two": {"sim-a/bad?" + knobs, "sim-b/good"}}
}

// fellBack checks that the second target answered, and why the first did not.
func (w *world) fellBack(a penstocktest.Answer, reason string) {
	w.t.Helper()
	if a.Status != http.StatusOK || a.Err != nil || a.Header.Get("X-Penstock-Target") != "sim-b/good" || a.Header.Get("X-Penstock-Tries") != "2" {
		w.t.Errorf("%s: %d %v %s", reason, a.Status, a.Header, a.Body)
		return
	}
	r := w.record(a)
	if len(r.Tries) != 2 || r.Tries[0].Reason != reason || r.Tries[1].Reason != "ok" {
		w.t.Errorf("tries %q, want %q first", reasons(r), reason)
	}
}

func equal[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
