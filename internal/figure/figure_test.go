package figure

import (
	"math"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

func TestMoney(t *testing.T) {
	t.Parallel()
	for in, want := range map[llm.Money]string{
		0:                       "$0",
		1:                       "$0.000000001",
		3_140_000:               "$0.00314",
		3_144_900:               "$0.00314",
		9_999_999:               "$0.01",
		10_000_000:              "$0.0100",
		100_000_000:             "$0.1000",
		999_900_000:             "$0.9999",
		999_999_999:             "$1.00",
		1_043_834_000_000:       "$1,043.83",
		math.MaxInt64:           "$9,223,372,036.85",
		-2_012_000:              "-$0.00201",
		-1_500_000_000:          "-$1.50",
		llm.Money(412.37 * 1e9): "$412.37",
	} {
		if got := Money(in); got != want {
			t.Errorf("Money(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestFixed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m        llm.Money
		decimals int
		want     string
	}{
		{1_031_200_000, 4, "$1.0312"}, {1, 4, "<$0.0001"}, {0, 4, "$0.0000"}, {1_043_834_000_000, 2, "$1,043.83"},
		{-1_031_200_000, 4, "-$1.0312"},
	} {
		if got := Fixed(c.m, c.decimals); got != c.want {
			t.Errorf("Fixed(%d, %d) = %q, want %q", c.m, c.decimals, got, c.want)
		}
	}
}

func TestTokensCountAndPercent(t *testing.T) {
	t.Parallel()
	for in, want := range map[int64]string{
		0: "0", 812: "812", 99_999: "99,999", 100_000: "100 k", 233_400: "233 k", 999_499: "999 k", 999_500: "1.00 M",
		1_280_000: "1.28 M", 357_000_000: "357 M", 21_200_000: "21.2 M",
	} {
		if got := Tokens(in); got != want {
			t.Errorf("Tokens(%d) = %q, want %q", in, got, want)
		}
	}
	if got := Count(-1_234_567); got != "-1,234,567" {
		t.Errorf("Count = %q", got)
	}
	for _, c := range []struct {
		part, whole int64
		want        string
	}{{0, 10, "0 %"}, {10, 10, "100 %"}, {9_999, 10_000, "99.9 %"}, {1, 100_000, "<0.1 %"}, {684, 1000, "68.4 %"}, {1, 0, None},
		{3, 7, "42.9 %"}, {4, 7, "57.1 %"}, {19_949, 100_000, "19.9 %"}, {1995, 10_000, "20.0 %"}, {1, 1000, "0.1 %"}, {999, 1_000_000, "<0.1 %"},
		{math.MaxInt64 / 7 * 3, math.MaxInt64, "42.9 %"}, {math.MaxInt64 - 1, math.MaxInt64, "99.9 %"}, {1, math.MaxInt64, "<0.1 %"},
	} {
		if got := Percent(c.part, c.whole); got != c.want {
			t.Errorf("Percent(%d, %d) = %q, want %q", c.part, c.whole, got, c.want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]string{
		0: "0 s", 12: "12 ns", 840 * time.Microsecond: "840 µs", 312 * time.Millisecond: "312 ms",
		1240 * time.Millisecond: "1.24 s", 999_600 * time.Nanosecond: "1.00 ms", 252 * time.Second: "4 m 12 s",
		65 * time.Minute: "1 h 5 m", 17_300 * time.Millisecond: "17.3 s", 210 * time.Microsecond: "210 µs",
	} {
		if got := Duration(in); got != want {
			t.Errorf("Duration(%d) = %q, want %q", in, got, want)
		}
	}
}
