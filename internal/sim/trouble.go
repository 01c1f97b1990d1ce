package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A trouble is a time in which calls go otherwise than their model's.
type trouble struct {
	faults []seldom
	until  time.Time
}

// Trouble lets calls go otherwise that come within d: those to a model, or to all models of the provider if model is "".
// Of the faults one is drawn for each call, before those of the model itself; with shares of less than 1 in all, some
// calls go well. Trouble takes the place of what was said of the same model before, a d of 0 ends it, and what is said of
// a model holds against what is said of all. If all models have it, an error's status is that of the list of models, too.
// Fast models take no notice.
func (s *Sim) Trouble(provider, model string, faults []Fault, d time.Duration) error {
	p := s.providers[provider]
	if p == nil {
		return fmt.Errorf("there is no provider %q (there are: %s)", provider, strings.Join(slices.Sorted(maps.Keys(s.providers)), ", "))
	}
	if model != "" && p.find(model) == nil {
		return fmt.Errorf("%s has no model %q (it has: %s)", provider, model, strings.Join(p.names, ", "))
	}
	v := &validator{}
	for i, f := range faults {
		v.fault(fmt.Sprintf("faults[%d]", i), f)
	}
	switch {
	case d < 0:
		v.report("for", fmt.Sprintf("%v is no time", d), "write one such as 12s, or 0 to end it")
	case d > 0 && len(faults) == 0:
		v.report("faults", "there is none", `say what shall happen, as [{"share": 1, "do": "status=503"}]`)
	}
	if err := join(v.problems); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.troubles[model] = trouble{faults: compileFaults(faults), until: time.Now().Add(d)}
	return nil
}

func (v *validator) fault(path string, f Fault) {
	v.share(path+".share", f.Share)
	v.check(path+".do", CheckKnobs(f.Do))
}

func compileFaults(faults []Fault) (out []seldom) {
	for _, f := range faults {
		out = append(out, seldom{share: f.Share, text: f.Do})
	}
	return out
}

// troubled are the faults that hold now for a model besides its own.
func (p *provider) troubled(model string, now time.Time) []seldom {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, of := range [...]string{model, ""} {
		if t := p.troubles[of]; now.Before(t.until) {
			return t.faults
		}
	}
	return nil
}

// troubledList is the error that a list of models is answered with, nil for none: that of a trouble of all models, whose
// statuses hold for it, too.
func (c *call) troubledList() error {
	faults := c.p.troubled("", c.line.Started)
	if len(faults) == 0 {
		return nil
	}
	chance := randomness(c.sim.seed, c.p.name, "", c.p.lists.Add(1)).Float64()
	if err := c.do.set(draw(chance, faults)); err != nil {
		return err
	}
	return c.planned()
}

// draw gives the knobs of the first fault that chance, from 0 to 1, has drawn; "" if none is.
func draw(chance float64, lists ...[]seldom) string {
	for _, list := range lists {
		for _, f := range list {
			if chance < f.share {
				return f.text
			}
			chance -= f.share
		}
	}
	return ""
}

// serveTrouble takes {"provider": "sim-a", "model": "swift-small", "faults": [{"share": 0.2, "do": "status=503"}], "for":
// "12s"}; without a model it is for all of the provider's, and a for of 0 ends it.
func (s *Sim) serveTrouble(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Provider string `json:"provider"`
		Model    string `json:"model"`
		Faults   []struct {
			Share float64 `json:"share"`
			Do    string  `json:"do"`
		} `json:"faults"`
		For string `json:"for"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLoggedBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		complain(w, fmt.Sprintf(`The body is not {"provider": NAME, "model": NAME, "faults": [{"share": SHARE, "do": KNOBS}], "for": DURATION}: %v`, err))
		return
	}
	faults := make([]Fault, len(in.Faults))
	for i, f := range in.Faults {
		faults[i] = Fault(f)
	}
	length, err := parseDuration(in.For)
	if err == nil {
		err = s.Trouble(in.Provider, in.Model, faults, length)
	}
	if err != nil {
		complain(w, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
