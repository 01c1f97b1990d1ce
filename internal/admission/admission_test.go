package admission

import (
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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

// TestRefusalCostsNothing is fault 22 for this package: A runs, B is refused, C passes after A; B's tenant has paid nothing.
func TestRefusalCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScheduler(t, Options{MinLimit: 1, MaxLimit: 1})
		gates := []*Gate{s.Gate("p/m")}
		var a, b, c Slot
		ticket := Ticket{Class: Default, Tenant: "t", Cost: 100}
		if _, err := s.Acquire(t.Context(), gates, ticket, &a); err != nil {
			t.Fatal(err)
		}
		ticket.Deadline = time.Now().Add(time.Second)
		_, err := s.Acquire(t.Context(), gates, ticket, &b)
		r, ok := errors.AsType[*Refusal](err)
		if !ok || r.Reason != Late || r.Waited != time.Second || r.Wait <= 0 {
			t.Fatalf("B: %v", err)
		}
		b.Done(OK, 100) // there is nothing to give back
		a.Done(OK, 100)
		ticket.Deadline = time.Time{}
		if _, err := s.Acquire(t.Context(), gates, ticket, &c); err != nil || c.Waited() != 0 {
			t.Fatalf("C: %v", err)
		}
		c.Done(OK, 100)
		atRest(t, s, gates)
		if tenant := gates[0].lines[Default].tenants["t"]; tenant != nil && tenant.counter != 0 {
			t.Errorf("the tenant was charged %v", tenant.counter)
		}
	})
}

// TestRefusalTellsTheTruth: whoever comes back after the wait that was predicted gets in soon.
func TestRefusalTellsTheTruth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScheduler(t, Options{MinLimit: 4, MaxLimit: 4, QueuePerSlot: 100})
		gates := []*Gate{s.Gate("p/m")}
		serve := func() error {
			var slot Slot
			if _, err := s.Acquire(t.Context(), gates, Ticket{Class: Default, Tenant: "t", Cost: 1}, &slot); err != nil {
				return err
			}
			time.Sleep(2 * time.Second) // so two a second
			slot.Done(OK, 1)
			return nil
		}
		if err := serve(); err != nil {
			t.Fatal(err)
		}
		refused := 0
		for range 60 {
			go func() { _ = serve() }()
		}
		synctest.Wait()
		for range 5 {
			err := serve()
			r, ok := errors.AsType[*Refusal](err)
			if !ok {
				t.Fatal("let in, although ten seconds are full")
			}
			if refused++; r.Wait < 9*time.Second || r.Wait > 13*time.Second {
				t.Errorf("the wait is predicted to be %v", r.Wait)
			}
		}
		time.Sleep(11 * time.Second)
		if err := serve(); err != nil {
			t.Error(err)
		}
	})
}

// TestOverloadedIsObeyedOncePerSecond, and a single one does not throw the limit to the floor.
func TestOverloadedIsObeyedOncePerSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScheduler(t, Options{})
		g := s.Gate("p/m")
		refuse := func() {
			var slot Slot
			if _, err := s.Acquire(t.Context(), []*Gate{g}, Ticket{Class: Default}, &slot); err != nil {
				t.Fatal(err)
			}
			slot.Done(Overloaded, -1)
		}
		for range 100 {
			refuse()
		}
		if got := g.Limit(); got != 1024*0.9 {
			t.Errorf("limit %v", got)
		}
		time.Sleep(time.Second)
		refuse()
		if got := g.Limit(); got != 1024*0.9 {
			t.Errorf("limit %v of an upstream that answers nobody", got)
		}
		answer := func() {
			var slot Slot
			if _, err := s.Acquire(t.Context(), []*Gate{g}, Ticket{Class: Default}, &slot); err != nil {
				t.Fatal(err)
			}
			slot.Done(OK, -1)
		}
		time.Sleep(time.Second)
		answer()
		time.Sleep(time.Millisecond)
		refuse()
		if got := g.Limit(); math.Abs(got-32*0.9) > 1e-9 {
			t.Errorf("limit %v, with one in flight and a second refusal", got)
		}
	})
}

// TestGatesAreForgotten: names that callers make up do not stay.
func TestGatesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s := newScheduler(t, Options{Metrics: reg})
		busy := s.Gate("p/busy")
		var slot Slot
		if _, err := s.Acquire(t.Context(), []*Gate{busy}, Ticket{}, &slot); err != nil {
			t.Fatal(err)
		}
		for i := range 10 * sweepEvery {
			s.Gate("p/" + strconv.Itoa(i))
			if i%sweepEvery == 0 {
				time.Sleep(2 * time.Second)
			}
		}
		n := 0
		s.gates.Range(func(any, any) bool { n++; return true })
		if n > 2*sweepEvery || s.Gate("p/busy") != busy {
			t.Errorf("%d gates", n)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if len(f.GetMetric()) > maxLabels+1 {
				t.Errorf("%s has %d series", f.GetName(), len(f.GetMetric()))
			}
		}
		slot.Done(OK, 0)
	})
}

func TestFreeSlotsAllocateNothing(t *testing.T) {
	s := newScheduler(t, Options{})
	gates := []*Gate{s.Gate("p/a"), s.Gate("p/b")}
	var slot Slot
	if n := testing.AllocsPerRun(100, func() {
		_, _ = s.Acquire(context.Background(), gates, Ticket{Class: Default, Tenant: "t", Cost: 1}, &slot)
		slot.Sent(1000)
		slot.FirstToken()
		slot.Done(OK, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
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

func BenchmarkAcquireParallel(b *testing.B) {
	s := newScheduler(b, Options{})
	gates := []*Gate{s.Gate("p/a")}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var slot Slot
		for pb.Next() {
			if _, err := s.Acquire(context.Background(), gates, Ticket{Class: Default, Tenant: "p1", Cost: 1000}, &slot); err != nil {
				b.Fatal(err)
			}
			slot.Done(OK, 1000)
		}
	})
}

// BenchmarkQueue is what it costs to wait and be granted at eight gates, among 1,000 of 50 tenants.
func BenchmarkQueue(b *testing.B) {
	s := newScheduler(b, Options{})
	var gates []*Gate
	for i := range 8 {
		g := s.Gate("p/" + strconv.Itoa(i))
		g.inflight.Store(g.slots.Load())
		g.hold.Store(1)
		gates = append(gates, g)
	}
	tenants := make([]string, 50)
	for i := range tenants {
		tenants[i] = strconv.Itoa(i)
	}
	enter := func(i int) {
		w := s.newWaiter(Ticket{Class: Default, Tenant: tenants[i%len(tenants)], Cost: int64(1 + i%1000)})
		s.mu.Lock()
		if r := s.enter(w, gates); r != nil {
			b.Fatal(r)
		}
		s.mu.Unlock()
	}
	for i := range 1000 {
		enter(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		enter(i)
		g := gates[i%len(gates)]
		g.release()
	}
}

// TestExpectedSlotsAreABeginning, and no more than that.
func TestExpectedSlotsAreABeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScheduler(t, Options{})
		g := s.Gate("p/m")
		g.Expect(0)
		if g.Limit() != 1024 {
			t.Errorf("limit %v of an unknown number", g.Limit())
		}
		g.Expect(40)
		g.Expect(50)
		if g.Limit() != 40 {
			t.Errorf("limit %v", g.Limit())
		}
		var slot Slot
		if _, err := s.Acquire(t.Context(), []*Gate{g}, Ticket{}, &slot); err != nil {
			t.Fatal(err)
		}
		slot.Done(Overloaded, -1)
		if g.Limit() != 36 {
			t.Errorf("limit %v after a refusal", g.Limit())
		}
	})
}
