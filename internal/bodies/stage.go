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

// A slot is the right to compress and seal, and the space for it: so many exchanges do at once as there are processors.
// Nobody waits for a disk with a slot in hand.
type slot struct{ zipped, bound []byte }

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
				c.finish(ctx)
				return resp, err
			}
			c.stream = resp.Stream
			events := resp.Events
			resp.Events = func(yield func(llm.Event, error) bool) { c.walk(ctx, events, yield) }
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
func (c *capture) walk(ctx context.Context, events iter.Seq2[llm.Event, error], yield func(llm.Event, error) bool) {
	defer c.free()
	returned := false
	defer func() {
		if returned {
			c.finish(ctx) // unless it is done: the reader has left
		}
	}()
	for ev, err := range events {
		if err == nil && !ev.Is(llm.Hidden) {
			c.take(&ev)
		}
		if ended := err == nil && ev.Is(llm.End); ended || err != nil {
			c.whole = ended
			c.finish(ctx)
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
	room := int(c.k.o.Config.Max) - c.answerKept()
	text = text[:min(len(text), room)]
	more = more[:min(len(more), room-len(text))]
	if c.grow(len(text) + len(more)) {
		*c.packed = append(append(*c.packed, text...), more...)
	}
}

// answerKept is how many bytes of the answer are packed, until those of the request are.
func (c *capture) answerKept() int {
	if c.packed == nil {
		return 0
	}
	return len(*c.packed) - headSize
}

// grow makes room for n more bytes. If they may not be held, the bodies are dropped.
func (c *capture) grow(n int) bool {
	if c.packed == nil {
		c.packed = buffers.Get().(*[]byte)
		*c.packed = append((*c.packed)[:0], make([]byte, headSize)...)
	}
	need, has := len(*c.packed)+n, cap(*c.packed)
	if need <= has {
		return true
	}
	most := headSize + int(c.k.o.Config.Max) // of all that comes before the request
	to := max(need, min(2*has, most))
	if !c.hold(int64(has + to - pooled)) { // both are there while it is copied
		c.drop(droppedMemory)
		return false
	}
	larger := append(make([]byte, 0, to), *c.packed...)
	c.giveBack()
	c.packed = &larger
	return true
}

// hold counts that this exchange holds n bytes, without those that each begins with, a buffer of the pool.
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

// buffers holds what bodies are packed in at first. Larger ones are left to the collector.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, pooled); return &b }}

const pooled = 16 << 10

func (c *capture) giveBack() {
	if c.packed != nil && cap(*c.packed) == pooled {
		buffers.Put(c.packed)
	}
	c.packed = nil
}

// free ends the capture.
func (c *capture) free() {
	c.done = true
	c.release()
}

// release gives back what the capture holds.
func (c *capture) release() {
	c.giveBack()
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
func (c *capture) finish(ctx context.Context) {
	if c.done {
		return
	}
	begun := time.Now()
	words := ""
	if c.why == "" {
		words = c.keep(ctx)
	}
	if c.why != "" {
		words = droppedWords[c.why]
	}
	c.x.Note(StageName, words, time.Since(begun))
	c.free()
}

// keep packs, seals and journals, and says what was kept; "" if it was dropped.
func (c *capture) keep(ctx context.Context) (words string) {
	c.grow(0) // there is a head at least
	answerKept := int64(c.answerKept())
	size, kept := c.addRequest()
	if c.why != "" {
		return ""
	}
	putHead(*c.packed, c.stream, c.whole, size, c.size, int(answerKept))
	packed := len(*c.packed) - headSize
	sealed := c.seal(ctx)
	if c.why != "" {
		return ""
	}
	confirmed, err := c.k.append(*c.packed, c.x.Caller.Strict)
	if err != nil {
		c.drop(droppedJournal)
		return ""
	}
	c.k.m.keptBytes.Add(float64(packed))
	c.k.m.sealedBytes.Add(float64(sealed))
	for _, cut := range []bool{kept < size, answerKept < c.size} {
		if cut {
			c.k.m.cut.Inc()
		}
	}
	words = "kept"
	if !confirmed {
		words = "kept, not confirmed by the disk"
	}
	words += ": request " + keptOf(kept, size)
	if c.size > 0 {
		words += ", answer " + keptOf(answerKept, c.size)
	}
	return words
}

// addRequest packs the request behind the answer, and says how long it is, and how much of it was packed.
func (c *capture) addRequest() (size, kept int64) {
	r, before := c.x.Request, len(*c.packed)
	size = int64(len(r.Raw))
	kept = min(size, c.k.o.Config.Max)
	switch {
	case r.Edited(): // it is made whole, and then cut
		if c.grow(int(size) + sealing) {
			*c.packed = r.AppendBody(*c.packed)
			size = int64(len(*c.packed) - before)
			kept = min(size, c.k.o.Config.Max)
			*c.packed = (*c.packed)[:before+int(kept)]
		}
	case c.grow(int(kept) + sealing):
		*c.packed = append(*c.packed, r.Raw[:kept]...)
	}
	return size, kept
}

// sealing is how many bytes compressing and sealing may add to what cannot be compressed, so that it need not be copied.
const sealing = 1 << 10

func keptOf(kept, size int64) string {
	if kept == size {
		return figure.Bytes(size)
	}
	return "the first " + figure.Bytes(kept) + " of " + figure.Bytes(size)
}

// seal makes an entry of the journal of what was packed, in its place, and says how long the sealed value in it is.
func (c *capture) seal(ctx context.Context) (size int) {
	s := c.k.slot(ctx)
	if s == nil {
		c.drop(droppedBusy)
		return 0
	}
	project := c.x.Caller.Project
	s.zipped = c.k.zip.EncodeAll(*c.packed, append(s.zipped[:0], format))
	s.bound = bound(s.bound[:0], project, c.x.ID)
	entry := appendHead((*c.packed)[:0], project, c.x.ID)
	before := len(entry)
	entry, err := c.k.o.Ring.Seal(entry, s.zipped, s.bound)
	c.k.free(s)
	if err != nil {
		c.drop(droppedSeal)
		return 0
	}
	*c.packed = entry
	return len(entry) - before
}

// leftWait is how long the bodies of an exchange that has ended, because the caller left or the process stops, wait for a
// slot. A slot comes free within milliseconds, and leaving must be no way of not being kept.
const leftWait = 2 * time.Second

// slot waits for one; nil if the exchange was over before there was any.
func (k *Keeper) slot(ctx context.Context) *slot {
	select {
	case s := <-k.slots:
		return s
	default:
	}
	ctx, cancel := journal.Outlive(ctx, leftWait)
	defer cancel()
	select {
	case s := <-k.slots:
		return s
	case <-ctx.Done():
		return nil
	}
}

// keepSlot is how much space for compressing is kept from one exchange to the next, in bytes.
const keepSlot = 256 << 10

func (k *Keeper) free(s *slot) {
	if cap(s.zipped) > keepSlot {
		s.zipped = nil
	}
	k.slots <- s
}

// append journals an entry. A strict one waits for the disk; whether the answer may end if that does not confirm it is
// decided with the record, which waits for it too.
func (k *Keeper) append(entry []byte, strict bool) (confirmed bool, err error) {
	if strict {
		_, err = k.o.Journal.AppendSync(context.Background(), kindBodies, entry)
	} else {
		_, err = k.o.Journal.Append(kindBodies, entry)
	}
	confirmed = !errors.Is(err, journal.ErrNotSynced)
	if !confirmed { // it is in the journal
		k.m.unconfirmed.Inc()
		err = nil
	}
	k.told(err)
	if err == nil {
		k.m.kept.Inc()
	}
	return confirmed, err
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
