package catalog

import (
	"errors"
	"math/big"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// MaxRate is the dearest rate that is believed: ten thousand dollars per million tokens. Above it somebody has mixed up
// prices per token and per million.
const MaxRate llm.Rate = 10_000_000_000

// Why a rate is refused.
var (
	errNotNumber = errors.New("is not a decimal number")
	errNegative  = errors.New("is negative")
	errTooDear   = errors.New("is over $10,000 per million tokens")
)

// RatePerMillion reads US dollars per million tokens, RatePerToken US dollars per token, both as JSON writes numbers:
// "0.15", "1.5e-07". What is finer than a pico-dollar is rounded up, so that nothing is billed too low; but an excess below
// a millionth of a pico-dollar is taken for the noise of the floating-point sum that it came from, and dropped.
//
// Negative numbers, those over [MaxRate] and what is no decimal number (NaN among it) are refused.
func RatePerMillion(text string) (llm.Rate, error) { return parseRate(text, 6) }

// RatePerToken reads US dollars per token; see [RatePerMillion].
func RatePerToken(text string) (llm.Rate, error) { return parseRate(text, 12) }

// parseRate reads text times 10^shift as an integer.
func parseRate(text string, shift int) (llm.Rate, error) {
	digits, exponent, err := splitNumber(text)
	if err != nil {
		return 0, err
	}
	exponent += shift
	if digits == "" {
		return 0, nil
	}
	switch magnitude := len(digits) + exponent; {
	case magnitude > len("10000000000"):
		return 0, errTooDear
	case magnitude < -6:
		return 0, nil // below the noise
	}
	value, _ := new(big.Int).SetString(digits, 10)
	rate := scale(value, exponent)
	if rate > int64(MaxRate) {
		return 0, errTooDear
	}
	return llm.Rate(rate), nil
}

// scale is value times 10^exponent, rounded up but for noise.
func scale(value *big.Int, exponent int) int64 {
	if exponent >= 0 {
		return value.Mul(value, pow10(exponent)).Int64()
	}
	unit := pow10(-exponent)
	whole, excess := new(big.Int).QuoRem(value, unit, new(big.Int))
	if excess.Mul(excess, pow10(6)).Cmp(unit) > 0 {
		return whole.Int64() + 1
	}
	return whole.Int64()
}

func pow10(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// splitNumber takes a decimal number apart, so that it is digits times 10^exponent. Digits have no leading zeros and are
// empty for zero. Both stay small whatever text says, so that "1e999999999" costs nothing.
func splitNumber(text string) (digits string, exponent int, err error) {
	const longest = 64 // no sane price has more characters
	if text == "" || len(text) > longest {
		return "", 0, errNotNumber
	}
	unsigned, negative := strings.CutPrefix(text, "-")
	mantissa, power := unsigned, ""
	if i := strings.IndexAny(unsigned, "eE"); i >= 0 {
		mantissa, power = unsigned[:i], unsigned[i+1:]
		exponent, err = strconv.Atoi(power)
		if err != nil || exponent > 1000 || exponent < -1000 {
			return "", 0, outOfRange(power)
		}
	}
	whole, fraction, point := strings.Cut(mantissa, ".")
	if whole == "" || point && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return "", 0, errNotNumber
	}
	digits = strings.TrimLeft(whole+fraction, "0")
	if negative && digits != "" {
		return "", 0, errNegative
	}
	return digits, exponent - len(fraction), nil
}

// outOfRange tells an exponent that is too large from one that is no number.
func outOfRange(power string) error {
	if strings.Trim(power, "+-0123456789") == "" && !strings.HasPrefix(power, "-") && power != "" {
		return errTooDear
	}
	return errNotNumber
}
