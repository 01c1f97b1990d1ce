package rate

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzBook has calls of any size come and go at any time, against rules that are lowered and raised. What is let through is never more
// than the limit in any minute, or at once; what is refused did not fit, and used nothing; and all comes back.
func FuzzBook(f *testing.F) {
	f.Add([]byte{0, 3, 1, 0, 0, 3, 4, 9, 0, 30, 2, 2, 0, 3, 3, 0, 4, 8, 0, 1})
	f.Add([]byte{0, 1, 0, 1, 0, 1, 4, 6, 0, 1, 4, 7, 0, 1, 1, 0, 1, 0, 4, 9, 0, 1})
	f.Add([]byte{2, 0, 0, 1, 2, 9, 0, 1, 0, 255, 3, 0, 4, 11, 0, 9, 1, 255})
	f.Fuzz(func(t *testing.T, text []byte) {
		synctest.Test(t, func(t *testing.T) { playBook(t, text) })
	})
}

// A sent call is one that was let through.
type sent struct {
	*Admission
	i int // in the events
}

func playBook(t *testing.T, text []byte) {
	b := New(Options{})
	rules := []Rule{
		{ID: "r", Measure: Requests, Amount: 5},
		{ID: "t", Measure: Tokens, Amount: 200},
		{ID: "c", Measure: Concurrent, Amount: 3},
		{ID: "o", Measure: Requests, Amount: 2, Observe: true},
	}
	most := []int64{5, 200, 3} // that was ever allowed
	var used, tokens []event
	var running []sent
	for i := 0; i+1 < len(text); i += 2 {
		by := int64(text[i+1])
		now := b.now()
		switch text[i] % 5 {
		case 0: // a call
			a, n := new(Admission), 1+by%64
			err := b.Admit(t.Context(), rules, Need{Requests: 1, Input: n / 2, Output: n - n/2}, a)
			over, refused := errors.AsType[*Exceeded](err)
			if err != nil && !refused {
				t.Fatal(err)
			}
			const long = Span + Slack + time.Second
			if refused {
				room := within(used, now, long)+1 <= rules[0].Amount && within(tokens, now, long)+n <= rules[1].Amount
				if room && int64(len(running)) < rules[2].Amount {
					t.Fatalf("refused although there is room: %+v", over)
				}
				if over.RetryAfter > Span+Slack || over.Left < 0 {
					t.Fatalf("%+v", over)
				}
				break
			}
			running = append(running, sent{a, len(used)})
			used, tokens = append(used, event{now, 1}), append(tokens, event{now, n})
			if within(used, now, Span) > rules[0].Amount || within(tokens, now, Span) > rules[1].Amount || int64(len(running)) > rules[2].Amount {
				t.Fatalf("let through with %d, %d and %d of %+v", within(used, now, Span), within(tokens, now, Span), len(running), rules[:3])
			}
		case 1, 2: // one ends, with no more than it took; or it was not sent
			if len(running) == 0 {
				break
			}
			at := int(by) % len(running)
			c := running[at]
			running = append(running[:at], running[at+1:]...)
			actual := by % (tokens[c.i].n + 1)
			need := Need{Requests: 1, Input: actual / 2, Output: actual - actual/2}
			if text[i]%5 == 2 {
				actual, need, used[c.i].n = 0, Need{}, 0
			}
			tokens[c.i].n = actual
			c.Done(need)
			c.Done(Need{}) // twice is once
		case 3: // other limits
			rules[0].Amount, rules[1].Amount, rules[2].Amount = by%8, by%8*40, by%4
			for i := range most {
				most[i] = max(most[i], rules[i].Amount)
			}
		case 4:
			steps := []time.Duration{0, 1, time.Second - 1, time.Second, 10 * time.Second, Span - time.Second, Span - 1, Span, Span + Slack, 2 * Span}
			time.Sleep(steps[by%int64(len(steps))])
		}
		for i, s := range b.Standing(rules[:3]) {
			if s.Left < 0 || s.Left > s.Limit || s.Reset > Span+Slack || s.Next > s.Reset {
				t.Fatalf("rule %d: %+v", i, s)
			}
		}
	}
	if peak(used) > most[0] || peak(tokens) > most[1] {
		t.Fatalf("in a minute there were %d requests and %d tokens, of %v", peak(used), peak(tokens), most)
	}
	for _, c := range running {
		c.Done(Need{Requests: 1})
	}
	time.Sleep(Span + Slack)
	for _, s := range b.Standing(rules) {
		if s.Left != s.Limit {
			t.Fatalf("after a minute %+v", s)
		}
	}
}
