package sim

import (
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// An Arrival is one request of a workload or trace.
type Arrival struct {
	At     time.Duration // from the start
	Input  int           // prompt tokens, at least 1
	Output int           // generated tokens, at least 1
}

// A Workload is traffic of the shape of the Azure 2023 conversation trace (19,366 requests in 3,502 s).
//
// How it was fitted: a mixture of seven kinds of conversation, each with a lognormal input and a lognormal output
// length, was fitted to the logarithms of the first 60 % of the trace by expectation maximisation; the weights and one
// scale for each side were then moved, as little as needed, until means, medians and 99th percentiles were those
// published for the whole: input 1,155, 1,020 and 4,142 tokens, output 211, 129 and 601. Each request draws its kind
// first, so that input and output hang together as they do in the trace (very long prompts have short answers).
//
// Arrivals are a Poisson process whose rate wanders: from minute to minute by 20 % (and half of a minute's deviation is
// gone after about three), from second to second by 13 %. At the trace's own rate the gaps then vary by 1.04 times
// their mean (trace: 1.08), and the variance of counts is 1.3 times their mean over seconds (1.35) and some 13 times
// over minutes (15.5). Daily rhythm is not in a trace of an hour, so it is not in here.
type Workload struct {
	Seed uint64
	// Rate is the mean number of requests a second. The first minute has it exactly; the trace itself has 5.53.
	Rate float64
}

// conversations are the kinds: share, median and spread (of the logarithm) of input and output tokens.
var conversations = [...]struct{ share, in, inSpread, out, outSpread float64 }{
	{0.155, 196, 1.018, 96, 0.959},
	{0.231, 393, 0.042, 86, 0.253},
	{0.054, 1069, 0.066, 487, 0.167},
	{0.321, 1057, 0.067, 382, 0.046},
	{0.046, 1303, 0.010, 169, 0.203},
	{0.104, 1709, 0.427, 73, 0.391},
	{0.089, 4089, 0.010, 53, 0.484},
}

// The bounds of lengths are those of the trace; the others are how the rate wanders.
const (
	maxInput, maxOutput = 14_050, 1_000
	minuteSpread        = 0.20
	minuteMemory        = 0.80 // share of a minute's deviation that the next one keeps
	secondSpread        = 0.13
)

// Arrivals yields requests in the order of their times, without end. The same Workload always yields the same.
func (w Workload) Arrivals() iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		if w.Rate <= 0 {
			return
		}
		r := rand.New(rand.NewPCG(w.Seed, 0x617a757265))
		minute := 0.0   // the deviation, in units of the spread
		variance := 0.0 // of it; nothing at first, since the first minute does not deviate
		for second := 0; ; second++ {
			if second%60 == 0 && second > 0 {
				minute = minuteMemory*minute + math.Sqrt(1-minuteMemory*minuteMemory)*r.NormFloat64()
				variance = minuteMemory*minuteMemory*variance + 1 - minuteMemory*minuteMemory
			}
			rate := w.Rate * math.Exp(minuteSpread*minute-minuteSpread*minuteSpread*variance/2) *
				math.Exp(secondSpread*r.NormFloat64()-secondSpread*secondSpread/2)
			for at := r.ExpFloat64() / rate; at < 1; at += r.ExpFloat64() / rate {
				a := Arrival{At: time.Duration((float64(second) + at) * float64(time.Second))}
				a.Input, a.Output = lengths(r)
				if !yield(a) {
					return
				}
			}
		}
	}
}

// lengths draws one conversation.
func lengths(r *rand.Rand) (input, output int) {
	u := r.Float64()
	kind := conversations[len(conversations)-1]
	for _, k := range conversations {
		if u < k.share {
			kind = k
			break
		}
		u -= k.share
	}
	draw := func(median, spread float64, most int) int {
		n := math.Round(median * math.Exp(spread*r.NormFloat64()))
		return int(min(max(n, 1), float64(most)))
	}
	return draw(kind.in, kind.inSpread, maxInput), draw(kind.out, kind.outSpread, maxOutput)
}

// Prompt is a user message that counts as input tokens by the simulator's rule and is answered with output tokens: 4
// bytes a token, beginning with "say:". It is longer if input is too small to say that.
func Prompt(input, output int) string {
	var b strings.Builder
	b.WriteString(sayPrefix + strconv.Itoa(output) + " ")
	size := max(4*input, b.Len())
	b.Grow(size + 16)
	for i := output; b.Len() < size; i = i*31 + 7 {
		b.WriteString(words[uint(i)%uint(len(words))])
		b.WriteByte(' ')
	}
	return b.String()[:size]
}
