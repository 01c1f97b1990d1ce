package limit

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
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
