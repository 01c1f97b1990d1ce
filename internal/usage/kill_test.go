package usage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/journal"
)

// victimDir names the variable that makes this test binary a victim: a process that records until it is killed.
const victimDir = "PENSTOCK_TEST_VICTIM"

// smallSegments make the victims cross, trim and leave unfinished as many files as possible.
var smallSegments = journal.Options{SegmentBytes: 16 << 10}

// victim records exchanges from four goroutines, into a journal and a store in dir, and says on stdout which of them it
// has acknowledged: whose last event came out.
func victim(dir string) {
	fail := func(err error) { fmt.Fprintln(os.Stderr, err); os.Exit(1) }
	j, err := journal.Open(filepath.Join(dir, "journal"), smallSegments)
	if err != nil {
		fail(err)
	}
	r, err := NewRecorder(j, Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		fail(err)
	}
	store, err := openFileStore(dir)
	if err != nil {
		fail(err)
	}
	w, err := NewWriter(r, store)
	if err != nil {
		fail(err)
	}
	go func() { fail(w.Run(context.Background())) }()
	handler := r.Stage()(answering(r, nil, stream()...))
	var out sync.Mutex
	for g := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("ex_%d_%d_%d", os.Getpid(), g, i)
				resp, err := handler(context.Background(), newExchange(id))
				if err != nil {
					fail(err)
				}
				if _, err := walk(resp, 0); err != nil {
					fail(err)
				}
				out.Lock()
				fmt.Println(id) // one write: the line is out, or it is not
				out.Unlock()
			}
		}()
	}
	select {}
}

// A fileStore is a store that outlives its process. A transaction is one line, written at once: a line that is not whole
// was not committed.
type fileStore struct {
	*fakeStore

	f *os.File
}

type transaction struct {
	Journal string
	UpTo    int64
	Records []*Record
}

func openFileStore(dir string) (*fileStore, error) {
	path := filepath.Join(dir, "store")
	content, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	s := &fileStore{fakeStore: newStore()}
	whole := 0
	for line := range bytes.Lines(content) {
		var t transaction
		if json.Unmarshal(line, &t) != nil || !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		whole += len(line)
		if err := s.fakeStore.AddRecords(context.Background(), t.Journal, t.UpTo, t.Records); err != nil {
			return nil, err
		}
	}
	if s.f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	if err := s.f.Truncate(int64(whole)); err != nil {
		return nil, err
	}
	_, err = s.f.Seek(0, 2)
	return s, err
}

func (s *fileStore) AddRecords(ctx context.Context, id string, upTo int64, records []*Record) error {
	line, err := json.Marshal(transaction{id, upTo, records})
	if err != nil {
		return err
	}
	if _, err := s.f.Write(append(line, '\n')); err != nil {
		return err
	}
	return s.fakeStore.AddRecords(ctx, id, upTo, records)
}

// TestKilledProcessesLoseNothing kills processes at random moments, one after the other over the same directory. Every
// exchange whose end came out is in the store with what it used; every other one that was sent is there as unknown.
func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for range rounds {
		before := len(acknowledged)
		killOne(t, dir, time.Duration(rand.IntN(150))*time.Millisecond, acknowledged)
		if len(acknowledged) == before {
			t.Fatal("the victim acknowledged nothing")
		}
	}
	store := settle(t, dir)
	t.Logf("%d exchanges acknowledged, %d in the store", len(acknowledged), len(store.records))
	for id := range acknowledged {
		rec := store.records[id]
		if rec == nil || rec.Replayed || rec.Status != 200 || rec.Usage != counted.Usage || rec.CostNano != 180_000 {
			t.Errorf("acknowledged exchange %s is in the store as %+v", id, rec)
		}
		if t.Failed() {
			break
		}
	}
	unknown := 0
	for id, rec := range store.records {
		if acknowledged[id] {
			continue
		}
		if rec.Replayed {
			unknown++
		}
	}
	// Four at most were under way in each process, or had their record and not yet their line.
	if more := len(store.records) - len(acknowledged); more > 4*rounds || unknown > 4*rounds {
		t.Errorf("%d records were never acknowledged, %d of them unknown", more, unknown)
	}
}

// killOne runs a victim, kills it some time after its first word, and notes what it acknowledged.
func killOne(t *testing.T, dir string, after time.Duration, acknowledged map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break // a half line was not said
		}
		if timer == nil {
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		acknowledged[strings.TrimSpace(line)] = true
	}
	_ = cmd.Wait() // killed
	if stderr.Len() > 0 {
		t.Fatalf("the victim failed by itself: %s", stderr.String())
	}
}

// settle starts the writer once more and lets it bring everything to the store.
func settle(t *testing.T, dir string) *fileStore {
	t.Helper()
	j, err := journal.Open(filepath.Join(dir, "journal"), smallSegments)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	store, err := openFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.f.Close()
	w := newBenchOver(t, j, Options{}).writer(t, store)
	stop := run(t, w)
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	return store
}
