package bodies

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/seal"
)

// Options are what a Keeper works with. All are needed but Log.
type Options struct {
	Config  Config
	Ring    *seal.Ring
	Journal *journal.Journal // of bodies only
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// A Keeper keeps bodies: its stage takes them, and journals them when an exchange ends.
type Keeper struct {
	o       Options
	m       *metrics
	zip     *zstd.Encoder
	slots   chan *slot
	held    atomic.Int64 // bytes in buffers of bodies that are not sealed yet
	dropped atomic.Int64 // when bodies were dropped last, in Unix nanoseconds; 0: never
	failing atomic.Bool  // the journal took nothing last time, and that was told
}

// A slot is the right to seal, and the space for it: so many exchanges seal at once as there are processors.
type slot struct{ zipped, entry, bound []byte }

// NewKeeper makes a keeper, one for the life of the process.
func NewKeeper(o Options) (*Keeper, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := runtime.GOMAXPROCS(0)
	zip, err := newEncoder(n)
	if err != nil {
		return nil, fmt.Errorf("bodies: %w", err)
	}
	k := &Keeper{o: o, m: newMetrics(), zip: zip, slots: make(chan *slot, n)}
	for range n {
		k.slots <- &slot{}
	}
	return k, k.m.register(o.Metrics, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "penstock_bodies_held_bytes", Help: "Bytes held by bodies that are to be kept and are not sealed yet.",
	}, func() float64 { return float64(k.held.Load()) }))
}

// Dropped is when bodies could not be kept last; the zero time if that never happened.
func (k *Keeper) Dropped() time.Time {
	ns := k.dropped.Load()
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Stage is the innermost stage. For projects that keep no bodies it is nothing.
func (k *Keeper) Stage() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			if !x.Caller.KeepBodies {
				return next(ctx, x)
			}
			c := &capture{k: k, x: x}
			resp, err := next(ctx, x)
			if err != nil || resp == nil {
				c.finish()
				return resp, err
			}
			c.stream = resp.Stream
			events := resp.Events
			resp.Events = func(yield func(llm.Event, error) bool) { c.walk(events, yield) }
			return resp, nil
		}
	}
}

// A capture is the bodies of one exchange on their way. It belongs to the goroutine that walks the answer.
type capture struct {
	k      *Keeper
	x      *pipeline.Exchange
	stream bool
	whole  bool
	done   bool
	why    string // it was dropped for, "" if it was not

	packed *[]byte // room for the head, then the answer as far as it is kept
	held   int64   // counted in Keeper.held
	size   int64   // of the answer
}

// walk passes the answer on and takes it down. At its end the bodies are journalled first, so that whoever has the end of
// an answer can rely on its bodies being kept.
func (c *capture) walk(events iter.Seq2[llm.Event, error], yield func(llm.Event, error) bool) {
	defer c.free()
	returned := false
	defer func() {
		if returned {
			c.finish() // unless it is done: the reader has left
		}
	}()
	for ev, err := range events {
		if err == nil && !ev.Is(llm.Hidden) {
			c.take(&ev)
		}
		if ended := err == nil && ev.Is(llm.End); ended || err != nil {
			c.whole = ended
			c.finish()
		}
		if !yield(ev, err) {
			break
		}
	}
	returned = true
}

// take takes an event down, in the form in which clients get it, but with the provider's name of the model.
func (c *capture) take(ev *llm.Event) {
	if !c.stream {
		c.add(ev.Raw, "")
		return
	}
	if ev.Name != "" {
		c.add(nil, "event: "+ev.Name+"\n")
	}
	c.add(nil, "data: ")
	c.add(ev.Raw, "\n\n")
}

// add adds to the answer what it may still hold.
func (c *capture) add(text []byte, more string) {
	c.size += int64(len(text) + len(more))
	if c.done || c.why != "" {
		return
	}
	if c.packed == nil {
		c.packed = buffers.Get().(*[]byte)
		*c.packed = append((*c.packed)[:0], make([]byte, headSize)...)
	}
	room := int(c.k.o.Config.Max) + headSize - len(*c.packed)
	text = text[:min(len(text), room)]
	more = more[:min(len(more), room-len(text))]
	if need := len(*c.packed) + len(text) + len(more); need > cap(*c.packed) && !c.hold(int64(2*need)) {
		c.drop(droppedMemory)
		return
	}
	*c.packed = append(append(*c.packed, text...), more...)
}

// hold counts that this exchange is about to hold n bytes. Buffers of the pool's own size are not counted.
func (c *capture) hold(n int64) bool {
	more := n - c.held
	if more <= 0 {
		return true
	}
	if c.k.held.Add(more) > c.k.o.Config.InFlight {
		c.k.held.Add(-more)
		return false
	}
	c.held = n
	return true
}

// buffers holds what bodies are packed in. Larger ones are left to the collector.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, pooled); return &b }}

const pooled = 16 << 10

// free ends the capture.
func (c *capture) free() {
	c.done = true
	c.release()
}

// release gives back what the capture holds.
func (c *capture) release() {
	if c.packed != nil && cap(*c.packed) <= 4*pooled {
		buffers.Put(c.packed)
	}
	c.packed = nil
	c.k.held.Add(-c.held)
	c.held = 0
}

func (c *capture) drop(why string) {
	c.why = why
	c.release()
	c.k.m.dropped.WithLabelValues(why).Inc()
	c.k.dropped.Store(time.Now().UnixNano())
}

// finish journals what there is, and notes in the record what became of it.
func (c *capture) finish() {
	if c.done {
		return
	}
	begun := time.Now()
	words := ""
	if c.why == "" {
		words = c.keep()
	}
	if c.why != "" {
		words = droppedWords[c.why]
	}
	c.x.Note(StageName, words, time.Since(begun))
	c.free()
}

// keep packs, seals and journals, and says what was kept.
func (c *capture) keep() (words string) {
	c.add(nil, "") // there is a head at least
	if c.why != "" {
		return ""
	}
	answerKept := len(*c.packed) - headSize
	request := c.x.Request
	if need := int64(len(*c.packed) + len(request.Raw)); need > int64(cap(*c.packed)) && !c.hold(2*need) {
		c.drop(droppedMemory)
		return ""
	}
	all := request.AppendBody(*c.packed)
	requestSize := int64(len(all) - len(*c.packed))
	requestKept := min(requestSize, c.k.o.Config.Max)
	*c.packed = all[:len(*c.packed)+int(requestKept)]
	putHead(*c.packed, c.stream, c.whole, requestSize, c.size, answerKept)
	if why := c.k.seal(c.x, *c.packed); why != "" {
		c.drop(why)
		return ""
	}
	for _, cut := range []bool{requestKept < requestSize, int64(answerKept) < c.size} {
		if cut {
			c.k.m.cut.Inc()
		}
	}
	words = "kept: request " + keptOf(requestKept, requestSize)
	if c.size > 0 {
		words += ", answer " + keptOf(int64(answerKept), c.size)
	}
	return words
}

func keptOf(kept, size int64) string {
	if kept == size {
		return figure.Bytes(size)
	}
	return "the first " + figure.Bytes(kept) + " of " + figure.Bytes(size)
}

// seal compresses and seals what was packed, and journals it. It says why it could not.
func (k *Keeper) seal(x *pipeline.Exchange, packed []byte) (why string) {
	s := <-k.slots
	defer func() {
		s.trim()
		k.slots <- s
	}()
	project := x.Caller.Project
	s.zipped = k.zip.EncodeAll(packed, append(s.zipped[:0], format))
	s.entry = appendHead(s.entry[:0], project, x.ID)
	s.bound = bound(s.bound[:0], project, x.ID)
	before := len(s.entry)
	var err error
	if s.entry, err = k.o.Ring.Seal(s.entry, s.zipped, s.bound); err != nil {
		return droppedSeal
	}
	if x.Caller.Strict {
		_, err = k.o.Journal.AppendSync(context.Background(), kindBodies, s.entry)
	} else {
		_, err = k.o.Journal.Append(kindBodies, s.entry)
	}
	if errors.Is(err, journal.ErrNotSynced) {
		err = nil // it is in the journal; whether the answer may end without the disk is decided with the record
	}
	k.told(err)
	if err != nil {
		return droppedJournal
	}
	k.m.kept.Inc()
	k.m.keptBytes.Add(float64(len(packed) - headSize))
	k.m.sealedBytes.Add(float64(len(s.entry) - before))
	return ""
}

// keepSlot is how much space for sealing is kept from one exchange to the next, in bytes.
const keepSlot = 256 << 10

func (s *slot) trim() {
	if cap(s.zipped)+cap(s.entry) > keepSlot {
		s.zipped, s.entry = nil, nil
	}
}

// told logs once that the journal takes nothing, and once that it does again.
func (k *Keeper) told(err error) {
	if err == nil && !k.failing.Load() {
		return
	}
	if failing := err != nil; k.failing.Swap(failing) != failing {
		if failing {
			k.o.Log.Error("bodies are dropped: their journal takes nothing", "error", err)
		} else {
			k.o.Log.Info("bodies are kept again")
		}
	}
}

// Room is how many bytes the journal of bodies may still grow by.
func (k *Keeper) Room() int64 { return k.o.Journal.Room() }
