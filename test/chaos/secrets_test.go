//go:build linux

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// free checks that none of the texts is in anything that Penstock has written: data, logs, metrics, records.
func (w *world) free(secrets ...string) {
	w.t.Helper()
	var all []record
	if err := w.admin("GET", "/exchanges?limit=1000", nil, &struct{ Data *[]record }{&all}); err != nil {
		w.t.Error(err)
	}
	shown, err := json.Marshal(all)
	if err != nil {
		w.t.Error(err)
	}
	places := map[string][]byte{"metrics": []byte(w.metrics()), "records": shown, "log": []byte(w.serve.log(w.t))}
	err = filepath.WalkDir(w.dataDir(), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		places[file], err = os.ReadFile(file)
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	if len(places) < 6 {
		w.t.Errorf("only %d places were looked at", len(places))
	}
	for place, text := range places {
		for _, secret := range secrets {
			if at := bytes.Index(text, []byte(secret)); at >= 0 {
				w.t.Errorf("%s is in %s: %q", secret, place, text[max(0, at-60):min(len(text), at+60)])
			}
		}
	}
}

// lines gives the lines of a log that hold a text.
func lines(log, text string) []string {
	var all []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			all = append(all, line)
		}
	}
	return all
}

// What callers and providers say, and the keys that they say it with, stays out of everything that Penstock writes, also
// when things go wrong. The log has one line for each exchange, and nothing of its content.
func TestNothingSecretIsWritten(t *testing.T) {
	const prompt, answered = "canary-prompt-3f9d1c", "canary-answer-8e2b7a"
	w := newWorld(t, draws(t), plan{config: providers + `  stranger: { dialect: openai, base_url: "http://$SIM/sim-b/v1", vendor: none, credential: env:STRANGE_KEY }
models:
  plain:   { targets: ["sim-a/x?events=3"] }
  leaking: { targets: ["sim-a/x?status=400&leak=1", "sim-b/x?status=500&leak=1"] }
  failing: { targets: ["sim-a/x?status=503&leak=1", "sim-b/x?html=1&leak=1"] }
  refused: { targets: ["stranger/x"] }
  cut:     { targets: ["sim-a/x?cut=2"] }
  broken:  { targets: ["sim-a/x?garbage=2"] }
`, env: []string{"STRANGE_KEY=sk-canary-strange-5c"}})
	exchanges := 0
	for _, model := range []string{"plain", "leaking", "failing", "refused", "cut", "broken", "no-such-model"} {
		for _, stream := range []bool{false, true} {
			a := w.chat(t.Context(), call{model: model, stream: stream, prompt: "say: " + answered + " " + prompt, header: map[string]string{"X-Penstock-Tags": "chaos"}})
			for _, secret := range []string{providerKey, "sk-canary-strange"} {
				if strings.Contains(a.String()+fmt.Sprint(a.header), secret) {
					t.Errorf("%s: a caller was told %s: %s", model, secret, a)
				}
			}
			exchanges++
		}
	}
	for _, body := range []string{`{"model": "plain", "messages": [` + prompt + `]}`, `{"model": "plain", "` + prompt + `": 1, "model": "x"}`, prompt} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.key)
		if a := do(w.http, req, nil); a.status != http.StatusBadRequest {
			t.Errorf("a broken body: %s", a)
		}
		exchanges++
	}
	wrong := "psk_canary0wrong0key0aaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, key := range []string{wrong, "", "' UNION SELECT 1--"} {
		if a := w.get(w.url+"/v1/models", key); a.status != http.StatusUnauthorized {
			t.Errorf("with the key %q: %s", key, a)
		}
	}
	if n := len(w.records()); n != exchanges {
		t.Errorf("%d records of %d exchanges", n, exchanges)
	}
	// All of it once more from the outside, also what a killed process leaves behind.
	w.free(providerKey, "sk-canary-strange", w.key, wrong, prompt, answered)
	told := map[string]int{}
	for _, line := range lines(w.serve.log(t), `"msg":"exchange"`) {
		var l struct{ Exchange string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("a line that is not JSON: %s", line)
		}
		told[l.Exchange]++
	}
	for _, r := range w.records() {
		if told[r.ID] != 1 {
			t.Errorf("%d lines of the exchange %s", told[r.ID], r.ID)
		}
	}
	if len(told) != exchanges {
		t.Errorf("%d exchanges in the log, %d there were", len(told), exchanges)
	}
	w.serve.end(t, syscall.SIGKILL, patience)
	w.up()
	w.free(providerKey, "sk-canary-strange", w.key, wrong, prompt, answered)
}
