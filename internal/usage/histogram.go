package usage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
)

// perOctave is how many buckets a histogram has between a duration and its double. Each is 1.09 times as wide as the one
// before, so that the middle of a bucket is at most 4.5 % away from what was counted in it.
const perOctave = 8

// fractions are where the buckets of an octave begin: 2^(i/8), in units of 2^-62. Durations are put into buckets by comparing
// integers, so that they come into the same ones on every machine.
var fractions = [perOctave]uint64{
	4_611_686_018_427_387_904, 5_029_079_263_719_320_435, 5_484_249_825_272_419_511, 5_980_616_842_327_661_685,
	6_521_908_912_666_391_106, 7_112_192_101_001_162_094, 7_755_900_482_342_532_474, 8_457_869_449_776_733_335,
}

// A Histogram counts durations, so that percentiles of many can be told from little. Histograms can be added to each
// other: percentiles cannot. The zero value is empty.
type Histogram struct {
	counts map[int]int64 // by bucket
	n      int64
	max    int64
}

// bucketOf is the bucket of a duration of at least one nanosecond.
func bucketOf(ns int64) int {
	octave := bits.Len64(uint64(ns)) - 1
	fraction := uint64(ns) << (62 - octave)
	i, found := slices.BinarySearch(fractions[:], fraction)
	if !found {
		i--
	}
	return octave*perOctave + i
}

// middle is the geometric middle of a bucket, in nanoseconds.
func middle(bucket int) int64 {
	return int64(math.Exp2((float64(bucket) + 0.5) / perOctave))
}

// Add counts a duration, in nanoseconds. What is less than one counts as one.
func (h *Histogram) Add(ns int64) {
	ns = max(ns, 1)
	h.add(bucketOf(ns), 1)
	h.max = max(h.max, ns)
}

func (h *Histogram) add(bucket int, n int64) {
	if h.counts == nil {
		h.counts = map[int]int64{}
	}
	h.counts[bucket] += n
	h.n += n
}

// Merge counts all that the other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for bucket, n := range other.counts {
		h.add(bucket, n)
	}
	h.max = max(h.max, other.max)
}

// Count is how many durations were counted.
func (h *Histogram) Count() int64 { return h.n }

// Max is the longest duration, exactly; 0 if there is none.
func (h *Histogram) Max() int64 { return h.max }

// Quantile is the duration that a share q of all do not exceed, from 0 to 1, at most 4.5 % off; 0 if there is none.
func (h *Histogram) Quantile(q float64) int64 {
	rank := max(int64(math.Ceil(q*float64(h.n))), 1)
	for _, bucket := range slices.Sorted(maps.Keys(h.counts)) {
		if rank -= h.counts[bucket]; rank <= 0 {
			return min(middle(bucket), h.max)
		}
	}
	return h.max
}

// histogramVersion begins a histogram's binary form, which goes on with the longest duration, the number of buckets, and
// each as its distance from the one before and its count: varints.
const histogramVersion = 1

var errHistogram = errors.New("usage: a histogram cannot be decoded")

// AppendBinary appends the form in which a histogram is stored: some two bytes a bucket.
func (h *Histogram) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, histogramVersion)
	b = binary.AppendUvarint(b, uint64(h.max))
	b = binary.AppendUvarint(b, uint64(len(h.counts)))
	last := 0
	for _, bucket := range slices.Sorted(maps.Keys(h.counts)) {
		b = binary.AppendUvarint(b, uint64(bucket-last))
		b = binary.AppendUvarint(b, uint64(h.counts[bucket]))
		last = bucket
	}
	return b, nil
}

// MergeBinary merges a histogram in its stored form and gives what is behind it.
func (h *Histogram) MergeBinary(b []byte) (rest []byte, err error) {
	if len(b) == 0 || b[0] != histogramVersion {
		return nil, fmt.Errorf("%w: it has another version", errHistogram)
	}
	b = b[1:]
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, b = errHistogram, nil
			return 0
		}
		b = b[n:]
		return v
	}
	longest, buckets := next(), next()
	at := 0
	for range buckets {
		distance, count := next(), next()
		at += int(min(distance, 64*perOctave))
		if err != nil || at >= 64*perOctave || count > math.MaxInt64 {
			return nil, errHistogram
		}
		h.add(at, int64(count))
	}
	if err != nil || longest > math.MaxInt64 {
		return nil, errHistogram
	}
	h.max = max(h.max, int64(longest))
	return b, nil
}
