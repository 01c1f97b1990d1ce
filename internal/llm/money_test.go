package llm

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSumsSaturate(t *testing.T) {
	t.Parallel()
	most, least := Money(math.MaxInt64), Money(math.MinInt64)
	for _, tt := range []struct{ a, b, want Money }{
		{1, 2, 3}, {5, -7, -2}, {0, 0, 0}, {most, 0, most}, {most, 1, most}, {most, most, most}, {most - 1, 1, most},
		{least, -1, least}, {least, least, least}, {least, most, -1}, {least + 1, -1, least},
	} {
		if got := tt.a.Plus(tt.b); got != tt.want {
			t.Errorf("%d and %d are %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := tt.b.Plus(tt.a); got != tt.want {
			t.Errorf("%d and %d are %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
	huge := Usage{Input: math.MaxInt64, Output: math.MaxInt64, CachedInput: math.MaxInt64, CacheWrite: math.MaxInt64, Reasoning: math.MaxInt64}
	if got := huge.Add(Usage{Input: 1, Output: 2, CachedInput: 3, CacheWrite: 4, Reasoning: 5}); got != huge {
		t.Errorf("a huge usage and a small one are %+v", got)
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	price := Price{Input: 150_000, CachedInput: 75_000, CacheWrite: 187_500, Output: 600_000} // $0.15, 0.075, 0.1875, 0.60
	long := Price{Input: 1000, Output: 1_000_000, LongOver: 200, Long: &Price{Input: 20_000, Output: 100_000, LongOver: 1000, Long: &Price{Input: 1}}}
	tests := map[string]struct {
		price Price
		usage Usage
		want  Money
	}{
		"nothing":                       {price, Usage{}, 0},
		"a million in":                  {price, Usage{Input: 1_000_000}, 150_000_000},
		"a million out":                 {price, Usage{Output: 1_000_000}, 600_000_000},
		"cached ones are part of input": {price, Usage{Input: 1_000_000, CachedInput: 600_000, CacheWrite: 400_000}, 120_000_000},
		"reasoning is part of output":   {price, Usage{Output: 10, Reasoning: 10}, 6_000},
		"rounded up":                    {Price{Input: 1}, Usage{Input: 1}, 1},
		"exactly one":                   {Price{Input: 1}, Usage{Input: 1000}, 1},
		"rounded up once, not by part":  {Price{Input: 1, CachedInput: 1, CacheWrite: 1, Output: 1}, Usage{Input: 3, CachedInput: 1, CacheWrite: 1, Output: 1}, 1},
		"just over":                     {Price{Input: 1}, Usage{Input: 1001}, 2},
		"free":                          {Price{}, Usage{Input: 5, Output: 5}, 0},
		"more cached than input":        {price, Usage{Input: 1, CachedInput: 1_000_000}, 75_000_000},
		"negative counts are nothing":   {price, Usage{Input: -5, Output: -5, CachedInput: -1}, 0},
		"saturates":                     {Price{Input: math.MaxInt64}, Usage{Input: math.MaxInt64}, math.MaxInt64},
		"saturates over all parts": {
			Price{Input: math.MaxInt64, CachedInput: math.MaxInt64, CacheWrite: math.MaxInt64, Output: math.MaxInt64},
			Usage{Input: math.MaxInt64, CachedInput: math.MaxInt64 / 2, CacheWrite: math.MaxInt64 / 2, Output: math.MaxInt64},
			math.MaxInt64,
		},
		"at the length limit":     {long, Usage{Input: 200, CachedInput: 100, Output: 1}, 1100},
		"over the length limit":   {long, Usage{Input: 201, CachedInput: 100, Output: 1}, 2120},
		"over the next one":       {long, Usage{Input: 1001}, 2},
		"length is that of input": {long, Usage{Output: 5000}, 5_000_000},
		"just beyond 64 bits":     {Price{Output: 2001}, Usage{Output: math.MaxInt64}, math.MaxInt64},
		"largest that fits":       {Price{Output: 1000}, Usage{Output: math.MaxInt64}, math.MaxInt64},
	}
	for name, tt := range tests {
		if got := tt.price.Cost(tt.usage); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestCostAgainstBigNumbers: over all inputs, overflow included, the cost is the exact sum, rounded up once, capped.
func TestCostAgainstBigNumbers(t *testing.T) {
	t.Parallel()
	number := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(0, 1<<40), rapid.Int64Range(0, math.MaxInt64))
	rapid.Check(t, func(t *rapid.T) {
		p := Price{
			Input: Rate(number.Draw(t, "in")), CachedInput: Rate(number.Draw(t, "cached")),
			CacheWrite: Rate(number.Draw(t, "write")), Output: Rate(number.Draw(t, "out")),
		}
		u := Usage{Input: number.Draw(t, "input"), Output: number.Draw(t, "output")}
		u.CachedInput = rapid.Int64Range(0, u.Input).Draw(t, "cached input")
		u.CacheWrite = rapid.Int64Range(0, u.Input-u.CachedInput).Draw(t, "written")

		sum := new(big.Int)
		for _, part := range [][2]int64{
			{u.Input - u.CachedInput - u.CacheWrite, int64(p.Input)}, {u.CachedInput, int64(p.CachedInput)},
			{u.CacheWrite, int64(p.CacheWrite)}, {u.Output, int64(p.Output)},
		} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(part[0]), big.NewInt(part[1])))
		}
		sum.Add(sum, big.NewInt(999)).Div(sum, big.NewInt(1000))
		want := Money(math.MaxInt64)
		if sum.IsInt64() {
			want = Money(sum.Int64())
		}
		if got := p.Cost(u); got != want {
			t.Fatalf("%+v at %+v: %d, want %d", u, p, got, want)
		}
	})
}

// TestCostIsMonotone: more tokens never cost less.
func TestCostIsMonotone(t *testing.T) {
	t.Parallel()
	n := rapid.Int64Range(0, 1<<50)
	rapid.Check(t, func(t *rapid.T) {
		p := Price{Input: Rate(n.Draw(t, "in")), Output: Rate(n.Draw(t, "out"))}
		u := Usage{Input: n.Draw(t, "input"), Output: n.Draw(t, "output")}
		more := u.Add(Usage{Input: n.Draw(t, "more in"), Output: n.Draw(t, "more out")})
		if p.Cost(more) < p.Cost(u) {
			t.Fatalf("%+v costs %d, %+v costs %d", u, p.Cost(u), more, p.Cost(more))
		}
	})
}

func TestMoneyText(t *testing.T) {
	t.Parallel()
	for m, want := range map[Money]string{
		0: "0", 1: "0.000000001", Dollar: "1", 3_140_000: "0.00314", -Dollar / 2: "-0.5", 12 * Dollar: "12",
		math.MaxInt64: "9223372036.854775807", math.MinInt64: "-9223372036.854775808",
	} {
		if got := m.String(); got != want {
			t.Errorf("%d: %s, want %s", int64(m), got, want)
		}
	}
	for r, want := range map[Rate]string{0: "0", perMillion: "1", 150_000: "0.15", 1: "0.000001"} {
		if got := r.PerMillion(); got != want {
			t.Errorf("%d: %s, want %s", int64(r), got, want)
		}
	}
}

func TestMoneyRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, math.MaxInt64).Draw(t, "n")
		if m, err := ParseMoney(Money(n).String()); err != nil || m != Money(n) {
			t.Fatalf("%s came back as %d, %v", Money(n), m, err)
		}
		if r, err := ParseRate(Rate(n).PerMillion()); err != nil || r != Rate(n) {
			t.Fatalf("%s came back as %d, %v", Rate(n).PerMillion(), r, err)
		}
	})
}

func TestParseMoneyRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "0x1", "1.0000000001", "NaN", "9223372036.854775808", strings.Repeat("9", 100)} {
		if m, err := ParseMoney(s); err == nil {
			t.Errorf("%q: %d", s, m)
		}
	}
	if r, err := ParseRate("0.0000001"); err == nil {
		t.Errorf("seven decimals of a rate: %d", r)
	}
}

func TestUsageAdd(t *testing.T) {
	t.Parallel()
	got := Usage{Input: 1, Output: 2, CachedInput: 3, CacheWrite: 4, Reasoning: 5}.Add(Usage{Input: 10, Output: 20, CachedInput: 30, CacheWrite: 40, Reasoning: 50, Estimated: true})
	if want := (Usage{Input: 11, Output: 22, CachedInput: 33, CacheWrite: 44, Reasoning: 55, Estimated: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func BenchmarkCost(b *testing.B) {
	p, u := Price{Input: 150_000, CachedInput: 75_000, Output: 600_000}, Usage{Input: 1200, CachedInput: 1000, Output: 300}
	b.ReportAllocs()
	for b.Loop() {
		p.Cost(u)
	}
}

// TestAnHourInTheCache: a million tokens that cost 3 dollars anew cost 3.75 to cache for minutes and 6 for an hour.
func TestAnHourInTheCache(t *testing.T) {
	t.Parallel()
	const m = 1_000_000
	p := Price{Input: 3 * m, CachedInput: 300_000, CacheWrite: 3_750_000, Output: 15 * m}
	p.LongOver, p.Long = m, &Price{Input: 6 * m, CacheWrite: 7_500_000}
	hour := p
	hour.May.Hour = true
	if got := hour.Cost(Usage{Input: m, CacheWrite: m}); got != 6*Dollar || hour.Most(m, 0) != got {
		t.Errorf("%v, at most %v", got, hour.Most(m, 0))
	}
	if got := hour.Cost(Usage{Input: 2 * m, CacheWrite: 2 * m}); got != 24*Dollar || p.Long.CacheWrite != 7_500_000 {
		t.Errorf("%v of a long prompt; the price itself is %+v", got, p.Long)
	}
	if got := (&Price{CacheWrite: math.MaxInt64}).hour(); got != math.MaxInt64 {
		t.Errorf("%d", got)
	}
	if got := (&Price{CacheWrite: 1250, Input: 1000, CacheWriteHour: 2100}).hour(); got != 2100 {
		t.Errorf("the rate that was set: %d", got)
	}
}

// TestWhatEachCallCosts: it is beside the tokens, once, however long, dear or regional those are, and none of usage alone.
func TestWhatEachCallCosts(t *testing.T) {
	t.Parallel()
	p := Price{Input: 3 * perMillion, Output: 3 * perMillion, Call: 5_000_000, LongOver: 10, Long: &Price{Input: 6 * perMillion, Output: 6 * perMillion, Call: 1}}
	u := Usage{Input: 100, Output: 100}
	if got := p.ForCall(u); got != 1_200_000+5_000_000 || p.Cost(u) != 1_200_000 || p.Most(100, 100) != got {
		t.Errorf("%d, of tokens %d, at most %d", got, p.Cost(u), p.Most(100, 100))
	}
	if got := p.Times(110, 100).ForCall(u); got != 1_320_000+5_000_000 {
		t.Errorf("in a region: %d", got)
	}
	p.Served = &Served{Tiers: []TierPrice{{Tier: "priority", May: true, Price: Price{Call: 9_000_000}}}}
	if got := p.Most(100, 100); got != 9_000_000 {
		t.Errorf("at most %d", got)
	}
	if p.Call = math.MaxInt64; p.ForCall(u) != math.MaxInt64 || p.Most(1, 1) != math.MaxInt64 {
		t.Error("the sum wraps around")
	}
}

// TestParts: what a usage tells apart costs its own rate, or else that of what it is a part of; numbers that contradict each other are
// never counted twice.
func TestParts(t *testing.T) {
	t.Parallel()
	p := Price{
		Input: 10, CachedInput: 1, CacheWrite: 12, Output: 50, CacheWriteHour: 20, InputAudio: 320, CachedAudio: 4, OutputAudio: 640, OutputImage: 300,
		Search: 10_000_000, Call: 7,
	}
	usage := func(parts Parts) Usage {
		return Usage{Input: 10_000, CachedInput: 1000, CacheWrite: 2000, Output: 5000, Reasoning: 1000, Parts: parts}
	}
	const whole = 7*10 + 1 + 2*12 + 5*50 // nano-dollars a thousand pico-dollars
	for name, c := range map[string]struct {
		parts Parts
		want  Money
	}{
		"none":                   {Parts{}, whole},
		"an hour":                {Parts{CacheWriteHour: 500, CacheWriteMinutes: 1500}, whole + 4},
		"an hour of more":        {Parts{CacheWriteHour: 5000, CacheWriteMinutes: 5000}, whole + 16},
		"sound":                  {Parts{InputAudio: 3000, CachedAudio: 1000, OutputAudio: 2000}, whole + 2*310 + 3 + 2*590},
		"more sound than prompt": {Parts{InputAudio: 1 << 40, OutputAudio: 1 << 40}, whole + 7*310 + 5*590},
		"sound below nothing":    {Parts{InputAudio: -5, CachedAudio: -9, OutputAudio: -1}, whole},
		"pictures":               {Parts{OutputAudio: 1000, OutputImage: 4000}, whole + 590 + 4*250},
		"searches":               {Parts{Searches: 3}, whole},
	} {
		u := usage(c.parts)
		if got := p.Cost(u); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if got, fees := p.ForCall(u), Money(7+10_000_000*max(c.parts.Searches, 0)); got != c.want+fees {
			t.Errorf("%s: with fees %d, want %d", name, got, c.want+fees)
		}
		plain := Price{Input: 10, CachedInput: 1, CacheWrite: 12, Output: 50, CacheWriteHour: 12}
		if got := plain.ForCall(u); got != whole {
			t.Errorf("%s, without rates of their own: %d, want %d", name, got, whole)
		}
	}
	if p.Search = math.MaxInt64; p.ForCall(usage(Parts{Searches: 2})) != math.MaxInt64 {
		t.Error("fees wrap around")
	}
	if p.Search = Money(Nothing); p.Fees(usage(Parts{Searches: 2})) != 7 {
		t.Error("searches that cost nothing cost something")
	}
}

// TestMostBoundsParts: whatever a call uses that it may use, and however it is served and long it is, it costs no more than its bound.
func TestMostBoundsParts(t *testing.T) {
	t.Parallel()
	rate := rapid.Custom(func(t *rapid.T) Rate { return Rate(rapid.Int64Range(-1, 50).Draw(t, "rate")) })
	price := rapid.Custom(func(t *rapid.T) Price {
		r := func() Rate { return rate.Draw(t, "r") }
		return Price{
			Input: max(r(), 0), CachedInput: max(r(), 0), CacheWrite: max(r(), 0), Output: max(r(), 0), CacheWriteHour: r(), InputAudio: r(),
			CachedAudio: r(), OutputAudio: r(), OutputImage: r(), Search: Money(r()), Call: Money(max(r(), 0)),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		p := price.Draw(t, "price")
		if rapid.Bool().Draw(t, "steps") {
			long := price.Draw(t, "long")
			p.Long, p.LongOver = &long, rapid.Int64Range(0, 5000).Draw(t, "over")
		}
		if rapid.Bool().Draw(t, "served") {
			p.Served = &Served{Regional: rapid.SampledFrom([]int64{0, 110}).Draw(t, "regional"), Tiers: []TierPrice{{Tier: "flex", May: true, Price: price.Draw(t, "flex")}}}
		}
		p.May = May{
			Hour: rapid.Bool().Draw(t, "hour"), Hear: rapid.Bool().Draw(t, "hear"), Speak: rapid.Bool().Draw(t, "speak"),
			Searches: rapid.Int64Range(0, 5).Draw(t, "searches"),
		}
		n := func(most int64) int64 { return rapid.Int64Range(0, max(most, 0)).Draw(t, "n") }
		u := Usage{Input: n(10_000), Output: n(10_000)}
		u.CachedInput = n(u.Input)
		u.CacheWrite = n(u.Input - u.CachedInput)
		if p.May.Hour {
			u.CacheWriteHour = n(u.CacheWrite)
		}
		u.CacheWriteMinutes = n(u.CacheWrite - u.CacheWriteHour)
		if p.May.Hear {
			u.CachedAudio = n(u.CachedInput)
			u.InputAudio = u.CachedAudio + n(u.Input-u.CachedInput-u.CacheWrite)
		}
		if p.May.Speak {
			u.OutputAudio = n(u.Output)
		}
		u.OutputImage, u.Searches = n(u.Output-u.OutputAudio), n(p.May.Searches)
		most := p.Most(u.Input, u.Output)
		for _, tier := range []string{"", "flex", "default"} {
			for _, region := range []string{"", "us", "global"} {
				as, _ := p.As(tier, region)
				if got := as.ForCall(u); got > most {
					t.Fatalf("%d as %q in %q, at most %d", got, tier, region, most)
				}
			}
		}
	})
}
