package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
)

// budget sets a budget, by default of the project acme, a day, in dollars.
func (w *world) budget(in admin.BudgetInput) admin.Budget {
	w.t.Helper()
	if in.ScopeInput == (admin.ScopeInput{}) {
		in.Project = "acme"
	}
	if in.Per == "" {
		in.Per = "month" // so that no test meets the end of a day
	}
	var out admin.Budget
	if status := w.Admin(http.MethodPut, "/budgets", in, &out); status != http.StatusOK {
		w.t.Fatalf("budget %+v: status %d", in, status)
	}
	return out
}

// dollars is a budget of so many nano-dollars.
func dollars(nano int64) admin.BudgetInput {
	return admin.BudgetInput{TermsInput: admin.TermsInput{Amount: llm.Money(nano).String()}}
}

// refusal is what an error says to programs.
type refusal struct {
	Error struct {
		Message, Type, Code string
		Penstock            struct {
			Budget  string
			Limit   int64 `json:"limit_nano"`
			Settled int64 `json:"settled_nano"`
			Held    int64 `json:"held_nano"`
			Unknown int64 `json:"unknown_nano"`
			Free    int64 `json:"free_nano"`
			Needed  int64 `json:"needed_nano"`
			Resets  time.Time
		}
	}
}

// isRefused says what is wrong with a refusal by a budget; "" if nothing is.
func isRefused(a penstocktest.Answer) string {
	var r refusal
	if err := json.Unmarshal(a.Body, &r); err != nil {
		return err.Error()
	}
	after, err := strconv.Atoi(a.Header.Get("Retry-After"))
	d := r.Error.Penstock
	switch {
	case a.Status != http.StatusTooManyRequests || r.Error.Code != "insufficient_quota" || r.Error.Type != "insufficient_quota":
		return "it is no refusal"
	case a.Header.Get("X-Should-Retry") != "false" || err != nil || after < 1 || after > 60:
		return fmt.Sprintf("headers %v", a.Header)
	case d.Budget == "" || d.Needed <= d.Free || d.Limit-d.Settled-d.Held-d.Unknown > d.Free && d.Free != 0:
		return fmt.Sprintf("detail %+v", d)
	}
	return ""
}

// seeds are how often a test is run: few, or as many as a long run has. Each is printed if it fails.
func seeds(few, many int) (list []uint64) {
	if text := os.Getenv("PENSTOCK_SEED"); text != "" {
		if one, err := strconv.ParseUint(text, 10, 64); err == nil {
			return []uint64{one}
		}
	}
	n := few
	if os.Getenv("PENSTOCK_SOAK") == "1" {
		n = many
	}
	for range n {
		list = append(list, rand.Uint64())
	}
	return list
}

// Fault 1: with room for 100 worst cases, of 200 calls at once at most 100 reach the provider, and the others are refused.
func TestFault1(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(3, 50) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			draw := rand.New(rand.NewPCG(seed, 1))
			w := start(t, penstocktest.Options{})
			model := w.model("first=" + strconv.Itoa(10+draw.IntN(40)) + "ms")
			body := fmt.Sprintf(`{"model":%q,"max_completion_tokens":100,"messages":[{"role":"user","content":"say:%d"}]}`, model, 1+draw.IntN(99))
			a := w.Post(w.key, chatPath, body) // without a budget: so it is seen what one may come to
			bound := int64(w.record(a).Tries[0].BoundNano)
			const room = 100
			b := w.budget(dollars(room * bound))
			var barrier, all sync.WaitGroup
			barrier.Add(1)
			var mu sync.Mutex
			ok, refused, unknown := 0, 0, 0
			for range 2 * room {
				all.Go(func() {
					barrier.Wait()
					a := w.Post(w.key, chatPath, body)
					mu.Lock()
					defer mu.Unlock()
					switch wrong := isRefused(a); {
					case a.Status == http.StatusOK:
						ok++
					case wrong == "":
						refused++
					case a.Status == http.StatusServiceUnavailable && strings.Contains(a.Text(), "limits_unavailable"):
						unknown++ // on a machine that has no time for its store
					default:
						t.Errorf("%s: %d %s", wrong, a.Status, a.Body)
					}
				})
			}
			barrier.Done()
			all.Wait()
			_, open := w.Sim.Peak()
			if peak := open["sim-a"].Peak; peak > room || ok == 0 || ok+refused+unknown != 2*room {
				t.Errorf("%d at once where %d have room, %d answered, %d refused", peak, room, ok, refused)
			}
			if n := len(w.Sim.Requests()) - 1; n != ok {
				t.Errorf("%d were answered, and the provider was asked %d times", ok, n)
			}
			t.Logf("%d answered, %d refused, %d not known", ok, refused, unknown)
			books := w.CheckBooks()
			for _, p := range books.Windows {
				if p.Rule == b.ID && (p.Settled-p.Over > room*bound || p.Over != 0) {
					t.Errorf("%d settled and %d over of %d", p.Settled, p.Over, room*bound)
				}
			}
		})
	}
}

// TestABudgetLowersCaps: what is left of a budget becomes the cap of the call, in each dialect, and the answer ends as if its caller had
// set it; and what buys less than 64 tokens is refused.
func TestABudgetLowersCaps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, path, body, ends string }{
		{"openai", chatPath, `{"model":%q,"messages":[{"role":"user","content":"say:5000"}]}`, `"finish_reason":"length"`},
		{"openai with a cap", chatPath, `{"model":%q,"max_completion_tokens":4000,"messages":[{"role":"user","content":"say:5000"}]}`, `"finish_reason":"length"`},
		{"openai with an old cap", chatPath, `{"model":%q,"max_tokens":4000,"messages":[{"role":"user","content":"say:5000"}]}`, `"finish_reason":"length"`},
		{"openai with both", chatPath, `{"model":%q,"max_tokens":4000,"max_completion_tokens":4000,"messages":[{"role":"user","content":"say:5000"}]}`, `"finish_reason":"length"`},
		{"anthropic", "/v1/messages", `{"model":%q,"max_tokens":4000,"messages":[{"role":"user","content":"say:5000"}]}`, `"stop_reason":"max_tokens"`},
		{"responses", "/v1/responses", `{"model":%q,"input":"say:5000"}`, `"reason":"max_output_tokens"`},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " streamed ", stream), func(t *testing.T) {
				t.Parallel()
				w := start(t, penstocktest.Options{})
				body := fmt.Sprintf(c.body, w.model(""))
				if stream {
					body = strings.TrimSuffix(body, "}") + `,"stream":true}`
				}
				const amount = 4_000_000 // a thousand tokens
				w.budget(dollars(amount))
				a := w.Post(w.key, c.path, body)
				r := w.record(a)
				if a.Status != http.StatusOK || len(r.Tries) != 1 || !strings.Contains(a.Text(), c.ends) {
					t.Fatalf("%d %.2000s", a.Status, a.Body)
				}
				if try := r.Tries[0]; try.MaxOutput < 500 || try.MaxOutput >= 1000 || try.Usage.Output != try.MaxOutput || try.CostNano > amount || try.BoundNano > amount || len(try.Charges) != 1 {
					t.Errorf("try %+v", try)
				}
				asked := len(w.Sim.Requests())
				a = w.Post(w.key, c.path, body)
				if a.Status != http.StatusTooManyRequests || a.Header.Get("X-Should-Retry") != "false" || !strings.Contains(a.Text(), "insufficient_quota") || !strings.Contains(a.Text(), `"free_nano"`) {
					t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
				}
				if len(w.Sim.Requests()) != asked {
					t.Error("the provider was asked although nothing is left")
				}
				w.CheckBooks()
			})
		}
	}
}

// Faults 5 to 8: however usage is reported, or not, a stream is booked as it is billed, and its budget with it.
func TestFaults5To8(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"none", "null", "zero", "split", "cumulative", "early", "twice"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := start(t, penstocktest.Options{})
			model := w.model("usage=" + kind)
			b := w.budget(dollars(1_000_000_000))
			var cost llm.Money
			for _, stream := range []bool{true, false} {
				r := w.record(w.ask(model, "say:300 "+strings.Repeat("cat ", 400), stream))
				estimated := kind == "none" || kind == "null"
				try := r.Tries[0]
				if (try.Outcome == pipeline.SettledEstimated) != estimated || try.Usage.Estimated != estimated || (kind == "zero") != (try.CostNano == 0) {
					t.Errorf("stream %v: %+v", stream, try)
				}
				cost += try.CostNano
			}
			books := w.CheckBooks()
			for _, p := range books.Windows {
				if p.Rule == b.ID && (p.Settled != int64(cost) || p.Over != 0) {
					t.Errorf("the budget has %d settled and %d over, records have %d", p.Settled, p.Over, cost)
				}
			}
		})
	}
}

// Fault 9: what a provider bills beyond what was reserved is booked whole and told apart, the target gets no more calls with a budget,
// and the next call is refused.
func TestFault9(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("streamed ", stream), func(t *testing.T) {
			t.Parallel()
			w := start(t, penstocktest.Options{Config: settings(map[string][]string{"two": {"sim-a/gpt-x?usage=huge", "sim-b/good"}})})
			w.Price("sim-b/good")
			w.model("usage=huge")
			b := w.budget(dollars(1_000_000_000))
			body := fmt.Sprintf(`{"model":"two","max_completion_tokens":100,"stream":%v,"messages":[{"role":"user","content":"hello"}]}`, stream)
			answer := w.Post(w.key, chatPath, body)
			first := w.record(answer)
			second := w.Post(w.key, chatPath, body)
			if len(first.Tries) != 1 {
				t.Fatalf("%d %s, tries %+v", answer.Status, answer.Body, first.Tries)
			}
			if try := first.Tries[0]; try.CostNano <= try.BoundNano || try.Outcome != pipeline.SettledActual {
				t.Errorf("nothing was over: %+v", try)
			}
			if wrong := isRefused(second); wrong != "" && second.Header.Get("X-Penstock-Target") != "sim-b/good" {
				t.Errorf("%s: %d %v %s", wrong, second.Status, second.Header, second.Body)
			}
			if n := w.Metric("penstock_budget_overruns_total"); n != 1 {
				t.Errorf("%v overruns are counted", n)
			}
			books := w.CheckBooks()
			for _, p := range books.Windows {
				if p.Rule == b.ID && (p.Over != int64(first.CostNano-first.Tries[0].BoundNano) || p.Settled < int64(first.CostNano)) {
					t.Errorf("%d over and %d settled, of %d billed and %d reserved", p.Over, p.Settled, first.CostNano, first.Tries[0].BoundNano)
				}
			}
		})
	}
}

// Who has an answer and looks at the budget sees what it cost: nobody has to wait for the books.
func TestABudgetShowsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	b := w.budget(dollars(1_000_000_000))
	var before int64
	for range 5 {
		if a := w.Post(w.key, chatPath, fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"say:5"}]}`, w.model(""))); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		var shown admin.Budget
		if status := w.Admin(http.MethodGet, "/budgets/"+b.ID, nil, &shown); status != http.StatusOK || len(shown.Windows) != 1 {
			t.Fatalf("status %d, %d windows", status, len(shown.Windows))
		}
		if settled := *shown.Windows[0].SettledNano; settled <= before {
			t.Fatalf("%d settled, and %d before the answer", settled, before)
		} else {
			before = settled
		}
	}
}
