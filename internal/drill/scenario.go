package drill

import "github.com/penstock/penstock/internal/sim"

// A Scenario is one kind of trouble that providers have.
type Scenario struct {
	Name  string `json:"name"`
	About string `json:"about"` // one line: what it is like
	Wire  string `json:"wire"`  // what calls to the troubled targets meet
	// Bounds names the settings that say how long a caller waits for such a target.
	Bounds string `json:"bounds"`

	faults []sim.Fault
	server bool // it is the server that has it: of one's own, the list of models has it, too
}

// Scenarios are all of them, in the order of the documentation. docs/drills.md tells the same in more words.
func Scenarios() []Scenario {
	return []Scenario{
		{
			Name: "outage", About: "the target is down",
			Wire:   "half of the calls find their connection reset, the others are answered 503",
			Bounds: "models.NAME.tries and retry_wait",
			faults: []sim.Fault{{Share: 0.5, Do: "status=rst"}, {Share: 1, Do: "status=503"}},
			server: true,
		},
		{
			Name: "brown-out", About: "the target is slow and fails now and then",
			Wire:   "a fifth of the calls are answered 503; of the others the first token comes after 3 s (99 %: 8 s), the next every 60 ms",
			Bounds: "timeouts.first_token and timeouts.gap; models.NAME.hedge",
			faults: []sim.Fault{{Share: 0.2, Do: "status=503"}, {Share: 1, Do: "first=lognormal(3s,8s)&gap=exponential(60ms)"}},
		},
		{
			Name: "throttle", About: "the target refuses most calls because of its rate limit",
			Wire:   "four of five calls are answered 429 with Retry-After: 2",
			Bounds: "models.NAME.tries and retry_wait",
			faults: []sim.Fault{{Share: 0.8, Do: "status=429&retry_after=2&code=rate_limit_exceeded"}},
		},
		{
			Name: "stall", About: "the target takes calls and says nothing",
			Wire:   "streams begin (200, and an event without content) and then nothing comes; plain answers never come",
			Bounds: "timeouts.first_token",
			faults: []sim.Fault{{Share: 1, Do: "early_headers=1&first=1h"}},
		},
		{
			Name: "garbage", About: "the target answers 200 with what is no answer",
			Wire:   "a third of the calls get a page of HTML, a third broken JSON, the others an empty body, all with status 200",
			Bounds: "models.NAME.tries",
			faults: []sim.Fault{{Share: 1.0 / 3, Do: "html=1"}, {Share: 1.0 / 3, Do: "garbage=1"}, {Share: 1, Do: "empty=1"}},
		},
	}
}

// Find gives a scenario by its name.
func Find(name string) (Scenario, bool) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}
