package limit

import (
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/llm"
)

// TestPercentOf: also of a budget of a few tokens, and of one so large that a hundred times it does not fit into 64 bits.
func TestPercentOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		used, amount int64
		want         int
	}{{50, 50, 100}, {49, 50, 98}, {50, 150, 33}, {0, 1, 0}, {1, 0, 0}, {-5, 10, 0}, {MaxAmount, MaxAmount, 100}, {math.MaxInt64, 1, 1000}} {
		if got := percentOf(test.used, test.amount); got != test.want {
			t.Errorf("%d of %d is %d%%, want %d%%", test.used, test.amount, got, test.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		used, amount := rapid.Int64Range(0, math.MaxInt64).Draw(t, "used"), rapid.Int64Range(1, MaxAmount).Draw(t, "amount")
		want := new(big.Int).Mul(big.NewInt(used), big.NewInt(100))
		want.Div(want, big.NewInt(amount))
		if want.Cmp(big.NewInt(1000)) > 0 {
			want.SetInt64(1000)
		}
		if got := percentOf(used, amount); int64(got) != want.Int64() {
			t.Fatalf("%d of %d is %d%%, want %s%%", used, amount, got, want)
		}
	})
}

// TestNoticesOfRefusals: a budget is spent when it is, and not because what is kept for others is missing to a call, or a call was large.
func TestNoticesOfRefusals(t *testing.T) {
	t.Parallel()
	budget := daily(TokenCount, 1000, func(b *Budget) { b.Kept = []Kept{{"vip", 40}} })
	b := onBench(t, Definitions{Budgets: []Budget{budget}})
	now, day := noon, noon.Add(-12*time.Hour)
	b.o.Now = func() time.Time { return now }
	call := func(bytes int, tags ...string) error {
		return errorOf(b.call(exchange(llm.OpEmbeddings, bytes, tags...), target, int64(bytes)+64, 0))
	}
	shares := func() (list []int, why string) {
		whole := b.o.Bank.Pool(escrow.Key{Rule: budget.ID, Start: day.UnixMicro()}, escrow.Terms{Limit: budget.Amount})
		used, _ := whole.Used()
		b.Changed(escrow.Key{Rule: budget.ID, Start: day.UnixMicro()}, escrow.State{Settled: used})
		for _, n := range b.Notices(now) {
			list = append(list, n.Share)
			why += n.Refused
		}
		return list, why
	}
	refused(t, call(900)) // too large for what is not kept
	if got, why := shares(); !slices.Equal(got, []int{100}) || !strings.Contains(why, "964 tokens") || !strings.Contains(why, "600 tokens were free for calls without the tag vip") {
		t.Errorf("%d %q", got, why)
	}
	if now = noon.Add(refusedFor); len(b.Notices(now)) != 0 {
		t.Errorf("a large call is told of for longer than %v: %+v", refusedFor, b.Notices(now))
	}
	for range 3 {
		if err := call(136); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, call(136))
	now = now.Add(time.Hour) // it lasts: these have nothing more until midnight
	got, why := shares()
	if n := b.Notices(now); !slices.Equal(got, []int{50, 100}) || !strings.Contains(why, "0 tokens of 600 tokens were free") || n[0].Used != 60 {
		t.Errorf("%d %q: %+v", got, why, n)
	}
	for range 2 {
		if err := call(136, "vip"); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := shares(); !slices.Equal(got, []int{50, 80, 90, 100}) {
		t.Errorf("%d", got)
	}
	if now = noon.Add(12 * time.Hour); len(b.Notices(now)) != 0 {
		t.Error("the next day it is still told of")
	}
}
