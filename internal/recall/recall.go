// Package recall gives models back the proof of their reasoning where their callers' dialect has no place for it.
//
// Some vendors sign what a model thought before it called a tool, and refuse, or lose the thread, if the call comes back without.
// Callers of other dialects keep the id of the call and nothing else; by that the proof is found again. What is kept is in
// memory only, for an hour, bounded, and each project's for itself: a replica that was not asked first, or a restart, knows
// nothing, and then the model is asked without reasoning, or told that the proof is missing, as its codec does it.
//
// It is not for what the caller said (that is bodies, and only where a project wants it), and not for conversations.
package recall

import (
	"container/list"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// Options bound a Memory.
type Options struct {
	Bytes int64         // of all that is kept; 0 takes 32 MB
	Keep  time.Duration // how long; 0 takes an hour
}

// A Memory keeps what was thought before calls of tools. It is safe for concurrent use.
type Memory struct {
	o     Options
	mu    sync.Mutex
	known map[key]*list.Element
	age   *list.List // of *thought, the newest first
	bytes int64
}

type key struct{ project, call string }

// A thought is what belongs to one call.
type thought struct {
	key
	until     time.Time
	reasoning []llm.Part // of the turn, before the call; shared by the calls of a turn
	signature string     // of the call itself
	signer    llm.Dialect
	size      int64
}

// New makes an empty memory.
func New(o Options) *Memory {
	if o.Bytes <= 0 {
		o.Bytes = 32e6
	}
	if o.Keep <= 0 {
		o.Keep = time.Hour
	}
	return &Memory{o: o, known: map[key]*list.Element{}, age: list.New()}
}

// keep notes what belongs to a call, and forgets the oldest where there is no room.
func (m *Memory) keep(t *thought) {
	t.size = int64(len(t.project)+len(t.call)+len(t.signature)) + overhead
	for i := range t.reasoning {
		p := &t.reasoning[i]
		t.size += int64(len(p.Text)+len(p.Signature)+len(p.Redacted)) + overhead
	}
	if t.size > m.o.Bytes/maxShare {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t.until = time.Now().Add(m.o.Keep)
	if before, ok := m.known[t.key]; ok {
		m.forget(before)
	}
	m.known[t.key] = m.age.PushFront(t)
	m.bytes += t.size
	for last := m.age.Back(); last != nil; last = m.age.Back() {
		if m.bytes <= m.o.Bytes && time.Now().Before(last.Value.(*thought).until) {
			break
		}
		m.forget(last)
	}
}

const (
	// overhead is what an entry or a part takes beside its texts, in bytes, roughly.
	overhead = 256
	// maxShare is the part of all room that one call may take: 1/maxShare.
	maxShare = 16
)

func (m *Memory) forget(e *list.Element) {
	t := m.age.Remove(e).(*thought)
	delete(m.known, t.key)
	m.bytes -= t.size
}

// find gives what belongs to a call, nil if nothing is known.
func (m *Memory) find(project, call string) *thought {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.known[key{project, plain(call)}]
	if !ok {
		return nil
	}
	t := e.Value.(*thought)
	if !time.Now().Before(t.until) {
		m.forget(e)
		return nil
	}
	return t
}

// plain is an id in the characters in which every dialect tells it.
func plain(id string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, id)
}
