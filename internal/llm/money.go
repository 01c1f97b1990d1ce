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

	// Rates of parts that may have their own. 0 is none: they cost what they are a part of then; [Nothing] is that they cost nothing.
	CacheWriteHour Rate // a prompt token that is kept in the cache for an hour; without its own, see hour
	InputAudio     Rate // of sound that was heard; else as Input
	CachedAudio    Rate // of sound that the provider had in its cache; else as CachedInput
	OutputAudio    Rate // of sound that was spoken; else as Output
	OutputImage    Rate // of pictures that were made; else as Output
	// Search is what each search costs that the provider makes, beside its tokens; 0 is not known, below 0 is nothing.
	Search Money

	// May is what a call may use of these, for [Price.Most].
	May May

	// Call is what each call costs beside its tokens, whatever it holds, as of models that search. It is not times anything.
	Call Money

	// Long holds instead of the rates above for a call with more prompt tokens than LongOver; nil if length changes nothing.
	Long     *Price
	LongOver int64

	// Served holds instead for a call that the provider served otherwise; nil if that changes nothing.
	Served *Served
}

// Nothing is the rate of what costs nothing where 0 is no rate.
const Nothing Rate = -1

// May says what a call may use of what has a rate of its own.
type May struct {
	Hour     bool  // it may have its prompt cached for an hour: what it writes, and is not said how long for, is taken to be that
	Hear     bool  // there may be sound in the prompt
	Speak    bool  // and in the answer
	Searches int64 // the most that the provider may make
}

// ForCall is what a call costs that used so much.
func (p Price) ForCall(u Usage) Money { return p.Cost(u).Plus(p.Fees(u)) }

// Fees are what a call costs beside its tokens.
func (p Price) Fees(u Usage) Money {
	if u.Searches <= 0 || p.Search <= 0 {
		return p.Call
	}
	hi, lo := bits.Mul64(uint64(u.Searches), uint64(p.Search))
	if hi > 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return p.Call.Plus(Money(lo))
}

// Cost is what usage costs at this price, without its fees: the parts are summed in pico-dollars and rounded up once to nano-dollars. It
// saturates at the largest Money instead of wrapping around.
func (p Price) Cost(u Usage) Money {
	for p.Long != nil && u.Input > p.LongOver {
		p = p.longer()
	}
	fresh, written := max(u.Input-u.CachedInput-u.CacheWrite, 0), p.CacheWrite
	if p.May.Hour {
		written = p.hour()
	}
	var s sum
	if u.Parts != (Parts{}) {
		fresh = s.parts(&p, &u, fresh)
	}
	s.add(fresh, p.Input)
	s.add(u.CachedInput, p.CachedInput)
	s.add(u.CacheWrite, written)
	s.add(u.Output, p.Output)
	return s.money()
}

// longer is what holds for a call of more tokens. What a call may use is said of the whole, and parts that have no rate of their own there
// cost no less than they did before.
func (p *Price) longer() Price {
	long := *p.Long
	long.May = p.May
	for _, part := range [...]struct {
		own      *Rate
		was, now Rate
	}{
		{&long.InputAudio, p.InputAudio, long.Input}, {&long.CachedAudio, p.CachedAudio, long.CachedInput},
		{&long.OutputAudio, p.OutputAudio, long.Output}, {&long.OutputImage, p.OutputImage, long.Output},
	} {
		if *part.own == 0 && part.was > 0 {
			*part.own = max(part.was, part.now)
		}
	}
	return long
}

// A sum is of pico-dollars.
type sum struct{ hi, lo uint64 }

func (s *sum) add(n int64, r Rate) {
	if n <= 0 || r <= 0 {
		return
	}
	h, l := bits.Mul64(uint64(n), uint64(r))
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, l, 0)
	s.hi, _ = bits.Add64(s.hi, h, carry)
}

// money rounds up to nano-dollars.
func (s *sum) money() Money {
	lo, carry := bits.Add64(s.lo, 999, 0)
	hi := s.hi + carry
	if hi >= 1000 {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, 1000)
	return Money(min(q, math.MaxInt64))
}

// parts adds what the parts of a usage cost, and takes them from what they are a part of. It gives what is left of the tokens that were
// read anew: what of them was heard is known as far as the counts of one usage agree.
func (s *sum) parts(p *Price, u *Usage, fresh int64) int64 {
	take := func(n int64, whole *int64, r Rate) {
		n = min(max(n, 0), max(*whole, 0))
		*whole -= n
		s.add(n, r)
	}
	take(u.CacheWriteHour, &u.CacheWrite, p.hour())
	take(u.CacheWriteMinutes, &u.CacheWrite, p.CacheWrite)
	take(u.CachedAudio, &u.CachedInput, or(p.CachedAudio, p.CachedInput))
	take(u.InputAudio-max(u.CachedAudio, 0), &fresh, or(p.InputAudio, p.Input))
	take(u.OutputAudio, &u.Output, or(p.OutputAudio, p.Output))
	take(u.OutputImage, &u.Output, or(p.OutputImage, p.Output))
	return fresh
}

// or is a part's own rate, or else that of what it is a part of.
func or(own, whole Rate) Rate {
	if own == 0 {
		return whole
	}
	return own
}

// hour is what it costs to write a token for an hour. Where that has no rate of its own and there is the choice, it costs twice what it
// costs to read anew, and for minutes one and a quarter of it (the vendors' price lists of Claude), so 1.6 times as much. Where to write
// costs no more than to read, there is no choice.
func (p *Price) hour() Rate {
	if p.CacheWriteHour != 0 || p.CacheWrite <= p.Input {
		return or(p.CacheWriteHour, p.CacheWrite)
	}
	w := max(p.CacheWrite, 0)
	if w > math.MaxInt64/8*5 {
		return math.MaxInt64
	}
	return w + w/5*3 + (w%5*3+4)/5
}

// Times is the price with all rates times n over d, which is above 0. Rates are rounded up and saturate.
func (p Price) Times(n, d Money) Price {
	for _, r := range [...]*Rate{
		&p.Input, &p.CachedInput, &p.CacheWrite, &p.Output, &p.CacheWriteHour, &p.InputAudio, &p.CachedAudio, &p.OutputAudio, &p.OutputImage,
	} {
		if *r <= 0 {
			continue
		}
		hi, lo := bits.Mul64(uint64(*r), uint64(max(n, 0)))
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

// Most is the most that a call with so many tokens can cost at this price, whatever part of its prompt is read from or written to
// a cache, however long it turns out to be, and however it is served; and whatever it may use of what has rates of its own.
// It rounds and saturates as Cost does.
func (p Price) Most(input, output int64) Money {
	if p.Served != nil {
		return p.Served.most(p, input, output)
	}
	fees := p.Fees(Usage{Parts: Parts{Searches: p.May.Searches}})
	in, out := p.dearest()
	for p.Long != nil && input > p.LongOver {
		p = p.longer()
		i, o := p.dearest()
		in, out = max(in, i), max(out, o)
	}
	return Price{Input: in, Output: out}.Cost(Usage{Input: input, Output: output}).Plus(fees)
}

// dearest are the highest rates that a token of a call may have.
func (p *Price) dearest() (in, out Rate) {
	in, out = max(p.Input, p.CachedInput, p.CacheWrite), max(p.Output, p.OutputImage)
	if p.May.Hour {
		in = max(in, p.hour())
	}
	if p.May.Hear {
		in = max(in, p.InputAudio, p.CachedAudio)
	}
	if p.May.Speak {
		out = max(out, p.OutputAudio)
	}
	return in, out
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
