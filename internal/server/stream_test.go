package server_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
)

// changing is what differs from call to call.
var changing = regexp.MustCompile(`"id":"[^"]*"|"created":\d+`)

const said = "echo:water \"runs\" \\ over\n\tthe wheel ü 漢 \u2028 and \U0001F30A turns"

// TestFault25EventsAreTheSameHoweverPacketsAreCut.
func TestFault25EventsAreTheSameHoweverPacketsAreCut(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	events := func(knobs string) []string {
		t.Helper()
		a := w.ask("sim-a/gpt-x?"+knobs, said, true)
		s := read(t, a.Text())
		if a.Status != http.StatusOK || a.Err != nil || !s.done || s.text(0) != strings.TrimPrefix(said, "echo:") {
			t.Fatalf("%s: %d %v %s", knobs, a.Status, a.Err, a.Body)
		}
		var list []string
		for _, d := range s.data {
			list = append(list, changing.ReplaceAllString(strings.ReplaceAll(d, "sim-a/gpt-x?"+knobs, "MODEL"), ""))
		}
		return list
	}
	want := events("tag=whole")
	random := rand.New(rand.NewPCG(1, 2))
	plans := []string{"bytewise=1", "bytewise=1&crlf=1", "chunks=1,3,17&comments=1", "chunks=2&tight=1", "crlf=1&tight=1", "chunks=5&named_events=1", "flush=1"}
	for range 40 {
		plans = append(plans, fmt.Sprintf("chunks=%d,%d,%d", 1+random.IntN(400), 1+random.IntN(40), 1+random.IntN(4000)))
	}
	for _, plan := range plans {
		equal(t, plan, events(plan), want)
	}
	// Of several data lines, a line feed stands between them, which becomes a space.
	for i, e := range events("multiline=1&chunks=7") {
		if strings.Replace(e, "{ ", "{", 1) != want[i] {
			t.Errorf("event %d: %s, want %s", i, e, want[i])
		}
	}
}

// TestFault26CommentsAreNoAnswer: they are passed over, and a stream of nothing else has failed.
func TestFault26CommentsAreNoAnswer(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(twoTargets("comments=only"))})
	w.fellBack(w.ask("two", "say:3", true), "empty")
	w.CheckBill()
}

// TestFault28NothingIsHeldBack: an event reaches the client although the next one has only begun to arrive; and soon.
func TestFault28NothingIsHeldBack(t *testing.T) {
	t.Parallel()
	const count = 20
	next := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		event := func() string {
			return fmt.Sprintf(`data: {"choices":[{"index":0,"delta":{"content":"%d "}}]}`+"\n\n", time.Now().UnixNano())
		}
		sent := 0 // of the next event
		for range count {
			now := event()
			_, _ = io.WriteString(w, now[sent:]+now[:10])
			sent = 10
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
		_, _ = io.WriteString(w, event()[sent:]+"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	defer upstream.Close()
	w := start(t, penstocktest.Options{Config: settings(nil, "  house: { dialect: openai, base_url: \""+upstream.URL+"\", vendor: none }")})
	resp, err := w.Ask(t.Context(), http.MethodPost, w.key, chatPath, penstocktest.Chat("house/m", "hello", true))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if enc := resp.Header.Get("Content-Encoding"); enc != "" || resp.Header.Get("X-Accel-Buffering") != "no" {
		t.Errorf("headers %v", resp.Header)
	}
	var lags []time.Duration
	buf := make([]byte, 4096)
	for range count {
		n, err := resp.Body.Read(buf) // an event held back would never come: the upstream waits for us
		if err != nil {
			t.Fatal(err)
		}
		s := read(t, string(buf[:n]))
		sent, err := strconv.ParseInt(strings.TrimSpace(s.text(0)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		lags = append(lags, time.Since(time.Unix(0, sent)))
		select {
		case next <- struct{}{}:
		case <-t.Context().Done():
		}
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !read(t, string(rest)).done {
		t.Errorf("%v, rest %s", err, rest)
	}
	slices.Sort(lags)
	if p95 := lags[count-2]; p95 > 50*time.Millisecond {
		t.Errorf("lags %v", lags)
	}
}

// TestFault30ChoicesAreNotMixed, plain or streamed.
func TestFault30ChoicesAreNotMixed(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	body := `{"model":"` + w.model("") + `","n":3,"stream":true,"messages":[{"role":"user","content":"say:30"}]}`
	a := w.Post(w.key, chatPath, body)
	s := read(t, a.Text())
	texts := map[string]bool{}
	for i := range 3 {
		if n := len(strings.Fields(s.text(i))); n != 30 {
			t.Errorf("choice %d has %d words: %q", i, n, s.text(i))
		}
		texts[s.text(i)] = true
	}
	if len(texts) != 3 || !s.done {
		t.Errorf("%d different texts; %s", len(texts), a.Body)
	}
	if r := w.record(a); r.Usage.Output != 90 || r.Status != 200 {
		t.Errorf("record %+v", r)
	}
	w.CheckBill()
}

// TestFault31BrokenEventsAreErrors: neither passed on nor mended.
func TestFault31BrokenEventsAreErrors(t *testing.T) {
	t.Parallel()
	models := map[string][]string{}
	for _, knobs := range []string{"invalid_utf8=1", "garbage=1"} {
		models[knobs] = []string{"sim-a/bad?" + knobs, "sim-b/good"}
	}
	for _, knobs := range []string{"invalid_utf8=3", "garbage=3"} {
		models[knobs] = []string{"sim-a/bad?events=6&flush=1&" + knobs, "sim-b/good"}
	}
	w := start(t, penstocktest.Options{Config: settings(models)})
	for knobs := range models {
		a := w.ask(knobs, "hello", true)
		if strings.HasSuffix(knobs, "=1") {
			w.fellBack(a, "garbage")
			continue
		}
		s := read(t, a.Text())
		if s.done || s.failure() != "stream_interrupted" || strings.Contains(a.Text(), "\ufffd") || len(strings.Fields(s.text(0))) != 2 {
			t.Errorf("%s: %s", knobs, a.Body)
		}
		if r := w.record(a); r.Status != 200 || r.Error == nil || r.Tries[0].Reason != "garbage" || len(r.Tries) != 1 {
			t.Errorf("%s: record %+v", knobs, r)
		}
	}
	w.CheckBill()
}

// TestFault32LargeEventsAndMany: a line beyond all measure is refused, a large one and very many small ones pass.
func TestFault32LargeEventsAndMany(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{
		"two": {"sim-a/bad?big_event=10000000", "sim-b/good"}, "large": {"sim-a/large?big_event=1000000"}, "many": {"sim-a/many?events=20000"},
	})})
	w.Price("sim-a/many?events=20000")
	w.fellBack(w.ask("two", "hello", true), "too_large")
	if s := read(t, w.ask("large", "hello", true).Text()); !s.done || len(s.text(0)) < 1_000_000 {
		t.Errorf("of 1 MB came %d bytes, done %v", len(s.text(0)), s.done)
	}
	if s := read(t, w.ask("many", "hello", true).Text()); !s.done || len(s.chunks) < 20_000 {
		t.Errorf("of 20,000 events came %d, done %v", len(s.chunks), s.done)
	}
	w.CheckBill()
}

// TestFault33AnswersOfAnotherKind fail the try, whatever their status says.
func TestFault33AnswersOfAnotherKind(t *testing.T) {
	t.Parallel()
	models := map[string][]string{}
	kinds := map[string]string{ // by knobs, whether streamed ones only or plain ones only
		"plain_for_stream=1": "stream", "sse_for_plain=1": "plain", "html=1": "", "encoding=gzip-lie": "", "encoding=br-lie": "",
		"encoding=gzip-hidden": "", "redirect=http://127.0.0.1:1/": "", "status=204": "", "empty=1": "plain",
	}
	for knobs := range kinds {
		models[knobs] = []string{"sim-a/bad?" + knobs, "sim-b/good"}
	}
	w := start(t, penstocktest.Options{Config: settings(models)})
	for knobs, only := range kinds {
		for _, stream := range []bool{false, true} {
			if only != "" && (only == "stream") != stream {
				continue
			}
			a := w.ask(knobs, "hello", stream)
			r := w.record(a)
			if a.Status != 200 || len(r.Tries) != 2 || r.Target != "sim-b/good" || stream != read200(t, a, stream) {
				t.Errorf("%s, stream %v: %d %q %s", knobs, stream, a.Status, reasons(r), a.Body)
			}
		}
	}
	w.CheckBill()
}

// read200 reads an answer to its end and reports whether it was a stream.
func read200(t *testing.T, a penstocktest.Answer, stream bool) bool {
	t.Helper()
	if stream {
		return read(t, a.Text()).done
	}
	return plainText(t, a.Body) == ""
}

// TestFault33HeadersAreNotPassedOn: what the provider's connection was told does not concern the client's.
func TestFault33HeadersAreNotPassedOn(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	knobs := "header=Set-Cookie:+a%3Db&header=X-Evil:+1&header=Server:+secret-host&header=Keep-Alive:+timeout%3D5&header=X-Penstock-Cost:+9&encoding=gzip"
	for _, stream := range []bool{false, true} {
		a := w.ask("sim-a/gpt-x?"+knobs, "hello", stream)
		if a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		for _, name := range []string{"Set-Cookie", "X-Evil", "Server", "Keep-Alive", "Content-Encoding"} {
			if got := a.Header.Values(name); len(got) > 0 {
				t.Errorf("stream %v: %s: %q", stream, name, got)
			}
		}
		if a.Header.Get("X-Penstock-Cost") == "9" {
			t.Error("a provider wrote the cost")
		}
	}
}

// TestFault34AnEmptyAnswerIsNoSuccess.
func TestFault34AnEmptyAnswerIsNoSuccess(t *testing.T) {
	t.Parallel()
	models := map[string][]string{}
	for _, knobs := range []string{"empty=1", "nullcontent=1", "no_finish=1&no_done=1&events=0&nullcontent=1"} {
		models[knobs] = []string{"sim-a/bad?" + knobs, "sim-b/good"}
	}
	models["no_finish=1"] = []string{"sim-a/bad?no_finish=1", "sim-b/good"}
	models["no_done=1"] = []string{"sim-a/gpt-x?no_done=1"}
	models["no_finish=1&no_done=1"] = []string{"sim-a/gpt-x?no_finish=1&no_done=1"}
	w := start(t, penstocktest.Options{Config: settings(models)})
	for knobs, targets := range models {
		if len(targets) == 1 {
			continue
		}
		if a := w.ask(knobs, "hello", false); a.Status != 200 || a.Header.Get("X-Penstock-Target") != "sim-b/good" {
			t.Errorf("plain, %s: %d %s", knobs, a.Status, a.Body)
		}
		if knobs == "no_finish=1" || knobs == "nullcontent=1" {
			continue // [DONE], or a finish reason, proves that a stream is whole
		}
		if a := w.ask(knobs, "hello", true); a.Status != 200 || a.Header.Get("X-Penstock-Target") != "sim-b/good" || !read(t, a.Text()).done {
			t.Errorf("stream, %s: %d %s", knobs, a.Status, a.Body)
		}
	}
	if s := read(t, w.ask("no_done=1", "hello", true).Text()); !s.done {
		t.Error("a finish reason and a clean end are a whole answer, also without [DONE]")
	}
	if s := read(t, w.ask("no_finish=1&no_done=1", "hello", true).Text()); s.done || s.failure() != "stream_interrupted" {
		t.Errorf("neither finish reason nor [DONE], and a clean end: %s", s.data)
	}
	w.CheckBill()
}

// TestFault36UnknownEventsPass.
func TestFault36UnknownEventsPass(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	a := w.ask(w.model("unknown_event=2"), "say:4", true)
	s := read(t, a.Text())
	if !s.done || len(strings.Fields(s.text(0))) != 4 || !slices.Equal(s.names, []string{"simulator.notice"}) || !strings.Contains(a.Text(), `data: {"object":"simulator.notice"`) {
		t.Errorf("%s", a.Body)
	}
	w.CheckBill()
}

// TestFault37ErrorsBeforeAndAfterContent: before it another target answers, after it the client is told and nothing else.
func TestFault37ErrorsBeforeAndAfterContent(t *testing.T) {
	t.Parallel()
	models := map[string][]string{}
	before := map[string]string{"error_at=0": "in_band", "cut=0": "cut", "cut=0:rst": "cut", "status=500": "status", "status=drop": "cut", "status=rst": "cut"}
	after := map[string]string{"error_at=3": "in_band", "cut=3": "cut", "cut=3:rst": "cut"}
	for knobs := range before {
		models[knobs] = []string{"sim-a/bad?" + knobs, "sim-b/good"}
	}
	for knobs := range after {
		models[knobs] = []string{"sim-a/bad?flush=1&events=6&" + knobs, "sim-b/good"}
	}
	w := start(t, penstocktest.Options{Config: settings(models)})
	for knobs, reason := range before {
		w.fellBack(w.ask(knobs, "hello", true), reason)
		w.fellBack(w.ask(knobs, "hello", false), reason)
	}
	for knobs, reason := range after {
		a := w.ask(knobs, "hello", true)
		s := read(t, a.Text())
		if s.done || s.failure() != "stream_interrupted" || len(strings.Fields(s.text(0))) != 3 {
			t.Errorf("%s: %s", knobs, a.Body)
		}
		r := w.record(a)
		if len(r.Tries) != 1 || r.Tries[0].Reason != reason || r.Error == nil || r.Error.Code != "stream_interrupted" {
			t.Errorf("%s: record %+v", knobs, r)
		}
		w.fellBack(w.ask(knobs, "hello", false), reason) // a plain answer has no middle
	}
	w.CheckBill()
}
