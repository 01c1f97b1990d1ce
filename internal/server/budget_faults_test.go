package server_test

import (
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/gateway"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
)

func (w *world) limit(measure string, amount int64) {
	w.t.Helper()
	in := admin.LimitInput{ScopeInput: admin.ScopeInput{Project: "acme"}, Rate: admin.Rate{Measure: measure, Amount: amount}}
	if status := w.Admin(http.MethodPut, "/limits", in, nil); status != http.StatusOK {
		w.t.Fatalf("limit %+v: status %d", in, status)
	}
}

// window is the current one of the budget of that id.
func (w *world) window(id string) admin.BudgetWindow {
	w.t.Helper()
	var b admin.Budget
	if status := w.Admin(http.MethodGet, "/budgets/"+id, nil, &b); status != http.StatusOK || len(b.Windows) == 0 {
		w.t.Fatalf("budget %s: status %d, %+v", id, status, b)
	}
	return b.Windows[0]
}

// Fault 10: a try that billed and failed, and the one that answered, are two entries, each at its own price; the first is unknown, and
// the budget holds what was reserved for it.
func TestFault10(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"two": {"sim-a/x?hidden_reasoning=300&cut=0:rst", "sim-b/y"}})})
	w.Price("sim-a/x?hidden_reasoning=300&cut=0:rst", "sim-b/y")
	b := w.budget(dollars(1_000_000_000))
	r := w.record(w.ask("two", "hello", true))
	if len(r.Tries) != 2 || r.Tries[0].Outcome != pipeline.Unknown || r.Tries[1].Outcome != pipeline.SettledActual {
		t.Fatalf("tries %+v", r.Tries)
	}
	books := w.CheckBooks()
	first, second := books.Tries[r.Tries[0].ID], books.Tries[r.Tries[1].ID]
	if first.Kind != ledger.Pending || first.Amount != r.Tries[0].BoundNano || first.Note == "" || second.Kind != ledger.Posted || second.Amount != r.Tries[1].CostNano ||
		first.Credit == second.Credit || first.Debit != second.Debit {
		t.Errorf("entries %+v and %+v", first, second)
	}
	for _, p := range books.Windows {
		if p.Rule == b.ID && (p.Unknown != int64(first.Amount) || p.Settled != int64(second.Amount)) {
			t.Errorf("%d unknown and %d settled, of %s and %s", p.Unknown, p.Settled, first.Amount, second.Amount)
		}
	}
}

// Fault 12: a price that changes during a call does not touch it.
func TestFault12(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("first=300ms")
	w.budget(dollars(1_000_000_000))
	for _, stream := range []bool{false, true} {
		w.Price(model)
		asked := len(w.Sim.Requests())
		done := make(chan penstocktest.Answer, 1)
		go func() { done <- w.ask(model, "hello", stream) }()
		if !penstocktest.Eventually(func() bool { return len(w.Sim.Requests()) > asked }) {
			t.Fatal("the provider was not asked")
		}
		in := admin.PricesInput{Data: []admin.PriceInput{{Target: model, Input: "70", Output: "700"}}}
		if status := w.Admin(http.MethodPut, "/prices", in, nil); status != http.StatusOK {
			t.Fatalf("prices: status %d", status)
		}
		a := <-done
		if try := w.record(a).Tries[0]; a.Status != http.StatusOK || try.CostNano != 2*1000+20*4000 {
			t.Errorf("stream %v: %d, %s", stream, a.Status, try.CostNano)
		}
	}
	w.CheckBooks()
}

// Fault 14: failures earn nobody anything: what is refused costs nothing and takes a call of a minute, what was begun and left costs what
// it came to, and no counter is lower than before.
func TestFault14(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	bad, slow := w.model("status=400"), w.model("gap=2ms&events=100")
	b := w.budget(dollars(1_000_000_000))
	calls, leavers := 60, 20
	if os.Getenv("PENSTOCK_SOAK") == "1" {
		calls, leavers = 900, 100
	}
	w.limit("requests", int64(calls+leavers))
	for range calls {
		if a := w.ask(bad, "hello", false); a.Status != http.StatusBadRequest {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	if s := w.window(b.ID); *s.SettledNano != 0 || *s.UnknownNano != 0 {
		t.Errorf("%d settled, %d unknown", *s.SettledNano, *s.UnknownNano)
	}
	used := int64(0)
	for i := range leavers {
		w.leaver(penstocktest.Chat(slow, "hello", true), 8+i%20, func(c *net.TCPConn) { _ = c.SetLinger(0) })
		w.AtRest()
		if s := w.window(b.ID); *s.SettledNano < used || *s.LimitNano < *s.SettledNano+*s.HeldNano+*s.UnknownNano {
			t.Errorf("after %d: %+v", i, s)
		} else {
			used = *s.SettledNano
		}
	}
	if a := w.ask(bad, "hello", false); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if used == 0 {
		t.Error("what was left cost nothing")
	}
	w.CheckBooks()
}

// Fault 15: every route that spends leaves a record of an intent and an outcome, and an entry in the ledger that its budget pays; and is
// refused when that is spent. A route that spends and is not in the table fails the test, and so does one that is not said to spend and
// has a provider asked.
func TestFault15(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{
		"/v1/chat/completions":       `{"model":"sim-a/gpt-x","messages":[{"role":"user","content":"hello"}]}`,
		"/v1/embeddings":             `{"model":"sim-a/embed","input":"hello"}`,
		"/v1/moderations":            `{"model":"sim-a/gpt-x","input":"hello"}`,
		"/v1/responses":              `{"model":"sim-a/gpt-x","input":"hello"}`,
		"/v1/messages":               `{"model":"sim-a/gpt-x","max_tokens":200,"messages":[{"role":"user","content":"hello"}]}`,
		"/v1/messages/count_tokens":  `{"model":"sim-a/gpt-x","messages":[{"role":"user","content":"hello"}]}`,
		"/v1/responses/input_tokens": `{"model":"sim-a/gpt-x","input":"hello"}`,
	}
	free := map[string]bool{"/v1/messages/count_tokens": true, "/v1/responses/input_tokens": true}
	w := start(t, penstocktest.Options{})
	w.Price("sim-a/gpt-x")
	if status := w.Admin(http.MethodPut, "/prices", admin.PricesInput{Data: []admin.PriceInput{{Target: "sim-a/embed", Input: "0.02", Output: "0"}}}, nil); status != http.StatusOK {
		t.Fatalf("prices: status %d", status)
	}
	b := w.budget(dollars(1_000_000_000))
	tries := map[string]string{}
	for _, route := range gateway.Routes() {
		body, ok := bodies[route.Path]
		if !route.Spends {
			asked := len(w.Sim.Requests())
			for _, body := range bodies {
				w.Do(route.Method, w.key, route.Path, body)
			}
			if len(w.Sim.Requests()) != asked {
				t.Errorf("%s %s is not said to spend, and a provider was asked", route.Method, route.Path)
			}
			continue
		}
		if !ok {
			t.Errorf("%s spends, and is not in the table of this test", route.Path)
			continue
		}
		a := w.Post(w.key, route.Path, body)
		r := w.record(a)
		if free[route.Path] {
			if a.Status != http.StatusOK || r.CostNano != 0 {
				t.Errorf("%s: %d %s, %+v", route.Path, a.Status, a.Body, r.Tries)
			}
			continue
		}
		if a.Status != http.StatusOK || len(r.Tries) != 1 || len(r.Tries[0].Charges) != 1 || r.Tries[0].Charges[0].Budget != b.ID || r.Tries[0].Charges[0].Lease == "" || r.Tries[0].Outcome == "" {
			t.Errorf("%s: %d %s, tries %+v", route.Path, a.Status, a.Body, r.Tries)
			continue
		}
		tries[route.Path] = r.Tries[0].ID
	}
	w.budget(dollars(0))
	asked := len(w.Sim.Requests())
	for path, body := range bodies {
		a := w.Post(w.key, path, body)
		if free[path] {
			if a.Status != http.StatusOK {
				t.Errorf("%s: counting costs nothing: %d %s", path, a.Status, a.Body)
			}
			asked = len(w.Sim.Requests())
			continue
		}
		if a.Status != http.StatusTooManyRequests || !strings.Contains(a.Text(), "insufficient_quota") || a.Header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s with nothing left: %d %s", path, a.Status, a.Body)
		}
		if len(w.Sim.Requests()) != asked {
			t.Errorf("%s: a provider was asked although nothing is left", path)
		}
	}
	books := w.CheckBooks()
	for path, try := range tries {
		if e, ok := books.Tries[try]; !ok || len(e.Moves) == 0 && e.Amount > 0 {
			t.Errorf("%s: entry %+v", path, e)
		}
	}
}

// Fault 17: amounts that are none are refused at the edge, and nothing is changed.
func TestFault17(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"-1"}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"NaN"}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"1e308"}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"9223372036.854775808"}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"1000000000.000000001"}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"0.0000000001"}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":1.5}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","tokens":-1}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","tokens":1e30}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","tokens":1.5}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","tokens":9223372036854775807}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"1","tokens":1}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"1","budgett":"2"}`},
		{"PUT", "/budgets", `{"project":"acme","per":"day","amount":"1","kept":[{"tag":"a","share":101}]}`},
		{"PUT", "/limits", `{"project":"acme","measure":"requests","amount":-1}`},
		{"PUT", "/limits", `{"project":"acme","measure":"requests","amount":0}`},
		{"PUT", "/limits", `{"project":"acme","measure":"requests","amount":1e308}`},
		{"PUT", "/limits", `{"project":"acme","measure":"requests","amount":9223372036854775808}`},
		{"PUT", "/tiers", `{"name":"t","max_output":-1}`},
		{"PUT", "/tiers", `{"name":"t","budgets":[{"per":"day","amount":"-1"}]}`},
		{"PUT", "/prices", `{"data":[{"target":"sim-a/x","input":"-1","output":"1"}]}`},
		{"PUT", "/prices", `{"data":[{"target":"sim-a/x","input":"NaN","output":"1"}]}`},
		{"PUT", "/prices", `{"data":[{"target":"sim-a/x","input":"1e308","output":"1"}]}`},
		{"PUT", "/prices", `{"data":[{"target":"sim-a/x","input":"99999999999999999999","output":"1"}]}`},
	} {
		var said struct {
			Error struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if status := w.Admin(c.method, c.path, raw(c.body), &said); status != http.StatusBadRequest || said.Error.Message == "" {
			t.Errorf("%s %s %s: %d %+v", c.method, c.path, c.body, status, said)
		}
	}
	for _, path := range []string{"/budgets", "/limits", "/tiers"} {
		var list struct {
			Data []any `json:"data"`
		}
		if w.Admin(http.MethodGet, path, nil, &list); len(list.Data) != 0 {
			t.Errorf("%s: %+v", path, list.Data)
		}
	}
	for path, body := range map[string]raw{
		"/budgets": `{"project":"acme","per":"day","amount":"1"}`, "/limits": `{"project":"acme","measure":"requests","amount":1}`,
		"/tiers": `{"name":"t","max_output":1}`, "/prices": `{"data":[{"target":"sim-a/x","input":"1","output":"1"}]}`,
	} {
		if status := w.Admin(http.MethodPut, path, body, nil); status != http.StatusOK {
			t.Errorf("what is right is refused: %s %s: %d", path, body, status)
		}
	}
}

// raw is a body as it is.
type raw string

// MarshalJSON gives the bytes.
func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// Fault 19: a limit that is lowered below what is used lets running calls end and refuses new ones; nothing is below nothing.
func TestFault19(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("gap=3ms&events=200")
	b := w.budget(dollars(100_000_000))
	streams := w.streams(5, model)
	w.budget(dollars(1000))
	watching, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			if s := w.window(b.ID); *s.FreeNano < 0 || *s.SettledNano < 0 || *s.HeldNano < 0 || *s.LimitNano > 100_000_000 {
				t.Errorf("%+v", s)
			}
			select {
			case <-watching:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	if !penstocktest.Eventually(func() bool { return isRefused(w.ask(model, "hello", false)) == "" }) {
		t.Error("what is lowered binds nobody")
	}
	for range 5 {
		if a := w.ask(model, "hello", false); isRefused(a) != "" {
			t.Errorf("%s: %d %s", isRefused(a), a.Status, a.Body)
		}
	}
	for i, s := range streams() {
		if !s.done || s.failure() != "" {
			t.Errorf("stream %d: %v %q", i, s.done, s.failure())
		}
	}
	w.AtRest()
	if a := w.ask(model, "hello", false); isRefused(a) != "" {
		t.Errorf("%s: %d %s", isRefused(a), a.Status, a.Body)
	}
	close(watching)
	<-watched
	w.budget(dollars(200_000_000))
	if a := w.ask(model, "hello", false); a.Status != http.StatusOK {
		t.Errorf("with more: %d %s", a.Status, a.Body)
	}
	w.CheckBooks()
}

// Fault 22: a call that is refused uses nothing: of two calls a minute and one at once, the second runs after the first.
func TestFault22(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("gap=5ms&events=100")
	b := w.budget(dollars(1_000_000_000))
	w.limit("concurrent", 1)
	w.limit("requests", 2)
	w.limit("tokens", 100_000)
	running := w.streams(1, model)
	for range 5 {
		a := w.ask(model, "hello", false)
		code, _ := errorOf(t, a)
		if a.Status != http.StatusTooManyRequests || code == "insufficient_quota" || a.Header.Get("Retry-After") != "1" {
			t.Errorf("beside another: %d %v %s", a.Status, a.Header, a.Body)
		}
		if r := w.record(a); len(r.Tries) != 0 || r.CostNano != 0 {
			t.Errorf("a refused call has tries: %+v", r.Tries)
		}
	}
	running()
	w.AtRest()
	if a := w.ask(model, "hello", false); a.Status != http.StatusOK || a.Header.Get("X-Ratelimit-Remaining-Requests") != "0" || a.Header.Get("X-Ratelimit-Limit-Requests") != "2" {
		t.Errorf("after it: %d %v %s", a.Status, a.Header, a.Body)
	}
	if a := w.ask(model, "hello", false); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("the third: %d %v", a.Status, a.Header)
	}
	if n := len(w.Sim.Requests()); n != 2 {
		t.Errorf("the provider was asked %d times", n)
	}
	if s := w.window(b.ID); *s.SettledNano == 0 {
		t.Errorf("%+v", s)
	}
	w.CheckBooks()
}

// TestWhatIsLeftIsDrained: of a client that leaves, what a budget pays for is read to its end, so that it is booked as it is billed.
func TestWhatIsLeftIsDrained(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	stream, plain := w.model("gap=3ms&events=200"), w.model("first=200ms&events=50")
	w.budget(dollars(1_000_000_000))
	for name, leave := range map[string]func(c *net.TCPConn){
		"closes": func(c *net.TCPConn) { _ = c.Close() }, "resets": func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		for _, body := range []string{penstocktest.Chat(stream, "hello", true), penstocktest.Chat(plain, "hello", false)} {
			before := len(w.Sim.Bill().Calls)
			lines := 0
			if strings.Contains(body, `"stream":true`) {
				lines = 12
			}
			w.leaver(body, lines, leave)
			if !penstocktest.Eventually(func() bool { return len(w.Sim.Bill().Calls) > before }) {
				t.Fatal("the provider's call goes on")
			}
			call := w.Sim.Bill().Calls[before]
			w.AtRest()
			r := w.Records()[0]
			try := r.Tries[0]
			if !call.Canceled.IsZero() || r.Status != 499 || try.Outcome != pipeline.SettledActual || try.Usage.Output != call.Completion || try.CostNano != call.Cost {
				t.Errorf("%s: record %d, try %+v, billed %+v", name, r.Status, try, call)
			}
		}
	}
	w.CheckBooks()
}

// TestOfManyThatLeaveSomeAreCancelled, and booked as an estimate: no more than 64 are read at once for nobody.
func TestOfManyThatLeaveSomeAreCancelled(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	const many = 90
	body := penstocktest.Chat(w.model("flush=1&events=40&stall=20:5s"), strings.Repeat("four ", 50), true) // those that are read to their end take their time
	w.budget(dollars(10_000_000_000))
	var here, all sync.WaitGroup
	here.Add(many)
	for range many {
		all.Go(func() {
			w.leaver(body, 20, func(c *net.TCPConn) {
				here.Done()
				here.Wait()
				_ = c.Close()
			})
		})
	}
	all.Wait()
	w.AtRest()
	exact, estimated := 0, 0
	for _, r := range w.Records() {
		switch r.Tries[0].Outcome {
		case pipeline.SettledActual:
			exact++
		case pipeline.SettledEstimated:
			estimated++
		default:
			t.Errorf("try %+v", r.Tries[0])
		}
	}
	if exact > 64 || exact < 30 || exact+estimated != many {
		t.Errorf("%d exact, %d estimated", exact, estimated)
	}
	w.CheckBooks()
}
