package sim_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/sim/simtest"
)

func fastConfig() sim.Config {
	c := simtest.Config()
	p := c.Providers["default"]
	p.Models["quick"] = sim.Model{Fast: true, Price: sim.Price{Input: "1", Output: "4"}}
	return c
}

// The two ways that a fast model is served must not differ in what the client gets and what is billed.
func TestFastModelIsTheSameBothWays(t *testing.T) {
	t.Parallel()
	b := setup(t, fastConfig())
	server := httptest.NewServer(b.sim.Handler())
	defer server.Close()
	behind := &bench{t: t, sim: b.sim, base: server.URL, client: b.client}
	for name, body := range map[string]string{
		"plain":            `{"model":"quick","messages":[{"role":"user","content":"a \"model\":\"x\" {[ \\"}]}`,
		"stream":           `{"messages":[{"role":"user","content":"hello"}],"stream":true,"model":"quick"}`,
		"stream and usage": `{ "model" : "quick", "stream" : true, "stream_options" : { "include_usage" : true }, "messages":[] }`,
		"10 KB":            `{"model":"quick","messages":[{"role":"user","content":"` + strings.Repeat(`a\n\"`, 2500) + `"}]}`,
		"100 KB":           `{"model":"quick","messages":[{"role":"user","content":"` + strings.Repeat("x", 100_000) + `"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			front, behind := b.post(t.Context(), "/v1/chat/completions", body), behind.post(t.Context(), "/v1/chat/completions", body)
			if front.err != nil || behind.err != nil {
				t.Fatal(front.err, behind.err)
			}
			is(t, "status", front.status, 200)
			is(t, "body", front.body, behind.body)
			is(t, "content type", front.header.Get("Content-Type"), behind.header.Get("Content-Type"))
			calls := b.bill().Calls
			one, two := calls[len(calls)-2], calls[len(calls)-1]
			is(t, "id", one.ID, front.header.Get("X-Request-Id"))
			is(t, "tokens", one.Prompt, int64(len(body)+3)/4)
			is(t, "cost", one.Cost, llm.Money(one.Prompt*1000+50*4000))
			for _, c := range []*sim.Call{&one, &two} {
				c.Seq, c.ID, c.Number, c.Started, c.Ended = 0, "", 0, time.Time{}, time.Time{}
			}
			is(t, "bill", one, two)
			if strings.Contains(body, "stream") {
				s := front.stream()
				is(t, "contents", s.contents(), 50)
				is(t, "done", s.done, true)
				is(t, "broken", s.broken, 0)
				return
			}
			is(t, "words", len(strings.Fields(front.said(t))), 50)
			is(t, "usage", front.plain(t).Usage.Prompt, one.Prompt)
		})
	}
}

// exchange writes text on a bare connection and reads n answers.
func exchange(t *testing.T, base, text string, n int) []string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	var all []string
	for range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("after %d answers: %v", len(all), err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(resp.StatusCode, " ", string(body)))
	}
	return all
}

// On one connection, what is not a plain call of a fast model is answered as if there were no fast way.
func TestFastConnectionTakesAnything(t *testing.T) {
	t.Parallel()
	c := fastConfig()
	c.Providers["locked"] = sim.Provider{Key: "sk-sim-abcdefghijklmnop", Models: map[string]sim.Model{"quick": {Fast: true}}}
	b := setup(t, c)
	request := func(path, header, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n%s\r\n%s", path, len(body), header, body)
	}
	const quick = `{"model":"quick","messages":[{"role":"user","content":"a"}]}`
	fast := request("/v1/chat/completions", "", quick)
	for name, c := range map[string]struct {
		text string
		want string // how the last answer begins
	}{
		"another model":   {request("/v1/chat/completions", "", chatBody("status=418", false)), "418 "},
		"knobs":           {request("/v1/chat/completions", "", strings.Replace(quick, "quick", "quick?status=418", 1)), "418 "},
		"header of knobs": {request("/v1/chat/completions", "X-Sim-Do: status=418\r\n", quick), "418 "},
		"other route":     {"GET /_health HTTP/1.1\r\nHost: sim\r\n\r\n", "200 {\n \"status\""},
		"broken body":     {request("/v1/chat/completions", "", quick[:20]), "400 "},
		"no key":          {request("/locked/v1/chat/completions", "", quick), "401 "},
		"key":             {request("/locked/v1/chat/completions", "authorization: Bearer sk-sim-abcdefghijklmnop\r\n", quick), "200 "},
		"chunked":         {"POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n3c\r\n" + quick + "\r\n0\r\n\r\n", "200 "},
		"expect":          {request("/v1/chat/completions", "Expect: 200-ok\r\n", quick), "417 "},
		"two lengths":     {request("/v1/chat/completions", "Content-Length: 3\r\n", quick), "400 "},
		"huge head":       {request("/v1/chat/completions", "X-Long: "+strings.Repeat("x", 100_000)+"\r\n", quick), "200 "},
		"not HTTP":        {"what?\r\n\r\n", "400 "},
		"closing":         {request("/v1/chat/completions", "Connection: close\r\n", quick), "200 "},
	} {
		t.Run(name, func(t *testing.T) {
			answers := exchange(t, b.base, fast+fast+c.text, 3)
			is(t, "first", strings.HasPrefix(answers[0], "200 {"), true)
			is(t, "second", answers[1], answers[0])
			if !strings.HasPrefix(answers[2], c.want) {
				t.Errorf("%.200q, want %q", answers[2], c.want)
			}
		})
	}
}

func TestFastModelHasOutages(t *testing.T) {
	t.Parallel()
	b := setup(t, fastConfig())
	const quick = `{"model":"quick","messages":[]}`
	is(t, "before", b.post(t.Context(), "/v1/chat/completions", quick).status, 200)
	if err := b.sim.Outage("default", "503", time.Hour); err != nil {
		t.Fatal(err)
	}
	is(t, "while", b.post(t.Context(), "/v1/chat/completions", quick).status, 503)
	b.sim.Reset()
	is(t, "after", b.post(t.Context(), "/v1/chat/completions", quick).status, 200)
}

func TestBillIsExactUnderLoad(t *testing.T) {
	t.Parallel()
	b := setup(t, fastConfig())
	const workers, each = 8, 200
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for k := range each {
				body := `{"model":"quick","messages":[]}`
				if k%20 == 0 {
					body = chatBody("", i%2 == 0)
				}
				if g := b.post(t.Context(), "/v1/chat/completions", body); g.status != 200 || g.err != nil {
					t.Errorf("%+v", g)
				}
			}
		})
	}
	wg.Wait()
	bill := b.bill()
	const slow = workers * each / 20
	is(t, "calls", bill.Total.Calls, workers*each)
	is(t, "tokens", bill.Total.Completion, (workers*each-slow)*50+slow*8)
	ids := map[string]bool{}
	for i, c := range bill.Calls {
		is(t, "seq", c.Seq, int64(i+1))
		ids[c.ID] = true
	}
	is(t, "ids", len(ids), workers*each)
}

// A brokenListener accepts nothing.
type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("broken") }

func TestRunEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]sim.Config{"with fast models": fastConfig(), "without": simtest.Config()} {
		s, err := sim.New(c)
		if err != nil {
			t.Fatal(err)
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context(), brokenListener{l}); err == nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("%s: broken listener: %v", name, err)
		}
	}

	s, err := sim.New(fastConfig())
	if err != nil {
		t.Fatal(err)
	}
	l := sim.NewPipeListener()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, l) }()
	idle, err := l.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	b := &bench{t: t, sim: s, base: "http://sim", client: client(t, &http.Transport{DialContext: l.Dial})}
	go func() {
		untilOpen(s, 1)
		cancel()
	}()
	is(t, "open call when it ended", b.chat("stall=headers", true).err != nil, true)
	is(t, "Run", <-done, nil)
	is(t, "open", s.Bill().Open, 0)
	if _, err := l.Dial(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after the end: %v", err)
	}
}

func BenchmarkFast(b *testing.B) {
	bench := setup(b, fastConfig())
	for name, body := range map[string]string{
		"plain":  `{"model":"quick","messages":[{"role":"user","content":"` + strings.Repeat("x", 1000) + `"}]}`,
		"stream": `{"model":"quick","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("x", 1000) + `"}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", strings.TrimPrefix(bench.base, "http://"))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			text := []byte(fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			r := bufio.NewReaderSize(conn, 64<<10)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(text); err != nil {
					b.Fatal(err)
				}
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
