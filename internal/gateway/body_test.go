package gateway

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

func small(l *Limits) { l.Body, l.InFlight, l.BodyTime = 4096, 64<<10, 100*time.Millisecond }

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text) // to memory
	_ = z.Close()
	return b.String()
}

// chunked is a body in chunks of n bytes, with its header.
func chunked(text string, n int) (header, body string) {
	var b strings.Builder
	for len(text) > 0 {
		part := text[:min(n, len(text))]
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
		text = text[len(part):]
	}
	return "Transfer-Encoding: chunked", b.String() + "0\r\n\r\n"
}

// padded is a chat of exactly n bytes.
func padded(n int) string { return chat[:len(chat)-1] + strings.Repeat(" ", n-len(chat)) + "}" }

func TestBodyLimits(t *testing.T) {
	t.Parallel()
	w := setup(t, plain, small)
	key := "Authorization: Bearer " + good
	for _, c := range []struct {
		name, body string
		headers    []string
		status     int
		says       string
	}{
		{"far over the limit", padded(8192), nil, 413, "The body is 8.2 KB, the limit is 4.1 KB (limits.body)."},
		{"at the limit", padded(4096), nil, 200, ""},
		{"over the limit", padded(4097), nil, 413, "The body is 4097 bytes, the limit is 4096 bytes (limits.body)."},
		{"gzip", zipped(chat), []string{"Content-Encoding: gzip"}, 200, ""},
		{"gzip in capitals", zipped(chat), []string{"Content-Encoding: GZIP"}, 200, ""},
		{"identity", chat, []string{"Content-Encoding: identity"}, 200, ""},
		{"gzip at the limit", zipped(padded(4096)), []string{"Content-Encoding: gzip"}, 200, ""},
		{"gzip bomb", zipped(padded(2 << 20)), []string{"Content-Encoding: gzip"}, 413, "The body is over 4.1 KB (limits.body)."},
		{"gzip lie", chat, []string{"Content-Encoding: gzip"}, 400, "The body says Content-Encoding: gzip, and is not."},
		{"gzip with a broken middle", zipped(chat)[:30] + "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", []string{"Content-Encoding: gzip"}, 400, "is not."},
		{"gzip cut off", zipped(chat)[:40], []string{"Content-Encoding: gzip"}, 400, "is not."},
		{"gzip with a wrong sum", zipped(chat)[:len(zipped(chat))-8] + "12345678", []string{"Content-Encoding: gzip"}, 400, "is not."},
		{"gzip twice", zipped(zipped(chat)), []string{"Content-Encoding: gzip"}, 400, ""},
		{"gzip in two lines", zipped(zipped(chat)), []string{"Content-Encoding: gzip", "Content-Encoding: gzip"}, 400, ""},
		{"another encoding", chat, []string{"Content-Encoding: br"}, 400, `The body's Content-Encoding is \"br\".`},
		{"two encodings", chat, []string{"Content-Encoding: gzip, gzip"}, 400, `is \"gzip, gzip\".`},
		{"utf-8", chat, []string{`Content-Type: application/json; charset="UTF-8"`}, 200, ""},
		{"utf8", chat, []string{`Content-Type: application/json;charset=utf8`}, 200, ""},
		{"utf-16", chat, []string{"Content-Type: application/json; charset=utf-16"}, 400, `The body's charset is \"utf-16\"; JSON is UTF-8.`},
		{"charset behind letters that grow in lower case", chat, []string{"Content-Type: text/plain; x=" + strings.Repeat("Ⱥ", 40) + "; charset=u"}, 200, ""},
		{"a content type that is none", chat, []string{"Content-Type: ;;;"}, 200, ""},
		{"no content type", chat, nil, 200, ""},
		{"empty", "", []string{"Content-Length: 0"}, 400, ""},
		{"no length", "", nil, 400, ""},
	} {
		a := w.raw(false, request("POST", "/v1/chat/completions", c.body, append(c.headers, key)...))
		if a.status != c.status || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %d, want %d with %s\ngot %s", c.name, a.status, c.status, c.says, a.body)
		}
	}
	w.rest()
	if log := w.log.String(); strings.Contains(log, "panic") {
		t.Errorf("panics: %s", log)
	}
}

func TestChunkedBodies(t *testing.T) {
	t.Parallel()
	w := setup(t, plain, small)
	for _, size := range []int{1, 7, 4096} {
		for length, want := range map[int]int{len(chat): 200, 4096: 200, 4097: 413, 64 << 10: 413} {
			header, body := chunked(padded(length), size)
			if size == 1 && length > 8<<10 {
				continue
			}
			a := w.raw(false, request("POST", "/v1/chat/completions", "", header, "Authorization: Bearer "+good)+body)
			if a.status != want {
				t.Errorf("%d bytes in chunks of %d: %d, want %d: %s", length, size, a.status, want, a.body)
			}
		}
	}
	w.rest()
}

// A refusal is a request whose body never comes, or not all of it, and what must be answered.
type refusal struct {
	name, sent string
	status     int
	says       string
}

// checkRefusals sends all of them at once: each is answered with its connection closed soon after.
func (w *world) checkRefusals(list []refusal) {
	w.tb.Helper()
	var all sync.WaitGroup
	for _, c := range list {
		all.Go(func() {
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				w.tb.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.WriteString(conn, c.sent); err != nil {
				w.tb.Error(err)
				return
			}
			r := bufio.NewReader(conn)
			a, err := readAnswer(r, c.sent)
			for err == nil && a.status == 100 {
				a, err = readAnswer(r, c.sent)
			}
			if err != nil || a.status != c.status || !a.closes || !strings.Contains(a.body, c.says) {
				w.tb.Errorf("%s: %d %s, want %d; closes %v; %v", c.name, a.status, a.body, c.status, a.closes, err)
				return
			}
			if _, err := r.ReadByte(); err != io.EOF {
				w.tb.Errorf("%s: the connection is not closed: %v", c.name, err)
			}
		})
	}
	all.Wait()
	w.rest()
}

// TestAnswersComeBeforeTheBody: whoever is refused learns it although its body is not there yet, or never comes, and the
// server does not wait for it afterwards either.
func TestAnswersComeBeforeTheBody(t *testing.T) {
	t.Parallel()
	key := "Authorization: Bearer " + good
	chatWith := func(headers ...string) string { return request("POST", "/v1/chat/completions", "", headers...) }
	setup(t, plain, small).checkRefusals([]refusal{
		{"no key, 1 GB", chatWith("Content-Length: 1000000000"), 401, "carries no key"},
		{"no key, short body", chatWith("Content-Length: 100"), 401, "carries no key"},
		{"no key, chunks", chatWith("Transfer-Encoding: chunked"), 401, "carries no key"},
		{"no key, expects 100", chatWith("Content-Length: 100", "Expect: 100-continue"), 401, "carries no key"},
		{"no such route", request("POST", "/v1/nothing", "", "Content-Length: 100", key), 404, "No route"},
		{"wrong method", request("PUT", "/v1/models", "", "Content-Length: 100", key), 405, "takes GET"},
		{"a route without body", request("GET", "/healthz", "", "Content-Length: 100"), 200, "alive"},
		{"a route without body, with a key", request("GET", "/v1/models", "", "Transfer-Encoding: chunked", key), 200, "list"},
		{"too large", chatWith("Content-Length: 5000", key), 413, "limits.body"},
		{"charset", chatWith("Content-Length: 100", "Content-Type: a/b; charset=utf-16", key), 400, "utf-16"},
		{"encoding", chatWith("Content-Length: 100", "Content-Encoding: br", key), 400, "br"},
	})
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	key := "Authorization: Bearer " + good
	chatWith := func(headers ...string) string { return request("POST", "/v1/chat/completions", "", headers...) }
	const says = "The body did not arrive within 100ms (limits.body_time)."
	began := time.Now()
	setup(t, plain, small).checkRefusals([]refusal{
		{"nothing", chatWith("Content-Length: 100", key), 408, says},
		{"a part", chatWith("Content-Length: 100", key) + chat[:20], 408, says},
		{"chunks", chatWith("Transfer-Encoding: chunked", key) + "5\r\n{\"mod", 408, says},
		{"gzip", chatWith("Content-Length: 100", "Content-Encoding: gzip", key) + zipped(chat)[:15], 408, says},
		{"expect", chatWith("Content-Length: 100", "Expect: 100-continue", key), 408, says},
	})
	if took := time.Since(began); took < 100*time.Millisecond || took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestBodyThatEndsEarly(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	a := w.raw(true, request("POST", "/v1/chat/completions", "", "Content-Length: 100", "Authorization: Bearer "+good)+chat[:20])
	if a.status != 400 || !strings.Contains(a.body, "The body ended before its length.") {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.rest()
}

// TestBodiesInFlight: all bodies together stay under the limit; who does not fit is told to come back, and what was held
// is free again whatever became of the exchange.
func TestBodiesInFlight(t *testing.T) {
	t.Parallel()
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	w := setup(t, func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		entered <- struct{}{}
		<-release
		if x.Request.User == "panic" {
			panic("as asked")
		}
		return plain(ctx, x)
	}, func(l *Limits) { l.Body, l.InFlight = 40<<10, 80<<10 })
	done := make(chan int, 2)
	for _, user := range []string{"panic", "ann"} {
		body := strings.Replace(padded(40<<10-20), `{`, `{"user":"`+user+`",`, 1)
		go func() { done <- w.post("/v1/chat/completions", body).status }()
		<-entered
	}
	for _, length := range []int{len(chat), 30 << 10} {
		a := w.post("/v1/chat/completions", padded(length))
		if a.status != 503 || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, "Bodies of 81.9 KB are being handled") {
			t.Errorf("%d bytes: %d %s", length, a.status, a.body)
		}
	}
	close(release)
	if one, two := <-done, <-done; one+two != 200+500 {
		t.Errorf("statuses %d and %d", one, two)
	}
	w.rest()
	if a := w.post("/v1/chat/completions", padded(40<<10)); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
	w.rest()
}

// TestAnnouncementsTakeLittleRoom: who announces much and sends nothing must not keep others out.
func TestAnnouncementsTakeLittleRoom(t *testing.T) {
	t.Parallel()
	w := setup(t, plain, func(l *Limits) { l.Body, l.InFlight, l.BodyTime = 20<<20, 25<<20, 3*time.Second })
	for range 5 {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		head := request("POST", "/v1/chat/completions", "", "Content-Length: 20000000", "Authorization: Bearer "+good)
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
	}
	if !eventually(func() bool { return w.Open() == 5 && w.held.Load() > 0 }) {
		t.Fatalf("%d requests, %d bytes", w.Open(), w.held.Load())
	}
	if a := w.post("/v1/chat/completions", padded(9<<20)); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.rest()
}

// TestOneBodyAlwaysFits: where limits.in_flight is the size of one body, one body of that size passes, however it comes.
func TestOneBodyAlwaysFits(t *testing.T) {
	t.Parallel()
	const most = 3 << 20
	w := setup(t, plain, func(l *Limits) { l.Body, l.InFlight = most, most })
	header, body := chunked(padded(most), 10_000)
	for name, sent := range map[string]string{
		"announced": request("POST", "/v1/chat/completions", padded(most), "Authorization: Bearer "+good),
		"chunked":   request("POST", "/v1/chat/completions", "", header, "Authorization: Bearer "+good) + body,
		"gzip":      request("POST", "/v1/chat/completions", zipped(padded(most)), "Content-Encoding: gzip", "Authorization: Bearer "+good),
	} {
		if a := w.raw(false, sent); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		w.rest()
	}
}

func TestLimitsValidate(t *testing.T) {
	t.Parallel()
	if got := DefaultLimits().Validate("limits"); len(got) > 0 {
		t.Errorf("the defaults: %v", got)
	}
	got := Limits{Body: 10, Headers: 1, InFlight: 5, HeadTime: -1}.Validate("limits")
	want := []string{
		"limits.in_flight: is smaller than one body (make it at least limits.body)",
		"limits.head_time: must be positive (write a duration such as 30s)",
		"limits.body_time: must be positive (write a duration such as 30s)",
		"limits.write_time: must be positive (write a duration such as 30s)",
	}
	if fmt.Sprint(texts(got)) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", texts(got), want)
	}
}

func texts(list []fault.Problem) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Error())
	}
	return out
}

func TestSizesAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1000: "1 KB", 1536: "1.5 KB", 20_000_000: "20 MB", 21_300_000: "21.3 MB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// TestBuffersAreNotMixed: a buffer that is given back must never be in two hands.
func TestBuffersAreNotMixed(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 4096, 4097, 1 << 20, 1<<20 + 1} {
		b := takeBuffer(n)
		if len(b.b) != 0 || cap(b.b) < n {
			t.Errorf("%d: length %d, capacity %d", n, len(b.b), cap(b.b))
		}
		b.b = append(b.b, "left over"...)
		b.free()
	}
	for _, odd := range []int{0, 100, 5000, 3 << 20} { // grown by its owner: kept where it has room enough, or not at all
		(&buffer{make([]byte, 0, odd)}).free()
	}
	hands := map[*buffer]bool{}
	for _, n := range []int{4096, 4096, 8192, 8192, 5000, 5000} {
		b := takeBuffer(n)
		if hands[b] || len(b.b) != 0 || cap(b.b) < n {
			t.Errorf("%d: length %d, capacity %d, in two hands %v", n, len(b.b), cap(b.b), hands[b])
		}
		hands[b] = true
	}
}
