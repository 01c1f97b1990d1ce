package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
)

// check looks at what single values cannot show: settings that contradict each other, and names that lead nowhere.
func (d *decoder) check(f *File) {
	d.checkTLS("tls", f.TLS)
	d.checkTLS("admin.tls", f.Admin.TLS)
	d.checkAddresses(f)
	d.checkStorePassword(f)
	d.adopt(f.Auth.Validate())
	d.adopt(f.Audit.Validate())
	d.adopt(f.Usage.Validate())
	d.adopt(f.Alerts.Validate())
	d.checkTelemetry(f)
	d.adopt(f.Bodies.Validate())
	d.adopt(f.Retention.Validate())
	d.adopt(f.Limits.Gateway().Validate("limits"))
	for _, name := range slices.Sorted(maps.Keys(f.Providers)) {
		d.checkProvider(name, f.Providers[name])
	}
	d.adopt(f.Models.Validate())
	d.checkTargets(f)
}

// adopt takes over what a section's owner found, unless something is reported at that place already.
func (d *decoder) adopt(found []fault.Problem) {
	for _, p := range found {
		if !d.reported(p.Path) {
			d.report(p.Path, censor(p.Text), censor(p.Hint))
		}
	}
}

// reported says that there is a problem at just this path, so that what follows from it need not be said.
func (d *decoder) reported(path string) bool {
	return slices.ContainsFunc(d.list, func(p Problem) bool { return p.Path == path })
}

func (d *decoder) checkTLS(path string, t TLS) {
	switch {
	case t.Cert != "" && t.Key == "":
		d.reportKey(path, "a certificate without its key", "add "+path+".key")
	case t.Cert == "" && t.Key != "":
		d.reportKey(path, "a key without its certificate", "add "+path+".cert")
	case t.Cert == "" && t.ClientCA != "":
		d.reportKey(child(path, "client_ca"), "client certificates need TLS", "add "+path+".cert and "+path+".key")
	}
}

func (d *decoder) checkAddresses(f *File) {
	if IsPublic(f.Admin.Listen) && !f.Admin.TLS.On() && !f.Admin.AllowPlaintext {
		d.reportSet(f, "admin.listen", quote(f.Admin.Listen)+" can be reached from other machines, without TLS",
			"set admin.tls, or listen on 127.0.0.1, or write admin.allow_plaintext: true")
	}
	if collide(f.Listen, f.Admin.Listen) {
		at, value, other := "admin.listen", f.Admin.Listen, "listen"
		if f.Origin(at) == "default" { // then the other one is to blame
			at, value, other = other, f.Listen, at
		}
		d.reportSet(f, at, quote(value)+" is taken by "+other, "choose another port")
	}
}

func (d *decoder) checkStorePassword(f *File) {
	if f.Password != "" && f.StorePath() != "" {
		d.reportKey("store_password", "a password, and a store that is a file", "remove it, or set store to postgres://USER@HOST/DATABASE")
	}
}

// reportSet reports a value that may have come from a flag or a variable.
func (d *decoder) reportSet(f *File, path, text, hint string) {
	if _, inFile := d.places[path]; inFile {
		d.report(path, text, hint)
		return
	}
	origin := f.Origin(path)
	if origin == "default" {
		d.report(path, text, hint)
		return
	}
	d.add(0, 0, origin, text, hint)
}

// IsPublic reports whether other machines can reach an address. A name other than localhost may be any machine's.
func IsPublic(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return false // what is no address is reported as that
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

// collide reports whether two addresses cannot both be listened on. Port 0 takes a free one.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	all := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return hostA == hostB || all(hostA) || all(hostB)
}

// checkProvider checks one provider. Its name may not hold a slash: a target splits at the first.
func (d *decoder) checkProvider(name string, p provider.Config) {
	path := child("providers", showKey(name))
	if d.reported(path) {
		return
	}
	if strings.Contains(name, "/") {
		d.reportKey(path, "a provider's name with a slash in it", "a target splits at its first slash; write "+strings.ReplaceAll(name, "/", "-"))
	}
	d.adopt(problemsOf(p.Validate(path)))
}

// problemsOf takes joined errors apart.
func problemsOf(err error) []fault.Problem {
	var one fault.Problem
	switch joined, ok := err.(interface{ Unwrap() []error }); {
	case ok:
		var all []fault.Problem
		for _, e := range joined.Unwrap() {
			all = append(all, problemsOf(e)...)
		}
		return all
	case errors.As(err, &one):
		return []fault.Problem{one}
	}
	return nil
}

// A use is one place where a model names a provider.
type use struct {
	path   string
	target llm.Target
}

// uses lists the targets of all models, in the order of their names.
func uses(f *File) []use {
	var all []use
	for _, name := range slices.Sorted(maps.Keys(f.Models)) {
		m, path := f.Models[name], child("models", showKey(name))
		add := func(key string, i int, text string) {
			if t, ok := llm.ParseTarget(text); ok {
				all = append(all, use{fmt.Sprintf("%s.%s[%d]", path, key, i), t})
			}
		}
		for i, t := range m.Targets {
			add("targets", i, t.Target)
		}
		for i, text := range m.OnContextLength {
			add("on_context_length", i, text)
		}
		for i, text := range m.OnContentPolicy {
			add("on_content_policy", i, text)
		}
	}
	return all
}

// checkTargets reports targets that lead nowhere. If a provider with a near name is used by no model, the mistake is as
// likely there, so one problem names both.
func (d *decoder) checkTargets(f *File) {
	if d.reported("providers") {
		return // none of them was read
	}
	all := uses(f)
	used, said := map[string]bool{}, map[string]bool{}
	for _, u := range all {
		used[u.target.Provider] = true
	}
	names := slices.Sorted(maps.Keys(f.Providers))
	idle := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return used[name] })
	for _, u := range all {
		if _, there := f.Providers[u.target.Provider]; there || said[u.target.Provider] {
			continue
		}
		if near := nearest(u.target.Provider, idle); near != "" {
			d.reportKey(child("providers", showKey(near)), "no model uses it",
				fmt.Sprintf("%s says %s; rename one of them", u.path, quote(u.target.Provider)))
			idle = slices.DeleteFunc(idle, func(name string) bool { return name == near })
			said[u.target.Provider] = true
			continue
		}
		d.report(u.path, "no provider "+quote(u.target.Provider), unknownProvider(u.target.Provider, names))
	}
}

// unknownProvider is the hint for a target whose provider is not there.
func unknownProvider(name string, names []string) string {
	const few = 10
	switch near := nearest(name, names); {
	case near != "":
		return "did you mean " + near + "?"
	case len(names) == 0:
		return "add it under providers"
	case len(names) < few:
		return "add it under providers; there are: " + strings.Join(names, ", ")
	}
	return "add it under providers"
}
