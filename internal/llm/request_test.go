package llm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		target Target
		ok     bool
	}{
		"openai/gpt-5-mini":  {Target{"openai", "gpt-5-mini"}, true},
		"house/qwen/qwen3/x": {Target{"house", "qwen/qwen3/x"}, true},
		"a//b":               {Target{"a", "/b"}, true},
		"gpt-5-mini":         {Target{"gpt-5-mini", ""}, false},
		"/model":             {Target{"", "model"}, false},
		"provider/":          {Target{"provider", ""}, false},
		"/":                  {Target{}, false},
		"":                   {Target{}, false},
	} {
		got, ok := ParseTarget(in)
		if got != want.target || ok != want.ok {
			t.Errorf("%q: %+v %v, want %+v %v", in, got, ok, want.target, want.ok)
		}
		if ok && got.String() != in {
			t.Errorf("%q is written %q", in, got)
		}
	}
	if s := (Target{}).String(); s != "" {
		t.Errorf("no target is written %q", s)
	}
}

// member is a top-level member as it stands in a body: around the value there may be white space.
type member struct{ name, quoted, value, before, after string }

// request builds a body of members, and the request that a parser would make of it.
func request(members []member, head, tail string) *Request {
	r := &Request{}
	var b strings.Builder
	b.WriteString(head + "{")
	for i, m := range members {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(m.before + m.quoted + m.after + ":" + m.before)
		start := b.Len()
		b.WriteString(m.value)
		r.Fields = append(r.Fields, Field{Name: m.name, Value: Span{Start: start, End: b.Len()}})
		b.WriteString(m.after)
	}
	b.WriteString("}" + tail)
	r.Raw = []byte(b.String())
	return r
}

// names are those that members and edits are drawn from, with how they stand in a body.
var names = [][2]string{{"a", `"a"`}, {"b", `"\u0062"`}, {"}", `"}"`}, {"é", `"é"`}, {`"`, `"\""`}, {"", `""`}, {"new", `"new"`}}

var space = rapid.SampledFrom([]string{"", "", " ", "\n\t"})

func drawMembers(t *rapid.T) []member {
	drawn := rapid.SliceOfNDistinct(rapid.IntRange(0, len(names)-1), 0, 5, rapid.ID).Draw(t, "names")
	var all []member
	for _, i := range drawn {
		value := rapid.SampledFrom([]string{"1", `"}"`, "{ }", `[{"a":"}"}]`, "null", "-0"}).Draw(t, "value")
		all = append(all, member{names[i][0], names[i][1], value, space.Draw(t, "before"), space.Draw(t, "after")})
	}
	return all
}

func drawEdits(t *rapid.T, label string) []Edit {
	var all []Edit
	for range rapid.IntRange(0, 4).Draw(t, label) {
		e := Edit{Name: rapid.SampledFrom(names).Draw(t, "name")[0]}
		if v := rapid.SampledFrom([]string{"", "2", `{"x":[]}`, `"}"`}).Draw(t, "edit"); v != "" {
			e.Value = []byte(v)
		}
		all = append(all, e)
	}
	return all
}

// naively applies edits to a decoded body.
func naively(t *rapid.T, body []byte, edits []Edit) map[string]any {
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, e := range edits {
		if e.Value == nil {
			delete(m, e.Name)
			continue
		}
		var v any
		if err := json.Unmarshal(e.Value, &v); err != nil {
			t.Fatal(err)
		}
		m[e.Name] = v
	}
	return m
}

// TestAppendBody: the body that is sent means what editing a decoded map would give; no member is there twice; members
// that no edit touches are there byte for byte, in their order; and if none is taken out, so is all between them.
func TestAppendBody(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		r := request(members, space.Draw(t, "head"), space.Draw(t, "tail"))
		raw := string(r.Raw)
		set, try := drawEdits(t, "set"), drawEdits(t, "try")
		for _, e := range set {
			r.Set(e.Name, e.Value)
		}
		all := slices.Concat(set, try)
		const before = "what was in the buffer"
		out, ok := bytes.CutPrefix(r.AppendBody([]byte(before), try...), []byte(before))
		if !ok {
			t.Fatalf("the buffer was overwritten: %s", out)
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if diff := cmp.Diff(naively(t, r.Raw, all), got); diff != "" {
			t.Fatalf("%s became %s (-want +got):\n%s", raw, out, diff)
		}
		checkNames(t, out, len(got))
		rest := string(out)
		for _, m := range members {
			if slices.ContainsFunc(all, func(e Edit) bool { return e.Name == m.name }) {
				continue
			}
			i := strings.Index(rest, m.value)
			if i < 0 {
				t.Fatalf("%s became %s: the value %s is not where it was", raw, out, m.value)
			}
			rest = rest[i+len(m.value):]
		}
		if string(r.Raw) != raw {
			t.Fatalf("the client's bytes changed from %s to %s", raw, r.Raw)
		}
	})
}

// checkNames counts the top-level members of a body.
func checkNames(t *rapid.T, body []byte, want int) {
	d := json.NewDecoder(bytes.NewReader(body))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; d.More(); n++ {
		var v json.RawMessage
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
	}
	if n != want {
		t.Fatalf("%d members where %d are due: %s", n, want, body)
	}
}

// TestAppendBodyKeepsBytes: replacing and adding leave every other byte as it was.
func TestAppendBodyKeepsBytes(t *testing.T) {
	t.Parallel()
	const body = " { \"model\" : \"a\" ,\n\t\"x\": [ 1 ,2 ] }\r\n"
	r := request(nil, "", "")
	r.Raw = []byte(body)
	r.Fields = []Field{{"model", Span{13, 16}}, {"x", Span{25, 33}}}
	for _, tt := range []struct {
		edits []Edit
		want  string
	}{
		{nil, body},
		{[]Edit{{"model", []byte(`"b"`)}}, strings.Replace(body, `"a"`, `"b"`, 1)},
		{[]Edit{{"x", []byte(`7`)}, {"model", []byte(`"b"`)}}, " { \"model\" : \"b\" ,\n\t\"x\": 7 }\r\n"},
		{[]Edit{{"y", []byte(`7`)}}, " { \"model\" : \"a\" ,\n\t\"x\": [ 1 ,2 ] ,\"y\":7}\r\n"},
		{[]Edit{{"y", nil}}, body},
		{[]Edit{{"x", nil}}, `{"model":"a"}`},
		{[]Edit{{"model", []byte(`"b"`)}, {"x", nil}}, `{"model":"b"}`},
		{[]Edit{{"x", nil}, {"x", []byte("8")}}, strings.Replace(body, "[ 1 ,2 ]", "8", 1)},
	} {
		if got := string(r.AppendBody(nil, tt.edits...)); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.edits, got, tt.want)
		}
	}
	empty := &Request{Raw: []byte("{ }")}
	if got := string(empty.AppendBody(nil, Edit{"a", []byte("1")}, Edit{"b", []byte("2")})); got != `{ "a":1,"b":2}` {
		t.Errorf("an empty object became %s", got)
	}
}

// TestEditsOfATryStay: what a try changes is not there in the next.
func TestEditsOfATryStay(t *testing.T) {
	t.Parallel()
	r := request([]member{{name: "a", quoted: `"a"`, value: "1"}}, "", "")
	r.Set("b", []byte("2"))
	r.Set("b", []byte("3"))
	if got := string(r.AppendBody(nil, Edit{"a", []byte("9")}, Edit{"b", nil})); got != `{"a":9}` {
		t.Errorf("first try: %s", got)
	}
	if got := string(r.AppendBody(nil)); got != `{"a":1,"b":3}` {
		t.Errorf("second try: %s", got)
	}
	if got := string(r.Field("a")) + string(r.Field("b")); got != "13" || r.Field("c") != nil {
		t.Errorf("fields %s, %s", got, r.Field("c"))
	}
	if r.Set("a", nil); r.Field("a") != nil {
		t.Errorf("a member that was taken out is %s", r.Field("a"))
	}
}

func TestChatIsDecodedOnDemand(t *testing.T) {
	t.Parallel()
	var bodies []string
	fail := errors.New("boom")
	r := request([]member{{name: "a", quoted: `"a"`, value: "1"}}, "", " ")
	r.DecodeChat = func(body []byte) (*Chat, error) {
		bodies = append(bodies, string(body))
		return &Chat{Model: fmt.Sprint(len(bodies))}, fail
	}
	if _, err := r.Chat(); !errors.Is(err, fail) {
		t.Fatalf("error %v", err)
	}
	fail = nil
	for range 2 {
		if c, err := r.Chat(); err != nil || c.Model != "2" {
			t.Fatalf("a failure must not be kept, a success must: %+v, %v", c, err)
		}
	}
	r.Set("a", []byte("5"))
	if c, err := r.Chat(); err != nil || c.Model != "3" {
		t.Fatalf("after an edit: %+v, %v", c, err)
	}
	if diff := cmp.Diff([]string{`{"a":1} `, `{"a":1} `, `{"a":5} `}, bodies); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestEventIs(t *testing.T) {
	t.Parallel()
	e := Event{Has: Content | Finish}
	if !e.Is(Content) || !e.Is(Content|Finish) || e.Is(Content|End) || e.Is(Hidden) {
		t.Errorf("%b", e.Has)
	}
}

// TestMayCacheAnHour: however a body writes it, and as it was when somebody asked first.
func TestMayCacheAnHour(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"cache_control":{"type":"ephemeral","ttl":"1h"}}`: true, `{"ttl":"1\u0068"}`: true, `{"ttl":"\u0031h"}`: true, `{"ttl":"\u0031\u0068"}`: true,
		`{"ttl":"5m"}`: false, `{"text":"in 1h, \u00e9"}`: false, `{}`: false,
	} {
		r := &Request{Raw: []byte(body)}
		if got := r.MayCacheAnHour(); got != want {
			t.Errorf("%s: %t", body, got)
		}
		r.Raw = nil
		if got := r.MayCacheAnHour(); got != want {
			t.Errorf("%s: it was looked for again", body)
		}
	}
}
