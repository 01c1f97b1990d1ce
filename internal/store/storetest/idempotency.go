package storetest

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/idempotency"
	"github.com/penstock/penstock/internal/retention"
)

// onceDay is how long a key is known in these tests.
const onceDay = 24 * time.Hour

func keyRow(project, key, request, exchange string) idempotency.Row {
	return idempotency.Row{Project: project, Key: key, Request: request, Exchange: exchange}
}

func testKeysOnce(t *testing.T, s Store) {
	ctx := t.Context()
	claim := func(r idempotency.Row, lease, keep time.Duration, wantMine bool, want idempotency.Row) {
		t.Helper()
		is, mine, err := s.ClaimKey(ctx, r, lease, keep)
		must(t, err)
		if mine != wantMine {
			t.Errorf("%s: mine %v, want %v", r.Exchange, mine, wantMine)
		}
		if !wantMine {
			same(t, r.Exchange, is, want)
		}
	}
	busy := func(key string, want bool) {
		t.Helper()
		is, err := s.KeyBusy(ctx, "prj_1", key)
		must(t, err)
		same(t, key+" busy", is, want)
	}
	first := keyRow("prj_1", "k", "asked", "ex_1")
	claim(first, time.Minute, onceDay, true, idempotency.Row{})
	claim(keyRow("prj_1", "k", "other", "ex_2"), time.Minute, onceDay, false, first)
	claim(keyRow("prj_2", "k", "asked", "ex_3"), time.Minute, onceDay, true, idempotency.Row{}) // another project's is another key
	claim(keyRow("prj_1", "l", "asked", "ex_4"), -time.Second, onceDay, true, idempotency.Row{})
	lost := keyRow("prj_1", "l", "asked", "ex_4")
	lost.State = idempotency.Lost
	claim(keyRow("prj_1", "l", "asked", "ex_5"), time.Minute, onceDay, false, lost) // its lease is over: nobody runs it again
	busy("k", true)
	busy("l", false)
	busy("none", false)
	must(t, s.RenewKeys(ctx, nil, time.Minute))
	must(t, s.RenewKeys(ctx, []string{"ex_4", "ex_none"}, time.Minute)) // it was slow, and is there again
	busy("l", true)

	answered := first
	answered.State, answered.DataKey, answered.Sealed = idempotency.Answered, "00112233445566aa", []byte("sealed\x00\xff")
	must(t, s.SettleKey(ctx, keyRow("prj_1", "k", "", "ex_2"))) // has not the claim
	busy("k", true)
	must(t, s.SettleKey(ctx, answered))
	claim(keyRow("prj_1", "k", "asked", "ex_6"), time.Minute, onceDay, false, answered)
	again := answered
	again.Sealed = []byte("another")
	must(t, s.SettleKey(ctx, again)) // once
	must(t, s.ReturnKey(ctx, "prj_1", "k", "ex_1"))
	must(t, s.RenewKeys(ctx, []string{"ex_1"}, time.Minute))
	claim(keyRow("prj_1", "k", "asked", "ex_6"), time.Minute, onceDay, false, answered)
	busy("k", false)

	must(t, s.ReturnKey(ctx, "prj_1", "l", "ex_5")) // has not the claim
	busy("l", true)
	must(t, s.ReturnKey(ctx, "prj_1", "l", "ex_4"))
	busy("l", false)
	claim(keyRow("prj_1", "l", "other", "ex_7"), time.Minute, onceDay, true, idempotency.Row{})
	must(t, s.SettleKey(ctx, idempotency.Row{Project: "prj_1", Key: "l", Exchange: "ex_7", State: idempotency.Lost}))
	lost.Exchange, lost.Request = "ex_7", "other"
	claim(keyRow("prj_1", "l", "other", "ex_8"), time.Minute, onceDay, false, lost)

	counts, err := s.SealedBodies(ctx)
	must(t, err)
	same(t, "sealed", counts, map[string]int64{"00112233445566aa": 1})
	claim(keyRow("prj_1", "k", "other", "ex_9"), time.Minute, -time.Hour, true, idempotency.Row{}) // the first one's day is over
	claim(keyRow("prj_1", "k", "other", "ex_10"), time.Minute, onceDay, false, keyRow("prj_1", "k", "other", "ex_9"))
	must(t, s.SettleKey(ctx, keyRow("prj_1", "k", "asked", "ex_1"))) // and its exchange has no say any more
	busy("k", true)
	counts, err = s.SealedBodies(ctx)
	must(t, err)
	same(t, "sealed", counts, map[string]int64{"00112233445566aa": 1}) // until it is purged
}

// testKeysAtOnce is that of any number who claim a key at once, one has it, also while it is given back and claimed again.
func testKeysAtOnce(t *testing.T, s Store) {
	ctx := t.Context()
	for round := range 5 {
		key := fmt.Sprint("k", round)
		var have, most, claims atomic.Int64
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				id := fmt.Sprintf("ex_%d_%d", round, i)
				for range 3 {
					_, mine, err := s.ClaimKey(ctx, keyRow("prj_1", key, "asked", id), time.Minute, onceDay)
					if err != nil {
						t.Error(err)
						return
					}
					if !mine {
						continue
					}
					claims.Add(1)
					atLeast(&most, have.Add(1))
					if round%2 == 0 {
						return // it runs on
					}
					runtime.Gosched() // so that others ask while it has the key
					have.Add(-1)
					if err := s.ReturnKey(ctx, "prj_1", key, id); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if n := claims.Load(); most.Load() > 1 || n < 1 || round%2 == 0 && n != 1 {
			t.Errorf("round %d: claimed %d times, by %d at once", round, n, most.Load())
		}
	}
}

// atLeast makes a number n if it is less.
func atLeast(number *atomic.Int64, n int64) {
	for {
		if is := number.Load(); is >= n || number.CompareAndSwap(is, n) {
			return
		}
	}
}

func testPurgeKeysOnce(t *testing.T, s Store) {
	ctx := audit.As(t.Context(), audit.Actor{Key: "key_1", Role: "auditor"})
	must(t, s.CreateProject(ctx, project("prj_here", "default", "here")))
	must(t, s.CreateProject(ctx, project("prj_held", "default", "held")))
	for i := range 20 {
		for _, p := range []string{"prj_here", "prj_held", "prj_gone"} {
			_, mine, err := s.ClaimKey(ctx, keyRow(p, fmt.Sprintf("k%02d", i), "asked", fmt.Sprintf("ex_%s_%d", p, i)), time.Minute, onceDay)
			must(t, err)
			same(t, "mine", mine, true)
		}
	}
	must(t, s.MakeHold(ctx, retention.Hold{ID: "hold_1", Project: "prj_held", Reason: "case", Since: day}, 10))
	all, err := s.KeyProjects(ctx)
	must(t, err)
	same(t, "projects", all, []string{"prj_gone", "prj_held", "prj_here"})
	purge := func(holder, project string, keep time.Duration, limit, want int, wantMine bool) {
		t.Helper()
		n, mine, err := s.PurgeKeys(ctx, holder, project, keep, limit)
		must(t, err)
		if n != want || mine != wantMine {
			t.Errorf("%s: %d deleted (mine: %v), want %d (%v)", project, n, mine, want, wantMine)
		}
	}
	purge("a", "prj_here", onceDay, 100, 0, true)
	purge("b", "prj_here", -time.Hour, 100, 0, false) // a has the lease
	purge("a", "prj_here", -time.Hour, 7, 7, true)    // the oldest
	is, mine, err := s.ClaimKey(ctx, keyRow("prj_here", "k07", "asked", "ex_x"), time.Minute, onceDay)
	must(t, err)
	same(t, "the eighth", is.Exchange, "ex_prj_here_7")
	same(t, "mine", mine, false)
	purge("a", "prj_here", -time.Hour, 100, 13, true)
	purge("a", "prj_held", -time.Hour, 100, 0, true)
	purge("a", "prj_gone", onceDay, 100, 20, true)
	_, mine, err = s.ClaimKey(ctx, keyRow("prj_held", "k01", "asked", "ex_y"), time.Minute, -time.Hour) // is over, and free
	must(t, err)
	same(t, "mine", mine, true)
}
