package rate

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

const (
	// Likely is what calls are taken to write before enough of them are known, in tokens.
	Likely = 1024
	// enough is how many calls must be known.
	enough = 20
	// recent is how many calls count: at twice as many all counts are halved, so that a call's weight halves with each as many that follow.
	recent = 512
	// maxLearned is how many pairs are known at most. They take 220 bytes each.
	maxLearned = 1 << 13

	parts  = 4                   // buckets to an octave
	logged = (27 - 2) * parts    // octaves from 4 to 2^27 tokens
	steps  = parts + logged      // and 0 to 3
	learns = 16                  // locks
	atMost = int64(1)<<27 - 1    // what is larger counts as this
	quant  = 95                  // percent
	perLoc = maxLearned / learns // pairs to a lock
)

// Learned knows how much calls write: the 95th percentile of their output tokens, for each model and whose calls they are. It is safe
// for concurrent use.
//
// Counts are kept in buckets that are a quarter of an octave wide, as HdrHistogram (Gil Tene) has them with two significant bits: so
// what it says is not below the percentile, and at most a quarter above. Old calls are forgotten by halving all counts now and then.
// Its memory is bounded: of too many pairs, some are forgotten.
type Learned struct {
	seed  maphash.Seed
	parts [learns]learned
}

type learned struct {
	mu sync.Mutex
	of map[uint64]*histogram
}

// A histogram has counts of outputs by size.
type histogram struct {
	total  uint16
	counts [steps]uint16
}

// NewLearned knows nothing yet.
func NewLearned() *Learned { return &Learned{seed: maphash.MakeSeed()} }

func (l *Learned) part(model, who string) (*learned, uint64) {
	h := maphash.String(l.seed, model)*0x9e3779b97f4a7c15 ^ maphash.String(l.seed, who)
	return &l.parts[h%learns], h
}

// Saw learns that a call to a model has written so many tokens. Who is a project or a key. It is for calls that ended well: one that
// broke off says little.
func (l *Learned) Saw(model, who string, output int64) {
	p, h := l.part(model, who)
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.of[h]
	if of == nil {
		if p.of == nil {
			p.of = map[uint64]*histogram{}
		}
		if len(p.of) >= perLoc {
			for other := range p.of { // whichever comes first: one that is in use is learned again soon
				delete(p.of, other)
				break
			}
		}
		of = &histogram{}
		p.of[h] = of
	}
	of.add(output)
}

// Output is how many tokens a call is likely not to write more than, and at most its own cap, if that is above 0.
func (l *Learned) Output(model, who string, most int64) int64 {
	p, h := l.part(model, who)
	p.mu.Lock()
	likely := int64(Likely)
	if of := p.of[h]; of != nil && of.total >= enough {
		likely = of.quantile()
	}
	p.mu.Unlock()
	if most > 0 {
		likely = min(likely, most)
	}
	return likely
}

func (h *histogram) add(n int64) {
	if h.total >= 2*recent {
		h.total = 0
		for i, c := range h.counts {
			h.counts[i] = c / 2
			h.total += c / 2
		}
	}
	h.counts[stepOf(n)]++
	h.total++
}

// quantile is the largest value of the bucket that the percentile is in.
func (h *histogram) quantile() int64 {
	rank, seen := (int(h.total)*quant+99)/100, 0
	for i, c := range h.counts {
		if seen += int(c); seen >= rank {
			return topOf(i)
		}
	}
	return atMost
}

// stepOf is the bucket of a value: those below 4 have one each, and each octave from there on has four.
func stepOf(n int64) int {
	n = min(max(n, 0), atMost)
	if n < parts {
		return int(n)
	}
	shift := bits.Len64(uint64(n)) - 3 // leaves the highest bit and two more
	return parts + shift*parts + int(n>>shift)&(parts-1)
}

// topOf is the largest value of a bucket.
func topOf(step int) int64 {
	if step < parts {
		return int64(step)
	}
	shift := step/parts - 1
	return (int64(parts+step%parts)+1)<<shift - 1
}
