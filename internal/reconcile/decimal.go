package reconcile

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// decimals is how many of a dollar's decimals are kept while a file is added up; OpenAI writes thirty.
const decimals = 40

// Bounds of one number in a file: ten billion dollars, and more digits than anybody writes.
const (
	longestNumber = 80
	longestWhole  = 10
)

// addDollars adds dollars as decimal text, such as "0.25", "-3" or "1.5e-05", times 10^shift: -2 for cents. It reports whether the
// text is such a number.
func (s *sum) addDollars(text string, shift int) bool {
	n, ok := decimal(text, shift)
	if !ok {
		return false
	}
	s.cost.Add(&s.cost, n)
	s.billed = true
	return true
}

// decimal reads a number times 10^(decimals+shift). What is finer than that is dropped.
func decimal(text string, shift int) (*big.Int, bool) {
	if text == "" || len(text) > longestNumber {
		return nil, false
	}
	unsigned, negative := strings.CutPrefix(text, "-")
	mantissa, exponent := unsigned, 0
	if i := strings.IndexAny(unsigned, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(unsigned[i+1:]); err != nil || exponent < -longestNumber || exponent > longestNumber {
			return nil, false
		}
		mantissa = unsigned[:i]
	}
	left, fraction, point := strings.Cut(mantissa, ".")
	if left == "" || point && fraction == "" || strings.Trim(left+fraction, "0123456789") != "" {
		return nil, false
	}
	digits := strings.TrimLeft(left+fraction, "0")
	exponent += shift - len(fraction)
	if digits == "" {
		return new(big.Int), true
	}
	if len(digits)+exponent > longestWhole {
		return nil, false
	}
	n, _ := new(big.Int).SetString(digits, 10)
	if exponent += decimals; exponent >= 0 {
		n.Mul(n, ten(exponent))
	} else {
		n.Quo(n, ten(-exponent))
	}
	if negative {
		n.Neg(n)
	}
	return n, true
}

func ten(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// nano is a sum as nano-dollars, rounded to the nearest; it saturates.
func nano(n *big.Int) llm.Money {
	unit := ten(decimals - 9)
	half := new(big.Int).Rsh(unit, 1)
	if n.Sign() < 0 {
		half.Neg(half)
	}
	q := half.Add(half, n)
	q.Quo(q, unit)
	switch {
	case q.IsInt64():
		return llm.Money(q.Int64())
	case q.Sign() < 0:
		return math.MinInt64
	}
	return math.MaxInt64
}

// count reads a number of tokens, "" is none. Spreadsheets write whole numbers as 59200.0, which is one.
func count(text string) (n int64, ok bool) {
	if text == "" {
		return 0, true
	}
	left, fraction, _ := strings.Cut(text, ".")
	if left == "" || strings.Trim(left, "0123456789") != "" || strings.Trim(fraction, "0") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(left, 10, 64)
	return n, err == nil
}
