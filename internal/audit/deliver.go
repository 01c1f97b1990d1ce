package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
)

// A delivery hands checkpoints on to where the operator wants them, apart from all else: what takes them may hang. What was
// not taken is offered again, after a restart too: a file beside the process's own checkpoints says how far it was.
type delivery struct {
	sink   Sink
	mark   string        // the file
	wake   chan struct{} // there is something to hand on
	turn   chan struct{} // held while a line is handed on
	mu     sync.Mutex    // guards the field below
	unsent []unsent
}

type unsent struct {
	seq  int64
	line []byte
}

// newDelivery makes a delivery of what was signed before and is not marked as taken.
func newDelivery(sink Sink, local string, signed []Checkpoint) (*delivery, error) {
	d := &delivery{sink: sink, mark: local + ".sent", wake: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	text, err := os.ReadFile(d.mark)
	if errors.Is(err, fs.ErrNotExist) { // the receiver is new: it gets what is signed from now on
		last := int64(0)
		if n := len(signed); n > 0 {
			last = signed[n-1].Seq
		}
		return d, d.taken(last)
	}
	if err != nil {
		return nil, err
	}
	sent, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		sent = 0 // to hand on twice is better than not at all
	}
	for _, c := range signed {
		if c.Seq > sent {
			d.add(c)
		}
	}
	return d, nil
}

// taken marks that all checkpoints up to an entry have been taken.
func (d *delivery) taken(seq int64) error {
	if err := os.MkdirAll(filepath.Dir(d.mark), 0o700); err != nil {
		return err
	}
	next := d.mark + ".new"
	if err := os.WriteFile(next, []byte(strconv.FormatInt(seq, 10)+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, d.mark)
}

func (d *delivery) add(c Checkpoint) {
	line, err := json.Marshal(c)
	if err != nil {
		panic(err) // a type of ours that JSON does not have
	}
	d.mu.Lock()
	d.unsent = append(d.unsent, unsent{c.Seq, append(line, '\n')})
	if len(d.unsent) > keptPoints { // the later ones confirm the same
		d.unsent = d.unsent[1:]
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *delivery) left() (next unsent, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.unsent) == 0 {
		return unsent{}, 0
	}
	return d.unsent[0], len(d.unsent)
}

// errBusy says that the receiver has not answered yet for an earlier line.
var errBusy = errors.New("it has not answered yet")

// hand hands on all there is. It waits for nobody who hands on already for longer than ctx lives.
func (d *delivery) hand(ctx context.Context) error {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return errBusy
	}
	defer func() { <-d.turn }()
	for {
		next, n := d.left()
		if n == 0 {
			return nil
		}
		if err := d.sink.Put(ctx, next.line); err != nil {
			return err
		}
		d.mu.Lock()
		if len(d.unsent) > 0 && d.unsent[0].seq == next.seq {
			d.unsent = d.unsent[1:]
		}
		d.mu.Unlock()
		if err := d.taken(next.seq); err != nil {
			return fmt.Errorf("%s: %w", d.mark, err)
		}
	}
}
