package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/store/pgtest"
)

const onceKey = "Idempotency-Key"

// calledOnce are calls in each dialect, plain and streamed, and on each route that spends.
func calledOnce(model string) map[string][2]string {
	chat := func(stream bool) string { return penstocktest.Chat(model, "say: hello", stream) }
	messages := `{"model":"` + model + `","max_tokens":50,"messages":[{"role":"user","content":"hello"}]`
	responses := `{"model":"` + model + `","input":"hello"`
	return map[string][2]string{
		"chat": {chatPath, chat(false)}, "chat stream": {chatPath, chat(true)},
		"messages": {"/v1/messages", messages + "}"}, "messages stream": {"/v1/messages", messages + `,"stream":true}`},
		"responses": {"/v1/responses", responses + "}"}, "responses stream": {"/v1/responses", responses + `,"stream":true}`},
		"embeddings":  {embedPath, `{"model":"sim-a/embed","input":"hello"}`},
		"moderations": {"/v1/moderations", `{"model":"` + model + `","input":"hello"}`},
		"count":       {"/v1/messages/count_tokens", `{"model":"` + model + `","messages":[{"role":"user","content":"hello"}]}`},
	}
}

// sameAnswer checks that b is a, given again.
func sameAnswer(t *testing.T, what string, a, b penstocktest.Answer) {
	t.Helper()
	if b.Header.Get("Idempotency-Replayed") != "true" || a.Header.Get("Idempotency-Replayed") != "" || a.Status != b.Status || a.Err != nil || b.Err != nil || !bytes.Equal(a.Body, b.Body) || len(a.Body) == 0 {
		t.Errorf("%s: %d %q (%v), then %d %q (%v)", what, a.Status, a.Body, a.Err, b.Status, b.Body, b.Err)
	}
	for name := range a.Header {
		same := a.Header.Get(name) == b.Header.Get(name)
		switch name {
		case "X-Request-Id", "Request-Id":
			if same {
				t.Errorf("%s: both are %s", what, a.ID())
			}
		case "Date", "Content-Length", "Transfer-Encoding":
		default:
			if !same {
				t.Errorf("%s: %s was %q, and is %q", what, name, a.Header.Get(name), b.Header.Get(name))
			}
		}
	}
}

// TestIdempotency: in each dialect, what is asked again with the same key is given again byte for byte, by a restarted Penstock
// too; it costs nothing, and its record says whose answer it is.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	calls := calledOnce(w.model("events=5"))
	first := map[string]penstocktest.Answer{}
	for name, c := range calls {
		first[name] = w.Post(w.key, c[0], c[1], onceKey, name)
		if first[name].Status != http.StatusOK && name != "moderations" {
			t.Errorf("%s: %d %s", name, first[name].Status, first[name].Body)
		}
	}
	others := w.Key("other")
	for name, c := range calls {
		asked := len(w.Sim.Requests())
		again := w.Post(w.key, c[0], c[1], onceKey, name)
		sameAnswer(t, name, first[name], again)
		r := w.record(again)
		if len(r.Tries) != 0 || r.CostNano != 0 || r.Status != first[name].Status || !strings.Contains(fmt.Sprint(r.Stages), "exchange "+first[name].ID()+" is given again") {
			t.Errorf("%s: record %+v", name, r)
		}
		changed := w.Post(w.key, c[0], strings.Replace(c[1], "hello", "hello!", 1), onceKey, name)
		if changed.Status != http.StatusUnprocessableEntity || !strings.Contains(changed.Text(), "Idempotency-Key was used for another request") || changed.Header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s: another body: %d %s", name, changed.Status, changed.Body)
		}
		if n := len(w.Sim.Requests()); n != asked {
			t.Errorf("%s: %d more calls of providers", name, n-asked)
		}
		if other := w.Post(others, c[0], c[1], onceKey, name); other.Status != first[name].Status || other.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: another project: %d %v", name, other.Status, other.Header)
		}
	}
	route := w.Post(w.key, embedPath, calls["embeddings"][1], onceKey, "chat")
	if code, _ := errorOf(t, route); route.Status != http.StatusUnprocessableEntity || code != "idempotency_key_reused" {
		t.Errorf("another route: %d %s", route.Status, route.Body)
	}
	w.CheckBill()
	asked := len(w.Sim.Requests())
	w.Restart()
	for name, c := range calls {
		sameAnswer(t, name+" after a restart", first[name], w.Post(w.key, c[0], c[1], onceKey, name))
	}
	if n := len(w.Sim.Requests()); n != asked {
		t.Errorf("%d calls of providers, want %d", n, asked)
	}
}

// TestIdempotencyOfErrors: errors are given again too, but for those that cost nothing and after which a repeat helps.
func TestIdempotencyOfErrors(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	for name, c := range map[string]struct {
		knobs  string
		stream bool
		kept   bool
	}{
		"refused": {"status=400", false, true}, "broken": {"status=500", true, true}, "cut": {"cut=2&flush=1&events=6", true, true},
		// Penstock tries four times by itself.
		"limited": {"plan=429,429,429,429,200&retry_after=0.1&tag=l", false, false}, "limited stream": {"plan=429,429,429,429,200&retry_after=0.1&tag=s", true, false},
		"garbage": {"garbage=1", false, true},
	} {
		model := w.model(c.knobs)
		a := w.ask(model, "hello", c.stream, onceKey, name)
		b := w.ask(model, "hello", c.stream, onceKey, name)
		if !c.kept {
			if a.Status != http.StatusTooManyRequests || b.Status != http.StatusOK || b.Header.Get("Idempotency-Replayed") != "" {
				t.Errorf("%s: %d %s, then %d %s", name, a.Status, a.Body, b.Status, b.Body)
			}
			sameAnswer(t, name, b, w.ask(model, "hello", c.stream, onceKey, name))
			continue
		}
		sameAnswer(t, name, a, b)
		was, is := w.record(a), w.record(b)
		if is.Error == nil || is.Error.Code != was.Error.Code || is.Status != was.Status || len(is.Tries) != 0 {
			t.Errorf("%s: recorded as %+v, then as %+v", name, was, is)
		}
		if a.Status != http.StatusOK && b.Header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s: clients' libraries will ask again: %v", name, b.Header)
		}
	}
	w.CheckBill()
}

// TestIdempotencyKeys are those that are none, and what is refused before a key counts.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("events=3")
	for _, key := range []string{strings.Repeat("x", 256), "caf\u00e9", "a\tb"} {
		a := w.ask(model, "hello", false, onceKey, key)
		if _, says := errorOf(t, a); a.Status != http.StatusBadRequest || !strings.Contains(says, "Idempotency-Key") {
			t.Errorf("%q: %d %s", key, a.Status, a.Body)
		}
	}
	long := strings.Repeat("x", 255)
	for range 2 { // nothing is kept of what is refused
		if a := w.ask("sim-a-none", "hello", false, onceKey, long); a.Status != http.StatusNotFound || a.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	a := w.ask(model, "hello", false, onceKey, long)
	sameAnswer(t, "a long key", a, w.ask(model, "hello", false, onceKey, long))
	if b := w.Post("psk_none", chatPath, penstocktest.Chat(model, "hello", false), onceKey, long); b.Status != http.StatusUnauthorized {
		t.Errorf("an unknown key: %d %s", b.Status, b.Body)
	}
	stop := map[string]any{"project": "acme", "reason": "test"}
	var made struct{ ID string }
	if status := w.Admin(http.MethodPost, "/stops", stop, &made); status != http.StatusCreated && status != http.StatusOK {
		t.Fatalf("stop: %d", status)
	}
	if b := w.ask(model, "hello", false, onceKey, long); b.Status != http.StatusForbidden {
		t.Errorf("a stopped project: %d %s", b.Status, b.Body)
	}
}

// TestIdempotencyOfLeavers: a client that leaves in the middle finds its whole answer when it comes back; in between, and in the
// meantime, nobody runs the call again. What is too large to be kept is said to be.
func TestIdempotencyOfLeavers(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	for name, c := range map[string]struct {
		knobs  string
		stream bool
	}{
		"in mid-stream": {"gap=20ms&events=60&flush=1", true}, "before the first token": {"first=1s&events=5", true}, "before a plain answer": {"first=1s&events=5&tag=p", false},
	} {
		model := w.model(c.knobs)
		ctx, leave := context.WithCancel(t.Context())
		before := len(w.Sim.Requests())
		if c.stream && strings.HasPrefix(name, "in mid") {
			resp, err := w.Ask(ctx, http.MethodPost, w.key, chatPath, penstocktest.Chat(model, "hello", c.stream), onceKey, name)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadFull(resp.Body, make([]byte, 100))
			_ = resp.Body.Close()
		} else {
			time.AfterFunc(300*time.Millisecond, leave)
			if resp, err := w.Ask(ctx, http.MethodPost, w.key, chatPath, penstocktest.Chat(model, "hello", c.stream), onceKey, name); err == nil {
				_ = resp.Body.Close()
			}
		}
		leave()
		a := w.ask(model, "hello", c.stream, onceKey, name)
		whole := c.stream && read(t, a.Text()).done || !c.stream && plainText(t, a.Body) != ""
		if a.Status != http.StatusOK || !whole || a.Header.Get("Idempotency-Replayed") != "true" || len(w.Sim.Requests()) != before+1 {
			t.Errorf("%s: %d %s (%d calls)", name, a.Status, a.Body, len(w.Sim.Requests())-before)
		}
	}
	large := w.model("big_event=4500000")
	for i, stream := range []bool{false, true} {
		key := fmt.Sprint("large", i)
		if a := w.ask(large, "hello", stream, onceKey, key); a.Status != http.StatusOK || len(a.Body) < 4500000 && stream {
			t.Errorf("%d, %d bytes", a.Status, len(a.Body))
		}
	}
	if a := w.ask(large, "hello", true, onceKey, "large1"); a.Status != http.StatusConflict || !strings.Contains(a.Text(), "idempotency_answer_unkept") {
		t.Errorf("%d %.200s", a.Status, a.Body)
	}
	w.CheckBill()
}

// TestFault18 has three replicas on one database: of 20 equal calls at once one is sent to a provider, and all the others, at
// whichever replica, have its bytes; another body is refused meanwhile and later.
func TestFault18(t *testing.T) {
	t.Parallel()
	config := penstocktest.Config + "store: " + pgtest.Database(t) + "\n"
	all := []*penstocktest.Env{penstocktest.Start(t, penstocktest.Options{Config: config})}
	for range 2 {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"admin.key", "keyring.json"} { // which replicas share
			text, err := os.ReadFile(filepath.Join(all[0].Dir, "data", name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "data", name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, penstocktest.Start(t, penstocktest.Options{Config: config, Dir: dir}))
	}
	key := all[0].Key("acme")
	all[0].Price("sim-a/once?first=700ms&events=5")
	for _, e := range all {
		if !penstocktest.Eventually(func() bool {
			var prices struct {
				Data []admin.Price `json:"data"`
			}
			e.Admin(http.MethodGet, "/prices", nil, &prices)
			return e.Do(http.MethodGet, key, "/penstock/v1/self", "").Status == http.StatusOK &&
				slices.ContainsFunc(prices.Data, func(p admin.Price) bool { return strings.HasPrefix(p.Target, "sim-a/once") })
		}) {
			t.Fatal("a replica does not know the key, or the price")
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // for a test
	for round := range 4 {
		stream := round%2 == 1
		body, once := penstocktest.Chat("sim-a/once?first=700ms&events=5", fmt.Sprint("round ", round), stream), fmt.Sprint("round-", round)
		answers := make([]penstocktest.Answer, 20)
		var wait sync.WaitGroup
		for i := range answers {
			e := all[rng.IntN(len(all))]
			wait.Go(func() { answers[i] = e.Post(key, chatPath, body, onceKey, once) })
		}
		asked := func() (n int) {
			for _, e := range all {
				n += len(e.Sim.Requests())
			}
			return n
		}
		if !penstocktest.Eventually(func() bool { return asked() > round }) {
			t.Fatal("no provider was asked")
		}
		if a := all[rng.IntN(3)].Post(key, chatPath, strings.Replace(body, "round", "other", 1), onceKey, once); a.Status != http.StatusUnprocessableEntity {
			t.Errorf("another body meanwhile: %d %s", a.Status, a.Body)
		}
		wait.Wait()
		firsts := 0
		for _, a := range answers {
			if a.Header.Get("Idempotency-Replayed") == "" {
				firsts++
			}
			if a.Status != http.StatusOK || !bytes.Equal(a.Body, answers[0].Body) {
				t.Errorf("%d %s, another has %s", a.Status, a.Body, answers[0].Body)
			}
		}
		calls := asked()
		if firsts != 1 || calls != round+1 {
			t.Errorf("round %d: %d answers are no replays, and providers were called %d times", round, firsts, calls)
		}
		for _, e := range all {
			if a := e.Post(key, chatPath, body, onceKey, once); !bytes.Equal(a.Body, answers[0].Body) {
				t.Errorf("later: %d %s", a.Status, a.Body)
			}
		}
	}
	cost := all[0].Sim.Bill().Calls
	cost = append(cost, all[1].Sim.Bill().Calls...)
	cost = append(cost, all[2].Sim.Bill().Calls...)
	var billed, booked int64
	for _, c := range cost {
		billed += int64(c.Cost)
	}
	for _, e := range all {
		e.AtRest()
	}
	if !penstocktest.Eventually(func() bool { // each replica writes its own
		booked = 0
		for _, r := range all[0].Records() {
			booked += int64(r.CostNano)
		}
		return billed == booked && billed > 0
	}) {
		t.Errorf("providers bill %d, the records have %d", billed, booked)
	}
}
