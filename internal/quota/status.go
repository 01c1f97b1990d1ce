package quota

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// An Out is a credential that is out of use.
type Out struct {
	Provider  string
	Number    int    // of the credential, from 1
	Of        int    // how many the provider has
	Reference string // "" for a provider without credentials
	Class     string // [Exhausted] or [Refused]
	Since     time.Time
	Until     time.Time // then one call tries it
}

// Outs lists the credentials that are out of use, by provider and number.
func (b *Book) Outs() []Out {
	var list []Out
	b.each(func(p *provider) {
		of := 0
		for _, c := range p.byReference {
			of = max(of, c.number)
		}
		for _, c := range p.byReference {
			if c.out.class != "" && c.number > 0 {
				list = append(list, Out{p.name, c.number, of, c.reference, c.out.class, c.out.since, c.out.until})
			}
		}
	})
	slices.SortFunc(list, func(a, b Out) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Number, b.Number))
	})
	return list
}

// Enable takes a provider's credential back into use: number n, or all of them if n is 0. It reports whether one was out.
func (b *Book) Enable(provider string, n int) bool {
	b.mu.Lock()
	p := b.providers[provider]
	b.mu.Unlock()
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	was := false
	for _, c := range p.byReference {
		if c.out.class != "" && (n == 0 || c.number == n) {
			was, c.out = true, out{}
		}
	}
	return was
}

// each visits the providers, each with its mutex held.
func (b *Book) each(visit func(*provider)) {
	b.mu.Lock()
	all := make([]*provider, 0, len(b.providers))
	for _, p := range b.providers {
		all = append(all, p)
	}
	b.mu.Unlock()
	for _, p := range all {
		p.mu.Lock()
		visit(p)
		p.mu.Unlock()
	}
}

// collector reads the book when somebody asks for metrics.
type collector struct{ b *Book }

var (
	leftDesc = prometheus.NewDesc("penstock_provider_limit_remaining_ratio",
		"Share of a provider's rate limit that is left, as its answers tell it and what was sent since.", []string{"provider", "credential", "model", "kind"}, nil)
	limitedDesc = prometheus.NewDesc("penstock_provider_limited_total", "Answers 429 of a provider, by the number of the credential.", []string{"provider", "credential"}, nil)
	spillsDesc  = prometheus.NewDesc("penstock_provider_spills_total",
		"Tries that went out with another credential than the one before for their model.", []string{"provider"}, nil)
	outDesc = prometheus.NewDesc("penstock_provider_credential_out",
		"1 while a credential is out of use, by why: credential if the provider refuses it, quota_exhausted if its account has nothing left to spend.",
		[]string{"provider", "credential", "reason"}, nil)
)

// Describe implements [prometheus.Collector].
func (collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{leftDesc, limitedDesc, spillsDesc, outDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(to chan<- prometheus.Metric) {
	now := time.Now()
	var all []prometheus.Metric
	add := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(d, kind, value, labels...))
	}
	c.b.mu.Lock()
	named := c.b.named
	c.b.mu.Unlock()
	c.b.each(func(p *provider) {
		add(spillsDesc, prometheus.CounterValue, float64(p.spills), p.name)
		for _, one := range p.byReference {
			if one.number == 0 {
				continue // of a configuration that is being made
			}
			number := strconv.Itoa(one.number)
			add(limitedDesc, prometheus.CounterValue, float64(one.limited), p.name, number)
			for _, class := range []string{Refused, Exhausted} {
				value := 0.0
				if one.out.class == class {
					value = 1
				}
				add(outDesc, prometheus.GaugeValue, value, p.name, number, class)
			}
			for model, m := range one.models {
				if named == nil || !named(p.name, model) {
					continue
				}
				for i := range m.buckets {
					if m.buckets[i].most > 0 {
						add(leftDesc, prometheus.GaugeValue, m.buckets[i].room(now, 0), p.name, number, model, kindNames[i])
					}
				}
			}
		}
	})
	for _, m := range all {
		to <- m
	}
}
