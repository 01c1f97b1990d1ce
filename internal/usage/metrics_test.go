package usage

import (
	"fmt"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	rec := fullRecord()
	rec.Error = nil
	b.m.observe(rec)
	b.m.observe(rec)
	failed := fullRecord()
	failed.Status, failed.Usage, failed.CostNano, failed.Unpriced, failed.Timings.FirstNS = 504, llm.Usage{}, 0, false, 0
	b.m.observe(failed)
	of := []string{"project=prj_1", "model=support", "target=claude/claude-haiku-4-5"}
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"requests_total", append(of, "status=200"), 2},
		{"requests_total", append(of, "status=504"), 1},
		{"errors_total", append(of, "code=timeout"), 1},
		{"errors_total", nil, 1},
		{"tokens_total", append(of, "direction=input"), 1624},
		{"tokens_total", append(of, "direction=output"), 480},
		{"cached_input_tokens_total", of, 800},
		{"cost_dollars_total", of, 0.004024},
		{"unpriced_total", of, 2},
		{"tries_total", []string{"target=openai/gpt-5-mini", "reason=status"}, 0}, // a refusal is not enough to be known
		{"tries_total", []string{"target=other", "reason=status"}, 3},
		{"tries_total", []string{"target=claude/claude-haiku-4-5", "reason=ok"}, 3},
		{"request_duration_seconds", of, 3},
		{"time_to_first_token_seconds", of, 2},
		{"time_per_output_token_seconds", of, 2},
		{"overhead_seconds", nil, 3},
	} {
		if got := b.value(t, "penstock_"+tt.name, tt.labels...); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
}

func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 10
	b := newBench(t, journal.Options{}, Options{LabelCap: limit})
	for i := range 1000 {
		target := fmt.Sprintf("openai/%d", i)
		b.m.observe(&Record{Project: "prj_1", Model: target, Target: target, Status: 200, Tries: []pipeline.Try{{Target: target, Reason: "ok"}}})
	}
	if n := len(b.m.known.Load().labels); n != limit {
		t.Errorf("%d combinations of labels, limit %d", n, limit)
	}
	if n := b.value(t, "penstock_requests_total", "model=other", "target=other", "project=other"); n != 990 {
		t.Errorf("%v exchanges are counted as other, want 990", n)
	}
	if n := b.value(t, "penstock_tries_total", "target=other"); n != 990 {
		t.Errorf("%v tries are counted as other, want 990", n)
	}
	if n := b.value(t, "penstock_requests_total", "target=openai/3"); n != 1 {
		t.Errorf("a known target was forgotten: %v", n)
	}
}

// TestInventedModelsBecomeNoLabels: the names of what does not exist must not push out those of what does.
func TestInventedModelsBecomeNoLabels(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	for i := range 1000 {
		name := fmt.Sprintf("invented-%d", i)
		b.m.observe(&Record{Project: "prj_1", Model: name, Status: 404, Error: &Error{Code: string(fault.ModelNotFound)}})
		b.m.observe(&Record{Project: "prj_1", Model: name, Status: 404, Error: &Error{Code: string(fault.ProviderRefused)},
			Tries: []pipeline.Try{{Target: "openai/" + name, Reason: "status", Status: 404}}})
	}
	if n := len(b.m.known.Load().series); n > 2 {
		t.Errorf("%d series", n)
	}
	if n := b.value(t, "penstock_requests_total", "project=prj_1", "model="); n != 1000 {
		t.Errorf("%v refusals of the project, want 1000", n)
	}
	if n := b.value(t, "penstock_requests_total", "project=other"); n != 1000 {
		t.Errorf("%v refusals by providers, want 1000", n)
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	if _, err := NewRecorder(b.journal, Options{Metrics: b.metrics}); err == nil {
		t.Error("a second recorder on the same registry")
	}
}
