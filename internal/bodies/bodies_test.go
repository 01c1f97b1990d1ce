package bodies

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/seal"
)

// A bench is a keeper over a journal and a ring, and a store that is a map.
type bench struct {
	*Keeper
	dir   string
	ring  *seal.Ring
	store *memory
}

func newBench(t testing.TB, c Config, j journal.Options) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), store: &memory{rows: map[string]Row{}, upTo: map[string]int64{}}}
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	b.ring = ring
	b.start(t, c, j)
	return b
}

// start makes the keeper over the directory; the one before is gone, as with its process.
func (b *bench) start(t testing.TB, c Config, o journal.Options) {
	t.Helper()
	j, err := journal.Open(b.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	if b.Keeper, err = NewKeeper(Options{Config: c, Ring: b.ring, Journal: j, Metrics: prometheus.NewRegistry()}); err != nil {
		t.Fatal(err)
	}
}

// memory is a store without a disk.
type memory struct {
	mu    sync.Mutex
	rows  map[string]Row
	upTo  map[string]int64
	fails error
	acts  []string

	kept   []Kept
	holder string // of the lease, "" if it is free
	purges []int
}

func (m *memory) AddBodies(_ context.Context, journal string, upTo int64, rows []Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return m.fails
	}
	for _, r := range rows {
		if _, there := m.rows[r.Project+" "+r.Exchange]; !there {
			m.rows[r.Project+" "+r.Exchange] = r
		}
	}
	m.upTo[journal] = upTo
	return nil
}

func (m *memory) ReadUpTo(_ context.Context, journal string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.upTo[journal], nil
}

func (m *memory) KeptBodies(context.Context) ([]Kept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept, m.fails
}

// keep says how long each project keeps bodies.
func (m *memory) keep(kept ...Kept) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = kept
}

// left is how many rows there are, and the sizes of the batches so far.
func (m *memory) left() (int, []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.rows), slices.Clone(m.purges)
}

// forget makes the store one that has read nothing of any journal.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.upTo = map[string]int64{}
}

func (m *memory) GiveBack(context.Context) (bool, error) { return false, nil }

func (m *memory) PurgeBodies(_ context.Context, holder, project string, now time.Time, limit int) (int, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := now
	for _, k := range m.kept {
		if k.Project == project {
			before = now.Add(-k.Retention)
		}
	}
	if m.holder != "" && m.holder != holder {
		return 0, false, nil
	}
	n := 0
	for k, r := range m.rows {
		if r.Project == project && r.Exchange < pipeline.FirstID(before) && n < limit {
			delete(m.rows, k)
			n++
		}
	}
	m.purges = append(m.purges, n)
	return n, true, m.fails
}

func (m *memory) OpenBodies(_ context.Context, project, exchange, reason string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rows[project+" "+exchange]
	if !ok {
		return nil, fault.New(fault.NotThere, "No bodies.")
	}
	m.acts = append(m.acts, exchange+" "+reason)
	return r.Sealed, nil
}

// write brings the journal to the store.
func (b *bench) write(t testing.TB) {
	t.Helper()
	w, err := NewWriter(b.Keeper, b.store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (b *bench) read(t testing.TB, id string) *Content {
	t.Helper()
	r := Reader{Store: b.store, Ring: b.ring}
	c, err := r.Read(t.Context(), "prj_1", id, "test")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func exchange(id, body string) *pipeline.Exchange {
	return &pipeline.Exchange{
		ID: id, Received: time.Now(), Caller: &pipeline.Caller{Project: "prj_1", KeepBodies: true}, Request: &llm.Request{Raw: []byte(body)},
	}
}

// answering is a handler that answers with events, and then the error.
func answering(stream bool, after error, events ...llm.Event) pipeline.Handler {
	return func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
		return &llm.Response{Stream: stream, Events: func(yield func(llm.Event, error) bool) {
			for _, ev := range events {
				if !yield(ev, nil) {
					return
				}
			}
			if after != nil {
				yield(llm.Event{}, after)
			}
		}}, nil
	}
}

// walk takes the answer, at most so many events.
func (b *bench) walk(t testing.TB, h pipeline.Handler, x *pipeline.Exchange, most int) (atEnd []pipeline.Decision) {
	t.Helper()
	resp, err := b.Stage()(h)(t.Context(), x)
	if err != nil {
		return nil
	}
	for ev, err := range resp.Events {
		if err != nil || ev.Is(llm.End) {
			atEnd = append(atEnd, x.Decisions...)
		}
		if most--; most == 0 {
			break
		}
	}
	return atEnd
}

func data(raw string, has llm.Has) llm.Event { return llm.Event{Raw: []byte(raw), Has: has} }

func TestBodiesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	b := newBench(t, DefaultConfig(), journal.Options{})
	x := exchange("ex_plain", `{"model":"a"}`)
	if told := b.walk(t, answering(false, nil, data(`{"answer":1}`, llm.Content|llm.End)), x, 0); len(told) != 1 ||
		told[0].Decision != "kept: request 13 B, answer 12 B" {
		t.Errorf("before the end is passed on, the record says %v", told)
	}
	named := data("three", llm.Content)
	named.Name = "delta"
	b.walk(t, answering(true, nil, data("one", llm.Content), data("two", llm.Hidden), named, data("[DONE]", llm.End)), exchange("ex_stream", `{}`), 0)
	b.write(t)
	for id, want := range map[string]Content{
		"ex_plain": {Request: part(`{"model":"a"}`), Answer: part(`{"answer":1}`), Whole: true},
		"ex_stream": {
			Request: part(`{}`), Answer: part("data: one\n\nevent: delta\ndata: three\n\ndata: [DONE]\n\n"), Whole: true, Stream: true,
		},
	} {
		got := b.read(t, id)
		if got.Whole != want.Whole || got.Stream != want.Stream || !same(got.Request, want.Request) || !same(got.Answer, want.Answer) {
			t.Errorf("%s: %+v: %q, %q", id, got, got.Request.Text, got.Answer.Text)
		}
	}
	if b.held.Load() != 0 {
		t.Errorf("%d bytes are held at the end", b.held.Load())
	}
}

func part(text string) Part { return Part{Size: int64(len(text)), Text: []byte(text)} }

func same(a, b Part) bool { return a.Size == b.Size && bytes.Equal(a.Text, b.Text) }

// Whoever leaves, breaks or never answers: what there was is kept.
func TestPartsOfAnswersAreKept(t *testing.T) {
	t.Parallel()
	b := newBench(t, DefaultConfig(), journal.Options{})
	b.walk(t, answering(true, nil, data("one", llm.Content), data("two", llm.Content), data("[DONE]", llm.End)), exchange("ex_left", `{}`), 1)
	b.walk(t, answering(true, errors.New("cut"), data("one", llm.Content)), exchange("ex_cut", `{}`), 0)
	b.walk(t, func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return nil, errors.New("no") }, exchange("ex_failed", `{}`), 0)
	b.write(t)
	for id, answer := range map[string]string{"ex_left": "data: one\n\n", "ex_cut": "data: one\n\n", "ex_failed": ""} {
		if got := b.read(t, id); got.Whole || string(got.Answer.Text) != answer || string(got.Request.Text) != "{}" {
			t.Errorf("%s: %+v", id, got)
		}
	}
}

func TestProjectsThatKeepNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, DefaultConfig(), journal.Options{})
	x := exchange("ex_1", `{}`)
	x.Caller = &pipeline.Caller{Project: "prj_1"}
	b.walk(t, answering(false, nil, data(`{}`, llm.End)), x, 0)
	if b.o.Journal.End() != b.o.Journal.Begin() || len(x.Decisions) != 0 {
		t.Error("something was kept")
	}
}

// The request that is kept is the one with what other stages changed: what was masked must not come back by the back door.
func TestEditsAreKeptAndNotWhatTheyReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t, DefaultConfig(), journal.Options{})
	raw := `{"user":"jane"}`
	x := exchange("ex_1", raw)
	x.Request.Fields = []llm.Field{{Name: "user", Value: llm.Span{Start: strings.Index(raw, `"jane"`), End: len(raw) - 1}}}
	x.Request.Set("user", []byte(`"[NAME]"`))
	b.walk(t, answering(false, nil, data(`{}`, llm.End)), x, 0)
	b.write(t)
	if got := string(b.read(t, "ex_1").Request.Text); got != `{"user":"[NAME]"}` {
		t.Error(got)
	}
}

func TestLongBodiesAreCut(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{Max: 1000, InFlight: 1e6, Journal: 1e9}, journal.Options{})
	long := strings.Repeat("a", 700)
	x := exchange("ex_1", strings.Repeat("q", 5000))
	b.walk(t, answering(true, nil, data(long, llm.Content), data(long, llm.Content), data(long, llm.Content), data("[DONE]", llm.End)), x, 0)
	b.write(t)
	got := b.read(t, "ex_1")
	if got.Request.Size != 5000 || len(got.Request.Text) != 1000 || got.Answer.Size != 3*(700+8)+14 || len(got.Answer.Text) != 1000 || !got.Whole {
		t.Errorf("%+v", got)
	}
	if d := x.Decisions[0].Decision; d != "kept: request the first 1 kB of 5 kB, answer the first 1 kB of 2.14 kB" {
		t.Error(d)
	}
	if n := testutil.ToFloat64(b.m.cut); n != 2 {
		t.Errorf("%v cuts were counted", n)
	}
}

// What cannot be kept is dropped, told and counted; the answer passes all the same.
func TestBodiesAreDroppedForAReason(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("a", 100_000)
	for reason, set := range map[string]struct {
		config  Config
		journal journal.Options
		noKey   bool
	}{
		droppedMemory:  {Config{Max: 1e6, InFlight: 150_000, Journal: 1e9}, journal.Options{}, false},
		droppedJournal: {DefaultConfig(), journal.Options{MaxBytes: 10}, false},
		droppedSeal:    {DefaultConfig(), journal.Options{}, true},
	} {
		b := newBench(t, set.config, set.journal)
		if set.noKey {
			b.o.Ring = oldRing(t)
		}
		for _, x := range []*pipeline.Exchange{exchange("ex_1", big), exchange("ex_2", `{}`)} {
			n := 0
			resp, err := b.Stage()(answering(true, nil, data(big, llm.Content), data("[DONE]", llm.End)))(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range resp.Events {
				if err == nil {
					n++
				}
			}
			if n != 2 || len(x.Decisions) != 1 || x.Decisions[0].Decision != droppedWords[reason] {
				t.Errorf("%s: %d events, %v", reason, n, x.Decisions)
			}
		}
		if n := testutil.ToFloat64(b.m.dropped.WithLabelValues(reason)); n != 2 || b.Dropped().IsZero() || b.held.Load() != 0 {
			t.Errorf("%s: %v counted, %d bytes held", reason, n, b.held.Load())
		}
	}
}

// oldRing is one of a version that sealed nothing.
func oldRing(t *testing.T) *seal.Ring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	text := `{"id":"ring_old","pepper":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","created":"2026-01-01T00:00:00Z"}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ring, _, err := seal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestNothingIsInClearAndNothingMoves(t *testing.T) {
	t.Parallel()
	b := newBench(t, DefaultConfig(), journal.Options{})
	for _, id := range []string{"ex_1", "ex_2"} {
		b.walk(t, answering(false, nil, data("canary-plum", llm.End)), exchange(id, "canary-plum"), 0)
	}
	b.write(t)
	for _, r := range b.store.rows {
		if bytes.Contains(r.Sealed, []byte("canary")) || r.Key != b.ring.Keys()[0].ID {
			t.Errorf("%+v", r)
		}
	}
	moved := b.store.rows["prj_1 ex_2"]
	moved.Exchange = "ex_1"
	b.store.rows["prj_1 ex_1"] = moved
	r := Reader{Store: b.store, Ring: b.ring}
	_, err := r.Read(t.Context(), "prj_1", "ex_1", "test")
	if f := fault.From(err); f.Code != fault.SealedAway {
		t.Errorf("bodies of another exchange: %v", err)
	}
	other := newBench(t, DefaultConfig(), journal.Options{})
	r.Ring = other.ring
	_, err = r.Read(t.Context(), "prj_1", "ex_2", "test")
	if f := fault.From(err); f.Code != fault.KeyRingBehind || f.HTTPStatus() != 503 || !strings.Contains(f.Message, b.ring.Keys()[0].ID) {
		t.Errorf("with another ring: %v", err)
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	b := newBench(t, DefaultConfig(), journal.Options{})
	r := Reader{Store: b.store, Ring: b.ring}
	for _, reason := range []string{"", " \t\n", strings.Repeat("a", MaxReason+1)} {
		_, err := r.Read(t.Context(), "prj_1", "ex_1", reason)
		if f := fault.From(err); f.Code != fault.InvalidRequest || f.Param != "reason" {
			t.Errorf("%q: %v", reason, err)
		}
	}
	if len(b.store.acts) != 0 {
		t.Error(b.store.acts)
	}
}

// A process that is killed leaves what it journalled to the next one; what the store has twice it takes once.
func TestTheJournalIsReadOnAfterARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, DefaultConfig(), journal.Options{SegmentBytes: 4096})
	for i := range 300 {
		b.walk(t, answering(false, nil, data("one", llm.End)), exchange(ids(i), "{}"), 0)
	}
	_ = b.o.Journal.Close()
	b.start(t, DefaultConfig(), journal.Options{SegmentBytes: 4096})
	b.write(t)
	if n, _ := b.store.left(); n != 300 {
		t.Fatalf("%d rows", n)
	}
	if held := b.o.Journal.MaxBytes() - b.o.Journal.Room(); held > 8192 {
		t.Errorf("%d bytes are held of what the store has", held)
	}
	b.store.forget()
	b.walk(t, answering(false, nil, data("two", llm.End)), exchange(ids(0), "{}"), 0)
	b.write2(t)
	if got := string(b.read(t, ids(0)).Answer.Text); got != "one" {
		t.Error(got)
	}
}

// write2 is write for a keeper whose metrics have a writer.
func (b *bench) write2(t testing.TB) {
	t.Helper()
	b.o.Metrics = prometheus.NewRegistry()
	b.write(t)
}

func ids(i int) string { return "ex_" + string(rune('a'+i/26)) + string(rune('a'+i%26)) }

func FuzzUnpack(f *testing.F) {
	packed := make([]byte, headSize, 64)
	putHead(packed, true, true, 3, 4, 4)
	f.Add(append(packed, "fourreq"...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := unpack(b); err == nil && len(c.Answer.Text)+len(c.Request.Text)+headSize != len(b) {
			t.Errorf("%+v of %d bytes", c, len(b))
		}
		if _, err := open(b); err == nil && (len(b) == 0 || b[0] != format) {
			t.Error("opened")
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(append(appendHead(nil, "prj_1", "ex_1"), 1))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if row, err := decodeEntry(b); err == nil && (row.Key == "" || len(row.Sealed) > len(b)) {
			t.Errorf("%+v", row)
		}
	})
}
