package penstocktest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/store"
	"github.com/penstock/penstock/internal/usage"
)

// A filler invents the traffic of a company: a dozen teams, of which some are large, with days, nights and weekends.
type filler struct {
	rand     *rand.Rand
	projects []filled
}

type filled struct {
	id   string
	keys []string
}

// fillModels are what is asked for, who answers, how often, and at what price a million tokens in and out; 0 is unpriced.
var fillModels = []struct {
	asked, target string
	share         float64
	input, output int64
	first, token  time.Duration
}{
	{"support", "claude/claude-haiku-4-5", .34, 1000, 5000, 380 * time.Millisecond, 11 * time.Millisecond},
	{"support", "openai/gpt-5-mini", .1, 250, 2000, 420 * time.Millisecond, 9 * time.Millisecond},
	{"gpt-5-mini", "openai/gpt-5-mini", .2, 250, 2000, 410 * time.Millisecond, 9 * time.Millisecond},
	{"writer", "claude/claude-sonnet-4-5", .08, 3000, 15000, 700 * time.Millisecond, 17 * time.Millisecond},
	{"gpt-5", "openai/gpt-5", .06, 1250, 10000, 900 * time.Millisecond, 20 * time.Millisecond},
	{"search", "openai/text-embedding-3-small", .14, 20, 0, 40 * time.Millisecond, 0},
	{"local-llama", "house/llama-4-scout", .05, 0, 0, 150 * time.Millisecond, 14 * time.Millisecond},
	{"gemini-3-flash", "gemini/gemini-3-flash", .03, 300, 2500, 500 * time.Millisecond, 8 * time.Millisecond},
}

var fillProjects = []struct {
	name   string
	share  float64
	labels map[string]string
}{
	{"checkout", .3, map[string]string{"cost_center": "4100", "team": "shop"}}, {"support", .25, map[string]string{"cost_center": "4200", "team": "care"}},
	{"search", .14, map[string]string{"cost_center": "4100", "team": "shop"}}, {"marketing", .08, map[string]string{"cost_center": "5000"}},
	{"data-platform", .06, map[string]string{"team": "data"}}, {"mobile", .05, nil}, {"legal", .04, nil}, {"research", .03, map[string]string{"team": "data"}},
	{"finance", .02, nil}, {"onboarding", .01, nil}, {"internal-tools", .01, nil}, {"hackathon", .01, nil},
}

// Fill puts n invented exchanges of the time until end into the store, which nothing else may use meanwhile: the Penstock is
// stopped for it and started again. The same n, span and end give the same
// exchanges, but for their ids.
func (e *Env) Fill(n int, span time.Duration, end time.Time) {
	e.T.Helper()
	f := &filler{rand: rand.New(rand.NewPCG(1, 2))}
	for _, p := range fillProjects {
		var made admin.Project
		if status := e.Admin(http.MethodPost, "/projects", admin.ProjectInput{Name: p.name, Labels: p.labels}, &made); status != http.StatusCreated {
			e.T.Fatalf("make the project %s: status %d", p.name, status)
		}
		one := filled{id: made.ID}
		for _, name := range []string{"production", "staging", "batch"} {
			var key admin.NewKey
			if status := e.Admin(http.MethodPost, "/keys", admin.KeyInput{Project: p.name, Name: name}, &key); status != http.StatusCreated {
				e.T.Fatalf("make a key of %s: status %d", p.name, status)
			}
			one.keys = append(one.keys, key.ID)
		}
		f.projects = append(f.projects, one)
	}
	e.Stop()
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+filepath.Join(e.Dir, "data", "penstock.db"), store.Options{})
	if err != nil {
		e.T.Fatal(err)
	}
	const batch = 500
	times := when(n, span, end)
	for i := 0; i < n; i += batch {
		records := make([]*usage.Record, min(batch, n-i))
		for j := range records {
			records[j] = f.record(i+j, times[i+j])
		}
		if err := s.AddRecords(ctx, "invented", int64(i+1), records); err != nil {
			e.T.Fatal(err)
		}
		if i%(16*batch) == 0 {
			if _, _, err := s.SumUp(ctx); err != nil {
				e.T.Fatal(err)
			}
		}
	}
	for more := true; more; {
		if _, more, err = s.SumUp(ctx); err != nil {
			e.T.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		e.T.Fatal(err)
	}
	e.Restart()
}

// pick chooses one of shares, which need not add up to one.
func (f *filler) pick(n int, share func(int) float64) int {
	sum := 0.0
	for i := range n {
		sum += share(i)
	}
	at := f.rand.Float64() * sum
	for i := range n {
		if at -= share(i); at < 0 {
			return i
		}
	}
	return n - 1
}

// when are the times of n exchanges, in order: more by day, on working days, and week by week.
func when(n int, span time.Duration, end time.Time) []time.Time {
	hours := int(span / time.Hour)
	begin := end.Add(-span)
	until := make([]float64, hours) // the share of all until the end of each hour
	sum := 0.0
	for h := range until {
		at := begin.Add(time.Duration(h) * time.Hour).UTC()
		busy := .15 + math.Exp(-math.Pow(float64(at.Hour())-13, 2)/24)
		if at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
			busy *= .35
		}
		sum += busy * (1 + .6*float64(h)/float64(hours))
		until[h] = sum
	}
	all := make([]time.Time, n)
	h, before := 0, 0.0
	for i := range all {
		place := (float64(i) + .5) / float64(n) * sum
		for until[h] < place {
			before = until[h]
			h++
		}
		all[i] = begin.Add(time.Duration((float64(h) + (place-before)/(until[h]-before)) * float64(time.Hour)))
	}
	return all
}

func (f *filler) record(i int, at time.Time) *usage.Record {
	p := f.pick(len(fillProjects), func(i int) float64 { return fillProjects[i].share })
	m := &fillModels[f.pick(len(fillModels), func(j int) float64 {
		return fillModels[j].share * (1 + float64((p*7+j*3)%5)) // teams differ in what they use
	})]
	project := &f.projects[p]
	id, trace := pipeline.NewID(at)
	r := &usage.Record{
		ID: id, Trace: trace, Time: at, Org: "default", Project: project.id, Key: project.keys[f.pick(3, func(i int) float64 { return []float64{8, 1, 3}[i] })],
		Model: m.asked, Target: m.target, Op: llm.OpChat, Dialect: llm.OpenAI, Status: http.StatusOK, Stream: m.token > 0 && f.rand.IntN(4) > 0,
		Usage: llm.Usage{Input: int64(200 * math.Exp(f.rand.NormFloat64()+1))},
	}
	if m.token > 0 {
		r.Usage.Output = 1 + int64(150*math.Exp(f.rand.NormFloat64()*.8))
		r.Usage.CachedInput = r.Usage.Input * int64(f.rand.IntN(3)) / 4
	}
	if f.rand.IntN(3) > 0 {
		r.User = fmt.Sprintf("user-%03d", int(math.Abs(f.rand.NormFloat64())*120))
	}
	if f.rand.IntN(4) == 0 {
		r.Tags = []string{[]string{"beta", "nightly", "canary", "eval"}[f.rand.IntN(4)]}
	}
	f.answer(r, m.first, m.token)
	if m.input == 0 {
		r.Unpriced = true
	}
	r.CostNano = llm.Money(r.Usage.Input*m.input + r.Usage.Output*m.output)
	r.Stages = []pipeline.Decision{{Stage: "auth", Decision: "key production, project " + fillProjects[p].name}, {Stage: "route", Decision: "the first target of " + m.asked}}
	try := pipeline.Try{
		ID: fmt.Sprintf("try_%d", i), Target: m.target, StartNS: r.Timings.OverheadNS / 2, TookNS: r.Timings.TotalNS - r.Timings.OverheadNS, FirstNS: r.Timings.FirstNS,
		Status: r.Status, Reason: "ok", Outcome: pipeline.SettledActual, Usage: r.Usage, CostNano: r.CostNano, Unpriced: r.Unpriced,
	}
	if r.Error != nil {
		try.Reason, try.Outcome, try.Status = "status", pipeline.Released, http.StatusServiceUnavailable
	}
	r.Tries = []pipeline.Try{try}
	return r
}

// answer decides how an exchange goes, and how long it takes.
func (f *filler) answer(r *usage.Record, first, token time.Duration) {
	load := 1 + .6*math.Exp(-math.Pow(float64(r.Time.Hour())-14, 2)/18) // slower in the early afternoon
	wait := float64(first) * load * math.Exp(f.rand.NormFloat64()*.35)
	total := wait + float64(token)*load*float64(r.Usage.Output)*math.Exp(f.rand.NormFloat64()*.15)
	own := 250_000 * math.Exp(f.rand.NormFloat64()*.5)
	r.Timings = usage.Timings{TotalNS: int64(total + own), OverheadNS: int64(own)}
	if r.Stream {
		r.Timings.FirstNS = int64(wait)
	}
	trouble := r.Time.Day()%11 == 3 && r.Time.Hour() == 15 && f.rand.IntN(4) == 0
	if trouble || f.rand.IntN(150) == 0 {
		r.Status, r.Usage, r.Timings.FirstNS, r.Target = http.StatusBadGateway, llm.Usage{}, 0, ""
		r.Error = &usage.Error{Code: "provider_failed", Message: "1 target tried, none answered: " + r.Model + " 503."}
	}
}

// Describe says what was filled in, for logs.
func (e *Env) Describe() string {
	b, _ := json.Marshal(map[string]string{"admin": e.AdminURL, "key": e.AdminKey, "data": e.URL}) // texts only
	return string(b)
}
