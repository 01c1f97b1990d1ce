package admission

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func newScheduler(t testing.TB, o Options) *Scheduler {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPassesAtOnceAndByPreference(t *testing.T) {
	t.Parallel()
	s := newScheduler(t, Options{MinLimit: 1, MaxLimit: 1})
	a, b := s.Gate("p/a"), s.Gate("p/b")
	if s.Gate("p/a") != a {
		t.Error("two gates of one key")
	}
	var first, second Slot
	for i, slot := range []*Slot{&first, &second} {
		got, err := s.Acquire(t.Context(), []*Gate{a, b}, Ticket{Class: Default}, slot)
		if err != nil || got != i {
			t.Fatalf("%d: gate %d, %v", i, got, err)
		}
	}
	if a.Free() || b.Free() {
		t.Error("free, although it is not")
	}
	first.Done(OK, 0)
	first.Done(OK, 0)
	if a.Inflight() != 0 || b.Inflight() != 1 {
		t.Errorf("in flight: %d and %d", a.Inflight(), b.Inflight())
	}
}

func TestWaitsForWhicheverIsFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScheduler(t, Options{MinLimit: 1, MaxLimit: 1})
		gates := []*Gate{s.Gate("p/a"), s.Gate("p/b")}
		slots := make([]Slot, 3)
		for i := range 2 {
			if _, err := s.Acquire(t.Context(), gates, Ticket{Class: Default}, &slots[i]); err != nil {
				t.Fatal(err)
			}
		}
		time.AfterFunc(3*time.Second, func() { slots[1].Done(OK, 0) })
		i, err := s.Acquire(t.Context(), gates, Ticket{Class: Default}, &slots[2])
		if err != nil || i != 1 || slots[2].Waited() != 3*time.Second {
			t.Fatalf("gate %d after %v, %v", i, slots[2].Waited(), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Acquire(ctx, gates, Ticket{Class: Default}, new(Slot)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if s.Waiting(Default) != 0 || gates[0].Waiting() != 0 {
			t.Error("one who left still waits")
		}
		_, err = s.Acquire(t.Context(), gates, Ticket{Class: Default, Deadline: time.Now().Add(2 * time.Second)}, new(Slot))
		if r, ok := errors.AsType[*Refusal](err); !ok || r.Reason != TooLong || r.Wait <= 0 {
			t.Errorf("slots come back every 3 s, which is too long: %v", err)
		}
	})
}

func TestParseClass(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]Class{
		"": Default, "auto": Default, "default": Default, "standard_only": Default, "scale": Default, "flex": Flex, "priority": Priority,
	} {
		if got := ParseClass(word); got != want {
			t.Errorf("%q: %v", word, got)
		}
	}
}

func BenchmarkAcquireFree(b *testing.B) {
	s := newScheduler(b, Options{})
	gates := []*Gate{s.Gate("p/a"), s.Gate("p/b")}
	ticket := Ticket{Class: Default, Tenant: "p1", Cost: 1000}
	var slot Slot
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Acquire(context.Background(), gates, ticket, &slot); err != nil {
			b.Fatal(err)
		}
		slot.Done(OK, 1000)
	}
}
