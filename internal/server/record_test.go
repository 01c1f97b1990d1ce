package server_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestBrokenBodiesAreRefusedWithTheirExactErrors posts all that wire/openai has in testdata: each is a 400 in the words of
// the file beside it, has one record, and reaches no provider.
func TestBrokenBodiesAreRefusedWithTheirExactErrors(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	files, err := filepath.Glob("../wire/openai/testdata/broken/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d bodies, %v", len(files), err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		path := chatPath
		if strings.HasPrefix(filepath.Base(file), "embeddings") {
			path = embedPath
		}
		a := w.Post(w.key, path, string(body))
		var answer struct {
			Error struct{ Message, Type, Code, Param string }
		}
		if err := json.Unmarshal(a.Body, &answer); err != nil {
			t.Errorf("%s: %v: %s", file, err, a.Body)
			continue
		}
		e := answer.Error
		if said := e.Message + "\ncode " + e.Code + "\nparam " + e.Param + "\n"; a.Status != 400 || said != string(golden) || e.Type != "invalid_request_error" {
			t.Errorf("%s: %d %s\nwant %s", file, a.Status, a.Body, golden)
		}
		if r := w.record(a); r.Status != 400 || r.Error == nil || r.Error.Code != e.Code || len(r.Tries) != 0 || r.CostNano != 0 {
			t.Errorf("%s: record %+v", file, r)
		}
	}
	if n := len(w.Records()); n != len(files) || len(w.Sim.Requests()) != 0 {
		t.Errorf("%d records of %d exchanges, %d calls to providers", n, len(files), len(w.Sim.Requests()))
	}
	w.AtRest()
}

// TestEveryExchangeHasOneRecord, whatever became of it; strangers have none.
func TestEveryExchangeHasOneRecord(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{
		"ok": {"sim-a/ok"}, "fails": {"sim-a/x?status=500", "sim-b/x?status=500"}, "mid": {"sim-a/x?cut=3&flush=1&events=9"}, "refused": {"sim-a/x?status=422"},
	})})
	statuses := map[int]int{}
	for _, c := range []struct {
		model  string
		stream bool
		status int
	}{
		{"ok", false, 200}, {"ok", true, 200}, {"fails", false, 502}, {"fails", true, 502}, {"mid", true, 200}, {"refused", false, 422}, {"nothing", true, 404},
	} {
		a := w.ask(c.model, "hello", c.stream)
		if r := w.record(a); a.Status != c.status || r.Status != a.Status || r.Model != c.model || r.Stream != c.stream {
			t.Errorf("%s: %d, record %+v", c.model, a.Status, r)
		}
		statuses[c.status]++
	}
	w.Post(w.key, chatPath, "{")
	statuses[400]++
	w.Post(w.key, chatPath, penstocktest.Chat("ok", strings.Repeat("x", 21<<20), false))
	statuses[413]++
	w.Post("psk_nobody-knows-this-key", chatPath, penstocktest.Chat("ok", "hello", false))
	w.Do(http.MethodGet, w.key, "/v1/models", "")
	w.Do(http.MethodGet, w.key, "/penstock/v1/self", "")
	seen := map[string]bool{}
	for _, r := range w.Records() {
		statuses[r.Status]--
		if seen[r.ID] {
			t.Errorf("two records of %s", r.ID)
		}
		seen[r.ID] = true
	}
	for status, left := range statuses {
		if left != 0 {
			t.Errorf("%d records are missing of status %d", left, status)
		}
	}
	w.CheckBill()
}

// TestRecordTellsAll that the design promises.
func TestRecordTellsAll(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"support": {"sim-a/x?status=429&retry_after=2", "sim-b/y?cached=0.5&first=20ms"}})})
	w.Price("sim-b/y?cached=0.5&first=20ms")
	began := time.Now()
	body := `{"model":"support","user":"ann","messages":[{"role":"user","content":"` + strings.Repeat("four ", 80) + `"}]}`
	a := w.Post(w.key, chatPath, body, "X-Penstock-Tags", "team-a,blue", "X-Request-Id", "mine-1")
	r := w.record(a)
	if r.ID != a.ID() || !strings.HasPrefix(r.Project, "prj_") || !strings.HasPrefix(r.Key, "key_") || r.Org != "default" || r.User != "ann" ||
		r.Model != "support" || r.Target != "sim-b/y?cached=0.5&first=20ms" || r.Op != llm.OpChat || r.Dialect != llm.OpenAI || r.Stream || r.Status != 200 || r.Error != nil ||
		r.ClientID != "mine-1" || r.Unpriced || r.Time.Before(began.Add(-time.Second)) || r.Time.After(time.Now()) {
		t.Errorf("record %+v", r)
	}
	equal(t, "tags", r.Tags, []string{"team-a", "blue"})
	if r.Usage != (llm.Usage{Input: 100, CachedInput: 50, Output: 20}) {
		t.Errorf("usage %+v", r.Usage)
	}
	if r.CostNano != 50*1000+50*500+20*4000 || a.Header.Get("X-Penstock-Cost") != r.CostNano.String() {
		t.Errorf("cost %s, header %q", r.CostNano, a.Header.Get("X-Penstock-Cost"))
	}
	if len(r.Tries) != 2 || r.Tries[0].ID != r.ID+"-1" || r.Tries[0].Status != 429 || r.Tries[0].Reason != "status" || r.Tries[0].Outcome != "released" ||
		r.Tries[1].ID != r.ID+"-2" || r.Tries[1].Status != 200 || r.Tries[1].Reason != "ok" || r.Tries[1].Outcome != "settled_actual" ||
		r.Tries[0].Upstream == "" || r.Tries[1].Upstream == "" {
		t.Errorf("tries %+v", r.Tries)
	}
	r.Stages = slices.DeleteFunc(r.Stages, func(d pipeline.Decision) bool { return d.Stage == "read" }) // on a machine that is busy
	if len(r.Stages) != 2 || r.Stages[0].Stage != "auth" || !strings.Contains(r.Stages[0].Decision, "project acme") ||
		r.Stages[1].Stage != "route" || !strings.Contains(r.Stages[1].Decision, "failover over sim-a/x?status=429") {
		t.Errorf("stages %+v", r.Stages)
	}
	first, second := r.Tries[0], r.Tries[1]
	ordered := 0 < first.StartNS && first.StartNS+first.TookNS <= second.StartNS && second.StartNS+second.TookNS <= r.Timings.TotalNS
	if !ordered || second.TookNS < int64(20*time.Millisecond) || r.Timings.OverheadNS <= 0 || r.Timings.OverheadNS > r.Timings.TotalNS-second.TookNS {
		t.Errorf("timings %+v, tries %+v", r.Timings, r.Tries)
	}
	if a.Header.Get("X-Penstock-Tries") != "2" || a.Header.Get("X-Penstock-Target") != r.Target {
		t.Errorf("headers %v", a.Header)
	}
	own := w.Do(http.MethodGet, w.key, "/penstock/v1/exchanges/"+r.ID, "")
	if own.Status != http.StatusOK || strings.Contains(own.Text(), `"detail"`) || !strings.Contains(own.Text(), `"cost_nano"`) {
		t.Errorf("for the caller: %d %s", own.Status, own.Body)
	}
	w.CheckBill()
}

// TestBodiesArriveByteForByte but for the model's name, unknown members and white space included.
func TestBodiesArriveByteForByte(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"support": {"sim-a/real \u00e9"}})})
	for _, c := range []struct{ path, body string }{
		{chatPath, " {\r\n\t\"x_unknown\" : [1.50, 1e2, \"\\u00e9\\/\", null] ,\n \"model\" :\"support\", \"messages\":[{\"role\":\"user\",\"content\":\"\\ud83c\\udf0a \u00e9\",\"x\":{}}],\"temperature\":0.70,\"metadata\":{\"cost\":\"0\"} } \n"},
		{chatPath, `{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"model":"support"}`},
		{embedPath, `{"input":["a", "b" ],"model":"support","dimensions":8,"x":-0}`},
	} {
		a := w.Post(w.key, c.path, c.body)
		if a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		want := strings.Replace(c.body, `"support"`, `"real é"`, 1)
		if got := w.lastRequest().Body; got != want {
			t.Errorf("sent    %q\narrived %q", want, got)
		}
	}
}

// TestAnswersNameTheAskedForModel, and nothing of the provider's own is changed besides.
func TestAnswersNameTheAskedForModel(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"support": {"sim-a/real"}})})
	for _, stream := range []bool{false, true} {
		a := w.ask("support", "say:5", stream)
		text := a.Text()
		if !stream {
			text = "data: " + text + "\n\n"
		}
		for _, c := range read(t, text).chunks {
			if c.Model != "support" || !strings.HasPrefix(c.ID, "chatcmpl-") {
				t.Errorf("stream %v: model %q, id %q", stream, c.Model, c.ID)
			}
		}
		if strings.Contains(a.Text(), "real") || !strings.Contains(a.Text(), `"system_fingerprint":"fp_sim"`) {
			t.Errorf("stream %v: %s", stream, a.Body)
		}
	}
	a := w.Post(w.key, embedPath, `{"model":"support","input":"x"}`)
	if !strings.Contains(a.Text(), `"model":"support"`) {
		t.Errorf("%s", a.Body)
	}
}
