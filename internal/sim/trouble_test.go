package sim_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/sim/simtest"
)

func TestTroubleIsForAShareOfTheCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	if err := b.sim.Trouble("default", simtest.Model, []sim.Fault{{Share: 0.25, Do: "status=503"}, {Share: 0.25, Do: "status=500"}}, time.Hour); err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	const calls = 400
	for range calls {
		seen[b.chat("", false).status]++
	}
	for status, share := range map[int]float64{503: 0.25, 500: 0.25, 200: 0.5} {
		if n := float64(seen[status]); n < calls*(share-0.1) || n > calls*(share+0.1) {
			t.Errorf("%d calls of %d were answered %d (seed %d)", seen[status], calls, status, b.bill().Seed)
		}
	}
	b.sim.Reset()
	if got := b.chat("", false).status; got != 200 {
		t.Errorf("after Reset: %d", got)
	}
}
