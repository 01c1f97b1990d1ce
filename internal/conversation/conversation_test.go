package conversation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/purge"
	"github.com/penstock/penstock/internal/seal"
)

// memory is a store that forgets with the process.
type memory struct {
	mu    sync.Mutex
	rows  map[string]Row // by project and id
	due   map[string]int // how many each project has to lose
	fails error
	other bool // another has the lease
}

func (m *memory) AddResponse(_ context.Context, r Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return m.fails
	}
	m.rows[r.Project+" "+r.ID] = r
	return nil
}

func (m *memory) Response(_ context.Context, project, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.rows[project+" "+id]; ok {
		return r.Sealed, nil
	}
	return nil, NotKept(id)
}

func (m *memory) ItemResponses(_ context.Context, project string, items []string) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of := map[string]string{}
	for _, r := range m.rows {
		for _, item := range r.Items {
			if r.Project == project && slices.Contains(items, item) {
				of[item] = r.ID
			}
		}
	}
	return of, nil
}

func (m *memory) DeleteResponse(_ context.Context, project, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.rows[project+" "+id]; !ok {
		return NotKept(id)
	}
	delete(m.rows, project+" "+id)
	return nil
}

func (m *memory) ResponseProjects(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.due)), m.fails
}

func (m *memory) PurgeResponses(_ context.Context, _, project string, _ time.Time, keep time.Duration, limit int) (int, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.other || keep != KeepFor {
		return 0, false, nil
	}
	n := min(limit, m.due[project])
	m.due[project] -= n
	return n, true, nil
}

func (m *memory) GiveBack(context.Context) (bool, error) { return false, nil }

func newKeeper(t testing.TB, log *bytes.Buffer) (*Keeper, *memory) {
	t.Helper()
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{rows: map[string]Row{}, due: map[string]int{}}
	k, err := NewKeeper(Options{Store: m, Ring: ring, Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return k, m
}

func code(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// What was kept comes back, to its project only, and what the store has of it is not it.
func TestKeep(t *testing.T) {
	t.Parallel()
	k, m := newKeeper(t, &bytes.Buffer{})
	turn := Turn{ID: "resp_1", Previous: "resp_0", Input: []byte(`[{"secret":"a word that nobody says"}]`), Response: []byte(`{"id":"resp_1"}`), Items: []string{"msg_1"}}
	if !k.Keep(t.Context(), "prj_1", "ex_1", turn) {
		t.Fatal("not kept")
	}
	got, err := k.Turn(t.Context(), "prj_1", "resp_1")
	if err != nil || got.ID != turn.ID || got.Previous != turn.Previous || !bytes.Equal(got.Input, turn.Input) || !bytes.Equal(got.Response, turn.Response) {
		t.Errorf("%+v, %v", got, err)
	}
	row := m.rows["prj_1 resp_1"]
	if row.Key == "" || row.Exchange != "ex_1" || bytes.Contains(row.Sealed, []byte("nobody")) {
		t.Errorf("%+v", row)
	}
	m.rows["prj_2 resp_1"] = row // as that of another project, it does not open
	m.rows["prj_1 resp_2"] = row
	for _, of := range [][2]string{{"prj_2", "resp_1"}, {"prj_1", "resp_2"}} {
		if _, err := k.Turn(t.Context(), of[0], of[1]); code(err) != fault.SealedAway {
			t.Errorf("%v: %v", of, err)
		}
	}
	if _, err := k.Turn(t.Context(), "prj_1", "resp_9"); code(err) != fault.ResponseNotFound {
		t.Errorf("%v", err)
	}
	if err := k.Delete(t.Context(), "prj_1", "resp_1"); err != nil {
		t.Error(err)
	}
	if err := k.Delete(t.Context(), "prj_1", "resp_1"); code(err) != fault.ResponseNotFound {
		t.Error(err)
	}
}

// A response that cannot be kept is told to the operator, and to nobody else.
func TestKeepFails(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	k, m := newKeeper(t, &log)
	m.fails = errors.New("no room")
	if k.Keep(t.Context(), "prj_1", "ex_1", Turn{ID: "resp_1"}) {
		t.Error("kept")
	}
	m.fails = nil
	if k.Keep(t.Context(), "prj_1", "ex_2", Turn{ID: "resp_1", Input: make([]byte, largest)}) {
		t.Error("kept, though it is too large")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if !k.Keep(ctx, "prj_1", "ex_3", Turn{ID: "resp_3"}) {
		t.Error("not kept, for its caller has left")
	}
	if testutil.ToFloat64(k.failed) != 2 || testutil.ToFloat64(k.kept) != 1 || !strings.Contains(log.String(), "no room") {
		t.Errorf("%s", log.String())
	}
}

func TestConversation(t *testing.T) {
	t.Parallel()
	k, _ := newKeeper(t, &bytes.Buffer{})
	previous := ""
	for i := range 5 {
		id := fmt.Sprintf("resp_%d", i)
		k.Keep(t.Context(), "prj_1", "ex", Turn{ID: id, Previous: previous, Input: []byte("[]"), Response: []byte("{}"), Items: []string{"msg_" + id}})
		previous = id
	}
	all, err := k.Conversation(t.Context(), "prj_1", "resp_3", 100)
	var ids []string
	for _, turn := range all {
		ids = append(ids, turn.ID)
	}
	if want := "[resp_0 resp_1 resp_2 resp_3]"; err != nil || fmt.Sprint(ids) != want {
		t.Errorf("%v, %v; want %s", ids, err, want)
	}
	if _, err := k.Conversation(t.Context(), "prj_1", "resp_4", 12); code(err) != fault.BodyTooLarge {
		t.Errorf("%v", err)
	}
	if _, err := k.Conversation(t.Context(), "prj_2", "resp_4", 100); code(err) != fault.ResponseNotFound {
		t.Errorf("%v", err)
	}
	of, err := k.Holders(t.Context(), "prj_1", []string{"msg_resp_2", "msg_none"}, 100)
	if err != nil || len(of) != 1 || of["msg_resp_2"].ID != "resp_2" {
		t.Errorf("%v, %v", of, err)
	}
	if of["msg_resp_2"].Input != nil {
		t.Error("what was asked is held without need")
	}
	_, err = k.Holders(t.Context(), "prj_1", []string{"msg_resp_2"}, 1)
	if f := fault.From(err); f.Code != fault.BodyTooLarge || f.Param != "input" {
		t.Errorf("%v", err)
	}
	if _, err := k.Holders(t.Context(), "prj_1", make([]string, mostItems+1), 100); code(err) != fault.InvalidRequest {
		t.Errorf("%v", err)
	}
	if err := k.Delete(t.Context(), "prj_1", "resp_1"); err != nil {
		t.Fatal(err)
	}
	_, err = k.Conversation(t.Context(), "prj_1", "resp_4", 100)
	if code(err) != fault.ResponseNotFound || !strings.Contains(err.Error(), "resp_2 goes on from resp_1") {
		t.Errorf("%v", err)
	}
	k.Keep(t.Context(), "prj_1", "ex", Turn{ID: "resp_round", Previous: "resp_round"})
	if _, err := k.Conversation(t.Context(), "prj_1", "resp_round", 100); code(err) != fault.BodyTooLarge {
		t.Errorf("one that goes on from itself: %v", err)
	}
}

// A packed turn is unpacked as it was; whatever else is given is no turn, and no panic.
func TestPack(t *testing.T) {
	t.Parallel()
	k, _ := newKeeper(t, &bytes.Buffer{})
	rapid.Check(t, func(t *rapid.T) {
		want := Turn{Previous: rapid.String().Draw(t, "previous"), Input: rapid.SliceOf(rapid.Byte()).Draw(t, "input"), Response: rapid.SliceOf(rapid.Byte()).Draw(t, "response")}
		packed := k.encoder.EncodeAll(want.pack(), []byte{format})
		got, err := unpack(packed)
		if err != nil || got.Previous != want.Previous || !bytes.Equal(got.Input, want.Input) || !bytes.Equal(got.Response, want.Response) {
			t.Fatalf("%+v, %v", got, err)
		}
		broken := rapid.SliceOf(rapid.Byte()).Draw(t, "broken")
		_, _ = unpack(broken)
		_, _ = unpack(k.encoder.EncodeAll(broken, []byte{format}))
	})
	if _, err := unpack([]byte{format + 1}); !errors.Is(err, errNewer) {
		t.Errorf("%v", err)
	}
}

// The purge goes from project to project until nothing is due, and leaves it to whoever has the lease.
func TestPurge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, m := newKeeper(t, &bytes.Buffer{})
		m.due["prj_1"], m.due["prj_2"] = 700, 3
		m.other = true
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(firstPurge + time.Second)
		synctest.Wait()
		m.mu.Lock()
		if m.due["prj_1"] != 700 {
			t.Errorf("purged without the lease: %v", m.due)
		}
		m.other = false
		m.mu.Unlock()
		time.Sleep(purge.Every + 5*time.Second)
		synctest.Wait()
		if n := testutil.ToFloat64(k.purged); n != 703 {
			t.Errorf("%v were purged", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
