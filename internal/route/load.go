package route

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A load is what is known of how busy and how fast an upstream is. The counters are this replica's own and immediate; what
// others send to the upstream shows in the times that it takes.
type load struct {
	inflight atomic.Int64 // tries that have not ended
	backlog  atomic.Int64 // prompt tokens of tries without a first token
	retries  atomic.Int64 // of inflight, those that count against the retry budget

	// Estimates, as the bits of float64, so that a choice reads them without a lock.
	decode atomic.Uint64 // generated tokens a second in one stream
	output atomic.Uint64 // generated tokens of an answer
	knee   atomic.Uint64 // calls at once of which no first token was late for that; 0 is not known
	// What is waited for is told apart by kind: the first token of a stream, the whole of a plain answer.
	pace [2]pace

	born time.Time

	mu   sync.Mutex // guards the fields below
	fit  [2]fit
	late [2][promptBuckets]quantiles
}

// A pace is how long one kind of answer is waited for.
type pace struct {
	base  atomic.Uint64 // seconds that no prompt explains
	speed atomic.Uint64 // prompt tokens a second
	last  atomic.Uint64 // when a call began, in seconds from born
	born  time.Time
}

// Before anything is measured. The speed is algorithms.md §3.1's.
const (
	startBase   = 0.3
	startSpeed  = 8000
	startDecode = 50
	startOutput = 200
)

func (l *load) init() {
	l.decode.Store(math.Float64bits(startDecode))
	l.output.Store(math.Float64bits(startOutput))
	for kind, base := range [2]float64{streamed: startBase, plain: startBase + startOutput/startDecode} {
		p := &l.pace[kind]
		p.base.Store(math.Float64bits(base))
		p.speed.Store(math.Float64bits(startSpeed))
		l.fit[kind].init(base)
	}
	l.birth(time.Now())
}

// birth sets the time from which times are counted.
func (l *load) birth(now time.Time) {
	l.born = now
	for kind := range l.pace {
		l.pace[kind].born = now
	}
}

func read(v *atomic.Uint64) float64 { return math.Float64frombits(v.Load()) }

// blend moves an estimate towards a measurement by a share. Two at once may lose one of them, which is as good.
func blend(v *atomic.Uint64, x, share float64) {
	old := read(v)
	v.Store(math.Float64bits(old + share*(x-old)))
}

// idle is the time to the first token of so many uncached prompt tokens if nobody else waits, in seconds; of a plain answer,
// to all of it.
func (l *load) idle(tokens float64, kind int) float64 {
	p := &l.pace[kind]
	return read(&p.base) + tokens/read(&p.speed)
}

// eta predicts what idle gives for now (algorithms.md §3.1). A prompt waits for the prompts before it, and for a slot, whichever
// is later, and then it is read itself. output is how many tokens an answer has, of those that it would wait for.
func (l *load) eta(now time.Time, uncached, output float64, slots, kind int) float64 {
	p := &l.pace[kind]
	speed := read(&p.speed)
	wait := max(l.wait(float64(l.inflight.Load()+1), output, slots), float64(l.backlog.Load())/speed)
	return (read(&p.base) + wait + uncached/speed) / (1 + p.age(now)/doubtAfter)
}

// doubtAfter is after how many seconds without a call half of what is known of an upstream's times is believed: one that was slow
// is tried again by a call now and then.
const doubtAfter = 120

// age is how long the last call is ago, in seconds.
func (p *pace) age(now time.Time) float64 { return max(now.Sub(p.born).Seconds()-read(&p.last), 0) }

// wait is how long the n-th call under way waits for a slot, in seconds: until as many answers have ended as there are too many
// calls. Slots that are not known are taken to be as many as could be had at once of late.
func (l *load) wait(n, output float64, slots int) float64 {
	have := float64(slots)
	if slots == 0 {
		have = read(&l.knee)
	}
	if have < 1 || n <= have {
		return 0
	}
	return (n - have) * output / (have * read(&l.decode))
}

// A trip is one try as the load sees it.
type trip struct {
	l      *load
	start  time.Time
	tokens int64   // uncached prompt tokens
	ahead  float64 // prompt tokens that waited before it
	n      float64 // calls under way, this one among them
	slots  int     // that it has for sure, 0 if that is not known
	quiet  float64 // how long the one before it was ago, in seconds
	bucket int
	kind   int
	retry  bool
	ended  bool
	begun  bool
}

// begin counts a try in. Its end must be told.
func (l *load) begin(now time.Time, uncached int64, slots int, stream, retry bool) trip {
	t := trip{
		l: l, start: now, tokens: uncached, ahead: float64(l.backlog.Load()), n: float64(l.inflight.Add(1)), slots: slots,
		bucket: promptBucket(uncached), kind: kindOf(stream), retry: retry,
	}
	l.backlog.Add(uncached)
	p := &l.pace[t.kind]
	t.quiet = p.age(now)
	p.last.Store(math.Float64bits(now.Sub(p.born).Seconds()))
	if retry {
		l.retries.Add(1)
	}
	return t
}

// first says that the first token is there.
func (t *trip) first(now time.Time) {
	if t.begun || t.ended {
		return
	}
	t.begun = true
	t.l.backlog.Add(-t.tokens)
	t.l.learn(t, now.Sub(t.start).Seconds())
}

// end counts the try out. output is how many tokens it generated after its first, over how long; 0 is not known.
func (t *trip) end(output int64, over time.Duration) {
	if t.ended {
		return
	}
	t.ended = true
	l := t.l
	l.inflight.Add(-1)
	if t.retry {
		l.retries.Add(-1)
	}
	if !t.begun {
		l.backlog.Add(-t.tokens)
		return
	}
	if output > 0 {
		blend(&l.output, float64(output), 0.05)
		if over > 0 && output > 1 {
			blend(&l.decode, min(float64(output-1)/over.Seconds(), 1e5), 0.1)
		}
	}
}

func (l *load) learn(t *trip, took float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late[t.kind][t.bucket].add(took)
	x := t.ahead + float64(t.tokens)
	f, p := &l.fit[t.kind], &l.pace[t.kind]
	guess := max(read(&p.base)+x/read(&p.speed), 1e-3)
	wait := l.wait(t.n, read(&l.output), t.slots)
	if wait == 0 { // else the line would have the wait in it
		f.doubt(t.quiet)
		f.add(x, min(took, 5*guess))
		base, slope := f.line()
		p.base.Store(math.Float64bits(base))
		p.speed.Store(math.Float64bits(1 / slope))
	}
	if t.slots == 0 && t.kind == streamed {
		l.bend(t.n, took/guess)
	}
}

// bend learns how many calls an upstream takes at once, from one that was the n-th and whose first token took so many times what
// was expected. One that is not late is proof of so many. One that is may have other reasons, so it says little by itself; and
// nothing, if few are under way: then the upstream is slow, and not full.
func (l *load) bend(n, times float64) {
	const proof, late, less, more, few = 1.1, 1.5, 0.2, 0.005, 4
	switch knee := read(&l.knee); {
	case times < proof && knee > 0 && n > knee-1:
		l.knee.Store(math.Float64bits(max(n, knee+more)))
	case times < late || n <= few:
	case knee == 0:
		l.knee.Store(math.Float64bits(n - 1))
	case n-1 < knee:
		blend(&l.knee, n-1, less)
	}
}

// firstTokenLimit is how long a first token is waited for: three times the 99th percentile of such prompts, between least
// and most (algorithms.md §3.2); 0 while too few were seen.
func (l *load) firstTokenLimit(uncached int64, stream bool) time.Duration {
	const least, most, enough = 5 * time.Second, 120 * time.Second, 50
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &l.late[kindOf(stream)][promptBucket(uncached)]
	if q.n < enough {
		return 0
	}
	return min(max(time.Duration(3*q.at(0.99)*float64(time.Second)), least), most)
}

// hedgeAfter is the 95th percentile of the time to the first token of such prompts; 0 while too few were seen.
func (l *load) hedgeAfter(uncached int64, stream bool) time.Duration {
	const enough = 20
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &l.late[kindOf(stream)][promptBucket(uncached)]
	if q.n < enough {
		return 0
	}
	return time.Duration(q.at(0.95) * float64(time.Second))
}

// The kinds of answers whose times are told apart.
const (
	streamed = iota
	plain
)

func kindOf(stream bool) int {
	if stream {
		return streamed
	}
	return plain
}

// promptBuckets are the sizes of prompts that are told apart: up to 256 tokens, and then by factors of four.
const promptBuckets = 6

func promptBucket(tokens int64) int {
	b := 0
	for limit := int64(256); tokens > limit && b < promptBuckets-1; limit *= 4 {
		b++
	}
	return b
}

// A fit is the line through times to first tokens over prompt tokens, by least squares that forget: seconds = base +
// tokens * slope. It begins with a belief, so that a few short prompts do not make a slope of noise.
type fit struct{ w, x, y, xx, xy float64 }

const (
	forget = 0.98 // a measurement counts half after 34 others
	belief = 8    // measurements that the beginning counts as
)

func (f *fit) init(base float64) {
	for _, x := range [...]float64{0, 4000} {
		f.weigh(x, base+x/startSpeed, belief/2)
	}
}

func (f *fit) weigh(x, y, w float64) {
	f.w += w
	f.x += w * x
	f.y += w * y
	f.xx += w * x * x
	f.xy += w * x * y
}

func (f *fit) add(x, y float64) {
	f.w, f.x, f.y, f.xx, f.xy = f.w*forget, f.x*forget, f.y*forget, f.xx*forget, f.xy*forget
	f.weigh(x, y, 1)
}

// doubt forgets in a time without a measurement, but not all.
func (f *fit) doubt(seconds float64) {
	const least = 2 // measurements
	if f.w > least {
		keep := max(math.Exp2(-seconds/doubtAfter), least/f.w)
		f.w, f.x, f.y, f.xx, f.xy = f.w*keep, f.x*keep, f.y*keep, f.xx*keep, f.xy*keep
	}
}

// line gives the base, at least a millisecond, and the slope: a speed between 100 and 1,000,000 tokens a second.
func (f *fit) line() (base, slope float64) {
	const least, most = 1e-6, 1e-2
	mean, over := f.y/f.w, f.x/f.w
	slope = 1.0 / startSpeed
	if spread := f.xx - f.x*over; spread > f.w { // prompts differ by a token at least
		slope = (f.xy - f.x*mean) / spread
	}
	slope = min(max(slope, least), most)
	base = mean - slope*over
	if base < 1e-3 { // all of it is the prompt's
		base = 1e-3
		if over > 0 {
			slope = min(max((mean-base)/over, least), most)
		}
	}
	return base, slope
}

// quantiles is a histogram of seconds that forgets: its buckets grow by a fifth, from a millisecond to ten minutes.
type quantiles struct {
	n     int
	sum   float64
	count [quantileBuckets]float32
}

const (
	quantileBuckets = 74
	quantileGrowth  = 1.2
	quantileKeeps   = 1000 // samples, after which all are halved
)

func (q *quantiles) add(seconds float64) {
	i := 0
	if seconds > 1e-3 {
		i = min(int(math.Ceil(math.Log(seconds/1e-3)/math.Log(quantileGrowth))), quantileBuckets-1)
	}
	q.n++
	q.sum++
	q.count[i]++
	if q.sum >= quantileKeeps {
		q.sum = 0
		for j := range q.count {
			q.count[j] /= 2
			q.sum += float64(q.count[j])
		}
	}
}

// at is an upper bound of a quantile in seconds, at most a fifth too high.
func (q *quantiles) at(share float64) float64 {
	left := share * q.sum
	for i, n := range q.count {
		if left -= float64(n); left <= 0 {
			return 1e-3 * math.Pow(quantileGrowth, float64(i))
		}
	}
	return 1e-3 * math.Pow(quantileGrowth, quantileBuckets-1)
}
