package telemetry

import "sync"

// Bounds of a batch: below what collectors take in one request by default (4 MB).
const (
	batchSpans = 1000
	batchBytes = 1 << 20
)

// A batch is spans as they are sent, one after the other.
type batch struct {
	items []byte
	spans int
}

// A queue holds the spans that wait. It is bounded in bytes; what does not fit pushes the oldest batches out, since what
// happened last is what somebody will look for.
type queue struct {
	full chan struct{} // a batch is full

	mu    sync.Mutex // guards the fields below
	most  int64
	ready []batch
	open  batch // the one that grows
	bytes int64 // of all
}

func newQueue() *queue { return &queue{full: make(chan struct{}, 1)} }

// bound says how many bytes may wait.
func (q *queue) bound(most int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.most = most
}

// add has the spans of a record appended, and says how many were pushed out for them.
func (q *queue) add(write func(b []byte) ([]byte, int)) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(q.open.items)
	items, spans := write(q.open.items)
	q.open.items, q.open.spans = items, q.open.spans+spans
	q.bytes += int64(len(items) - before)
	if q.open.spans >= batchSpans || len(items) >= batchBytes || int64(len(items)) > q.most/4 {
		q.seal()
		select {
		case q.full <- struct{}{}:
		default:
		}
	}
	for q.bytes > q.most && len(q.ready) > 0 {
		dropped += q.pop().spans
	}
	return dropped
}

// seal makes the batch that grows a full one.
func (q *queue) seal() {
	q.ready = append(q.ready, q.open)
	q.open = batch{items: make([]byte, 0, cap(q.open.items))}
}

func (q *queue) pop() batch {
	b := q.ready[0]
	q.ready[0] = batch{}
	q.ready = q.ready[1:]
	q.bytes -= int64(len(b.items))
	return b
}

// take removes the oldest batch, full or not; ok is false if nothing waits.
func (q *queue) take() (b batch, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 {
		if q.open.spans == 0 {
			return batch{}, false
		}
		q.seal()
	}
	return q.pop(), true
}

// clear drops everything, and says how many spans that were.
func (q *queue) clear() (dropped int) {
	for {
		b, ok := q.take()
		if !ok {
			return dropped
		}
		dropped += b.spans
	}
}

// size is how many bytes wait.
func (q *queue) size() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
