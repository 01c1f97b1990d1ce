package llm

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Money is an amount in integer nano-dollars (1e-9 US dollars). No amount is ever held in floating point.
type Money int64

// Dollar is one US dollar.
const Dollar Money = 1_000_000_000

// Rate is a price in integer pico-dollars (1e-12 US dollars) for one token. One US dollar per million tokens is
// 1,000,000.
type Rate int64

// perMillion is how many pico-dollars a token make one dollar a million tokens.
const perMillion Rate = 1_000_000

// A Price says what a model's tokens cost. Rates are never negative. A model without a Price is unpriced, which is not
// the same as a Price of zero.
type Price struct {
	Input       Rate // a prompt token that the provider read anew
	CachedInput Rate // a prompt token that the provider had in its own cache
	CacheWrite  Rate // a prompt token that the provider wrote to its cache
	Output      Rate // a generated token, reasoning included
	// Call is what each call costs beside its tokens, whatever it holds, as of models that search. It is not times anything.
	Call Money

	// Long holds instead of the rates above for a call with more prompt tokens than LongOver; nil if length changes nothing.
	Long     *Price
	LongOver int64

	// Served holds instead for a call that the provider served otherwise; nil if that changes nothing.
	Served *Served
}

// ForCall is what a call costs that used so much.
func (p Price) ForCall(u Usage) Money { return p.Cost(u).Plus(p.Call) }

// Cost is what usage costs at this price, without what is for each call: the parts are summed in pico-dollars and rounded up once to nano-dollars. It
// saturates at the largest Money instead of wrapping around.
func (p Price) Cost(u Usage) Money {
	for p.Long != nil && u.Input > p.LongOver {
		p = *p.Long
	}
	fresh := max(u.Input-u.CachedInput-u.CacheWrite, 0)
	var hi, lo uint64
	for _, part := range [...]struct {
		n int64
		r Rate
	}{{fresh, p.Input}, {u.CachedInput, p.CachedInput}, {u.CacheWrite, p.CacheWrite}, {u.Output, p.Output}} {
		if part.n <= 0 || part.r <= 0 {
			continue
		}
		h, l := bits.Mul64(uint64(part.n), uint64(part.r))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, carry)
	}
	lo, carry := bits.Add64(lo, 999, 0)
	hi += carry
	if hi >= 1000 {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, 1000)
	return Money(min(q, math.MaxInt64))
}

// Times is the price with all rates times n over d, which is above 0. Rates are rounded up and saturate.
func (p Price) Times(n, d Money) Price {
	for _, r := range [...]*Rate{&p.Input, &p.CachedInput, &p.CacheWrite, &p.Output} {
		hi, lo := bits.Mul64(uint64(max(*r, 0)), uint64(max(n, 0)))
		lo, carry := bits.Add64(lo, uint64(d)-1, 0)
		if hi += carry; hi >= uint64(d) {
			*r = math.MaxInt64
			continue
		}
		q, _ := bits.Div64(hi, lo, uint64(d))
		*r = Rate(min(q, math.MaxInt64))
	}
	if p.Long != nil {
		long := p.Long.Times(n, d)
		p.Long = &long
	}
	return p
}

// ForAnHour is the price of a call that has its prompt cached for an hour instead of minutes. Where there is that choice, to write costs
// twice what it costs to read anew, and one and a quarter of it for minutes (the vendors' price lists of Claude), so 1.6 times as much.
// Where to write costs no more than to read, there is no choice.
func (p Price) ForAnHour() Price {
	p.Served = p.Served.forAnHour()
	if p.CacheWrite <= p.Input {
		return p
	}
	w := max(p.CacheWrite, 0)
	if p.CacheWrite = w + w/5*3 + (w%5*3+4)/5; p.CacheWrite < w {
		p.CacheWrite = math.MaxInt64
	}
	if p.Long != nil {
		long := p.Long.ForAnHour()
		p.Long = &long
	}
	return p
}

// Most is the most that a call with so many tokens can cost at this price, whatever part of its prompt is read from or written to
// a cache, however long it turns out to be, and however it is served. It rounds and saturates as Cost does.
func (p Price) Most(input, output int64) Money {
	if p.Served != nil {
		return p.Served.most(p, input, output)
	}
	fee, in, out := p.Call, max(p.Input, p.CachedInput, p.CacheWrite), p.Output
	for long := p.Long; long != nil && input > p.LongOver; p, long = *long, long.Long {
		in, out = max(in, long.Input, long.CachedInput, long.CacheWrite), max(out, long.Output)
	}
	return Price{Input: in, Output: out, Call: fee}.ForCall(Usage{Input: input, Output: output})
}

// Plus adds two amounts. It saturates instead of wrapping around, as Cost does.
func (m Money) Plus(n Money) Money { return Money(plus(int64(m), int64(n))) }

// plus is a sum that stays at the largest or smallest number: what a provider reports may be anything.
func plus(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	}
	return sum
}

// Sum adds any numbers from the left, and stays at the largest or smallest number.
func Sum(numbers ...int64) (sum int64) {
	for _, n := range numbers {
		sum = plus(sum, n)
	}
	return sum
}

// String is the exact amount in dollars, without trailing zeros: "0.00314", "12", "-0.5".
func (m Money) String() string { return decimal(int64(m), 9) }

// PerMillion is the exact rate in dollars per million tokens: "0.15".
func (r Rate) PerMillion() string { return decimal(int64(r), 6) }

// ParseRate reads dollars per million tokens as decimal text, for example "0.15". It refuses negative, non-decimal and
// out-of-range numbers, and more than six decimals, of which the last could not be kept.
func ParseRate(s string) (Rate, error) {
	n, err := parseDecimal(s, 6)
	return Rate(n), err
}

// ParseMoney reads dollars as decimal text, for example "1.00". It refuses negative numbers and more than nine decimals.
func ParseMoney(s string) (Money, error) {
	n, err := parseDecimal(s, 9)
	return Money(n), err
}

func decimal(n int64, places int) string {
	sign := ""
	u := uint64(n)
	if n < 0 {
		sign, u = "-", -u
	}
	s := strconv.FormatUint(u, 10)
	if len(s) <= places {
		s = strings.Repeat("0", places-len(s)+1) + s
	}
	whole, frac := s[:len(s)-places], strings.TrimRight(s[len(s)-places:], "0")
	if frac == "" {
		return sign + whole
	}
	return sign + whole + "." + frac
}

func parseDecimal(s string, places int) (int64, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if whole == "" || len(frac) > places || strings.HasSuffix(s, ".") {
		return 0, fmt.Errorf("%q is not an amount (write a decimal number with at most %d decimals, such as 0.15)", s, places)
	}
	for _, c := range whole + frac {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q is not an amount (write a decimal number, such as 0.15)", s)
		}
	}
	n, err := strconv.ParseInt(whole+frac+strings.Repeat("0", places-len(frac)), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return n, err
}
