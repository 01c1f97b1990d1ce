package alert

import (
	"sync"
	"time"
)

// A Window counts outcomes by object over the last minutes: how many there were, and how many of them were bad. It costs
// one lock and one look into a map, so it may be asked on the request path. It is safe for concurrent use.
type Window struct {
	mu     sync.Mutex // guards the fields below
	slots  [slots]map[string]Count
	latest int64 // number of the slot that is written, counted from born
	born   time.Time
}

// A Count is outcomes of one object.
type Count struct{ All, Bad int }

// The window is so many slots of so long: five minutes.
const (
	slots    = 30
	slotTime = 10 * time.Second
	// maxObjects bounds a slot; further objects are not counted.
	maxObjects = 1000
)

// NewWindow makes an empty window.
func NewWindow() *Window { return &Window{born: time.Now()} }

// Add counts one outcome of an object.
func (w *Window) Add(object string, bad bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn()
	slot := w.slots[w.latest%slots]
	if slot == nil {
		slot = map[string]Count{}
		w.slots[w.latest%slots] = slot
	}
	c, known := slot[object]
	if !known && len(slot) >= maxObjects {
		return
	}
	c.All++
	if bad {
		c.Bad++
	}
	slot[object] = c
}

// Counts sums the window.
func (w *Window) Counts() map[string]Count {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn()
	sums := map[string]Count{}
	for _, slot := range w.slots {
		for object, c := range slot {
			sum := sums[object]
			sums[object] = Count{sum.All + c.All, sum.Bad + c.Bad}
		}
	}
	return sums
}

// turn empties the slots whose time is over.
func (w *Window) turn() {
	now := int64(time.Since(w.born) / slotTime)
	for n := max(w.latest+1, now-slots+1); n <= now; n++ {
		w.slots[n%slots] = nil
	}
	w.latest = max(w.latest, now)
}
