package usage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestEveryExitLeavesOneRecord sends exchanges out by every way there is. Each has exactly one record, its tries have an
// outcome, and nothing is left in flight.
func TestEveryExitLeavesOneRecord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t, journal.Options{}, counting())
		handler := b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			return randomHandler(ctx, rt, b.Recorder, x)
		})
		const exchanges = 8
		for i := range exchanges {
			x := newExchange(fmt.Sprintf("ex_%d", i))
			if rapid.IntRange(0, 9).Draw(rt, "refused") == 0 {
				x.Refused = fault.New(fault.InvalidJSON, "no JSON")
			}
			ctx, cancel := context.WithCancel(t.Context())
			_, _ = call(func() error { return randomClient(ctx, rt, handler, x) })
			cancel()
			waitFor(rt, func() bool { return b.value(t, "penstock_in_flight") == 0 })
			for _, try := range b.record(t, x.ID).Tries {
				if try.Outcome == "" || try.Reason == "" && try.Outcome != pipeline.Unknown {
					rt.Fatalf("try without an end: %+v", try)
				}
			}
		}
		if n := b.value(t, "penstock_requests_total"); n != exchanges {
			rt.Fatalf("%v exchanges were counted, want %d", n, exchanges)
		}
	})
}

// waitFor waits for what another goroutine is about to do.
func waitFor(rt *rapid.T, done func() bool) {
	deadline := time.After(10 * time.Second)
	for !done() {
		select {
		case <-deadline:
			rt.Fatal("it did not happen")
		case <-time.After(50 * time.Microsecond):
		}
	}
}

func randomHandler(ctx context.Context, rt *rapid.T, r *Recorder, x *pipeline.Exchange) (*llm.Response, error) {
	for range rapid.IntRange(0, 2).Draw(rt, "failed tries") {
		try, err := send(ctx, r, x, "claude/m")
		if err != nil {
			return nil, err
		}
		try.Reason = "connect_error"
		if rapid.Bool().Draw(rt, "outcome") {
			if err := r.Outcome(x, try); err != nil {
				return nil, err
			}
		}
	}
	switch rapid.IntRange(0, 4).Draw(rt, "handler") {
	case 0:
		return nil, fault.New(fault.ProviderFailed, "none answered")
	case 1:
		panic("in a stage")
	case 2:
		return nil, context.Canceled
	}
	events := stream()[:rapid.IntRange(0, 5).Draw(rt, "events")]
	var err error
	if rapid.Bool().Draw(rt, "cut") {
		err = errors.New("cut")
	}
	resp, sendErr := answering(r, err, events...)(ctx, x)
	if sendErr == nil && rapid.IntRange(0, 4).Draw(rt, "panic in the events") == 0 {
		inner := resp.Events
		resp.Events = func(yield func(llm.Event, error) bool) {
			inner(yield)
			panic("in the events")
		}
	}
	return resp, sendErr
}

func randomClient(ctx context.Context, rt *rapid.T, handler pipeline.Handler, x *pipeline.Exchange) error {
	resp, err := handler(ctx, x)
	if err != nil {
		return err
	}
	take := rapid.IntRange(-1, 6).Draw(rt, "take") // -1: does not walk at all
	if take < 0 {
		return nil
	}
	panics := rapid.IntRange(0, 4).Draw(rt, "client panics") == 0
	n := 0
	for range resp.Events {
		if n++; n > take {
			if panics {
				panic("in the client")
			}
			break
		}
	}
	return nil
}

// failingJournal is one that takes nothing any more: it holds as much as it may.
func failingJournal(tb testing.TB, b bench) (mend func()) {
	tb.Helper()
	filler := appendRecord(nil, &Record{ID: "filler", User: strings.Repeat("x", 100)})
	var last int64
	for {
		pos, err := b.journal.Append(kindOutcome, filler)
		if errors.Is(err, journal.ErrFull) {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		last = pos
	}
	for {
		if _, err := b.journal.Append(kindOutcome, appendRecord(nil, &Record{})); err != nil {
			break
		}
	}
	return func() {
		if err := b.journal.Trim(last); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestWithoutAJournalNothingIsSent(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := newBench(t, journal.Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10}, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	mend := failingJournal(t, b)
	sent := false
	handler := b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		resp, err := answering(b.Recorder, nil, stream()...)(ctx, x)
		sent = err == nil
		return resp, err
	})
	for range 3 {
		_, err := handler(t.Context(), newExchange("ex_1"))
		f := fault.From(err)
		if f.Code != fault.StoreDown || f.HTTPStatus() != 503 || f.RetryAfter <= 0 {
			t.Fatalf("got %+v, want a 503 that says when to retry", f)
		}
		if sent || !strings.Contains(f.Text(), "Nothing was sent to a provider") {
			t.Errorf("sent %v, told %q", sent, f.Text())
		}
	}
	if n := strings.Count(log.String(), "records cannot be written"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, log.String())
	}
	if n := b.value(t, "penstock_requests_total", "status=503"); n != 3 {
		t.Errorf("%v refusals were counted, want 3", n)
	}
	mend()
	resp, err := handler(t.Context(), newExchange("ex_2"))
	if err != nil {
		t.Fatalf("after there was room again: %v", err)
	}
	if _, err := walk(resp, 0); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "records can be written again") {
		t.Errorf("the recovery was not told:\n%s", log.String())
	}
}

// TestReadyAgainWithoutTraffic: a process that is not ready is sent nothing, so it must find out by itself.
func TestReadyAgainWithoutTraffic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, journal.Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10}, Options{})
		if err := b.Ready(); err != nil {
			t.Fatalf("at the beginning: %v", err)
		}
		mend := failingJournal(t, b)
		if b.Ready() == nil {
			t.Error("ready with a full journal")
		}
		_, err := send(t.Context(), b.Recorder, newExchange("ex_1"), "openai/m")
		if err == nil {
			t.Fatal("sent with a full journal")
		}
		mend()
		if b.Ready() == nil {
			t.Error("ready before anything was written")
		}
		run(t, b.writer(t, newStore()))
		time.Sleep(2 * idle)
		synctest.Wait()
		if err := b.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
	})
	if b := newBenchOver(t, nil, Options{Off: true}); b.Ready() != nil {
		t.Error("not ready with records off")
	}
}

// TestNewTriesAreRefusedFirst: the last part of the journal is for the ends of exchanges that have begun.
func TestNewTriesAreRefusedFirst(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10}, Options{})
	resp, err := b.Stage()(answering(b.Recorder, nil, stream()...))(t.Context(), newExchange("ex_1"))
	if err != nil {
		t.Fatal(err)
	}
	for b.journal.Room() >= b.journal.MaxBytes()/reserve {
		if _, err := b.journal.Append(kindOutcome, appendRecord(nil, &Record{ID: "filler"})); err != nil {
			t.Fatal(err)
		}
	}
	_, err = b.Stage()(answering(b.Recorder, nil, stream()...))(t.Context(), newExchange("ex_2"))
	if fault.From(err).Code != fault.StoreDown {
		t.Errorf("a new try: %v", err)
	}
	if _, err := walk(resp, 0); err != nil {
		t.Errorf("an exchange in flight: %v", err)
	}
}

// TestAnUnrecordedEndIsNotAcknowledged: if the record of a whole answer cannot be written, the client gets no clean end,
// and the record follows when there is room.
func TestAnUnrecordedEndIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		events []llm.Event
		status int
	}{
		{"stream", stream(), 200},
		{"plain", []llm.Event{{Has: llm.Content | llm.UsageIn | llm.End, Usage: counted.Usage}}, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, journal.Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10}, Options{})
			x := newExchange("ex_1")
			x.Request.Stream = tt.name == "stream"
			resp, err := b.Stage()(answering(b.Recorder, nil, tt.events...))(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			failingJournal(t, b)
			events, err := walk(resp, 0)
			for _, ev := range events {
				if ev.Is(llm.End) {
					t.Error("the end was passed on")
				}
			}
			f := fault.From(err)
			if f.Code != fault.StoreDown || strings.Contains(f.Text(), "Nothing was sent") {
				t.Fatalf("told %q", f.Text())
			}
			late := b.late.take()
			if len(late) != 1 {
				t.Fatalf("%d records were kept for later, want one", len(late))
			}
			rec, err := decodeRecord(late[0])
			if err != nil {
				t.Fatal(err)
			}
			want := outcome{tt.status, fault.StoreDown, "ok", pipeline.SettledActual, counted.Usage}
			if diff := cmp.Diff(want, outcomeOf(rec)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLateRecordsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	rec := fullRecord()
	for range 2 * maxLate / len(appendRecord(nil, rec)) {
		b.late.add(rec)
	}
	if b.late.size > maxLate || b.late.size < maxLate*9/10 {
		t.Errorf("%d bytes are kept, limit %d", b.late.size, maxLate)
	}
	if n := len(b.late.take()); n < 100 || b.late.size != 0 {
		t.Errorf("%d records, and %d bytes are left", n, b.late.size)
	}
}

func TestStrictCallersWaitForTheDisk(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	x := newExchange("ex_1")
	caller := *x.Caller
	caller.Strict = true
	x.Caller = &caller
	if _, err := send(t.Context(), b.Recorder, x, "openai/m"); err != nil {
		t.Fatal(err)
	}
	if kinds, _ := b.entries(t); len(kinds) != 1 || kinds[0] != kindIntent {
		t.Errorf("entries %v", kinds)
	}
	// Only a strict caller waits, so only it notices that it has left meanwhile.
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fault.New(fault.DeadlinePassed, "too late"))
	if _, err := send(ctx, b.Recorder, x, "openai/m"); err != nil && fault.From(err).Code != fault.DeadlinePassed {
		t.Errorf("got %v", err)
	}
	if b.failing.Load() {
		t.Error("a caller that left was taken for a bad disk")
	}
}

func TestAFailedSecondIntentSaysThatSomethingWasSent(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10}, Options{})
	x := newExchange("ex_1")
	if _, err := send(t.Context(), b.Recorder, x, "a/m"); err != nil {
		t.Fatal(err)
	}
	failingJournal(t, b)
	_, err := send(t.Context(), b.Recorder, x, "b/m")
	if f := fault.From(err); f.Code != fault.StoreDown || strings.Contains(f.Text(), "Nothing was sent") {
		t.Errorf("told %q", f.Text())
	}
	if err := b.Outcome(x, &x.Tries[0]); fault.From(err).Code != fault.StoreDown {
		t.Errorf("outcome: %v", err)
	}
}

func TestTheLogLine(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := newBench(t, journal.Options{}, Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	resp, err := b.Stage()(answering(b.Recorder, nil, stream()...))(t.Context(), newExchange("ex_1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := walk(resp, 0); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(log.Bytes(), &got); err != nil {
		t.Fatalf("not one line of JSON: %v\n%s", err, log.String())
	}
	for _, varying := range []string{"time", "total", "first_token", "overhead"} {
		if got[varying] == nil {
			t.Errorf("no %s", varying)
		}
		delete(got, varying)
	}
	want := map[string]any{
		"level": "INFO", "msg": "exchange", "exchange": "ex_1", "project": "prj_1", "key": "key_1", "op": "chat", "model": "support",
		"target": "openai/gpt-5-mini", "stream": true, "status": 200.0, "code": "", "finish": "stop", "trace": "", "input": 1000.0, "output": 100.0, "estimated": false,
		"cost": "0.00018", "unpriced": false, "tries": 1.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(log.String(), "hello") {
		t.Error("the log holds what the model said")
	}
}

// TestNamesInTheLogLine: a model is the caller's word, so it is there only if a target was tried, and not all of it.
func TestNamesInTheLogLine(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := newBench(t, journal.Options{}, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	asked := newExchange("ex_1")
	asked.Request.Model = "CANARY"
	b.Stage()(func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
		return nil, fault.New(fault.ModelNotFound, "No model CANARY.")
	})(t.Context(), asked)
	if text := log.String(); strings.Contains(text, "CANARY") || !strings.Contains(text, `model=""`) {
		t.Errorf("nothing was tried, and the log line is %s", text)
	}
	log.Reset()
	tried := newExchange("ex_2")
	tried.Request.Model = "openai/" + strings.Repeat("é", 1000)
	b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		_, err := send(ctx, b.Recorder, x, x.Request.Model)
		return nil, errors.Join(err, errors.New("no answer"))
	})(t.Context(), tried)
	if text := log.String(); !strings.Contains(text, "model=openai/é") || len(text) > 1000 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

// TestNoBodiesOnTheDisk: what callers and models say is not in the journal.
func TestNoBodiesOnTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	b := newBenchOver(t, j, counting())
	x := newExchange("ex_1")
	x.Request.Raw = []byte(`{"messages":[{"role":"user","content":"CANARY"}]}`)
	said := llm.Event{Has: llm.Content, Text: []byte("CANARY"), Raw: []byte("CANARY")}
	resp, err := b.Stage()(answering(b.Recorder, nil, said, end))(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := walk(resp, 0); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("CANARY")) {
			t.Errorf("%s holds what was said", filepath.Base(file))
		}
	}
}
