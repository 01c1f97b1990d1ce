package catalog

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

func TestRates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text     string
		perToken bool
		want     llm.Rate
		err      error
	}{
		{"0.15", false, 150_000, nil},
		{"15", false, 15_000_000, nil},
		{"1.5e-07", true, 150_000, nil},
		{"1.5E-7", true, 150_000, nil},
		{"0.00000015", true, 150_000, nil},
		{"1e+0", false, 1_000_000, nil},
		{"0", false, 0, nil},
		{"-0", false, 0, nil},
		{"0.000", true, 0, nil},
		{"0.0028", false, 2800, nil},
		{"0.049999999999999996", false, 50_000, nil},   // a float's noise
		{"1.4999999999999998e-07", true, 150_000, nil}, // below ...
		{"1.5000000000000002e-07", true, 150_000, nil}, // ... and above
		{"0.0000001", false, 1, nil},                   // finer than a pico-dollar: up
		{"8.3333e-08", true, 83_333, nil},
		{"8.33333e-08", true, 83_334, nil},
		{"10000", false, MaxRate, nil},
		{"0.01", true, MaxRate, nil},
		{"10000.000001", false, 0, errTooDear},
		{"0.15", true, 0, errTooDear}, // per million where per token was asked for
		{"1e308", false, 0, errTooDear},
		{"1e999999999", false, 0, errTooDear},
		{"1e99999999999999999999", false, 0, errTooDear},
		{"1e-308", true, 0, nil},
		{"1e-99999999999999999999", true, 0, errNotNumber},
		{"-0.15", false, 0, errNegative},
		{"-1e308", false, 0, errNegative},
		{"", false, 0, errNotNumber},
		{"NaN", false, 0, errNotNumber},
		{"Infinity", false, 0, errNotNumber},
		{"1.", false, 0, errNotNumber},
		{".5", false, 0, errNotNumber},
		{"1.2.3", false, 0, errNotNumber},
		{"0x10", false, 0, errNotNumber},
		{"1_000", false, 0, errNotNumber},
		{"+1", false, 0, errNotNumber},
		{"--1", false, 0, errNotNumber},
		{"1e", false, 0, errNotNumber},
		{"1e1.5", false, 0, errNotNumber},
		{"١٫٥", false, 0, errNotNumber},
		{strings.Repeat("1", 65), false, 0, errNotNumber},
	} {
		read := RatePerMillion
		if c.perToken {
			read = RatePerToken
		}
		got, err := read(c.text)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q (per token: %t) is %d, %v; want %d, %v", c.text, c.perToken, got, err, c.want, c.err)
		}
	}
}

// Against exact fractions: never lower than the text says but for the noise, and less than a pico-dollar higher.
func TestRatesAreExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{1,5}(\.[0-9]{1,15})?(e-[0-9])?`).Draw(t, "text")
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q is no number", text)
		}
		exact.Mul(exact, big.NewRat(1_000_000, 1))
		got, err := RatePerMillion(text)
		if exact.Cmp(big.NewRat(int64(MaxRate), 1)) > 0 {
			// The noise may lie on the border itself.
			if err == nil && got != MaxRate {
				t.Fatalf("%q was taken as %d", text, got)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		excess := new(big.Rat).Sub(big.NewRat(int64(got), 1), exact)
		if excess.Cmp(big.NewRat(-1, 1_000_000)) < 0 || excess.Cmp(big.NewRat(1, 1)) >= 0 {
			t.Fatalf("%q is %d pico-dollars, which is %s off", text, got, excess.FloatString(9))
		}
	})
}

// A step's price holds for all of the call, as a naive sum says.
func TestCostProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Map(rapid.Int64Range(0, int64(MaxRate)), func(n int64) llm.Rate { return llm.Rate(n) })
		tokens := rapid.Int64Range(0, 2_000_000)
		base := llm.Price{Input: rate.Draw(t, "in"), Output: rate.Draw(t, "out")}
		base.CachedInput, base.CacheWrite = rate.Draw(t, "cached"), rate.Draw(t, "write")
		long := NewPrice(rate.Draw(t, "long in"), rate.Draw(t, "long out"), nil, nil)
		base.Long, base.LongOver = &long, tokens.Draw(t, "over")
		u := llm.Usage{Input: tokens.Draw(t, "input"), Output: tokens.Draw(t, "output")}
		u.CachedInput = rapid.Int64Range(0, u.Input).Draw(t, "cached tokens")
		u.CacheWrite = rapid.Int64Range(0, u.Input-u.CachedInput).Draw(t, "written tokens")

		p := base
		if u.Input > base.LongOver {
			p = long
		}
		sum := new(big.Int)
		for _, part := range [][2]int64{
			{u.Input - u.CachedInput - u.CacheWrite, int64(p.Input)}, {u.CachedInput, int64(p.CachedInput)},
			{u.CacheWrite, int64(p.CacheWrite)}, {u.Output, int64(p.Output)},
		} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(part[0]), big.NewInt(part[1])))
		}
		want := sum.Add(sum, big.NewInt(999)).Div(sum, big.NewInt(1000)).Int64()
		if got := base.Cost(u); int64(got) != want {
			t.Fatalf("%+v at %+v costs %d, want %d", u, base, got, want)
		}
	})
}

func FuzzRates(f *testing.F) {
	for _, s := range []string{"0.15", "1.5e-07", "-1", "NaN", "1e308", "0.049999999999999996", "", "1e", "00.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, read := range []func(string) (llm.Rate, error){RatePerMillion, RatePerToken} {
			if r, err := read(text); r < 0 || r > MaxRate || err != nil && r != 0 {
				t.Errorf("%q is %d, %v", text, r, err)
			}
		}
	})
}
