package usage

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

func TestWordsOfWhatTheProviderSaid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		try                 pipeline.Try
		finish, model, says string
	}{
		{pipeline.Try{Target: "a/m"}, "", "", ""},
		{pipeline.Try{Target: "a/m", Model: "m", Finish: []llm.FinishReason{"stop"}}, "stop", "", ""},
		{pipeline.Try{Target: "a/org/m", Model: "org/m", Finish: []llm.FinishReason{"stop", "stop"}}, "2 x stop", "", ""},
		{pipeline.Try{Target: "a/m", Model: "m-2026", Finish: []llm.FinishReason{"stop", "length"}}, "stop, length", "m-2026", "limit of tokens"},
		{pipeline.Try{Target: "a/m", Finish: []llm.FinishReason{"length", "content_filter"}}, "length, content_filter", "", "content filter"},
	} {
		if got := FinishWords(&tt.try); got != tt.finish {
			t.Errorf("%v: %q, want %q", tt.try.Finish, got, tt.finish)
		}
		if got := OtherModel(&tt.try); got != tt.model {
			t.Errorf("%s answered as %s: %q, want %q", tt.try.Target, tt.try.Model, got, tt.model)
		}
		r := &Record{Status: 200, Tries: []pipeline.Try{tt.try}}
		if got := r.Story(); !strings.Contains(got, tt.says) || tt.says == "" && strings.Contains(got, "ended") {
			t.Errorf("%v: %q, want %q in it", tt.try.Finish, got, tt.says)
		}
	}
}

func TestWordsOfAWrongClock(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int64]string{0: "", -90_000: "1 m 30 s ahead of the store's", 2500: "2.50 s behind the store's"} {
		if got := (&Record{ClockMS: ms}).ClockWords(); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%d ms: %q, want %q in it", ms, got, want)
		}
	}
}
