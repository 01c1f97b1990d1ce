package usage

import (
	"errors"
	"slices"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
)

// An open exchange has intents in the journal and no record yet.
type open struct {
	at    int64  // where its first entry is: the journal must not be trimmed beyond
	texts []byte // payloads, one behind the other
	ends  []int  // of each
}

func (o *open) add(payload []byte) {
	o.texts = append(o.texts, payload...)
	o.ends = append(o.ends, len(o.texts))
}

// An openSet are the open exchanges by id. Nearly all are open for a moment, so that their rooms are used again.
type openSet struct {
	byID map[string]*open
	free []*open
}

// What of rooms is kept for others.
const (
	freeRooms = 1024
	freeText  = 4096 // bytes
)

// add notes an entry of an exchange. An outcome alone opens none.
func (s *openSet) add(id, payload []byte, at int64, opens bool) {
	o := s.byID[string(id)]
	if o == nil {
		if !opens {
			return
		}
		if last := len(s.free) - 1; last >= 0 {
			o, s.free = s.free[last], s.free[:last]
		} else {
			o = &open{}
		}
		o.at = at
		s.byID[string(id)] = o
	}
	o.add(payload)
}

// remove forgets an exchange.
func (s *openSet) remove(id string) {
	o := s.byID[id]
	if o == nil {
		return
	}
	delete(s.byID, id)
	if len(s.free) < freeRooms && cap(o.texts) <= freeText {
		o.texts, o.ends = o.texts[:0], o.ends[:0]
		s.free = append(s.free, o)
	}
}

// oldest is where the first entry of all lies, at most limit.
func (s *openSet) oldest(limit int64) int64 {
	for _, o := range s.byID {
		limit = min(limit, o.at)
	}
	return limit
}

// soFar is the record of an open exchange as far as it is known: the last that is known of each try.
func (o *open) soFar() (*Record, error) {
	var rec *Record
	texts, from := string(o.texts), 0 // records share its memory
	for _, end := range o.ends {
		next, err := decodeRecord(texts[from:end])
		from = end
		if err != nil {
			return nil, err
		}
		if rec == nil {
			rec = next
			continue
		}
		for _, try := range next.Tries {
			i := slices.IndexFunc(rec.Tries, func(t pipeline.Try) bool { return t.ID == try.ID })
			if i < 0 {
				rec.Tries = append(rec.Tries, try)
			} else {
				rec.Tries[i] = try
			}
		}
	}
	if rec == nil {
		return nil, errors.New("an open exchange without entries")
	}
	return rec, nil
}

// reasonStopped is why a try ended that the process did not live to see end.
const reasonStopped = "penstock_stopped"

// orphan makes the record of an exchange whose process is gone. What is not known of its tries is not guessed.
func (o *open) orphan() (*Record, error) {
	rec, err := o.soFar()
	if err != nil {
		return nil, err
	}
	rec.Replayed = true
	rec.Status = 0
	rec.Error = &Error{
		Code:    string(fault.OutcomeUnknown),
		Message: "Penstock stopped before this exchange had ended, so its outcome is not known.",
	}
	for i := range rec.Tries {
		try := &rec.Tries[i]
		if try.Reason == "" {
			try.Reason = reasonStopped
			try.Outcome = pipeline.Unknown
		}
		rec.Usage = rec.Usage.Add(try.Usage)
		rec.CostNano = rec.CostNano.Plus(try.CostNano)
		rec.Unpriced = rec.Unpriced || try.Unpriced
	}
	return rec, nil
}
