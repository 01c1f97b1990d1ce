package route

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestOneCallProbes45: of a hundred that wait for the end of an ejection exactly one finds out, and what had begun before changes nothing.
func TestOneCallProbes45(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := &cast{roles: map[string]role{"a/m": func(ctx context.Context, n int) (*llm.Response, error) {
			<-release
			return answers(ctx, n)
		}}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m", "c/m")})
		target := s.upstream("a/m").health
		old := target.Begin()
		s.sicken("a/m")
		time.Sleep(5*time.Second + time.Millisecond)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				x := exchange(10)
				x.ID = strconv.Itoa(i)
				if err := s.call(t.Context(), x, -1); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		target.End(old, health.Success)
		if got := target.State(time.Now()).Kind; got != health.HalfOpen {
			t.Errorf("a success from before the ejection makes it %v", got)
		}
		n := 0
		for _, one := range c.targets() {
			if one == "a/m" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d calls probe", n)
		}
		close(release)
		all.Wait()
		if got := target.State(time.Now()).Kind; got != health.Ramping {
			t.Errorf("after the probe it is %v", got)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// TestAProbeThatIsNotSentIsGivenBack: the right to find out does not get lost with a call that ends before it is used.
func TestAProbeThatIsNotSentIsGivenBack(t *testing.T) {
	t.Parallel()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for name, end := range map[string]func(*theatre){
		"the caller left": func(s *theatre) { _ = s.call(gone, exchange(10), -1) },
		"a count": func(s *theatre) {
			x := exchange(10)
			x.Op = llm.OpCount
			_ = s.call(t.Context(), x, -1)
		},
		"no budget": func(s *theatre) {
			s.Router.o.Reserver = noMoney{}
			_ = s.call(t.Context(), exchange(10), -1)
		},
		"no journal": func(s *theatre) {
			s.Router.o.Journal = &ledger{refuse: fault.New(fault.StoreDown, "no")}
			_ = s.call(t.Context(), exchange(10), -1)
		},
		"a panic": func(s *theatre) {
			defer func() { _ = recover() }()
			s.cast.roles = map[string]role{"a/m": func(context.Context, int) (*llm.Response, error) { panic("a bug") }}
			x := exchange(10)
			defer func() { settleRest(x, llm.Event{}) }()
			_ = s.call(t.Context(), x, -1)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m", "b/m", "c/m")})
			s.sicken("a/m")
			time.Sleep(5*time.Second + time.Millisecond)
			end(s)
			time.Sleep(time.Second + time.Millisecond) // what a probe waits that said nothing
			if _, ok := s.upstream("a/m").health.Probe(time.Now()); !ok {
				t.Errorf("%s: nobody may probe any more", name)
			}
			for _, u := range s.pool().upstreams {
				if u.gate.Inflight() != 0 || u.load.inflight.Load() != 0 {
					t.Errorf("%s: %s has something under way", name, u.key)
				}
			}
		})
	}
}

type noMoney struct{}

func (noMoney) Reserve(context.Context, *pipeline.Exchange, llm.Target, *pipeline.Try) (pipeline.Reservation, error) {
	return nil, fault.New(fault.InvalidRequest, "no budget")
}

// later lets time pass on a stage, whose clock is not the machine's.
func (*theatre) later(d time.Duration) { time.Sleep(d) }
