package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

// shapes are the distributions that can be written, with the number of their parameters. A value alone is fixed.
var shapes = map[string]int{"uniform": 2, "lognormal": 2, "exponential": 1}

// A distribution is where delays (in nanoseconds) and lengths (in tokens) are drawn from. Its text forms are 250ms,
// uniform(LOW, HIGH), lognormal(MEDIAN, P99) and exponential(MEAN). The zero value always draws 0.
type distribution struct {
	shape string // "" is fixed
	a, b  float64
}

// parseDistribution reads one of the text forms; number reads a parameter.
func parseDistribution(text string, number func(string) (float64, error)) (distribution, error) {
	text = strings.TrimSpace(text)
	name, rest, called := strings.Cut(text, "(")
	if !called {
		a, err := number(text)
		return distribution{a: a}, err
	}
	name = strings.TrimSpace(name)
	want, known := shapes[name]
	list, closed := strings.CutSuffix(rest, ")")
	if !known || !closed {
		return distribution{}, fmt.Errorf("%q is not a distribution (write a value, uniform(LOW, HIGH), lognormal(MEDIAN, P99) or exponential(MEAN))", text)
	}
	parts := strings.Split(list, ",")
	if len(parts) != want {
		return distribution{}, fmt.Errorf("%q has %d parameters, %s takes %d", text, len(parts), name, want)
	}
	var values [2]float64
	for i, part := range parts {
		v, err := number(strings.TrimSpace(part))
		if err != nil {
			return distribution{}, err
		}
		values[i] = v
	}
	d := distribution{shape: name, a: values[0], b: values[1]}
	if want == 2 && d.b < d.a {
		return distribution{}, fmt.Errorf("%q: the second parameter is below the first", text)
	}
	if name == "lognormal" && d.a <= 0 {
		return distribution{}, fmt.Errorf("%q: the median of a lognormal must be above 0", text)
	}
	return d, nil
}

// parseDelay reads a distribution of durations: "300ms", "lognormal(300ms, 2s)".
func parseDelay(text string) (distribution, error) {
	return parseDistribution(text, func(s string) (float64, error) {
		d, err := parseDuration(s)
		return float64(d), err
	})
}

// parseLength reads a distribution of token counts: "50", "lognormal(129, 601)".
func parseLength(text string) (distribution, error) {
	return parseDistribution(text, func(s string) (float64, error) {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || n < 0 || n > maxTokens {
			return 0, fmt.Errorf("%q is not a number of tokens (write 0 to %d)", s, maxTokens)
		}
		return n, nil
	})
}

// parseDuration reads a duration that is not negative; 0 needs no unit.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration (write 250ms, 10s, 2m)", s)
	}
	return d, nil
}

// draw takes one value. Every draw takes the same amount of randomness, so that a call's later draws do not depend on
// the shape of earlier ones.
func (d distribution) draw(r *rand.Rand) float64 {
	u := r.Float64()
	switch d.shape {
	case "uniform":
		return d.a + u*(d.b-d.a)
	case "exponential":
		return -math.Log(1-u) * d.a
	case "lognormal":
		sigma := math.Log(d.b/d.a) / z99
		return d.a * math.Exp(sigma*normalQuantile(u))
	}
	return d.a
}

// delay is draw for durations.
func (d distribution) delay(r *rand.Rand) time.Duration {
	return time.Duration(min(d.draw(r), float64(maxDelay)))
}

// length is draw for token counts.
func (d distribution) length(r *rand.Rand) int {
	return int(math.Round(min(d.draw(r), maxTokens)))
}

// always0 reports that no draw is ever above 0.
func (d distribution) always0() bool { return d.a == 0 && d.b == 0 }

// normalQuantile is the inverse of the standard normal distribution function.
func normalQuantile(p float64) float64 {
	p = min(max(p, 1e-12), 1-1e-12)
	return math.Sqrt2 * math.Erfinv(2*p-1)
}
