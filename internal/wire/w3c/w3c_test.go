package w3c

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	span  = "00f067aa0ba902b7"
)

func headers(parent string, states ...string) http.Header {
	h := http.Header{"Traceparent": {parent}}
	if states != nil {
		h["Tracestate"] = states
	}
	return h
}

func TestTraceparentIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, parent string
		flags        Flags
		ok           bool
	}{
		{"sampled", "00-" + trace + "-" + span + "-01", Sampled, true},
		{"not sampled", "00-" + trace + "-" + span + "-00", 0, true},
		{"random too", "00-" + trace + "-" + span + "-03", Sampled | Random, true},
		{"flags that are not known yet", "00-" + trace + "-" + span + "-fd", Sampled, true},
		{"a later version", "01-" + trace + "-" + span + "-01", Sampled, true},
		{"a later version with more", "cc-" + trace + "-" + span + "-01-what-will-be", Sampled, true},
		{"a later version with more, not set off", "cc-" + trace + "-" + span + "-01.what", 0, false},
		{"00 with more", "00-" + trace + "-" + span + "-01-", 0, false},
		{"version ff", "ff-" + trace + "-" + span + "-01", 0, false},
		{"upper case", "00-" + strings.ToUpper(trace) + "-" + span + "-01", 0, false},
		{"upper case version", "0A-" + trace + "-" + span + "-01", 0, false},
		{"no trace", "00-" + strings.Repeat("0", 32) + "-" + span + "-01", 0, false},
		{"no span", "00-" + trace + "-" + strings.Repeat("0", 16) + "-01", 0, false},
		{"short", "00-" + trace + "-" + span + "-1", 0, false},
		{"not hexadecimal", "00-" + trace[:31] + "g-" + span + "-01", 0, false},
		{"space before", " 00-" + trace + "-" + span + "-01", 0, false},
		{"space behind", "00-" + trace + "-" + span + "-01 ", 0, false},
		{"other dashes", "00_" + trace + "_" + span + "_01", 0, false},
		{"empty", "", 0, false},
		{"10 KB", strings.Repeat("00-"+trace+"-"+span+"-01", 190), 0, false},
	} {
		c := Read(headers(tt.parent, "a=1"))
		if !tt.ok {
			if c != (Context{}) {
				t.Errorf("%s: got %v, want nothing", tt.name, c)
			}
			continue
		}
		if c.Trace.String() != trace || c.Span.String() != span || c.Flags != tt.flags || c.State != "a=1" {
			t.Errorf("%s: got %+v", tt.name, c)
		}
	}
	two := http.Header{"Traceparent": {"00-" + trace + "-" + span + "-01", "00-" + trace + "-" + span + "-01"}}
	if c := Read(two); c != (Context{}) {
		t.Errorf("two headers: got %v", c)
	}
	if c := Read(http.Header{"Tracestate": {"a=1"}}); c != (Context{}) {
		t.Errorf("a state alone: got %v", c)
	}
}

func TestTracestate(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 250)
	many := make([]string, 33)
	for i := range many {
		many[i] = "k" + string(rune('a'+i%26)) + string(rune('0'+i/26)) + "=1"
	}
	for _, tt := range []struct {
		name  string
		sent  []string
		state string
	}{
		{"one", []string{"vendor=t61rcWkgMzE"}, "vendor=t61rcWkgMzE"},
		{"two headers", []string{"a=1", "b=2"}, "a=1,b=2"},
		{"spaces and empty members", []string{" a=1\t,, b=2 "}, "a=1,b=2"},
		{"a tenant", []string{"fw529a3039@dt=FfD4F8,4bf=1"}, "fw529a3039@dt=FfD4F8,4bf=1"},
		{"a value with a space in it", []string{"a=x y"}, "a=x y"},
		{"twice", []string{"a=1,a=2"}, ""},
		{"no value", []string{"a="}, ""},
		{"no sign", []string{"a"}, ""},
		{"upper case", []string{"A=1"}, ""},
		{"a second sign", []string{"a=1=2"}, ""},
		{"control characters", []string{"a=1\n"}, ""},
		{"not ASCII", []string{"a=ä"}, ""},
		{"too many", []string{strings.Join(many, ",")}, ""},
		{"longer than is kept", []string{"a=" + long, "b=" + long, "c=" + long}, "a=" + long + ",b=" + long},
		{"64 KB", []string{strings.Repeat("a=1,", 1<<14)}, ""},
	} {
		if c := Read(headers("00-"+trace+"-"+span+"-01", tt.sent...)); c.State != tt.state || c.Trace.IsZero() {
			t.Errorf("%s: got %q of %v, want %q", tt.name, c.State, c.Trace, tt.state)
		}
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Context{
			Trace: TraceID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "trace")),
			Span:  SpanID(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "span")),
			Flags: Flags(rapid.IntRange(0, 3).Draw(t, "flags")),
			State: rapid.SampledFrom([]string{"", "a=1", "a=1,b@c=2"}).Draw(t, "state"),
		}
		if want.Trace.IsZero() || want.Span.IsZero() {
			return
		}
		h := http.Header{}
		want.Write(h)
		if got := Read(h); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		text, _ := json.Marshal(want.Trace)
		var back TraceID
		if err := json.Unmarshal(text, &back); err != nil || back != want.Trace {
			t.Fatalf("JSON %s: %v, %v", text, back, err)
		}
	})
}

func TestIDsAsText(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		trace: true, strings.ToUpper(trace): true, " " + trace + "\n": true, "4bf92f35-77b3-4da6-a3ce-929d0e0e4736": true,
		"": false, trace[:31]: false, trace + "0": false, strings.Repeat("0", 32): false, strings.Repeat("-", 1<<20): false,
		"ex_01K97K2QJ8W6T2Z3N5V4M1R0XY": false, "%s%n%s%n%s%n%s%n%s%n%s%n%s%n%s%n": false,
	} {
		if id, got := ParseTraceID(text); got != ok || ok && id.String() != trace {
			t.Errorf("%.40q: got %v, %v", text, id, got)
		}
	}
	var id TraceID
	if err := id.UnmarshalText([]byte("4BF9")); err == nil || !id.IsZero() {
		t.Errorf("got %v, %v", id, err)
	}
	if err := id.UnmarshalText(nil); err != nil || id.String() != "" {
		t.Errorf("got %v, %v", id, err)
	}
	if a, b := SpanOf("ex_1"), SpanOf("ex_1-1"); a == b || a.IsZero() || SpanOf("ex_1") != a {
		t.Errorf("got %v and %v", a, b)
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	if c := From(t.Context()); !c.IsZero() {
		t.Errorf("got %v", c)
	}
	want := Context{Trace: TraceID{1}, Flags: Sampled}.Child(SpanID{2})
	if got := From(With(context.Background(), want)); got != want || !got.IsSampled() {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("00-"+trace+"-"+span+"-01", "a=1,b=2")
	f.Add("cc-"+trace+"-"+span+"-01-more", " a=1 , ,b@c=x y")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, parent, state string) {
		c := Read(headers(parent, state))
		if c.IsZero() {
			if c != (Context{}) {
				t.Fatalf("no trace, and %+v", c)
			}
			return
		}
		if len(c.State) > MaxState || c.Span.IsZero() || c.Flags > Sampled|Random {
			t.Fatalf("got %+v", c)
		}
		h := http.Header{}
		c.Write(h)
		if again := Read(h); again != c {
			t.Fatalf("read %+v, wrote %v, read %+v", c, h, again)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for name, h := range map[string]http.Header{
		"none": {}, "parent": headers("00-" + trace + "-" + span + "-01"), "parent and state": headers("00-"+trace+"-"+span+"-01", "a=1,b=2"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Read(h)
			}
		})
	}
}
