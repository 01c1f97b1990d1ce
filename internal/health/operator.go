package health

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/fault"
)

// Bounds of what operators may say.
const (
	mostWords = 200
	maxReason = 200 // characters
	maxFor    = 366 * 24 * time.Hour
)

// Covers reports whether a word about a name, PROVIDER or PROVIDER/MODEL, is about a target.
func Covers(name, target string) bool {
	rest, ok := strings.CutPrefix(target, name)
	return ok && (rest == "" || rest[0] == '@' || rest[0] == '/' && !strings.Contains(name, "/"))
}

// Disable takes a target, or all of a provider, out until it is enabled, or for a span: here at once, on other replicas within
// a second or two. The same again takes the place of what was said before.
func (b *Board) Disable(ctx context.Context, d Disabling, span time.Duration) (Disabling, error) {
	if err := check(&d, span); err != nil {
		return Disabling{}, err
	}
	d.Since = b.o.Now().UTC().Truncate(time.Microsecond)
	if span > 0 {
		d.Until = d.Since.Add(span)
	}
	d, err := b.o.Store.Disable(ctx, d, mostWords)
	if err != nil {
		return Disabling{}, err
	}
	b.changed(ctx)
	return d, nil
}

// Enable takes back that a target or a provider is disabled, and ends the ejections of its targets: they ramp at once. Its
// error is a fault NotThere if there was nothing to end.
func (b *Board) Enable(ctx context.Context, name string) error {
	_ = b.Refresh(ctx) // so that the store knows what is ejected here; if it does not answer, Enable says so
	b.working.Lock()
	err := b.o.Store.Enable(ctx, name)
	if f, ok := errors.AsType[*fault.Error](err); err != nil && !(ok && f.Code == fault.NotThere) {
		b.working.Unlock()
		return err
	}
	ended := false
	for _, t := range b.all() {
		if Covers(name, t.key) {
			ended = b.pardon(t) || ended
		}
	}
	b.working.Unlock()
	if err != nil && !ended {
		return err
	}
	b.changed(ctx)
	return nil
}

// pardon ends an ejection that the store has forgotten, and reports whether there was one.
func (b *Board) pardon(t *Target) bool {
	t.mu.Lock()
	if t.seen.Load().kind != Ejected {
		t.mu.Unlock()
		return false
	}
	done := t.recover(time.Now(), "operator")
	t.store = stored{}
	t.mu.Unlock()
	b.tell(t.key, done)
	return true
}

// changed lets this process know of a change. The change stands whether or not that succeeds.
func (b *Board) changed(ctx context.Context) {
	if err := b.Refresh(ctx); err != nil {
		b.o.Log.Warn("a target was changed and cannot be read back yet", "error", err)
	}
}

// Disabled lists what operators have disabled now, by name.
func (b *Board) Disabled() []Disabling {
	now := time.Now()
	list := []Disabling{}
	for _, w := range *b.words.Load() {
		if w.shut.until.IsZero() || now.Before(w.shut.until) {
			list = append(list, w.Disabling)
		}
	}
	return list
}

// heed takes over what operators have said. What was known before keeps the end that was counted for it then.
func (b *Board) heed(said []Disabling) {
	before := *b.words.Load()
	now, civil := time.Now(), b.o.Now()
	words := make([]word, 0, len(said))
	for _, d := range said {
		if i := slices.IndexFunc(before, func(w word) bool { return w.Disabling == d }); i >= 0 {
			words = append(words, before[i])
			continue
		}
		s := &shut{since: now.Add(-max(civil.Sub(d.Since), 0)), reason: d.Reason}
		if !d.Until.IsZero() {
			s.until = now.Add(d.Until.Sub(civil))
		}
		words = append(words, word{d, s})
	}
	b.speak(words)
}

// outlive drops what is over.
func (b *Board) outlive() {
	now := time.Now()
	over := func(w word) bool { return !w.shut.until.IsZero() && !now.Before(w.shut.until) }
	if words := *b.words.Load(); slices.ContainsFunc(words, over) {
		b.speak(slices.DeleteFunc(slices.Clone(words), over))
	}
}

// speak puts words in force, and makes known what is new: a line for each word, however many targets it is about.
func (b *Board) speak(words []word) {
	before := *b.words.Swap(&words)
	for _, w := range words {
		if !slices.ContainsFunc(before, func(o word) bool { return o.shut == w.shut }) {
			e := Event{Change: WasDisabled, Reason: w.Reason, By: w.ByName}
			if !w.shut.until.IsZero() {
				e.For = time.Until(w.shut.until)
			}
			b.tell(w.Name, changes{e})
		}
	}
	for _, o := range before {
		if !slices.ContainsFunc(words, func(w word) bool { return w.Name == o.Name }) {
			b.tell(o.Name, changes{{Change: WasEnabled, Reason: o.Reason}})
		}
	}
}

// wordOn is what operators have said of a target, the word that lasts longest, nil if nothing; and who.
func wordOn(words []word, key string) (is *shut, by string) {
	for _, w := range words {
		if Covers(w.Name, key) && (is == nil || !is.until.IsZero() && (w.shut.until.IsZero() || w.shut.until.After(is.until))) {
			is, by = w.shut, w.ByName
		}
	}
	return is, by
}

// check says what is wrong with a word.
func check(d *Disabling, span time.Duration) error {
	bad := func(param, hint, format string, args ...any) error {
		f := fault.New(fault.InvalidRequest, format, args...)
		f.Param, f.Hint = param, hint
		return f
	}
	switch {
	case d.Name == "" || len(d.Name) > 256 || unseen(d.Name) || strings.ContainsAny(d.Name, " ,"):
		return bad("target", "Write PROVIDER/MODEL, or PROVIDER for all of its models.", "target: this is neither a target nor a provider.")
	case utf8.RuneCountInString(d.Reason) > maxReason || unseen(d.Reason):
		return bad("reason", "", "reason: write one line of at most %d characters that can be seen.", maxReason)
	case span < 0 || span > maxFor:
		return bad("for", "Leave it out to disable it until it is enabled.", "for: write a time of at most %d days, such as 1h.", maxFor/(24*time.Hour))
	}
	return nil
}

func unseen(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Heard tells the board what became of an active probe of a provider, or of one address of it ("" for all): reason is "" if it
// was answered. A probe that fails counts as a try that failed, and while it does no call is spent on finding out. One that is
// answered after that lets a call find out at once. It heals nothing by itself: a server may list its models and answer nothing.
func (b *Board) Heard(provider, address, reason string) {
	for _, t := range b.all() {
		if !Covers(provider, t.key) || address != "" && !strings.HasSuffix(t.key, "@"+address) {
			continue
		}
		b.tell(t.key, t.hear(reason))
	}
}

func (t *Target) hear(reason string) changes {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	done := t.settle(now)
	v := t.seen.Load()
	switch {
	case reason == "" && v.down:
		t.swap(func(v *seen) {
			v.down = false
			if v.until.After(now) && v.kind == Ejected {
				v.until = now
			}
		})
	case reason == "":
	case v.kind == Ejected:
		if !v.down {
			t.swap(func(v *seen) { v.down = true })
		}
	default:
		t.count(Failed(reason), now)
		if t.unwell(v.kind) {
			done = done.and(t.eject(now, reason, WasEjected))
			t.swap(func(v *seen) { v.down = true })
		}
	}
	return done
}
