package audit

import (
	"cmp"
	"fmt"
	"slices"
)

// A Break is the first place where a chain is not what was written.
type Break struct {
	Seq  int64  `json:"seq"`  // the first bad entry, or the first that is missing; 0 if it is the chain as a whole
	Text string `json:"text"` // what is wrong there
}

// Error says what is wrong.
func (b *Break) Error() string { return b.Text }

func broken(seq int64, format string, args ...any) *Break {
	return &Break{Seq: seq, Text: fmt.Sprintf(format, args...)}
}

// A Verifier walks a chain from an entry that is known to be good and finds the first that is not. It keeps nothing of
// what it has seen but the last hash.
type Verifier struct {
	at     Head
	sealed int64        // number of the last entry that a checkpoint has confirmed
	ahead  []Checkpoint // not yet come to, by number
}

// NewVerifier begins behind from; the zero Seq is the beginning of the chain. Checkpoints are taken as they are: their
// signatures are for [Checkpoint.Verify]. Those of entries up to from are left out.
func NewVerifier(from Head, points []Checkpoint) (*Verifier, error) {
	if from.Seq == 0 {
		from.Hash = Genesis(from.Chain)
	}
	v := &Verifier{at: from, sealed: from.Seq}
	for _, p := range points {
		if p.Chain != from.Chain {
			return nil, broken(0, "%s has seen the chain %s, and this is %s: another store is in its place", p.source(), p.Chain, chainName(from.Chain))
		}
		if p.Seq > from.Seq || p.Seq == from.Seq && from.Seq > 0 {
			v.ahead = append(v.ahead, p)
		}
	}
	slices.SortStableFunc(v.ahead, func(a, b Checkpoint) int { return cmp.Compare(a.Seq, b.Seq) })
	return v, v.pass()
}

func chainName(id string) string {
	if id == "" {
		return "empty"
	}
	return id
}

// Skip goes to an entry over others that are left out on purpose, as in an export of a part. What is left out is not
// verified, and checkpoints of it say nothing.
func (v *Verifier) Skip(e *Entry) {
	if e.Seq <= v.at.Seq+1 {
		return
	}
	v.at.Seq, v.at.Hash = e.Seq-1, e.Prev
	for len(v.ahead) > 0 && v.ahead[0].Seq < e.Seq {
		v.ahead = v.ahead[1:]
	}
}

// At is the last entry that was found good.
func (v *Verifier) At() Head { return v.at }

// Next looks at the entry that should come next. Its error is a *Break; nothing can be said of what comes behind it.
func (v *Verifier) Next(e *Entry) error {
	next := v.at.Seq + 1
	switch {
	case e.Seq > next && e.Seq == next+1:
		return broken(next, "entry %d is missing", next)
	case e.Seq > next:
		return broken(next, "entries %d to %d are missing", next, e.Seq-1)
	case e.Seq < next:
		return broken(e.Seq, "entry %d comes after entry %d: it was put there, or moved", e.Seq, v.at.Seq)
	case e.Version != Version:
		return broken(e.Seq, "entry %d says that it was hashed in way %d, which is not known", e.Seq, e.Version)
	case e.Hash != e.sum():
		return broken(e.Seq, "entry %d was altered: its hash is not that of its content", e.Seq)
	case e.Prev != v.at.Hash:
		return v.unlinked(e)
	}
	v.at.Seq, v.at.Hash = e.Seq, e.Hash
	return v.pass()
}

// unlinked says which of two entries that do not fit together is the bad one: the earlier, for it can be altered and given
// a new hash without touching the later, unless a checkpoint has confirmed it.
func (v *Verifier) unlinked(e *Entry) *Break {
	if v.at.Seq == v.sealed {
		return broken(e.Seq, "entry %d does not continue entry %d: it was replaced", e.Seq, v.at.Seq)
	}
	return broken(v.at.Seq, "entry %d is not the one that entry %d was written after: it was altered and given a new hash", v.at.Seq, e.Seq)
}

// pass holds the entry that was come to against its checkpoints.
func (v *Verifier) pass() error {
	for len(v.ahead) > 0 && v.ahead[0].Seq == v.at.Seq {
		p := v.ahead[0]
		if p.Hash != v.at.Hash {
			return broken(v.sealed+1, "entry %d is not the one that %s has seen: from entry %d on, something was altered and the chain made anew",
				p.Seq, p.source(), v.sealed+1)
		}
		v.sealed, v.ahead = p.Seq, v.ahead[1:]
	}
	return nil
}

// End says whether the chain may end where the last entry was: not before the entries that a checkpoint or the head
// itself speaks of.
func (v *Verifier) End(head Head) error {
	switch n := len(v.ahead); {
	case n > 0:
		p := v.ahead[n-1]
		return broken(v.at.Seq+1, "the chain ends with entry %d, and %s has seen entry %d: its end was cut off, or an older copy was put back",
			v.at.Seq, p.source(), p.Seq)
	case head.Seq > v.at.Seq:
		return broken(v.at.Seq+1, "the chain ends with entry %d, and %d were written: its end was cut off", v.at.Seq, head.Seq)
	case head.Seq == v.at.Seq && head.Seq > 0 && head.Hash != v.at.Hash:
		return broken(v.at.Seq, "entry %d is not the last that was written: it was replaced", v.at.Seq)
	}
	return nil
}
