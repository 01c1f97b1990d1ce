package responses

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
)

// TestTrap13ForeignProofs: reasoning that the vendor has not proven is not sent to it, and all else is as it came.
func TestTrap13ForeignProofs(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		`[{"role":"user","content":"hi"}, {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"anthropic:s"},{"role":"user","content":"so"}]`: `[{"role":"user","content":"hi"},{"role":"user","content":"so"}]`,
		`[{"role":"user","content":"hi"},{"type":"reasoning","id":"rs_1","summary":[]}]`:                                                                   `[{"role":"user","content":"hi"}]`,
		`[{"role":"user","content":"hi"}, {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}]`:                                       `[{"role":"user","content":"hi"}, {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}]`,
		`[{"role":"user", "content":"reasoning"}]`: `[{"role":"user", "content":"reasoning"}]`,
		`"reasoning"`: `"reasoning"`,
	} {
		r, err := Parse([]byte(`{"model":"m","store":false,"input":` + sent + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got, adapted := AppendRequest(nil, r, Upstream{Model: "m"})
		if string(got) != `{"model":"m","store":false,"input":`+want+`}` || adapted != (sent != want) {
			t.Errorf("%s: %s, adapted %t", sent, got, adapted)
		}
	}
}

// The vendor keeps nothing; where Penstock does, reasoning is asked for in the form that the vendor takes back.
func TestAppendRequest(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		`"store":true`:                     `"store":false,"include":["reasoning.encrypted_content"]`,
		`"store":false,"include":["a"]`:    `"store":false,"include":["a"]`,
		`"include":["a"],"store":null`:     `"include":["a","reasoning.encrypted_content"],"store":false`,
		`"previous_response_id":"resp_1"`:  `"store":false,"include":["reasoning.encrypted_content"]`,
		`"store":false,"service_tier":"x"`: `"store":false`,
		`"store":false, "odd": [1, 2]`:     `"store":false, "odd": [1, 2]`,
	} {
		r, err := Parse([]byte(`{"model":"asked","input":"hi",` + sent + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := AppendRequest(nil, r, Upstream{Model: "m", Reasons: true}); string(got) != `{"model":"m","input":"hi",`+want+`}` {
			t.Errorf("%s: %s", sent, got)
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	s := Same{Model: "fast", Store: []byte("true"), Previous: []byte(`"resp_0"`)}
	ev := llm.Event{Name: "response.completed", Raw: []byte("{\"type\":\"response.completed\",\r\n\"response\":{\"model\":\"m\", \"store\":false,\"previous_response_id\":null,\"output\":[]}}")}
	const want = "event: response.completed\ndata: {\"type\":\"response.completed\",  \"response\":{\"model\":\"fast\", \"store\":true,\"previous_response_id\":\"resp_0\",\"output\":[]}}\n\n"
	if got := string(s.AppendEvent(nil, &ev)); got != want {
		t.Errorf("%q", got)
	}
	if got := string(s.Whole(&ev)); got != `{"model":"fast", "store":true,"previous_response_id":"resp_0","output":[]}` {
		t.Errorf("%s", got)
	}
}

func TestInputItems(t *testing.T) {
	t.Parallel()
	got := string(InputItems([]byte(`[{"role":"user","content":"a"},{"type":"function_call_output","call_id":"c","output":""},{"id":"x","type":"reasoning"},{"type":"odd"}]`), "resp_1"))
	const want = `[{"role":"user","content":"a","id":"msg_1_in0"},{"type":"function_call_output","call_id":"c","output":"","id":"fco_1_in1"},{"id":"x","type":"reasoning"},{"type":"odd","id":"item_1_in3"}]`
	if got != want {
		t.Errorf("%s", got)
	}
	if got := string(InputItems([]byte(`"say \"hi\""`), "resp_1")); got != `[{"type":"message","id":"msg_1_in0","role":"user","content":[{"type":"input_text","text":"say \"hi\""}]}]` {
		t.Errorf("%s", got)
	}
}

func TestJoined(t *testing.T) {
	t.Parallel()
	past := []Past{
		{Input: InputItems([]byte(`"one"`), "resp_1"), Response: []byte(`{"output":[{"type":"message","id":"msg_1","role":"assistant","content":[]}]}`)},
		{Input: []byte(`[{"role":"user","content":"two"}]`), Response: []byte(`{"output":[]}`)},
	}
	joined, err := Joined(past, []byte(`"three"`), anySize)
	if err != nil {
		t.Fatal(err)
	}
	c := roundTrip(t, []byte(`{"model":"m","input":`+string(joined)+`}`))
	var roles []string
	for _, m := range c.Messages {
		roles = append(roles, string(m.Role)+" "+textOf(m.Parts))
	}
	if diff := cmp.Diff([]string{"user one", "assistant ", "user two", "user three"}, roles); diff != "" {
		t.Error(diff)
	}
}

func TestItemLists(t *testing.T) {
	t.Parallel()
	items := []byte(`[{"id":"a"},{"id":"b"},{"id":"c"}]`)
	for p, want := range map[Page]string{
		{Limit: 20}:                             `{"object":"list","data":[{"id":"c"},{"id":"b"},{"id":"a"}],"first_id":"c","last_id":"a","has_more":false}`,
		{Limit: 2, Ascending: true}:             `{"object":"list","data":[{"id":"a"},{"id":"b"}],"first_id":"a","last_id":"b","has_more":true}`,
		{Limit: 2, Ascending: true, After: "b"}: `{"object":"list","data":[{"id":"c"}],"first_id":"c","last_id":"c","has_more":false}`,
		{Limit: 2, Ascending: true, After: "c"}: `{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}`,
	} {
		if got, ok := AppendItems(nil, items, p); !ok || string(got) != want {
			t.Errorf("%+v: %s", p, got)
		}
	}
	if _, ok := AppendItems(nil, items, Page{Limit: 2, After: "d"}); ok {
		t.Error("after an item that is not there")
	}
}

// Items are named by their ids, in the forms that libraries have for that.
func TestReferences(t *testing.T) {
	t.Parallel()
	input := []byte(`[{"type":"item_reference","id":"a"},{"id":"b"},{"role":"user","content":"c"},{"type":null,"id":"d"},{"type":"message","id":"e"}, {"id":"b"}]`)
	if diff := cmp.Diff([]string{"a", "b", "d"}, References(input)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{""}, References([]byte(`[{"type":"item_reference"}]`))); diff != "" {
		t.Error(diff)
	}
	if References([]byte(`"text"`)) != nil {
		t.Error("a text names nothing")
	}
	items := map[string][]byte{"a": []byte(`{"id":"A"}`), "b": []byte(`{"id":"B"}`), "d": []byte(`{"id":"D"}`)}
	out, err := Resolved(input, items, anySize)
	if want := `[{"id":"A"},{"id":"B"},{"role":"user","content":"c"},{"id":"D"},{"type":"message","id":"e"},{"id":"B"}]`; string(out) != want || err != nil {
		t.Errorf("%s %v", out, err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, OutputIDs([]byte(`{"output":[{"id":"a","n":1},{"id":"b"},{},1]}`))); diff != "" {
		t.Error(diff)
	}
	for id, item := range OutputItems([]byte(`{"output":[{"n":0},{"id":"a","n":1},{"id":"b"}]}`)) {
		if id != "a" || string(item) != `{"id":"a","n":1}` {
			t.Errorf("%s: %s", id, item)
		}
		break
	}
}

func anySize(int64) error { return nil }

// The size of what is made is known before it is, to the byte, and nothing is made for which there is no room.
func TestRoom(t *testing.T) {
	t.Parallel()
	full := errors.New("full")
	past := []Past{{Input: []byte(`[{"a": 1} , {"b":2}]`), Response: []byte(`{"output":[{"c":3}]}`)}, {Input: []byte(`[]`), Response: []byte(`{}`)}}
	items := map[string][]byte{"a": []byte(`{"id":"a","text":"` + strings.Repeat("x", 1<<20) + `"}`)}
	many := []byte("[" + strings.Repeat(`{"id":"a"} ,`, 999) + `{"id":"a"}]`)
	for name, of := range map[string]func(room func(int64) error) ([]byte, error){
		"a text after others": func(room func(int64) error) ([]byte, error) { return Joined(past, []byte(`"so"`), room) },
		"items after others":  func(room func(int64) error) ([]byte, error) { return Joined(past, []byte(`[ {"d":4}]`), room) },
		"nothing":             func(room func(int64) error) ([]byte, error) { return Joined(nil, []byte(`[]`), room) },
		"names": func(room func(int64) error) ([]byte, error) {
			return Resolved([]byte(`[{"id":"a"},{"e":5}, {"id":"a"}]`), items, room)
		},
	} {
		size := int64(0)
		out, err := of(func(n int64) error { size = n; return nil })
		if err != nil || int64(len(out)) != size || !json.Valid(out) {
			t.Errorf("%s: %d bytes were announced, and %d are made: %.200s (%v)", name, size, len(out), out, err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, err := Resolved(many, items, func(n int64) error {
		if n < 1000<<20 {
			t.Errorf("%d bytes", n)
		}
		return full
	})
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; out != nil || !errors.Is(err, full) || made > 64<<20 {
		t.Errorf("%d bytes, %v; %d were allocated", len(out), err, made)
	}
}
