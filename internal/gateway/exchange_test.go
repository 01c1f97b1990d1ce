package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

func newReader(c net.Conn) *bufio.Reader { return bufio.NewReader(c) }

func TestPlainAnswer(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	got := w.chat(newTape())
	x := <-w.last
	if want := `{"model":"m","choices":[]}`; got.text() != want {
		t.Errorf("got %s, want %s", got.text(), want)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Content-Length": "26", "X-Penstock-Target": "provider/m", "X-Penstock-Tries": "1",
		"X-Penstock-Cost": "0.000002012", "X-Request-Id": x.ID,
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.deadlines != 1 {
		t.Errorf("the write deadline was set %d times", got.deadlines)
	}
}

// TestCostIsOnlyShownIfItIsKnown: unpriced is not zero.
func TestCostIsOnlyShownIfItIsKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tries []pipeline.Try
		want  []string
	}{
		"free":                {[]pipeline.Try{{}}, []string{"0"}},
		"two tries":           {[]pipeline.Try{{CostNano: 1}, {CostNano: 1_000_000_000}}, []string{"1.000000001"}},
		"one of two unpriced": {[]pipeline.Try{{CostNano: 1}, {Unpriced: true}}, nil},
		"one of two unknown":  {[]pipeline.Try{{Outcome: pipeline.Unknown}, {CostNano: 1}}, nil},
		"more than there is":  {[]pipeline.Try{{CostNano: math.MaxInt64}, {CostNano: 1}}, []string{"9223372036.854775807"}},
		"no try":              {nil, nil},
	} {
		w := setup(t, func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			resp, err := plain(ctx, x)
			x.Tries = c.tries
			return resp, err
		})
		if got := w.chat(newTape()).header["X-Penstock-Cost"]; !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestErrorsAnswerInTheDialect(t *testing.T) {
	t.Parallel()
	limited := fault.New(fault.ProviderLimited, "All are busy.")
	limited.RetryAfter, limited.Spent = 1500*time.Millisecond, true
	refused := fault.New(fault.ProviderRefused, "No.")
	refused.Status, refused.Body = 422, []byte(`{"message":"too long","code":"context"}`)
	for _, c := range []struct {
		err            error
		status         int
		retry, should  string
		body           string
		logged, silent string
	}{
		{limited, 429, "2", "false", `{"error":{"message":"All are busy. Retry after the time given.","type":"rate_limit_error","param":null,"code":"provider_rate_limited"}}`, "", "exchange failed"},
		{refused, 422, "", "", `{"error":{"message":"too long","code":"context","type":null,"param":null}}`, "", "exchange failed"},
		{errors.New("dial tcp 10.0.0.7"), 500, "", "", `{"error":{"message":"Penstock met an error of its own. Retry; if it stays, give the request id to whoever runs Penstock.","type":"server_error","param":null,"code":"internal_error"}}`, "10.0.0.7", ""},
		{context.DeadlineExceeded, 504, "", "", `{"error":{"message":"The deadline passed before there was an answer.","type":"timeout_error","param":null,"code":"deadline_exceeded"}}`, "", "exchange failed"},
	} {
		w := setup(t, func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return nil, c.err })
		got := w.chat(newTape())
		if got.status != c.status || got.text() != c.body {
			t.Errorf("%v: %d %s\nwant %d %s", c.err, got.status, got.text(), c.status, c.body)
		}
		if got.header.Get("Retry-After") != c.retry || got.header.Get("X-Should-Retry") != c.should || got.header.Get("X-Penstock-Tries") != "0" {
			t.Errorf("%v: headers %v", c.err, got.header)
		}
		if log := w.log.String(); !strings.Contains(log, c.logged) || c.silent != "" && strings.Contains(log, c.silent) {
			t.Errorf("%v: logged %q", c.err, log)
		}
	}
}

// TestRefusedExchangesReachThePipeline, because each has its record.
func TestRefusedExchangesReachThePipeline(t *testing.T) {
	t.Parallel()
	w := setup(t, plain, small)
	for _, c := range []struct {
		name, body string
		headers    []string
		status     int
		code       fault.Code
		model      string // "-": the request could not be understood
	}{
		{"broken", `{"model":`, nil, 400, fault.InvalidJSON, "-"},
		{"too large", padded(5000), nil, 413, fault.BodyTooLarge, "-"},
		{"charset", chat, []string{"Content-Type: x/y; charset=utf-16"}, 400, fault.BadEncoding, "-"},
		{"no such model", strings.Replace(chat, `"m"`, `"n"`, 1), nil, 404, fault.ModelNotFound, "n"},
		{"header", chat, []string{"X-Request-Timeout-Ms: soon"}, 400, fault.InvalidRequest, "m"},
		{"header and model", strings.Replace(chat, `"m"`, `"n"`, 1), []string{"X-Penstock-Tags: a,b", "X-Request-Timeout-Ms: 0"}, 400, fault.InvalidRequest, "n"},
	} {
		a := w.post("/v1/chat/completions", c.body, append(c.headers, "X-Request-Id: mine")...)
		x := <-w.last
		if a.status != c.status || !strings.Contains(a.body, string(c.code)) {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
		model := "-"
		if x.Request != nil {
			model = x.Request.Model
		}
		if fault.From(x.Refused).Code != c.code || model != c.model || x.ClientID != "mine" || x.ID != a.header.Get("X-Request-Id") {
			t.Errorf("%s: exchange %+v, model %q", c.name, x, model)
		}
	}
	w.rest()
}

// TestAKeyMayUseWhatItsGlobsSay: what it may not use is not there for it.
func TestAKeyMayUseWhatItsGlobsSay(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	for model, want := range map[string]int{"other-m": 200, "m": 404, "provider/m": 404, "other-x": 404} {
		a := w.raw(false, request("POST", "/v1/chat/completions", strings.Replace(chat, `"m"`, `"`+model+`"`, 1), "Authorization: Bearer "+other))
		if a.status != want || want == 404 && strings.Contains(a.body, "provider/m\"") {
			t.Errorf("%s: %d %s", model, a.status, a.body)
		}
	}
}

func TestCallerOptions(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		tags, timeout string
		status        int
		want          []string
		deadline      time.Duration
	}{
		{"", "", 200, nil, 0},
		{"a, b ,,c", "1500", 200, []string{"a", "b", "c"}, 1500 * time.Millisecond},
		{"team=blue," + long, "2147483647", 200, []string{"team=blue", long}, 2147483647 * time.Millisecond},
		{"Größe", "", 200, []string{"Größe"}, 0},
		{strings.Repeat("t,", 16), "", 200, slices.Repeat([]string{"t"}, 16), 0},
		{strings.Repeat("t,", 17), "", 400, nil, 0},
		{long + "x", "", 400, nil, 0},
		{"bidi\u202emark", "", 400, nil, 0},
		{"zero\u200bwidth", "", 400, nil, 0},
		{"broken\xff", "", 400, nil, 0},
		{"", "0", 400, nil, 0}, {"", "-5", 400, nil, 0}, {"", "1.5", 400, nil, 0}, {"", "2147483648", 400, nil, 0}, {"", "3s", 400, nil, 0},
	} {
		var headers []string
		if c.tags != "" {
			headers = append(headers, "X-Penstock-Tags", c.tags)
		}
		if c.timeout != "" {
			headers = append(headers, "X-Request-Timeout-Ms", c.timeout)
		}
		got := w.chat(newTape(), headers...)
		x := <-w.last
		if got.status != c.status {
			t.Errorf("tags %q, timeout %q: %d %s", c.tags, c.timeout, got.status, got.text())
			continue
		}
		if c.status != 200 {
			continue
		}
		if !slices.Equal(x.Tags, c.want) {
			t.Errorf("tags %q: %q", c.tags, x.Tags)
		}
		if c.deadline == 0 != x.Deadline.IsZero() || c.deadline != 0 && x.Deadline.Sub(x.Received) != c.deadline {
			t.Errorf("timeout %q: %v", c.timeout, x.Deadline)
		}
	}
}

func TestClientsOwnID(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	for sent, want := range map[string]string{
		"": "", "abc-1": "abc-1", "a\tb\u202ec\xff": "abc", strings.Repeat("x", 1000): strings.Repeat("x", 128) + "...",
	} {
		w.chat(newTape(), "X-Request-Id", sent)
		if x := <-w.last; x.ClientID != want {
			t.Errorf("%q: kept as %q", sent, x.ClientID)
		}
	}
}

func TestTheCallersDeadlineEndsTheExchange(t *testing.T) {
	t.Parallel()
	w := setup(t, func(ctx context.Context, _ *pipeline.Exchange) (*llm.Response, error) {
		<-ctx.Done()
		return nil, fault.From(context.Cause(ctx))
	})
	got := w.chat(newTape(), "X-Request-Timeout-Ms", "20")
	if got.status != 504 || !strings.Contains(got.text(), "No answer within your deadline of 20ms (X-Request-Timeout-Ms).") {
		t.Errorf("%d %s", got.status, got.text())
	}
}

// TestPanics: one exchange that panics is a 500, or is cut if its answer has begun; the process and its counters live on.
func TestPanics(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		h      pipeline.Handler
		status int // 0: the connection is cut
	}{
		"in the pipeline": {func(context.Context, *pipeline.Exchange) (*llm.Response, error) { panic("boom") }, 500},
		"before the first event": {func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
			return response(false, func(func(llm.Event, error) bool) { panic("boom") }), nil
		}, 500},
		"in mid-stream": {func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
			return response(true, func(yield func(llm.Event, error) bool) { yield(chunk("1", false), nil); panic("boom") }), nil
		}, 0},
		"client gone": {func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return nil, context.Canceled }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, c.h)
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			text := request("POST", "/v1/chat/completions", chat, "Authorization: Bearer "+good)
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			a, err := readAnswer(newReader(conn), text)
			if cut := err != nil; cut != (c.status == 0) || !cut && a.status != c.status {
				t.Errorf("%+v, %v", a, err)
			}
			if c.status == 500 && (!strings.Contains(a.body, "internal_error") || strings.Contains(a.body, "boom")) {
				t.Errorf("%s", a.body)
			}
			if log := w.log.String(); strings.Contains(log, "boom") == (name == "client gone") {
				t.Errorf("logged %q", log)
			}
			w.rest()
		})
	}
}

func TestSampler(t *testing.T) {
	t.Parallel()
	var s sampler
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {999 * time.Millisecond, false}, {time.Second, true}, {1500 * time.Millisecond, false}, {time.Hour, true}} {
		if got := s.pass(now.Add(c.after)); got != c.want {
			t.Errorf("after %v: %v", c.after, got)
		}
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "a b": "a b", "line\r\nbreak\x1b[31m": "linebreak[31m", "ü": "ü", "\xff\xfe": "", "a\u2028b\u0085c": "abc",
		strings.Repeat("ü", 100): strings.Repeat("ü", 64) + "...", "x" + strings.Repeat("ü", 100): "x" + strings.Repeat("ü", 63) + "...",
	} {
		if got := clip(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzPresentedKey(f *testing.F) {
	for _, s := range []string{"", "Bearer", "Bearer x", "bearer  x", "Basic x", " Bearer x", "Bearer\tx"} {
		f.Add(s, "")
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, bearer, plain string) {
		key, err := presentedKey(map[string][]string{"Authorization": {bearer}, "X-Api-Key": {plain}})
		if (key == "") == (err == nil) {
			t.Errorf("key %q and error %v", key, err)
		}
		if err == nil && key != plain {
			t.Errorf("a key that differs from x-api-key was taken: %q, %q", key, plain)
		}
		if err != nil && len(bearer) > 20 && strings.Contains(fmt.Sprint(err), bearer) {
			t.Errorf("the error repeats the header: %v", err)
		}
	})
}

// TestServiceTierSetsTheClass in each dialect; "" is the default, whatever it is called.
func TestServiceTierSetsTheClass(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	bodies := map[string]string{
		"/v1/chat/completions": `{"model":"m","service_tier":%q,"messages":[{"role":"user","content":"hi"}]}`,
		"/v1/responses":        `{"model":"m","service_tier":%q,"input":"hi"}`,
		"/v1/messages":         `{"model":"m","service_tier":%q,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`,
	}
	for path, body := range bodies {
		for tier, want := range map[string]string{
			"auto": "", "default": "", "standard_only": "", "scale": "", "flex": "flex", "priority": "priority",
		} {
			w.post(path, fmt.Sprintf(body, tier), "Anthropic-Version: 2023-06-01")
			if x := <-w.last; x.Refused != nil || x.Class != want {
				t.Errorf("%s %s: class %q, refused: %v", path, tier, x.Class, x.Refused)
			}
		}
	}
}
