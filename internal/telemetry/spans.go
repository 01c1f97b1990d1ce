package telemetry

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/otlp"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// A Peer is what spans and metrics say of a configured provider.
type Peer struct {
	Name    string // the conventions' name of its vendor, else the configured name
	Address string // host
	Port    int64
}

// answered is the reason of a try that did.
const answered = "ok"

// maxText is how much of a text that a caller or provider wrote is passed on, in bytes.
const maxText = 256

// A spanner makes spans of records. It reuses its memory and is for one goroutine at a time.
type spanner struct {
	attrs  []otlp.Attr
	finish []string
	events []otlp.Event
	took   []otlp.Attr // of events, one each
	root   w3c.SpanID  // of the exchange
	names  map[string]string
}

// append appends the spans of an exchange to b: one for the exchange, one for each try, and one for each stage that took its
// time; of other stages there are events. They say nothing of what was asked or answered; messages of errors are left out
// because they may repeat it, and what stages decided because it may name tenants.
func (s *spanner) append(b []byte, rec *usage.Record, peers map[string]Peer) (_ []byte, spans int) {
	start := rec.Time.UnixNano()
	op := operationOf(rec.Op)
	s.root = w3c.SpanOf(rec.ID)
	root := otlp.Span{
		Trace: rec.Trace, ID: s.root, Parent: rec.ParentSpan, State: rec.TraceState, Flags: uint8(rec.TraceFlags),
		Remote: !rec.ParentSpan.IsZero(), Name: op.name, Kind: otlp.Server, Start: start, End: start + rec.Timings.TotalNS,
	}
	if route := routeOf(rec.Dialect, rec.Op); route != "" {
		root.Name = method + " " + route
	}
	root.Failed = rec.Error != nil && (rec.Status < http.StatusBadRequest || rec.Status >= http.StatusInternalServerError)
	root.Attrs = s.exchange(rec)
	root.Events = s.moments(start, rec)
	b = root.Append(b)
	spans = 1 + len(rec.Tries)
	for i := range rec.Stages {
		if d := &rec.Stages[i]; slow(d) {
			b = s.stage(b, rec, d, i)
			spans++
		}
	}
	for i := range rec.Tries {
		t := &rec.Tries[i]
		b = s.try(b, rec, t, peers)
	}
	return b, spans
}

// slowStage is from when on a stage has a span of its own. Below, a span would be thinner than a hair in every viewer.
const slowStage = time.Millisecond

func slow(d *pipeline.Decision) bool { return d.TookNS >= int64(slowStage) }

// stage appends the span of a stage, the i-th of the record.
func (s *spanner) stage(b []byte, rec *usage.Record, d *pipeline.Decision, i int) []byte {
	end := rec.Time.UnixNano() + d.AtNS
	span := otlp.Span{
		Trace: rec.Trace, ID: w3c.SpanOf(rec.ID + "-" + d.Stage + strconv.Itoa(i)), Parent: s.root, State: rec.TraceState, Flags: uint8(rec.TraceFlags),
		Name: s.name(d.Stage), Kind: otlp.Internal, Start: end - d.TookNS, End: end,
	}
	return span.Append(b)
}

// maxNames bounds how many stages' names are remembered. There are few.
const maxNames = 100

// name is what a trace calls a stage.
func (s *spanner) name(stage string) string {
	name, ok := s.names[stage]
	if ok {
		return name
	}
	name = ourStages + clip(stage)
	if s.names == nil {
		s.names = map[string]string{}
	}
	if len(s.names) < maxNames {
		s.names[strings.Clone(stage)] = name // it is a piece of a larger text
	}
	return name
}

// moments are the events of an exchange in their order: what its stages decided when, and the first content.
func (s *spanner) moments(start int64, rec *usage.Record) []otlp.Event {
	s.events = s.first(start, rec.Timings.FirstNS)
	s.took = s.took[:0]
	for i := range rec.Stages {
		d := &rec.Stages[i]
		if d.AtNS <= 0 || slow(d) { // a version before did not know when
			continue
		}
		e := otlp.Event{Time: start + d.AtNS, Name: s.name(d.Stage)}
		if d.TookNS > 0 {
			s.took = append(s.took, otlp.Double(ourTook, seconds(d.TookNS)))
			e.Attrs = s.took[len(s.took)-1:]
		}
		s.events = append(s.events, e)
	}
	slices.SortStableFunc(s.events, func(a, b otlp.Event) int { return cmp.Compare(a.Time, b.Time) })
	return s.events
}

func (s *spanner) exchange(rec *usage.Record) []otlp.Attr {
	a := append(s.attrs[:0],
		otlp.String(ourExchange, rec.ID), otlp.String(ourOrg, rec.Org), otlp.String(ourProject, rec.Project), otlp.String(ourKey, rec.Key),
		otlp.Int(ourTries, int64(len(rec.Tries))), otlp.Int(ourCost, int64(rec.CostNano)),
		otlp.Double(ourOverhead, seconds(rec.Timings.OverheadNS)),
	)
	if route := routeOf(rec.Dialect, rec.Op); route != "" {
		a = append(a, otlp.String(httpMethod, method), otlp.String(httpRoute, route), otlp.String(urlPath, route))
	}
	if rec.Status != 0 {
		a = append(a, otlp.Int(httpStatus, int64(rec.Status)))
	}
	if rec.Error != nil {
		a = append(a, otlp.String(errorType, rec.Error.Code))
	}
	if len(rec.Tries) > 0 { // else it may be the caller's invention
		a = append(a, otlp.String(ourModel, clip(rec.Model)))
	}
	a = optional(a, ourTarget, rec.Target)
	if c := rec.Choice; c != nil {
		a = append(a, otlp.String(ourPolicy, c.Policy), otlp.Int(ourEligible, eligible(c)))
	}
	a = optional(a, ourClientID, rec.ClientID)
	if len(rec.Tags) > 0 {
		a = append(a, otlp.Strings(ourTags, rec.Tags))
	}
	if rec.Unpriced {
		a = append(a, otlp.Bool(ourUnpriced, true))
	}
	if rec.ClockMS != 0 {
		a = append(a, otlp.Double(ourCorrected, float64(rec.ClockMS)/1e3))
	}
	if rec.Replayed {
		a = append(a, otlp.Bool(ourReplayed, true))
	}
	s.attrs = a
	return a
}

// eligible counts those that could be chosen.
func eligible(c *pipeline.Choice) (n int64) {
	for i := range c.Candidates {
		if c.Candidates[i].Excluded == "" {
			n++
		}
	}
	return n
}

// try appends the span of a try. What a try that failed used is not known, so it has no usage then.
func (s *spanner) try(b []byte, rec *usage.Record, t *pipeline.Try, peers map[string]Peer) []byte {
	start := rec.Time.UnixNano() + t.StartNS
	op := operationOf(rec.Op)
	provider, model, _ := strings.Cut(t.Target, "/")
	peer := peerOf(peers, provider).at(t.Endpoint)
	a := append(s.attrs[:0],
		otlp.String(genOperation, op.name), otlp.String(genProvider, peer.Name), otlp.String(genModel, clip(model)),
		otlp.String(ourTarget, clip(t.Target)), otlp.String(ourOutcome, string(t.Outcome)), otlp.Int(ourCost, int64(t.CostNano)),
	)
	if peer.Address != "" {
		a = append(a, otlp.String(serverAddress, peer.Address), otlp.Int(serverPort, peer.Port))
	}
	if rec.Stream {
		a = append(a, otlp.Bool(genStream, true))
		if t.FirstNS > 0 {
			a = append(a, otlp.Double(genFirstChunk, seconds(t.FirstNS-t.StartNS)))
		}
	}
	if t.Status != 0 {
		a = append(a, otlp.Int(httpStatus, int64(t.Status)))
	}
	failed := t.Reason != answered
	if failed {
		a = append(a, otlp.String(errorType, reasonOf(t)))
	}
	if t.Hedge {
		a = append(a, otlp.Bool(ourHedge, true))
	}
	if t.Credential > 0 {
		a = append(a, otlp.Int(ourCredential, int64(t.Credential)))
	}
	a = appendUsage(a, t)
	if t.Unpriced {
		a = append(a, otlp.Bool(ourUnpriced, true))
	} else if t.Outcome == pipeline.SettledActual || t.Outcome == pipeline.SettledEstimated {
		a = append(a, otlp.Double(genCost, float64(t.CostNano)/1e9))
	}
	a = optional(optional(optional(a, ourUpstream, t.Upstream), genAnswerID, t.AnswerID), genAnswered, t.Model)
	if len(t.Finish) > 0 {
		s.finish = s.finish[:0]
		for _, reason := range t.Finish {
			s.finish = append(s.finish, string(reason))
		}
		a = append(a, otlp.Strings(genFinish, s.finish))
	}
	s.attrs = a
	span := otlp.Span{
		Trace: rec.Trace, ID: w3c.SpanOf(t.ID), Parent: s.root, State: rec.TraceState, Flags: uint8(rec.TraceFlags),
		Name: op.name + " " + clip(model), Kind: otlp.Client, Start: start, End: start + t.TookNS,
		Attrs: a, Events: s.first(rec.Time.UnixNano(), t.FirstNS), Failed: failed,
	}
	return span.Append(b)
}

// appendUsage appends what was used, if anything is known of it.
func appendUsage(a []otlp.Attr, t *pipeline.Try) []otlp.Attr {
	u := &t.Usage
	if u.Input == 0 && u.Output == 0 {
		return a
	}
	a = append(a, otlp.Int(genInput, u.Input), otlp.Int(genOutput, u.Output))
	if u.CachedInput > 0 {
		a = append(a, otlp.Int(genCached, u.CachedInput))
	}
	if u.CacheWrite > 0 {
		a = append(a, otlp.Int(genCacheWrite, u.CacheWrite))
	}
	if u.Reasoning > 0 {
		a = append(a, otlp.Int(genReasoning, u.Reasoning))
	}
	if u.Estimated {
		a = append(a, otlp.Bool(ourEstimated, true))
	}
	return a
}

// reasonOf is why a try failed: one of few words, never what a provider wrote.
func reasonOf(t *pipeline.Try) string {
	if t.Reason == "" {
		return "unknown"
	}
	return t.Reason
}

// at is the peer as one of its servers, HOST:PORT; "" is itself.
func (p Peer) at(endpoint string) Peer {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return p
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		p.Address, p.Port = host, int64(n)
	}
	return p
}

func peerOf(peers map[string]Peer, provider string) Peer {
	if p, ok := peers[provider]; ok {
		return p
	}
	return Peer{Name: provider} // it went with a reload
}

// first is the event of the first content; ns is from start, 0 if there was none.
func (s *spanner) first(start, ns int64) []otlp.Event {
	if ns <= 0 {
		return s.events[:0]
	}
	s.events = append(s.events[:0], otlp.Event{Time: start + ns, Name: firstToken})
	return s.events
}

func optional(a []otlp.Attr, key, value string) []otlp.Attr {
	if value == "" {
		return a
	}
	return append(a, otlp.String(key, clip(value)))
}

// clip cuts a long text at a rune.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }
