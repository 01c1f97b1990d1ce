package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/gateway"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

// TestControl2ForeignExchangesAreNotThere: the same answer as for an id that never was.
func TestControl2ForeignExchangesAreNotThere(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	foreign := w.Key("other")
	a := w.ask(w.model(""), "hello", false)
	path := func(id string) string { return "/penstock/v1/exchanges/" + id }
	own := w.Do(http.MethodGet, w.key, path(a.ID()), "")
	if own.Status != http.StatusOK || !strings.Contains(own.Text(), a.ID()) {
		t.Errorf("own: %d %s", own.Status, own.Body)
	}
	if again := w.Do(http.MethodGet, w.Key("acme"), path(a.ID()), ""); again.Status != http.StatusOK {
		t.Errorf("another key of the project: %d", again.Status)
	}
	const form = `{"error":{"message":"There is no exchange \"ID\" here. Records appear within a second of the answer.",` +
		`"type":"invalid_request_error","param":null,"code":"exchange_not_found"}}`
	for _, id := range []string{a.ID(), "ex_01ARZ3NDEKTSV4RRFFQ69G5FAW", "' OR 1=1 --", "../" + a.ID(), a.ID() + " "} {
		got := w.Do(http.MethodGet, foreign, path(url.PathEscape(id)), "")
		if want := strings.Replace(form, "ID", id, 1); got.Status != http.StatusNotFound || got.Text() != want {
			t.Errorf("%s: %d %s\nwant %s", id, got.Status, got.Body, want)
		}
	}
}

// TestControl4TheKeyCheckIsInert: whatever is sent as a key is refused and leaves no trace in the store or the log.
func TestControl4TheKeyCheckIsInert(t *testing.T) {
	t.Parallel()
	var log logs
	w := start(t, penstocktest.Options{Log: &log})
	for _, key := range []string{
		"' UNION SELECT 1--", "'; DROP TABLE keys; --", "psk_' OR '1'='1", "*)(uid=*))(|(uid=*", `{"$ne":null}`, "%s%n%x", "${jndi:ldap://x}",
		strings.Repeat("a", 300), strings.Repeat("a", 60_000), "psk_" + strings.Repeat("1", 44), w.key[:len(w.key)-1], w.key + "x", w.key[:20],
		strings.ToUpper(w.key), "../../etc/passwd-and-more", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
	} {
		a := w.Do(http.MethodGet, key, "/v1/models", "")
		if a.Status != http.StatusUnauthorized {
			t.Errorf("%.40q: %d %s", key, a.Status, a.Body)
		}
		if len(key) > 30 && strings.Contains(a.Text(), key) {
			t.Errorf("%.40q is repeated", key)
		}
	}
	if a := w.Do(http.MethodGet, w.AdminKey, "/v1/models", ""); a.Status != http.StatusForbidden {
		t.Errorf("the admin key makes calls: %d", a.Status)
	}
	if strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), w.key) {
		t.Errorf("logged: %s", log.String())
	}
}

// TestControl6RevokedKeysAreDead, at once on the replica that revoked them.
func TestControl6RevokedKeysAreDead(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	var key admin.NewKey
	w.Admin(http.MethodPost, "/keys", admin.KeyInput{Project: "acme", Name: "short-lived"}, &key)
	if a := w.Do(http.MethodGet, key.Key, "/v1/models", ""); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	resp, err := w.Ask(t.Context(), http.MethodPost, key.Key, chatPath, penstocktest.Chat(w.model("gap=20ms&events=20"), "hello", true))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if status := w.Admin(http.MethodPost, "/keys/"+key.ID+"/revoke", nil, nil); status != http.StatusOK {
		t.Fatalf("revoke: %d", status)
	}
	if a := w.Do(http.MethodGet, key.Key, "/v1/models", ""); a.Status != http.StatusUnauthorized {
		t.Errorf("revoked, and answered %d", a.Status)
	}
	if a := w.Post(key.Key, chatPath, penstocktest.Chat("sim-a/gpt-x", "hello", false)); a.Status != http.StatusUnauthorized {
		t.Errorf("revoked, and answered %d", a.Status)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || !read(t, b.String()).done {
		t.Errorf("a running stream finishes: %v %s", err, b.String())
	}
	var short admin.NewKey
	w.Admin(http.MethodPost, "/keys", map[string]any{"project": "acme", "name": "expires", "expires": "1s"}, &short)
	if !penstocktest.Eventually(func() bool {
		return w.Do(http.MethodGet, short.Key, "/v1/models", "").Status == http.StatusUnauthorized
	}) {
		t.Error("an expired key works")
	}
}

// TestControl12SecretsAreNeverInText: whatever goes wrong, and although the provider repeats its credential, neither that
// nor the caller's key nor the prompt is in an error, a record, a metric, a log line or a file.
func TestControl12SecretsAreNeverInText(t *testing.T) {
	t.Parallel()
	const provider, prompt = "sk-canary-provider-0123456789", "CANARY-PROMPT-4711"
	var log logs
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "key"), []byte(provider), 0o600); err != nil {
		t.Fatal(err)
	}
	credential := fmt.Sprintf("vendor: none, credential: %q }", "file:"+filepath.Join(outside, "key"))
	w := start(t, penstocktest.Options{Dir: dir, Log: &log, Config: strings.ReplaceAll(settings(nil, "log: { level: debug }"), "vendor: none }", credential)})
	seen := map[string]string{}
	for _, knobs := range []string{
		"leak=1&status=400", "leak=1&status=401", "leak=1&status=403", "leak=1&status=404", "leak=1&status=422", "leak=1&status=429", "leak=1&status=500",
		"leak=1&error_at=0", "leak=1&error_at=3", "leak=1&html=1&status=502", "cut=3:rst", "garbage=3", "usage=none", "status=drop", "",
	} {
		for _, stream := range []bool{false, true} {
			a := w.ask("sim-a/x?"+knobs, "echo:"+prompt+" and more words", stream)
			text := a.Text()
			if a.Status == http.StatusOK {
				text = strings.ReplaceAll(text, prompt, "") // the answer itself is an echo
			}
			r, err := json.Marshal(w.record(a))
			if err != nil {
				t.Fatal(err)
			}
			seen["answer to "+knobs] += fmt.Sprintf("%v %s", a.Header, text)
			seen["record of "+knobs] += string(r)
		}
	}
	w.Do(http.MethodGet, w.key+"x", "/v1/models", "")
	w.Post(w.key, chatPath, `{"model":"`+prompt+`","messages":"`+prompt+`"`)
	seen["metrics"] = w.Metrics()
	w.Stop()
	seen["log"] = log.String()
	readFiles(t, dir, seen)
	for where, text := range seen {
		for what, canary := range map[string]string{"the provider's credential": provider, "the caller's key": w.key, "the prompt": prompt, "the admin key": w.AdminKey} {
			if strings.Contains(text, canary) && !strings.HasSuffix(where, "admin.key") {
				at := strings.Index(text, canary)
				t.Errorf("%s: %s is in it: ...%.200s", where, what, text[max(at-100, 0):])
			}
		}
	}
	if len(seen["log"]) < 1000 || len(seen) < 30 {
		t.Error("too little was looked at")
	}
}

// readFiles adds what lies below dir.
func readFiles(t *testing.T, dir string, seen map[string]string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		seen[path] = string(b)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestControl29TenantsNeverMix: many at once, each with words of its own, on pooled buffers and kept connections.
func TestControl29TenantsNeverMix(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	keys := map[string]string{"alpha": w.Key("alpha"), "beta": w.Key("beta")}
	w.model("")
	var all sync.WaitGroup
	for worker := range 12 {
		tenant := []string{"alpha", "beta"}[worker%2]
		all.Go(func() {
			for i := range 25 {
				marker := fmt.Sprintf("%s-%d-%d-%s", tenant, worker, i, strings.Repeat("pad", (worker*31+i*97)%3000))
				stream := i%3 == 0
				a := w.Post(keys[tenant], chatPath, penstocktest.Chat("sim-a/gpt-x", "echo:"+marker, stream), "X-Penstock-Tags", tenant, "X-Request-Id", marker[:9])
				got := ""
				if stream {
					got = read(t, a.Text()).text(0)
				} else if a.Status == http.StatusOK {
					got = plainText(t, a.Body)
				}
				if got != marker {
					t.Errorf("%s asked for %.40s and was told %.80s (%d)", tenant, marker, got, a.Status)
				}
			}
		})
	}
	all.Wait()
	project := map[string]string{}
	for _, r := range w.Records() {
		if len(r.Tags) != 1 || !strings.HasPrefix(r.ClientID, r.Tags[0]) || project[r.Tags[0]] != "" && project[r.Tags[0]] != r.Project {
			t.Errorf("a mixed record: %+v", r)
			break
		}
		project[r.Tags[0]] = r.Project
	}
	if len(project) != 2 || project["alpha"] == project["beta"] {
		t.Errorf("projects %v", project)
	}
	w.CheckBill()
}

// TestControl30MetricsTellNothingOfTenants: ids, no names and no words.
func TestControl30MetricsTellNothingOfTenants(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	key := w.Key("Project-With-A-Telling-Name")
	body := `{"model":"sim-a/x","user":"user-with-a-name","messages":[{"role":"user","content":"words-of-a-prompt"}]}`
	w.Post(key, chatPath, body, "X-Penstock-Tags", "tag-with-a-name", "X-Request-Id", "id-of-a-client")
	w.Post(key, chatPath, strings.Replace(body, "sim-a/x", "model-that-is-not-there", 1))
	metrics := w.Metrics()
	for _, name := range []string{"Telling", "user-with", "words-of", "tag-with", "id-of", "model-that"} {
		if strings.Contains(metrics, name) {
			t.Errorf("%s is in the metrics", name)
		}
	}
	if !strings.Contains(metrics, `project="prj_`) {
		t.Error("no project's id is in the metrics: nothing was counted")
	}
}

// TestControl36UnknownModelsAreRefused, and no provider learns of it.
func TestControl36UnknownModelsAreRefused(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	narrow := w.Key("acme", "sim-a/small*")
	for _, model := range []string{"../x", "sim-x/gpt", "gpt-4", "sim-a", "sim-a/", "/x", "SIM-A/x", "sim-a/x\ny", "sim-a/\u0000", "{{7*7}}", "${jndi:x}", "sim-a/x\u202e"} {
		body, err := json.Marshal(map[string]any{"model": model, "messages": []map[string]string{{"role": "user", "content": "x"}}})
		if err != nil {
			t.Fatal(err)
		}
		a := w.Post(w.key, chatPath, string(body))
		if code, _ := errorOf(t, a); a.Status != http.StatusNotFound || code != "model_not_found" {
			t.Errorf("%q: %d %s", model, a.Status, a.Body)
		}
		if r := w.record(a); r.Status != 404 || r.Model != strings.ReplaceAll(model, "\x00", "\uFFFD") || len(r.Tries) != 0 {
			t.Errorf("%q: record %+v", model, r)
		}
	}
	if a := w.Post(narrow, chatPath, penstocktest.Chat("sim-a/large", "x", false)); a.Status != http.StatusNotFound {
		t.Errorf("a model that the key may not use: %d", a.Status)
	}
	if n := len(w.Sim.Requests()); n != 0 {
		t.Errorf("%d calls to providers", n)
	}
	if a := w.Post(narrow, chatPath, penstocktest.Chat("sim-a/small-1", "x", false)); a.Status != http.StatusOK {
		t.Errorf("a model that the key may use: %d", a.Status)
	}
}

// TestControl57EveryRouteThatSpendsIsTheSame: each goes through auth, the record and routing. A new route that is not
// listed here fails.
func TestControl57EveryRouteThatSpendsIsTheSame(t *testing.T) {
	t.Parallel()
	open, _, _ := strings.Cut(allDialects, "models:")
	w := start(t, penstocktest.Options{Config: open, Sim: &sim.Config{Seed: 1, Providers: speakerProviders()}})
	w.Price("gpt/m", "claude/m")
	const messages = `{"model":"claude/m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`
	bodies := map[string]string{
		chatPath:                     penstocktest.Chat("gpt/m", "hello", false),
		embedPath:                    `{"model":"gpt/m","input":"hello"}`,
		"/v1/moderations":            `{"model":"gpt/m","input":"hello"}`,
		"/v1/messages":               messages,
		"/v1/messages/count_tokens":  messages,
		"/v1/responses":              `{"model":"gpt/m","input":"hello"}`,
		"/v1/responses/input_tokens": `{"model":"claude/m","input":"hello"}`,
	}
	for _, route := range gateway.Routes() {
		body, known := bodies[route.Path]
		if route.Spends != known {
			t.Errorf("%s %s: spends %v, and is listed %v", route.Method, route.Path, route.Spends, known)
		}
		if !route.Spends {
			continue
		}
		for _, c := range []struct {
			body          string
			status, tries int
		}{{body, 200, 1}, {`{}`, 400, 0}, {strings.NewReplacer("gpt/m", "nothing", "claude/m", "nothing").Replace(body), 404, 0}} {
			before := len(w.Records())
			a := w.Post(w.key, route.Path, c.body)
			r := w.record(a)
			if a.Status != c.status || len(w.Records()) != before+1 || r.Status != c.status || len(r.Tries) != c.tries || r.Key == "" {
				t.Errorf("%s: %d, record %+v", route.Path, a.Status, r)
			}
			if c.tries == 1 && (len(r.Stages) < 2 || r.Tries[0].Outcome != "settled_actual" || (r.CostNano == 0) != (r.Op == llm.OpCount || r.Op == llm.OpModerations)) {
				t.Errorf("%s: stages %v, tries %+v", route.Path, r.Stages, r.Tries)
			}
		}
	}
	w.CheckBill()
}
