package sim

import (
	"math"
	"math/big"

	"github.com/penstock/penstock/internal/llm"
)

// A price is what a provider bills by. What comes of it is worked out here, part by part and in numbers of any size, and not by
// [llm.Price]: that is what the bill is there to judge.
type price struct {
	input, cached, written, hour, heard llm.Rate
	output, spoken, picture             llm.Rate
	call, search                        llm.Money
}

// newPrice reads a checked price.
func newPrice(text *Price) (p price) {
	rate := func(text string, usual llm.Rate) llm.Rate {
		if text == "" {
			return usual
		}
		return must(llm.ParseRate(text))
	}
	p.input, p.output = rate(text.Input, 0), rate(text.Output, 0)
	p.cached, p.written = rate(text.Cached, p.input), rate(text.Write, p.input)
	p.hour = p.written
	if p.written > p.input { // as vendors have it: an hour is twice the price of reading, minutes one and a quarter
		p.hour = p.written + (p.written*3+4)/5
	}
	p.hour = rate(text.WriteHour, p.hour)
	p.heard, p.spoken, p.picture = rate(text.InputAudio, p.input), rate(text.Audio, p.output), rate(text.Image, p.output)
	p.call, p.search = must(optional(text.Call, llm.ParseMoney)), must(optional(text.Search, llm.ParseMoney))
	return p
}

// cost is what a usage is billed at: pico-dollars, summed and rounded up once to nano-dollars, and the fees.
func (p *price) cost(u usage) llm.Money {
	tokens := new(big.Int)
	for _, part := range [...]struct {
		n int
		r llm.Rate
	}{
		{u.prompt - u.cached - u.written - u.heard, p.input}, {u.cached, p.cached}, {u.written - u.hour, p.written}, {u.hour, p.hour}, {u.heard, p.heard},
		{u.completion - u.spoken - u.pictures, p.output}, {u.spoken, p.spoken}, {u.pictures, p.picture},
	} {
		tokens.Add(tokens, new(big.Int).Mul(big.NewInt(int64(max(part.n, 0))), big.NewInt(int64(part.r))))
	}
	nano, rest := new(big.Int).DivMod(tokens, big.NewInt(1000), new(big.Int))
	if rest.Sign() > 0 {
		nano.Add(nano, big.NewInt(1))
	}
	nano.Add(nano, big.NewInt(int64(p.call)))
	nano.Add(nano, new(big.Int).Mul(big.NewInt(int64(max(u.searches, 0))), big.NewInt(int64(p.search))))
	if !nano.IsInt64() {
		return math.MaxInt64
	}
	return llm.Money(nano.Int64())
}
