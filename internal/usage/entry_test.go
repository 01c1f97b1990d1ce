package usage

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/w3c"
)

func fullRecord() *Record {
	u := llm.Usage{Input: 812, Output: 240, CachedInput: 400, CacheWrite: 12, Reasoning: 30, Estimated: true, Parts: llm.Parts{CacheWriteHour: 5, InputAudio: 7, OutputImage: 9, Searches: 2}}
	return &Record{
		ID: "ex_01K97K2QJ4Z0", Time: time.Date(2026, 11, 22, 14, 2, 7, 114_000_000, time.UTC), Org: "default", Project: "prj_1",
		Key: "key_1", User: "user-1", Model: "support", Target: "claude/claude-haiku-4-5", Op: llm.OpChat, Dialect: llm.OpenAI,
		Stream: true, Status: 200, Error: &Error{Code: "timeout", Message: "Too late.", Detail: "of 10.0.0.7"},
		Usage: u, CostNano: 2_012_000, Unpriced: true, Timings: Timings{TotalNS: 1_553_000_000, FirstNS: 551_000_000, OverheadNS: 900_000},
		Tags: []string{"blue", "green"}, ClientID: "client-1", Replayed: true,
		Class: "flex", Choice: &pipeline.Choice{Policy: "weighted", Rule: "long prompts", Candidates: []pipeline.Candidate{
			{Target: "openai/gpt-5-mini", Score: 3, Probability: 0.75}, {Target: "house/qwen3-32b@10.0.0.7:8000", Excluded: "region us-east, the project wants eu"},
		}},
		ClockMS: -90_000, Trace: w3c.TraceID{1, 15: 16}, ParentSpan: w3c.SpanID{1, 7: 8}, TraceFlags: w3c.Sampled, TraceState: "vendor=1",
		Tries: []pipeline.Try{
			{ID: "ex_01K97K2QJ4Z0-1", Target: "openai/gpt-5-mini", StartNS: 600_000, TookNS: 312_000_000, Status: 429,
				Reason: "status", Detail: "status: too many", Endpoint: "10.0.0.7:8000", Credential: 2, Hedge: true, Outcome: pipeline.Released, Unpriced: true,
				MaxOutput: 64, BoundNano: 9000, Charges: []pipeline.Charge{
					{Budget: "bud_1", Start: 1_764_374_400_000_000, Lease: "ls_1", Held: 9000}, {Budget: "bud_2", Subject: "anna", Held: 400, Tokens: true},
				}},
			{ID: "ex_01K97K2QJ4Z0-2", Target: "claude/claude-haiku-4-5", StartNS: 313_000_000, TookNS: 1_240_000_000, FirstNS: 551_000_000,
				Tier: "priority", Region: "us", FeeNano: 5_000_000, Cut: true, Status: 200, Reason: "ok", Upstream: "msg_1", AnswerID: "chatcmpl-1", Model: "claude-haiku-4-5-20251001",
				Finish: []llm.FinishReason{llm.FinishStop, llm.FinishLength}, Outcome: pipeline.SettledActual, Usage: u, CostNano: 2_012_000},
		},
		Stages: []pipeline.Decision{{Stage: "auth", Decision: "key trial (psk_7f3a), project support", AtNS: 90_000, TookNS: 40_000}, {Stage: "route", Decision: "2 targets"}},
	}
}

func TestRecordsSurviveTheJournal(t *testing.T) {
	t.Parallel()
	for _, want := range []*Record{fullRecord(), {}, {ID: "ex_1", Tries: []pipeline.Try{{}}}} {
		got, err := decodeRecord(string(appendRecord(nil, want)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestEveryRecordSurvivesTheJournal(t *testing.T) {
	t.Parallel()
	text := rapid.StringMatching(`[^\x00]{0,20}`)
	usage := rapid.Make[llm.Usage]()
	try := rapid.Custom(func(t *rapid.T) pipeline.Try {
		return pipeline.Try{
			ID: text.Draw(t, "id"), Target: text.Draw(t, "target"), StartNS: rapid.Int64().Draw(t, "start"), TookNS: rapid.Int64().Draw(t, "took"),
			FirstNS: rapid.Int64().Draw(t, "first"), Status: rapid.IntRange(0, 599).Draw(t, "status"), Reason: text.Draw(t, "reason"),
			Detail: text.Draw(t, "detail"), Upstream: text.Draw(t, "upstream"), Outcome: pipeline.Outcome(text.Draw(t, "outcome")),
			Usage: usage.Draw(t, "usage"), CostNano: llm.Money(rapid.Int64().Draw(t, "cost")), Unpriced: rapid.Bool().Draw(t, "unpriced"),
			Endpoint: text.Draw(t, "endpoint"), Credential: rapid.IntRange(0, 9).Draw(t, "credential"), Hedge: rapid.Bool().Draw(t, "hedge"), Cut: rapid.Bool().Draw(t, "cut"),
			AnswerID: text.Draw(t, "answer"), Model: text.Draw(t, "model"), BoundNano: llm.Money(rapid.Int64().Draw(t, "bound")),
			MaxOutput: rapid.Int64().Draw(t, "cap"), Tier: text.Draw(t, "tier"), Region: text.Draw(t, "region"), FeeNano: llm.Money(rapid.Int64().Draw(t, "fee")),
			Charges: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Charge {
				return pipeline.Charge{
					Budget: text.Draw(t, "budget"), Subject: text.Draw(t, "subject"), Start: rapid.Int64().Draw(t, "start"),
					Lease: text.Draw(t, "lease"), Held: rapid.Int64().Draw(t, "held"), Tokens: rapid.Bool().Draw(t, "tokens"),
				}
			}), 0, 5).Draw(t, "charges"),
			Finish: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) llm.FinishReason { return llm.FinishReason(text.Draw(t, "reason")) }), 0, 3).Draw(t, "finish"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := &Record{
			ID: text.Draw(t, "id"), Time: time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "time")).UTC(), Org: text.Draw(t, "org"),
			User: text.Draw(t, "user"), Model: text.Draw(t, "model"), Target: text.Draw(t, "target"), Stream: rapid.Bool().Draw(t, "stream"),
			Status: rapid.IntRange(0, 599).Draw(t, "status"), Usage: usage.Draw(t, "usage"), CostNano: llm.Money(rapid.Int64().Draw(t, "cost")),
			Unpriced: rapid.Bool().Draw(t, "unpriced"), Replayed: rapid.Bool().Draw(t, "replayed"), Timings: rapid.Make[Timings]().Draw(t, "timings"),
			Trace:      w3c.TraceID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "trace")),
			ParentSpan: w3c.SpanID(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "span")),
			TraceFlags: w3c.Flags(rapid.IntRange(0, 15).Draw(t, "flags")), TraceState: text.Draw(t, "state"),
			Tags: rapid.SliceOfN(text, 0, 20).Draw(t, "tags"), Tries: rapid.SliceOfN(try, 0, 20).Draw(t, "tries"),
		}
		if rapid.Bool().Draw(t, "failed") {
			want.Error = &Error{Code: text.Draw(t, "code"), Message: text.Draw(t, "message"), Detail: text.Draw(t, "detail")}
		}
		payload := appendRecord(nil, want)
		got, err := decodeRecord(string(payload))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if cut := rapid.IntRange(0, len(payload)-1).Draw(t, "cut"); cut >= 0 {
			if _, err := decodeRecord(string(payload[:cut])); !errors.Is(err, errGarbled) {
				t.Fatalf("cut at %d of %d bytes: %v", cut, len(payload), err)
			}
		}
	})
}

func TestTextsAreMadeFitForStores(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"plain", "blau, grün", "blau, grün"},
		{"NUL", "a\x00b", "a\uFFFDb"},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
		{"long", strings.Repeat("x", maxText+1), strings.Repeat("x", maxText)},
		{"long, cut at a rune", strings.Repeat("x", maxText-1) + "ü", strings.Repeat("x", maxText-1)},
		{"long, not UTF-8", strings.Repeat("\x80", maxText+1), ""},
	} {
		got, err := decodeRecord(string(appendRecord(nil, &Record{User: tt.text})))
		if err != nil {
			t.Fatal(err)
		}
		if got.User != tt.want {
			t.Errorf("%s: got %.40q, want %.40q", tt.name, got.User, tt.want)
		}
	}
}

func TestNewerEntriesAreToldApart(t *testing.T) {
	t.Parallel()
	b := appendRecord(nil, fullRecord())
	b[0] = entryVersion + 1
	if _, err := decodeRecord(string(b)); !errors.Is(err, errNewer) {
		t.Errorf("got %v, want %v", err, errNewer)
	}
	if _, err := entryID(b); !errors.Is(err, errNewer) {
		t.Errorf("got %v, want %v", err, errNewer)
	}
}

// TestChargesSurviveTheJournal: whatever of a charge is told by its first byte.
func TestChargesSurviveTheJournal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := &Record{ID: "ex_1", Time: time.UnixMicro(0).UTC(), User: rapid.SampledFrom([]string{"", "anna", "a\xffb"}).Draw(t, "user"), Tries: []pipeline.Try{{BoundNano: 9000}}}
		want.Tries[0].Charges = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Charge {
			return pipeline.Charge{
				Budget: "bgt_1", Subject: rapid.SampledFrom([]string{"", "anna", "prj_1/anna", "a\xffb"}).Draw(t, "subject"), Tokens: rapid.Bool().Draw(t, "tokens"),
				Start: rapid.SampledFrom([]int64{0, 1, -1, 60_000_000, -120_000_000, 1_764_374_400_000_000, 1_764_374_400_000_001, 1<<63 - 1, -1 << 63}).Draw(t, "start"),
				Lease: rapid.SampledFrom([]string{"", "lease_1"}).Draw(t, "lease"), Held: rapid.SampledFrom([]int64{0, 9000, 400}).Draw(t, "held"),
			}
		}), 1, 4).Draw(t, "charges")
		payload := appendRecord(nil, want)
		got, err := decodeRecord(string(payload))
		if err != nil {
			t.Fatal(err)
		}
		clean := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
		want.User = clean(want.User)
		for i := range want.Tries[0].Charges {
			c := &want.Tries[0].Charges[i]
			c.Subject = clean(c.Subject)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		for cut := range payload {
			if _, err := decodeRecord(string(payload[:cut])); !errors.Is(err, errGarbled) {
				t.Fatalf("cut at %d of %d bytes: %v", cut, len(payload), err)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(string(appendRecord(nil, fullRecord())))
	f.Add(string(appendRecord(nil, &Record{})))
	f.Add("")
	f.Add("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, payload string) {
		rec, err := decodeRecord(payload)
		if err != nil {
			return
		}
		if _, err := decodeRecord(string(appendRecord(nil, rec))); err != nil {
			t.Fatal(err)
		}
	})
}
