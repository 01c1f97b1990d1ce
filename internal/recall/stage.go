package recall

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Stage looks at answers that are translated, and gives the canonical form of later requests what it has seen. Requests that are
// passed on as they are never have that form made.
func (m *Memory) Stage() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			if x.Op != llm.OpChat && x.Op != llm.OpCount || x.Request == nil {
				return next(ctx, x)
			}
			x.Request.Completed = func(c *llm.Chat) { m.complete(x, c) }
			resp, err := next(ctx, x)
			if err == nil {
				resp.Events = m.watch(x.Caller.Project, resp.Events)
			}
			return resp, err
		}
	}
}

// complete gives turns of the model back what their caller lost. The chat is of this exchange alone.
func (m *Memory) complete(x *pipeline.Exchange, c *llm.Chat) {
	turns := 0
	for i := range c.Messages {
		if m.turn(x.Caller.Project, &c.Messages[i]) {
			turns++
		}
	}
	if turns > 0 {
		x.Note("recall", "gave "+strconv.Itoa(turns)+" turns of the model their reasoning back", 0)
	}
}

// turn completes one turn, and reports whether it lacked anything.
func (m *Memory) turn(project string, message *llm.Message) (done bool) {
	if message.Role != llm.RoleAssistant {
		return false
	}
	whole := slices.ContainsFunc(message.Parts, func(p llm.Part) bool {
		return p.Kind == llm.PartReasoning && (p.Signature != "" || p.Redacted != nil)
	})
	var lost []llm.Part
	for i := range message.Parts {
		p := &message.Parts[i]
		if p.Kind != llm.PartToolCall || p.CallID == "" {
			continue
		}
		t := m.find(project, p.CallID)
		if t == nil {
			continue
		}
		if p.Signature == "" && t.signature != "" {
			p.Signature, p.Signer = t.signature, t.signer
			done = true
		}
		if lost == nil && !whole {
			lost = t.reasoning
		}
	}
	if len(lost) > 0 {
		said := slices.DeleteFunc(message.Parts, func(p llm.Part) bool { return p.Kind == llm.PartReasoning }) // a copy without proof
		message.Parts = append(slices.Clone(lost), said...)
		done = true
	}
	return done
}

// watch passes an answer on, and keeps what was thought before calls.
func (m *Memory) watch(project string, events iter.Seq2[llm.Event, error]) iter.Seq2[llm.Event, error] {
	return func(yield func(llm.Event, error) bool) {
		var seen map[int]*seen // by choice, of answers that are translated
		for ev, err := range events {
			if err == nil && len(ev.Deltas) > 0 {
				seen = m.look(project, seen, &ev)
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}

// seen is what came of one choice.
type seen struct {
	parts map[int]*growing
	order []*growing
}

// A growing is a part that comes in pieces.
type growing struct {
	llm.Part
	text strings.Builder
}

func (m *Memory) look(project string, all map[int]*seen, ev *llm.Event) map[int]*seen {
	for i := range ev.Deltas {
		d := &ev.Deltas[i]
		s := all[d.Choice]
		if d.Open != nil && (d.Open.Kind == llm.PartReasoning || d.Open.Kind == llm.PartToolCall) {
			if s == nil {
				s = &seen{parts: map[int]*growing{}}
				if all == nil {
					all = map[int]*seen{}
				}
				all[d.Choice] = s
			}
			g := &growing{Part: *d.Open}
			s.parts[d.Part] = g
			s.order = append(s.order, g)
		}
		if s == nil {
			continue
		}
		if g := s.parts[d.Part]; g != nil {
			if g.Kind == llm.PartReasoning {
				g.text.WriteString(d.Text)
			}
			if d.Signature != "" {
				g.Signature = d.Signature
			}
		}
		if d.Finish != "" {
			m.learn(project, s, ev.Dialect)
			delete(all, d.Choice)
		}
	}
	return all
}

// learn keeps what was thought before the calls of a choice that has ended.
func (m *Memory) learn(project string, s *seen, signer llm.Dialect) {
	var reasoning []llm.Part
	for _, g := range s.order {
		if g.Kind == llm.PartReasoning && (g.Signature != "" || g.Redacted != nil) {
			p := g.Part
			p.Text, p.Signer, p.Redacted = g.text.String(), signer, slices.Clone(g.Redacted)
			reasoning = append(reasoning, p)
		}
	}
	for _, g := range s.order {
		if g.Kind == llm.PartToolCall && g.CallID != "" && (g.Signature != "" || reasoning != nil) {
			m.keep(&thought{key: key{project, plain(g.CallID)}, reasoning: reasoning, signature: g.Signature, signer: signer})
		}
	}
}
