//go:build unix

package store

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/usage"
)

// childSums writes exchanges and sums them up, and says what it does, until it is killed: "wrote N" when N exchanges are there,
// "sums" before it sums up and "summed" behind.
func childSums() {
	s, err := Open(context.Background(), os.Getenv("PENSTOCK_STORE_PATH"), Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.atOnce, s.refill = killedAtOnce, killedAtOnce
	from, err := s.ReadUpTo(context.Background(), "j")
	if err != nil {
		fmt.Println(err)
		return
	}
	var written atomic.Int64
	go func() {
		tick := time.NewTicker(time.Millisecond)
		summed := int64(0)
		for range tick.C {
			if written.Load() < summed+killedAtOnce {
				continue
			}
			for more := true; more; {
				fmt.Println("sums")
				var behind int64
				if behind, more, err = s.SumUp(context.Background()); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				fmt.Println("summed")
				summed = written.Load() - behind
			}
		}
	}()
	for n := int(from); ; n += killedBatch {
		if err := s.AddRecords(context.Background(), "j", int64(n+killedBatch), parted(n, killedBatch)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		written.Store(int64(n + killedBatch))
		fmt.Println("wrote", n+killedBatch)
	}
}

const (
	killedBatch  = 250  // exchanges in a transaction
	killedAtOnce = 2000 // that are summed in one
)

// TestSumsSurviveKills kills processes while they write and sum up, most of them in the middle of a transaction that sums.
// Whatever was said to be written is there, once, and the sums of every level are those of the exchanges. With PENSTOCK_SLOW=1
// these are a million exchanges and 50 kills on each engine.
func TestSumsSurviveKills(t *testing.T) {
	kills, exchanges := 4, 12_000
	if os.Getenv("PENSTOCK_SLOW") != "" {
		kills, exchanges = 50, 1_000_000
	} else {
		t.Parallel()
	}
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_KILLED_N")); err == nil {
		exchanges = n
	}
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			k := &killed{address: address(t), rand: rand.New(rand.NewPCG(11, 48)), want: map[string]map[string]usage.Sum{}}
			began := time.Now()
			for i := range kills {
				k.round(t, int64(exchanges*(i+1)/kills))
				if i%8 == 3 {
					k.later(t)
				}
				if i%8 == 5 {
					k.check(t)
				}
			}
			k.check(t)
			t.Logf("%d exchanges, %d processes killed, %d of them while they summed up, in %v", k.said, kills, k.amid, time.Since(began).Round(time.Second))
			if k.amid < kills/4 {
				t.Errorf("only %d of %d were killed while they summed up: this test tests little", k.amid, kills)
			}
		})
	}
}

type killed struct {
	address string
	rand    *rand.Rand
	said    int64 // exchanges that were said to be written
	amid    int   // kills in the middle of summing

	counted int // exchanges that are in want
	want    map[string]map[string]usage.Sum
}

// round runs a process until it has written up to so many, and kills it: in three of four rounds after it has begun to sum.
func (k *killed) round(t *testing.T, upTo int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"=sum", "PENSTOCK_STORE_PATH="+k.address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	amid, sums := k.rand.IntN(4) > 0, false
	delay := time.Duration(k.rand.IntN(25_000)) * time.Microsecond
	if amid {
		delay /= 4
	}
	var timer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, n, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "wrote":
			if k.said, err = strconv.ParseInt(n, 10, 64); err != nil {
				t.Error(err)
			}
		case "sums", "summed":
			sums = what == "sums"
		default:
			t.Errorf("the process says: %s", lines.Text())
		}
		if timer == nil && k.said >= upTo && (!amid || what == "sums") {
			timer = time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // killed
	if sums {
		k.amid++
	}
	if t.Failed() {
		t.FailNow()
	}
}

func (k *killed) open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), k.address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// later leaves the store as a migration does that brings levels.
func (k *killed) later(t *testing.T) {
	t.Helper()
	s := k.open(t)
	defer s.Close()
	for _, query := range slices.Concat(asMigrated, asWithoutExtras) {
		if _, err := s.write.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
}

// check compares what is in the store with what was written, by exchanges and by sums of all kinds.
func (k *killed) check(t *testing.T) {
	t.Helper()
	s := k.open(t)
	defer s.Close()
	upTo, err := s.ReadUpTo(t.Context(), "j")
	if err != nil || upTo < k.said {
		t.Fatalf("%d exchanges were said to be written, and the store is at %d, %v", k.said, upTo, err)
	}
	s.atOnce, s.refill = killedAtOnce, 20*killedAtOnce
	for round := range 2 {
		c, err := s.Check(t.Context())
		if err != nil || c.Exchanges != upTo {
			t.Fatalf("%+v, %v; want %d exchanges", c, err, upTo)
		}
		if round == 1 && upTo-c.Summed >= killedAtOnce {
			t.Errorf("%d exchanges are not summed up", upTo-c.Summed)
		}
		k.compare(t, s, int(upTo))
		for more := true; more; {
			if _, more, err = s.SumUp(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// compare holds the store's sums against those of the exchanges as they were sent, each way of telling them apart.
func (k *killed) compare(t *testing.T, s *Store, n int) {
	t.Helper()
	var gaps int
	if err := s.row(t.Context(), "SELECT (SELECT COUNT(*) FROM exchange_gaps) + (SELECT COUNT(*) FROM ledger_state WHERE extras = 0)").Scan(&gaps); err != nil {
		t.Fatal(err)
	}
	for ; k.counted < n; k.counted++ {
		r := parted(k.counted, 1)[0]
		for by, names := range waysToSum {
			for _, name := range names(r) {
				w := k.want[by][name]
				w.Requests, w.CostNano, w.Usage = w.Requests+1, w.CostNano+r.CostNano, w.Usage.Add(r.Usage)
				if r.Error != nil {
					w.Errors++
				}
				if k.want[by] == nil {
					k.want[by] = map[string]usage.Sum{}
				}
				k.want[by][name] = w
			}
		}
	}
	for by := range waysToSum {
		sums, err := s.Sums(t.Context(), usage.Query{By: []string{by}})
		if err != nil {
			t.Fatal(err)
		}
		got, want := map[string]usage.Sum{}, maps.Clone(k.want[by])
		for _, sum := range sums {
			name := sum.Group[by]
			sum.Group = nil
			got[name] = sum
			if w := want[name]; gaps > 0 { // parts of these are still to come
				w.Usage.Parts = sum.Usage.Parts
				want[name] = w
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("by %s (- wanted, + got):\n%s", by, d)
		}
	}
}

// waysToSum are columns, and what an exchange is summed under.
var waysToSum = map[string]func(*usage.Record) []string{
	"project": func(r *usage.Record) []string { return []string{r.Project} },
	"model":   func(r *usage.Record) []string { return []string{r.Model} },
	"user":    func(r *usage.Record) []string { return []string{r.User} },
	"tag": func(r *usage.Record) []string {
		if len(r.Tags) == 0 {
			return []string{""}
		}
		return r.Tags
	},
	"hour": func(r *usage.Record) []string { return []string{r.Time.UTC().Truncate(time.Hour).Format(time.RFC3339)} },
}
