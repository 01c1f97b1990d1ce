package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

// A responseTold is what is compared of an answer in the Responses dialect.
type responseTold struct {
	ID, Object, Status, Model string
	Incomplete                *struct{ Reason string } `json:"incomplete_details"`
	Previous                  *string                  `json:"previous_response_id"`
	Output                    []struct {
		ID, Type, Role, Status, Name, Arguments string
		CallID                                  string `json:"call_id"`
		Content, Summary                        []struct{ Type, Text string }
	}
	Usage struct {
		Input   int64 `json:"input_tokens"`
		Output  int64 `json:"output_tokens"`
		Details struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"input_tokens_details"`
	}
}

// summary is what was said, without what differs from answer to answer.
func (r *responseTold) summary() string {
	var b strings.Builder
	for _, o := range r.Output {
		if o.Type == "reasoning" && len(o.Summary) == 0 {
			continue // the proof of what is not shown
		}
		fmt.Fprintf(&b, "%s %v %s %s %s; ", o.Type, o.Content, o.Status, o.Name, o.Arguments)
	}
	return b.String() + r.Status
}

// responseOf is the response of a plain answer, or at the end of a stream, which it holds against the dialect's rules.
func responseOf(t *testing.T, body string) (r responseTold) {
	t.Helper()
	if !strings.HasPrefix(body, "event: ") {
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return r
	}
	n, last := 0, ""
	for frame := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(frame, "\n")
		var ev struct {
			Type     string
			Sequence int `json:"sequence_number"`
			Response *responseTold
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), &ev); err != nil {
			t.Fatalf("%v: %s", err, frame)
		}
		if name != "event: "+ev.Type || ev.Sequence != n || n == 0 && ev.Type != "response.created" {
			t.Errorf("event %d: %s", n, frame)
		}
		if ev.Response != nil {
			r = *ev.Response
		}
		n++
		last = ev.Type
	}
	if last != "response."+r.Status {
		t.Errorf("the last event is %s, the status %s", last, r.Status)
	}
	return r
}

const responsesTools = `,"tools":[{"type":"function","name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}},{"type":"function","name":"now","parameters":{"type":"object","properties":{}}}]`

// A caller of the Responses dialect cannot tell which dialect answered, and the books balance.
func TestResponsesCallersAreAnsweredByAll(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	e.Price(append(slices.Clone(speakerTargets), "second/m", "second-azure/m")...)
	for name, c := range map[string]struct{ body, status string }{
		"a text":      {`"instructions":"Be brief.","input":"echo:to be, or not to be"`, "completed"},
		"cut short":   {`"max_output_tokens":3,"input":[{"role":"user","content":"echo:one two three four five"}]`, "incomplete"},
		"a tool":      {`"input":[{"role":"user","content":[{"type":"input_text","text":"call:weather"}]}]` + responsesTools, "completed"},
		"tool forced": {`"tool_choice":"required","input":"Hi"` + responsesTools, "completed"},
		"the results": {`"input":[{"role":"user","content":"Hi"},{"type":"function_call","id":"fc_1","call_id":"a_1","name":"now","arguments":"{}","status":"completed"},{"type":"function_call","call_id":"a_2","name":"now","arguments":"{}"},{"type":"function_call_output","call_id":"a_1","output":"noon"},{"type":"function_call_output","call_id":"a_2","output":[{"type":"input_text","text":"one"}]},{"role":"user","content":"echo:thanks"}]` + responsesTools, "completed"},
		"a schema":    {`"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}}},"input":"Hi"`, "completed"},
		"two turns":   {`"input":[{"role":"user","content":"Hi"},{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello","annotations":[]}]},{"role":"user","content":"echo:so"}],"store":false`, "completed"},
	} {
		for _, stream := range []string{"", `"stream":true,`} {
			first := ""
			for i, model := range append(slices.Clone(speakerModels), "second", "second-azure") {
				a := e.Post(key, "/v1/responses", `{"model":"`+model+`",`+stream+c.body+`}`)
				if a.Status != http.StatusOK {
					t.Fatalf("%s of %s: %d %s", name, model, a.Status, a.Text())
				}
				r := responseOf(t, a.Text())
				if i == 0 {
					first = r.summary()
				}
				if got := r.summary(); got != first {
					t.Errorf("%s of %s (stream %t): %s, want %s", name, model, stream != "", got, first)
				}
				if r.Status != c.status || r.Model != model || r.Object != "response" || r.Usage.Input == 0 || r.Usage.Output == 0 || len(r.Output) == 0 {
					t.Errorf("%s of %s (stream %t): %+v", name, model, stream != "", r)
				}
			}
		}
	}
	e.AtRest()
	e.CheckBill()
}

// Errors are in the dialect of the client, whatever the provider's.
func TestResponsesErrors(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	for body, want := range map[string]string{
		`{"model":"gpt"}`:                                                                               `400 {"error":{"message":"input: missing. Send a text, or items.","type":"invalid_request_error","param":"input","code":"invalid_request_error"}}`,
		`{"model":"none","input":"hi"}`:                                                                 "404 ",
		`{"model":"claude","input":"hi","max_tool_calls":1}`:                                            "400 ",
		`{"model":"bed","input":"hi","tools":[{"type":"web_search"}]}`:                                  "400 ",
		`{"model":"gpt","input":[{"type":"item_reference","id":"msg_1"}]}`:                              "404 ",
		`{"model":"gem","input":[{"type":"web_search_call","id":"ws_1","status":"completed"}]}`:         "400 ",
		`{"model":"claude","input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]}`: "400 ",
	} {
		a := e.Post(key, "/v1/responses", body)
		if got := fmt.Sprintf("%d %s", a.Status, a.Text()); !strings.HasPrefix(got, want) || !strings.Contains(got, `"error":{"message"`) || strings.Contains(got, "messages") {
			t.Errorf("%s: %s", body, got)
		}
	}
}

// onlyID is the id of the response in a body.
func onlyID(t *testing.T, body string) string {
	t.Helper()
	r := responseOf(t, body)
	if r.ID == "" {
		t.Fatalf("no id: %s", body)
	}
	return r.ID
}

// A caller goes on from a response by its id, to whatever provider; what is kept belongs to its project, and is deleted when it says.
func TestPreviousResponse(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key, other := e.Key("home"), e.Key("away")
	e.Price(speakerTargets...)
	previous := ""
	for i, model := range speakerModels {
		stream := map[bool]string{true: `"stream":true,`}[i%2 == 1]
		body := fmt.Sprintf(`{"model":%q,%s"instructions":"Nr. %d","input":"echo:word %d"`, model, stream, i, i)
		if previous != "" {
			body += `,"previous_response_id":"` + previous + `"`
		}
		a := e.Post(key, "/v1/responses", body+`}`)
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", model, a.Status, a.Text())
		}
		r := responseOf(t, a.Text())
		if i > 0 && (r.Previous == nil || *r.Previous != previous) {
			t.Errorf("%s: goes on from %v, want %s", model, r.Previous, previous)
		}
		previous = r.ID
	}
	all := e.Sim.Requests()
	last := all[len(all)-1].Body
	for i := range speakerModels {
		if word := fmt.Sprintf("word %d", i); strings.Count(last, word) < 1 || i < len(speakerModels)-1 && strings.Count(last, word) < 2 {
			t.Errorf("the last provider was not told %q and its answer: %s", word, last)
		}
		if strings.Contains(last, fmt.Sprintf("Nr. %d", i)) != (i == len(speakerModels)-1) {
			t.Errorf("the instructions of %d: %s", i, last)
		}
	}

	got := e.Do(http.MethodGet, key, "/v1/responses/"+previous, "")
	if got.Status != http.StatusOK || onlyID(t, got.Text()) != previous {
		t.Errorf("%d %s", got.Status, got.Text())
	}
	items := e.Do(http.MethodGet, key, "/v1/responses/"+previous+"/input_items", "")
	if items.Status != http.StatusOK || !strings.Contains(items.Text(), `"text":"echo:word 6"`) || !strings.Contains(items.Text(), `"has_more":false`) {
		t.Errorf("%d %s", items.Status, items.Text())
	}
	for _, path := range []string{previous, previous + "/input_items", "resp_none"} {
		if a := e.Do(http.MethodGet, other, "/v1/responses/"+path, ""); a.Status != http.StatusNotFound || !strings.Contains(a.Text(), "previous_response_not_found") {
			t.Errorf("another project: %d %s", a.Status, a.Text())
		}
	}
	if a := e.Post(other, "/v1/responses", `{"model":"gpt","input":"hi","previous_response_id":"`+previous+`"}`); a.Status != http.StatusNotFound {
		t.Errorf("another project: %d %s", a.Status, a.Text())
	}
	if a := e.Do(http.MethodDelete, other, "/v1/responses/"+previous, ""); a.Status != http.StatusNotFound {
		t.Errorf("another project: %d %s", a.Status, a.Text())
	}
	if a := e.Do(http.MethodDelete, key, "/v1/responses/"+previous, ""); a.Status != http.StatusOK || !strings.Contains(a.Text(), `"deleted":true`) {
		t.Errorf("%d %s", a.Status, a.Text())
	}
	for _, a := range []int{e.Do(http.MethodGet, key, "/v1/responses/"+previous, "").Status, e.Do(http.MethodDelete, key, "/v1/responses/"+previous, "").Status,
		e.Post(key, "/v1/responses", `{"model":"gpt","input":"hi","previous_response_id":"`+previous+`"}`).Status} {
		if a != http.StatusNotFound {
			t.Errorf("deleted, and %d", a)
		}
	}
	e.AtRest()
	e.CheckBill()
}

// What is not to be kept is not, and a request that needs it is told so before anything is asked.
func TestResponsesThatAreNotKept(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key, stateless := e.Key("home"), e.Key("mayfly")
	if status := e.Admin(http.MethodPatch, "/projects/mayfly", map[string]any{"stateless": true}, nil); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	a := e.Post(key, "/v1/responses", `{"model":"gpt","input":"hi","store":false}`)
	id := onlyID(t, a.Text())
	if !strings.Contains(a.Text(), `"store":false`) || e.Do(http.MethodGet, key, "/v1/responses/"+id, "").Status != http.StatusNotFound {
		t.Errorf("store: false was not heeded: %s", a.Text())
	}
	a = e.Post(key, "/v1/responses", `{"model":"gpt","input":"hi"}`)
	id = onlyID(t, a.Text())
	if !strings.Contains(a.Text(), `"store":true`) || e.Do(http.MethodGet, key, "/v1/responses/"+id, "").Status != http.StatusOK {
		t.Errorf("not kept: %s", a.Text())
	}
	if !penstocktest.Eventually(func() bool { // keys are read again within seconds
		a = e.Post(stateless, "/v1/responses", `{"model":"gpt","input":"hi"}`)
		return strings.Contains(a.Text(), `"store":false`)
	}) {
		t.Error(a.Text())
	}
	if e.Do(http.MethodGet, stateless, "/v1/responses/"+onlyID(t, a.Text()), "").Status != http.StatusNotFound {
		t.Error("kept, though the project is stateless")
	}
	before := len(e.Sim.Requests())
	for member, param := range map[string]string{`"store":true`: "store", `"previous_response_id":"resp_1"`: "previous_response_id"} {
		a := e.Post(stateless, "/v1/responses", `{"model":"gpt","input":"hi",`+member+`}`)
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Text(), `"param":"`+param+`"`) || !strings.Contains(a.Text(), "mayfly") {
			t.Errorf("%s: %d %s", member, a.Status, a.Text())
		}
	}
	if len(e.Sim.Requests()) != before {
		t.Error("a provider was asked")
	}
}

// An item is named by its id instead of being sent again, as some libraries do.
func TestItemReferences(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	a := e.Post(key, "/v1/responses", `{"model":"claude","input":"call:now"`+responsesTools+`}`)
	r := responseOf(t, a.Text())
	if len(r.Output) != 1 || r.Output[0].Type != "function_call" {
		t.Fatalf("%s", a.Text())
	}
	call := r.Output[0]
	a = e.Post(key, "/v1/responses", `{"model":"gem","input":[{"role":"user","content":"call:now"},{"type":"item_reference","id":"`+call.ID+`"},{"type":"function_call_output","call_id":"`+
		call.CallID+`","output":"noon"},{"role":"user","content":"echo:thanks"}]`+responsesTools+`}`)
	if a.Status != http.StatusOK || !strings.Contains(a.Text(), "thanks") {
		t.Errorf("%d %s", a.Status, a.Text())
	}
	a = e.Post(key, "/v1/responses", `{"model":"second","input":"echo:from the vendor itself"}`) // whose items have the vendor's own ids
	said := responseOf(t, a.Text()).Output
	a = e.Post(key, "/v1/responses", `{"model":"claude","input":[{"type":"item_reference","id":"`+said[len(said)-1].ID+`"},{"role":"user","content":"echo:so"}]}`)
	sent := e.Sim.Requests()
	if a.Status != http.StatusOK || !strings.Contains(sent[len(sent)-1].Body, "from the vendor itself") {
		t.Errorf("%d %s", a.Status, a.Text())
	}
	if a := e.Post(e.Key("away"), "/v1/responses", `{"model":"gem","input":[{"type":"item_reference","id":"`+call.ID+`"}]}`); a.Status != http.StatusNotFound {
		t.Errorf("another project: %d %s", a.Status, a.Text())
	}
}

// However often a request names an item, what becomes of it is no larger than a body may be, and counts among what bodies may hold
// together: few bytes are not made many.
func TestItemReferencesAreHeldWithinBounds(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{
		Config: allDialects + "limits: { body: 256KB, in_flight: 256KB }\n", Sim: &sim.Config{Seed: 1, Providers: speakerProviders()},
	})
	key := e.Key("home")
	said := responseOf(t, e.Post(key, "/v1/responses", `{"model":"gpt","input":"echo:`+strings.Repeat("water ", 3500)+`"}`).Text()).Output
	ask := func(path string, times int, more string) penstocktest.Answer {
		input := strings.Repeat(`{"type":"item_reference","id":"`+said[len(said)-1].ID+`"},`, times) + `{"role":"user","content":"say:1"}`
		return e.Post(key, path, `{"model":"gpt","input":[`+input+`]`+more+`}`)
	}
	if a := ask("/v1/responses", 3, ""); a.Status != http.StatusOK {
		t.Fatalf("a few: %d %s", a.Status, a.Text())
	}
	sent := e.Sim.Requests()
	if n := strings.Count(sent[len(sent)-1].Body, "water "); n != 3*3500 {
		t.Errorf("the provider was sent %d of the words", n)
	}
	for _, path := range []string{"/v1/responses", "/v1/responses/input_tokens"} {
		a := ask(path, 1000, "")
		if a.Status != http.StatusRequestEntityTooLarge || !strings.Contains(a.Text(), `"param":"input"`) {
			t.Errorf("many: %d %.300s", a.Status, a.Text())
		}
	}
	// Such as fits alone, and not beside the body that names it; and such as fits, and not together with what comes before it.
	if a := ask("/v1/responses", 11, `,"metadata":{"a":"`+strings.Repeat("x", 40<<10)+`"}`); a.Status != http.StatusServiceUnavailable {
		t.Errorf("beside a body: %d %.300s", a.Status, a.Text())
	}
	id := onlyID(t, ask("/v1/responses", 4, "").Text())
	if a := ask("/v1/responses", 5, `,"previous_response_id":"`+id+`"`); a.Status != http.StatusServiceUnavailable {
		t.Errorf("with what comes before: %d %.300s", a.Status, a.Text())
	}
	if a := ask("/v1/responses", 9, `,"previous_response_id":"`+id+`"`); a.Status != http.StatusRequestEntityTooLarge || !strings.Contains(a.Text(), `"param":"previous_response_id"`) {
		t.Errorf("too much with what comes before: %d %.300s", a.Status, a.Text())
	}
	if n := len(e.Sim.Requests()); n != len(sent)+1 {
		t.Errorf("%d requests reached a provider, want %d", n, len(sent)+1)
	}
	e.AtRest()
	if n := e.Metric("penstock_held_body_bytes"); n != 0 {
		t.Errorf("%v bytes are held at rest", n)
	}
}

// An item is put where it is named also if that makes the input no longer.
func TestItemReferencesOfTheSameLength(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	a := e.Post(key, "/v1/responses", `{"model":"gpt","input":"echo:a word of mine"}`)
	var whole struct {
		Output []json.RawMessage `json:"output"`
	}
	if err := json.Unmarshal(a.Body, &whole); err != nil || len(whole.Output) != 1 {
		t.Fatalf("%s: %v", a.Text(), err)
	}
	name := `{"type":"item_reference","id":"` + responseOf(t, a.Text()).Output[0].ID + `"}`
	const own = `{"role":"user","content":"echo:so"}`
	input := "[" + name + "," + own + strings.Repeat(" ", len(whole.Output[0])-len(name)) + "]"
	before := len(e.Sim.Requests())
	a = e.Post(key, "/v1/responses", `{"model":"claude","input":`+input+`}`)
	if sent := e.Sim.Requests(); a.Status != http.StatusOK || len(sent) != before+1 || !strings.Contains(sent[before].Body, "a word of mine") {
		t.Errorf("%d %s", a.Status, a.Text())
	}
	a = e.Post(key, "/v1/responses", `{"model":"claude","input":[{"type":"item_reference"},`+own+`]}`)
	if a.Status != http.StatusNotFound || !strings.Contains(a.Text(), `"param":"input"`) {
		t.Errorf("an item without a name: %d %s", a.Status, a.Text())
	}
}

// Responses outlive a restart, and are in clear nowhere in the store.
func TestResponsesOutliveARestart(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	id := onlyID(t, e.Post(key, "/v1/responses", `{"model":"gpt","input":"echo:a word that nobody else says"}`).Text())
	e.Restart()
	if a := e.Post(key, "/v1/responses", `{"model":"claude","input":"echo:so","previous_response_id":"`+id+`"}`); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Text())
	}
	e.Stop()
	for _, name := range []string{"penstock.db", "penstock.db-wal"} {
		if b, err := os.ReadFile(filepath.Join(e.Dir, "data", name)); err == nil && bytes.Contains(b, []byte("a word that nobody")) {
			t.Errorf("in clear in %s", name)
		}
	}
}

// What a conversation holds counts among what bodies may hold together, until the exchange ends.
func TestConversationsAreHeldWithinBounds(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{
		Config: allDialects + "limits: { body: 64KB, in_flight: 128KB }\n", Sim: &sim.Config{Seed: 1, Providers: speakerProviders()},
	})
	key := e.Key("home")
	words := strings.Repeat("water ", 5000)
	a := e.Post(key, "/v1/responses", `{"model":"gpt","max_output_tokens":1,"input":"`+words+`"}`)
	for range 5 {
		id := onlyID(t, a.Text())
		if a = e.Post(key, "/v1/responses", `{"model":"gpt","input":"say:1","previous_response_id":"`+id+`"}`); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Text())
		}
	}
	e.AtRest()
	if n := e.Metric("penstock_held_body_bytes"); n != 0 {
		t.Errorf("%v bytes are held at rest", n)
	}
	id := onlyID(t, a.Text())
	if a = e.Post(key, "/v1/responses", `{"model":"gpt","max_output_tokens":1,"input":"`+words+`","previous_response_id":"`+id+`"}`); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Text())
	}
	a = e.Post(key, "/v1/responses", `{"model":"gpt","input":"`+words+`","previous_response_id":"`+onlyID(t, a.Text())+`"}`)
	if a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", a.Status, a.Text())
	}
}

// Tokens are counted for every upstream, with what a request goes on from.
func TestResponsesAreCounted(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	made := onlyID(t, e.Post(key, "/v1/responses", `{"model":"gpt","input":"echo:`+strings.Repeat("one more word ", 20)+`"}`).Text())
	for _, model := range speakerModels {
		count := func(more string) (n int64) {
			a := e.Post(key, "/v1/responses/input_tokens", `{"model":"`+model+`","input":"How many tokens are these words, all in all?"`+more+`}`)
			var out struct {
				Object string
				Tokens int64 `json:"input_tokens"`
			}
			if err := json.Unmarshal([]byte(a.Text()), &out); err != nil || a.Status != http.StatusOK || out.Object != "response.input_tokens" || out.Tokens < 8 {
				t.Errorf("%s: %d %s", model, a.Status, a.Text())
			}
			return out.Tokens
		}
		if alone, behind := count(""), count(`,"previous_response_id":"`+made+`"`); behind < alone+60 {
			t.Errorf("%s: %d tokens, and %d with what came before", model, alone, behind)
		}
	}
	e.AtRest()
}
