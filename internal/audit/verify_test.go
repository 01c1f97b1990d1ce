package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

var day = time.Date(2026, 11, 24, 13, 40, 0, 123456000, time.UTC)

// chainOf makes a chain of n entries.
func chainOf(t rapid.TB, chain string, n int) ([]Entry, Head) {
	t.Helper()
	head := Head{Chain: chain, Hash: Genesis(chain)}
	all := make([]Entry, n)
	for i := range all {
		e, err := NewEntry(As(context.Background(), Actor{Key: "key_1", Name: "ops", Prefix: "psk_7f3a", Role: "admin", Address: "10.0.0.1"}), day.Add(time.Duration(i)*time.Second),
			Act{Action: KeyMade, Object: fmt.Sprintf("key_%d", i), Project: "prj_1", After: map[string]any{"name": fmt.Sprint(i), "roles": []string{"a"}}})
		if err != nil {
			t.Fatal(err)
		}
		head = e.Link(head)
		all[i] = e
	}
	return all, head
}

// check walks a chain, as it went over the wire.
func check(t rapid.TB, chain string, all []Entry, points []Checkpoint, head Head) *Break {
	t.Helper()
	v, err := NewVerifier(Head{Chain: chain}, points)
	for i := 0; err == nil && i < len(all); i++ {
		text, merr := json.Marshal(all[i])
		if merr != nil {
			t.Fatal(merr)
		}
		var e Entry
		if merr := json.Unmarshal(text, &e); merr != nil {
			t.Fatal(merr)
		}
		err = v.Next(&e)
	}
	if err == nil {
		err = v.End(head)
	}
	var b *Break
	if err != nil && !errors.As(err, &b) {
		t.Fatal(err)
	}
	return b
}

// edits are what can be altered of an entry.
var edits = []func(*Entry){
	func(e *Entry) { e.Time = e.Time.Add(time.Microsecond) },
	func(e *Entry) { e.Actor.Key += "x" },
	func(e *Entry) { e.Actor.Name, e.Actor.Prefix = e.Actor.Name+e.Actor.Prefix, "" },
	func(e *Entry) { e.Actor.Name, e.Actor.Prefix = e.Actor.Name[:1], e.Actor.Name[1:] },
	func(e *Entry) { e.Actor.Role = "viewer" },
	func(e *Entry) { e.Actor.Address = "" },
	func(e *Entry) { e.Actor.Agent = "curl" },
	func(e *Entry) { e.Actor.Request = "ad_1" },
	func(e *Entry) { e.Actor.Org, e.Actor.Project = "o", "p" },
	func(e *Entry) { e.Action = KeyRevoked },
	func(e *Entry) { e.Object = "key_x" },
	func(e *Entry) { e.Project = "" },
	func(e *Entry) { e.Reason = "none" },
	func(e *Entry) { e.After, e.Before = nil, e.After },
	func(e *Entry) { e.After = []byte(`{"name":"other"}`) },
	func(e *Entry) { e.Prev[3]++ },
	func(e *Entry) { e.Hash[31] ^= 1 },
	func(e *Entry) { e.Version = 2 },
}

// TestControl46 (security.md): whatever is done to a chain, verifying names the first bad entry.
func TestControl46FirstBadEntryIsNamed(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "entries")
		all, head := chainOf(t, "chain_1", n)
		if b := check(t, "chain_1", all, []Checkpoint{Sign(head, day, key)}, head); b != nil {
			t.Fatalf("a good chain: %v", b)
		}
		at := rapid.IntRange(0, n-1).Draw(t, "at") // index of entry at+1
		want := int64(at + 1)
		var points []Checkpoint
		switch what := rapid.SampledFrom([]string{"edit", "delete", "insert", "swap", "edit and hash", "cut", "make anew", "replace", "older copy"}).Draw(t, "what"); what {
		case "edit":
			rapid.SampledFrom(edits).Draw(t, "edit")(&all[at])
		case "delete":
			all = slices.Delete(all, at, at+1)
		case "insert": // a copy of an entry, with a hash that is right, and the numbers behind it moved
			extra := all[at]
			extra.Object = "key_inserted"
			extra.Link(Head{Seq: all[at].Seq, Hash: all[at].Hash})
			for i := at + 1; i < n; i++ {
				all[i].Seq++
			}
			all = slices.Insert(all, at+1, extra)
			want = int64(at + 3) // the first that no longer has its place; behind the last, an entry can always be written
			if at == n-1 {
				return
			}
		case "swap":
			other := rapid.IntRange(0, n-1).Filter(func(i int) bool { return i != at }).Draw(t, "other")
			all[at], all[other] = all[other], all[at]
			all[at].Seq, all[other].Seq = int64(at+1), int64(other+1)
			want = int64(min(at, other) + 1)
		case "edit and hash":
			all[at].Object = "key_x"
			all[at].Link(Head{Seq: all[at].Seq - 1, Hash: all[at].Prev})
			if at == n-1 {
				points = []Checkpoint{Sign(head, day, key)}
				want = 1 // nothing before it is confirmed
			}
		case "cut":
			all = all[:at]
			points = []Checkpoint{Sign(head, day, key)}
		case "older copy": // the head went back as well
			all = all[:at]
			points = []Checkpoint{Sign(head, day, key)}
			head = Head{Chain: "chain_1", Seq: int64(at), Hash: Genesis("chain_1")}
			if at > 0 {
				head.Hash = all[at-1].Hash
			}
		case "make anew": // from entry at+1 on, all is written again, with a checkpoint before that has confirmed the rest
			if at > 0 {
				points = append(points, Sign(Head{Chain: "chain_1", Seq: int64(at), Hash: all[at-1].Hash}, day, key))
			}
			points = append(points, Sign(head, day, key))
			all[at].Object = "key_x"
			behind := Head{Chain: "chain_1", Seq: all[at].Seq - 1, Hash: all[at].Prev}
			for i := at; i < n; i++ {
				behind = all[i].Link(behind)
			}
			head = behind
		case "replace":
			points = []Checkpoint{Sign(head, day, key)}
			all, head = chainOf(t, "chain_2", n)
			if b := check(t, "chain_2", all, points, head); b == nil || b.Seq != 0 {
				t.Fatalf("another chain in its place: %v", b)
			}
			return
		}
		if b := check(t, "chain_1", all, points, head); b == nil || b.Seq != want {
			t.Fatalf("got %v, want entry %d", b, want)
		}
	})
}

func TestCheckpointsAreSigned(t *testing.T) {
	t.Parallel()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := Sign(Head{Chain: "chain_1", Seq: 7, Hash: Genesis("x")}, day, key)
	if err := good.Verify(other, public); err != nil {
		t.Error(err)
	}
	if err := good.Verify(other); err == nil {
		t.Error("signed with a key that nobody gave")
	}
	for i, alter := range []func(*Checkpoint){
		func(c *Checkpoint) { c.Chain = "chain_2" }, func(c *Checkpoint) { c.Seq++ }, func(c *Checkpoint) { c.Hash[0]++ },
		func(c *Checkpoint) { c.Time = c.Time.Add(time.Microsecond) }, func(c *Checkpoint) { c.Signature = "AAAA" }, func(c *Checkpoint) { c.Signature = "?" },
		func(c *Checkpoint) { c.Key = KeyID(other) },
	} {
		bad := good
		alter(&bad)
		if bad.Verify(public, other) == nil {
			t.Errorf("alteration %d passes", i)
		}
	}
}

// TestHashesStay: what version 1 hashes to is fixed for good, because chains outlive programs.
func TestHashesStay(t *testing.T) {
	t.Parallel()
	all, head := chainOf(t, "chain_1", 3)
	if got := Genesis("chain_1").String(); got != "858e6b77641b03c850e78e2d2dc81cf08ec51e6716ef50ebf887e1bb92a3f9cc" {
		t.Errorf("the empty chain: %s", got)
	}
	if got := head.Hash.String(); got != "d6b145bab19d6fa4975f8b6ce1db9e164a01c87b348f7aaf8ce6751ab72bead3" {
		t.Errorf("three entries: %s", got)
	}
	const third = `{"seq":3,"time":"2026-11-24T13:40:02.123456Z","actor":{"key":"key_1","name":"ops","prefix":"psk_7f3a","role":"admin",` +
		`"address":"10.0.0.1"},"action":"key.create","object":"key_2","project":"prj_1","after":{"name":"2","roles":["a"]},"version":1,` +
		`"prev":"fae125e3133648f9f153a6ede2b4178a59bb636b51aab8c2e27aececf06d411d","hash":"d6b145bab19d6fa4975f8b6ce1db9e164a01c87b348f7aaf8ce6751ab72bead3"}`
	if text, err := json.Marshal(all[2]); err != nil || string(text) != third {
		t.Errorf("%v: %s", err, text)
	}
}

func TestEntriesAreClean(t *testing.T) {
	t.Parallel()
	long := make([]byte, 10_000)
	ctx := As(t.Context(), Actor{Key: "key_1", Agent: "evil\x00\x1b[31m\xff" + string(long), Role: "admin"})
	e, err := NewEntry(ctx, day, Act{Action: KeyMade, Reason: "two\nlines"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Actor.Agent[:13] != "evil??[31m???" || len(e.Actor.Agent) != maxText || e.Reason != "two?lines" {
		t.Errorf("%q, %q", e.Actor.Agent, e.Reason)
	}
	if _, err := NewEntry(ctx, day, Act{Before: make(chan int)}); err == nil {
		t.Error("a state that JSON does not have")
	}
	if e, err := NewEntry(t.Context(), day, Act{Action: AdminKeyMade}); err != nil || e.Actor != Process() {
		t.Error(e, err)
	}
}
