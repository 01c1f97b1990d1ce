package bodies

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/purge"
)

// A purge goes batch by batch, rests between them, takes what each project's retention says, and leaves it to whoever has
// the lease.
func TestPurge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, DefaultConfig(), journal.Options{})
		now := time.Now()
		add := func(project string, age time.Duration, n int) {
			for range n {
				id, _ := pipeline.NewID(now.Add(-age))
				b.store.rows[project+" "+id] = Row{Project: project, Exchange: id}
			}
		}
		add("prj_day", 25*time.Hour, 601)
		add("prj_day", 23*time.Hour, 10)
		add("prj_year", 1000*time.Hour, 10)
		add("prj_none", time.Minute, 3)
		b.store.keep(Kept{"prj_day", 24 * time.Hour}, Kept{"prj_year", 9000 * time.Hour}, Kept{"prj_none", 0})
		p := NewPurger(b.Keeper, b.store, nil)
		b.store.holder = "another"
		if n, err := p.once(t.Context()); n != 0 || err != nil || len(b.store.purges) != 0 {
			t.Errorf("without the lease: %d, %v", n, err)
		}
		b.store.holder = ""
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(firstPurge + time.Second)
		synctest.Wait()
		if n, batches := b.store.left(); n != 20 {
			t.Errorf("%d rows are left, batches %v", n, batches)
		}
		if n := testutil.ToFloat64(b.m.purged); n != 604 {
			t.Errorf("%v were counted", n)
		}
		b.store.keep(Kept{"prj_day", time.Hour}) // a shorter retention holds for what is there
		time.Sleep(purge.Every + time.Second)
		synctest.Wait()
		if n, _ := b.store.left(); n != 10 {
			t.Errorf("%d rows are left", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
