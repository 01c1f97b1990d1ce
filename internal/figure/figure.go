// Package figure writes amounts the way people read them: money, tokens, durations, shares. Command line and console use
// the same functions, so that one figure never looks like two.
//
// JSON and CSV carry exact numbers instead; what is here for them is that a spreadsheet runs none of it ([CSV]).
package figure

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// None stands for "does not apply".
const None = "–"

// Unpriced stands for money that is not known because a model has no price. It is never zero.
const Unpriced = "unpriced"

// Unknown stands for money of which only the provider knows how much it is. It is never zero either.
const Unknown = "unknown"

// Money writes an amount: from one dollar with two decimals and separators, below it with four, below one cent with three
// significant digits. A positive amount is never written as zero.
func Money(m llm.Money) string {
	sign := ""
	if m < 0 {
		sign = "-"
	}
	n := magnitude(int64(m))
	switch {
	case n == 0:
		return "$0"
	case n >= uint64(llm.Dollar)-50_000: // what would round up to a dollar is one
		cents := (n + 5_000_000) / 10_000_000
		return sign + "$" + group(cents/100) + fmt.Sprintf(".%02d", cents%100)
	case n >= 10_000_000:
		return sign + fmt.Sprintf("$0.%04d", (n+50_000)/100_000)
	}
	return sign + "$" + significant(n)
}

// significant writes nano-dollars below a cent with three significant digits.
func significant(n uint64) string {
	scale := uint64(1)
	for n/scale >= 1000 {
		scale *= 10
	}
	n = (n + scale/2) / scale * scale
	s := fmt.Sprintf("0.%09d", n)
	return strings.TrimRight(s, "0")
}

// Fixed writes an amount with a fixed number of decimals, 2 to 9, for columns; a positive amount that they cannot show
// is written as "<$0.0001".
func Fixed(m llm.Money, decimals int) string {
	n := magnitude(int64(m))
	unit := uint64(math.Pow10(9 - decimals))
	if n > 0 && n < unit {
		return "<$0." + strings.Repeat("0", decimals-1) + "1"
	}
	sign := ""
	if m < 0 {
		sign = "-"
	}
	q := (n + unit/2) / unit
	whole := uint64(math.Pow10(decimals))
	return fmt.Sprintf("%s$%s.%0*d", sign, group(q/whole), decimals, q%whole)
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// Count writes a whole number with separators: "1,204".
func Count(n int64) string {
	if n < 0 {
		return "-" + group(magnitude(n))
	}
	return group(uint64(n))
}

func group(n uint64) string {
	s := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Tokens writes a number of tokens: in full to 99,999, then with three significant digits: "1.28 M".
func Tokens(n int64) string {
	if n < 100_000 {
		return Count(n)
	}
	units := [...]string{"k", "M", "G", "T", "P"}
	v, i := float64(n)/1000, 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return three(v) + " " + units[i]
}

// three writes a number below 1000 with three significant digits.
func three(v float64) string {
	switch {
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// Duration writes a span with three significant digits and its unit: "840 µs", "312 ms", "1.24 s", "4 m 12 s".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d == 0:
		return "0 s"
	case d < time.Microsecond:
		return strconv.FormatInt(int64(d), 10) + " ns"
	case d < 999500*time.Nanosecond:
		return three(float64(d)/float64(time.Microsecond)) + " µs"
	case d < 999500*time.Microsecond:
		return three(float64(d)/float64(time.Millisecond)) + " ms"
	case d < time.Minute:
		return three(d.Seconds()) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d m %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d m", int(d.Hours()), int(d.Minutes())%60)
}

// Share is how many of so many pieces a part of a whole is, rounded down: 0 to pieces.
func Share(part, whole, pieces int64) int64 {
	switch {
	case part <= 0 || pieces <= 0:
		return 0
	case part >= whole:
		return pieces
	}
	hi, lo := bits.Mul64(uint64(part), uint64(pieces))
	n, _ := bits.Div64(hi, lo, uint64(whole))
	return int64(n)
}

// Percent writes the share of part in whole, rounded to one decimal: "100 %" only when all is reached, "0 %" only when
// nothing is.
func Percent(part, whole int64) string {
	switch {
	case whole <= 0:
		return None
	case part <= 0:
		return "0 %"
	case part >= whole:
		return "100 %"
	}
	hi, lo := bits.Mul64(uint64(part), 1000)
	tenths, rest := bits.Div64(hi, lo, uint64(whole))
	if tenths == 0 {
		return "<0.1 %"
	}
	if rest >= uint64(whole)-rest {
		tenths = min(tenths+1, 999)
	}
	return fmt.Sprintf("%d.%d %%", tenths/10, tenths%10)
}

// Bytes writes a size with at most three significant digits and its unit, by thousands: "840 B", "21.3 kB", "4 MB".
func Bytes(n int64) string {
	switch {
	case n < 0:
		return "-" + Bytes(-n)
	case n < 1000:
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n)/1e3, "kB"
	for _, next := range [...]string{"MB", "GB", "TB"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1e3, next
	}
	digits := 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + " " + unit
}
