package usage

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// A bench is a recorder over a real journal.
type bench struct {
	*Recorder

	journal *journal.Journal
	metrics *prometheus.Registry
}

func newBench(tb testing.TB, jo journal.Options, o Options) bench {
	tb.Helper()
	j, err := journal.Open(tb.TempDir(), jo)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = j.Close() }) // some tests close it themselves
	return newBenchOver(tb, j, o)
}

func newBenchOver(tb testing.TB, j *journal.Journal, o Options) bench {
	tb.Helper()
	reg := prometheus.NewRegistry()
	o.Metrics = reg
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r, err := NewRecorder(j, o)
	if err != nil {
		tb.Fatal(err)
	}
	return bench{r, j, reg}
}

// writer makes a writer to the store.
func (b bench) writer(tb testing.TB, store Store) *Writer {
	tb.Helper()
	w, err := NewWriter(b.Recorder, store)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// run runs a writer until the test ends, or until stop is called.
func run(tb testing.TB, w *Writer) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			tb.Errorf("the writer ended: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	tb.Cleanup(stop)
	return stop
}

// entries reads what is in the journal.
func (b bench) entries(tb testing.TB) (kinds []journal.Kind, records []*Record) {
	tb.Helper()
	in := b.journal.Reader(0)
	defer in.Close()
	for {
		e, ok, err := in.Next()
		if err != nil {
			tb.Fatal(err)
		}
		if !ok {
			return kinds, records
		}
		rec, err := decodeRecord(string(e.Payload))
		if err != nil {
			tb.Fatal(err)
		}
		kinds, records = append(kinds, e.Kind), append(records, rec)
	}
}

// record finds the one record of an exchange in the journal.
func (b bench) record(tb testing.TB, id string) *Record {
	tb.Helper()
	var found []*Record
	kinds, records := b.entries(tb)
	for i, rec := range records {
		if kinds[i] == kindRecord && rec.ID == id {
			found = append(found, rec)
		}
	}
	if len(found) != 1 {
		tb.Fatalf("exchange %s has %d records, want one", id, len(found))
	}
	return found[0]
}

// value sums the samples of a metric whose labels hold all of the given texts ("name=value"); of a histogram, it counts
// the observations.
func (b bench) value(tb testing.TB, name string, labels ...string) (sum float64) {
	tb.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := []string{}
			for _, l := range m.GetLabel() {
				has = append(has, l.GetName()+"="+l.GetValue())
			}
			if slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(has, l) }) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

var testPrice = &llm.Price{Input: 150_000, CachedInput: 75_000, CacheWrite: 150_000, Output: 600_000}

func newExchange(id string) *pipeline.Exchange {
	return &pipeline.Exchange{
		ID: id, Received: time.Now(), Dialect: llm.OpenAI, Op: llm.OpChat, ClientID: "client-1", Tags: []string{"blue"},
		Caller:  &pipeline.Caller{Org: "default", Project: "prj_1", Key: "key_1"},
		Request: &llm.Request{Model: "support", Stream: true, User: "user-1"},
	}
}

// send does what route does before a try is sent.
func send(ctx context.Context, r *Recorder, x *pipeline.Exchange, target string) (*pipeline.Try, error) {
	x.Tries = append(x.Tries, pipeline.Try{
		ID: x.ID + "-" + strconv.Itoa(len(x.Tries)+1), Target: target, StartNS: int64(time.Since(x.Received)), Outcome: pipeline.Unknown,
		Price: testPrice,
	})
	try := &x.Tries[len(x.Tries)-1]
	if err := r.Intent(ctx, x, try); err != nil {
		x.Tries = x.Tries[:len(x.Tries)-1]
		return nil, err
	}
	return try, nil
}

// answering is a handler that sends one try and answers with the events, and then err if it is not nil.
func answering(r *Recorder, err error, events ...llm.Event) pipeline.Handler {
	return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		if _, err := send(ctx, r, x, "openai/gpt-5-mini"); err != nil {
			return nil, err
		}
		target := llm.Target{Provider: "openai", Model: "gpt-5-mini"}
		meta := &llm.Meta{}
		return &llm.Response{Target: target, Stream: x.Request.Stream, Meta: meta, Events: func(yield func(llm.Event, error) bool) {
			for _, ev := range events {
				if ev.Is(llm.Finish) {
					*meta = llm.Meta{ID: "chatcmpl-1", Model: "gpt-5-mini-2026", Finish: []llm.FinishReason{"", llm.FinishStop}}
				}
				if !yield(ev, nil) {
					return
				}
			}
			if err != nil {
				yield(llm.Event{}, err)
			}
		}}, nil
	}
}

// Events of a stream, as a codec gives them.
var (
	hello   = llm.Event{Has: llm.Content, Text: []byte("hello "), Raw: []byte(`{"hello":1}`)}
	world   = llm.Event{Has: llm.Content, Text: []byte("world"), Raw: []byte(`{"world":1}`)}
	stopped = llm.Event{Has: llm.Finish}
	counted = llm.Event{Has: llm.UsageIn | llm.Hidden, Usage: llm.Usage{Input: 1000, Output: 100, CachedInput: 400}}
	end     = llm.Event{Has: llm.End}
)

// stream is a whole one.
func stream() []llm.Event { return []llm.Event{hello, world, stopped, counted, end} }

// walk takes the whole answer, or its first n events.
func walk(resp *llm.Response, n int) (events []llm.Event, err error) {
	for ev, err := range resp.Events {
		if err != nil {
			return events, err
		}
		if events = append(events, ev); len(events) == n {
			return events, nil
		}
	}
	return events, nil
}

// A fakeStore keeps records in memory, and does to a batch what the test says.
type fakeStore struct {
	mu       sync.Mutex // guards the fields below
	upTo     map[string]int64
	records  map[string]*Record
	batches  []int
	rejected int // writes of a record that was there

	before func(ctx context.Context, records []*Record) error // called for each batch, without the lock
}

func newStore() *fakeStore {
	return &fakeStore{upTo: map[string]int64{}, records: map[string]*Record{}}
}

func (s *fakeStore) AddRecords(ctx context.Context, id string, upTo int64, records []*Record) error {
	if s.before != nil {
		if err := s.before(ctx, records); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range records {
		if s.records[rec.ID] != nil {
			s.rejected++
			continue
		}
		s.records[rec.ID] = rec
	}
	s.upTo[id] = upTo
	s.batches = append(s.batches, len(records))
	return nil
}

func (s *fakeStore) ReadUpTo(_ context.Context, id string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.upTo[id], nil
}

func (s *fakeStore) Record(_ context.Context, _, id string) (*Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec := s.records[id]; rec != nil {
		return rec, nil
	}
	return nil, fault.New(fault.RecordNotFound, "no exchange %s", id)
}

func (s *fakeStore) Records(context.Context, Filter) ([]*Record, error) {
	return nil, errors.ErrUnsupported
}

func (s *fakeStore) Sums(context.Context, Query) ([]Sum, error) { return nil, errors.ErrUnsupported }

func (s *fakeStore) Series(context.Context, SeriesQuery) ([]Point, error) {
	return nil, errors.ErrUnsupported
}

func (s *fakeStore) Latencies(context.Context, LatencyQuery) ([]Latency, error) {
	return nil, errors.ErrUnsupported
}

// ids lists what is there.
func (s *fakeStore) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := []string{}
	for id := range s.records {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (s *fakeStore) batchSizes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

func TestWhatTheCallerSees(t *testing.T) {
	t.Parallel()
	rec := &Record{
		ID: "ex_1", Error: &Error{Code: "c", Message: "m", Detail: "host 10.0.0.7"},
		Tries: []pipeline.Try{{ID: "ex_1-1", Reason: "cut", Detail: "host 10.0.0.7"}},
	}
	seen := rec.ForCaller()
	if seen.Error.Detail != "" || seen.Tries[0].Detail != "" {
		t.Errorf("the caller sees what is the operator's: %+v", seen)
	}
	if seen.Error.Message != "m" || seen.Tries[0].Reason != "cut" || seen.ID != "ex_1" {
		t.Errorf("the caller does not see its own: %+v", seen)
	}
	if rec.Error.Detail == "" || rec.Tries[0].Detail == "" {
		t.Error("the record itself was changed")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"": "", "on": "", "off": "", "no": `records: "no" is not a choice (write on or off)`,
	} {
		got := ""
		for _, p := range (Config{value}).Validate() {
			got += p.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	if (Config{"on"}).Off() || !(Config{"off"}).Off() {
		t.Error("on is off")
	}
}
