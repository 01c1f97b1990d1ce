package stop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// memory is a Store of several boards.
type memory struct {
	mu      sync.Mutex
	version int64
	stops   []Stop
	down    error
}

func (m *memory) SetStop(_ context.Context, s Stop, _ int) (Stop, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version++
	m.stops = append(m.stops, s)
	return s, m.down
}

func (m *memory) LiftStop(_ context.Context, id string) (Stop, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version++
	for i, s := range m.stops {
		if s.ID == id {
			m.stops = append(m.stops[:i:i], m.stops[i+1:]...)
			return s, nil
		}
	}
	return Stop{}, errors.New("none")
}

func (m *memory) StopVersion(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version, m.down
}

func (m *memory) Stops(context.Context) (int64, []Stop, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version, m.stops, m.down
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func newBoard(t *testing.T, m *memory) *Board {
	t.Helper()
	b, err := New(Options{Store: m, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stage is a board's with what has to be around it.
func stage(b *Board) pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler { return pipeline.Living(b.Stage()(next)) }
}

func ask(project, model string) *pipeline.Exchange {
	return &pipeline.Exchange{ID: "ex", Caller: &pipeline.Caller{Project: project}, Request: &llm.Request{Model: model}}
}

// answers is a handler that tries a target and gives a stream without end, until its context ends.
func answers(b *Board, target string) pipeline.Handler {
	return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		t, _ := llm.ParseTarget(target)
		if err := b.Try(x, t); err != nil {
			return nil, err
		}
		return &llm.Response{Stream: true, Events: func(yield func(llm.Event, error) bool) {
			for yield(llm.Event{Has: llm.Content}, nil) {
				select {
				case <-ctx.Done():
					yield(llm.Event{}, context.Cause(ctx))
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}}, nil
	}
}

func code(err error) fault.Code {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Code
	}
	return ""
}

// What a stop is about, by the names that lead to a model.
func TestScopes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stop           Stop
		project, model string
		target         string
		want           bool
	}{
		{Stop{}, "p", "m", "a/m", true},
		{Stop{Model: "m"}, "p", "m", "a/other", true},
		{Stop{Model: "m"}, "p", "alias", "a/m", true},
		{Stop{Model: "a/m"}, "p", "alias", "a/m", true},
		{Stop{Model: "a/m"}, "p", "alias", "b/m", false},
		{Stop{Model: "a/*"}, "p", "alias", "a/x/y", true},
		{Stop{Model: "m"}, "p", "m2", "a/m2", false},
		{Stop{Project: "p"}, "p", "m", "a/m", true},
		{Stop{Project: "p"}, "q", "m", "a/m", false},
		{Stop{Project: "p", Model: "m"}, "q", "m", "a/m", false},
		{Stop{Project: "p", Model: "m"}, "p", "n", "a/n", false},
		{Stop{Project: "p", Model: "m"}, "p", "n", "a/m", true},
	} {
		b := newBoard(t, &memory{version: 1, stops: []Stop{tt.stop}})
		if err := b.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		resp, err := stage(b)(answers(b, tt.target))(t.Context(), ask(tt.project, tt.model))
		if (code(err) == fault.Stopped) != tt.want {
			t.Errorf("%+v, %s asks for %s, answered by %s: %v, %v", tt.stop, tt.project, tt.model, tt.target, resp, err)
		}
	}
}

// Another replica hears of a stop by its own look at the store, and of its end; what runs finishes, or not.
func TestControl51FeltByOtherReplicas(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprint("cut ", cut), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &memory{}
				here, there := newBoard(t, m), newBoard(t, m)
				ctx, cancel := context.WithCancel(t.Context())
				var working sync.WaitGroup
				for _, b := range []*Board{here, there} {
					if err := b.Refresh(ctx); err != nil {
						t.Fatal(err)
					}
					working.Go(func() { _ = b.Run(ctx) })
				}
				handle := stage(there)(answers(there, "a/m"))
				resp, err := handle(ctx, ask("p", "m"))
				if err != nil {
					t.Fatal(err)
				}
				var broke error
				events := 0
				running := make(chan struct{})
				leave := make(chan struct{})
				go func() {
					defer close(running)
					for _, err := range resp.Events {
						broke = err
						events++
						select {
						case <-leave:
							return
						default:
						}
					}
				}()
				made, err := here.Set(ctx, Stop{Model: "a/*", Reason: "wrong", ByName: "ops", ByKey: "key_1", Cut: cut}, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(1100 * time.Millisecond)
				_, err = handle(ctx, ask("p", "m"))
				f, _ := errors.AsType[*fault.Error](err)
				if f == nil || f.Code != fault.Stopped || f.HTTPStatus() != 403 || !f.Spent || f.RetryAfter <= 0 ||
					!strings.Contains(f.Text(), "a/m are stopped. Reason: wrong.") || !strings.Contains(f.Text(), made.ID) || strings.Contains(f.Text(), "ops") {
					t.Errorf("%+v", f)
				}
				if f != nil && !strings.Contains(f.Err.Error(), "stopped by ops (key_1)") {
					t.Errorf("the record would say %v", f.Err)
				}
				if !cut {
					time.Sleep(time.Second)
					close(leave)
				}
				<-running
				if cut != (code(broke) == fault.Stopped) || events == 0 {
					t.Errorf("after %d events what ran ended with %v", events, broke)
				}
				time.Sleep(time.Minute) // it ends by itself
				if resp, err := handle(ctx, ask("p", "m")); err != nil {
					t.Error(err)
				} else {
					for range resp.Events {
						break
					}
				}
				synctest.Wait()
				if len(there.running) != 0 {
					t.Errorf("%d exchanges are thought to run", len(there.running))
				}
				cancel()
				working.Wait()
			})
		})
	}
}

// A store that is away lifts no stop, and lets nothing pass after a while: one that was made meanwhile cannot be known.
func TestAStoreThatIsAwayLiftsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		b := newBoard(t, m)
		handle := stage(b)(func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return nil, errors.New("reached") })
		if _, err := handle(t.Context(), ask("p", "m")); code(err) != fault.StopsUnavailable || b.Ready() {
			t.Errorf("before the first look: %v", err)
		}
		if err := b.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Set(t.Context(), Stop{Model: "m"}, 0); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = b.Run(ctx) }()
		m.fail(errors.New("away"))
		time.Sleep(3 * time.Second)
		if _, err := handle(ctx, ask("p", "m")); code(err) != fault.Stopped {
			t.Errorf("the stop was lifted: %v", err)
		}
		if _, err := handle(ctx, ask("p", "other")); code(err) != "" {
			t.Errorf("others after 3 s: %v", err)
		}
		time.Sleep(4 * time.Second)
		if _, err := handle(ctx, ask("p", "other")); code(err) != fault.StopsUnavailable {
			t.Errorf("others after 7 s: %v", err)
		}
		if err := b.Try(ask("p", "m"), llm.Target{Provider: "a", Model: "m"}); code(err) != fault.Stopped {
			t.Errorf("a try after 7 s: %v", err)
		}
		if err := b.Try(ask("p", "other"), llm.Target{Provider: "a", Model: "other"}); code(err) != fault.StopsUnavailable {
			t.Errorf("a try of others after 7 s, of an exchange that began before: %v", err)
		}
		m.fail(nil)
		time.Sleep(1100 * time.Millisecond)
		if _, err := handle(ctx, ask("p", "other")); code(err) != "" {
			t.Errorf("the store is back: %v", err)
		}
		cancel()
		<-done
	})
}

// What panics, and what nobody walks, runs no more once its context has ended.
func TestNothingRunsForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, &memory{})
		if err := b.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := stage(b)(answers(b, "a/m"))(ctx, ask("p", "m")); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = stage(b)(func(context.Context, *pipeline.Exchange) (*llm.Response, error) { panic("x") })(ctx, ask("p", "m"))
		}()
		if len(b.running) != 2 {
			t.Errorf("%d run", len(b.running))
		}
		cancel()
		synctest.Wait()
		if len(b.running) != 0 {
			t.Errorf("%d run", len(b.running))
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBoard(t, &memory{})
	for name, tt := range map[string]struct {
		stop Stop
		span time.Duration
	}{
		"blank":     {Stop{Model: "a b"}, 0},
		"list":      {Stop{Model: "a,b"}, 0},
		"long":      {Stop{Model: strings.Repeat("x", 129)}, 0},
		"all":       {Stop{Model: "*"}, 0},
		"two lines": {Stop{Reason: "a\nb"}, 0},
		"essay":     {Stop{Reason: strings.Repeat("x", 201)}, 0},
		"past":      {Stop{}, -time.Second},
		"far":       {Stop{}, 400 * 24 * time.Hour},
	} {
		if _, err := b.Set(t.Context(), tt.stop, tt.span); code(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}
