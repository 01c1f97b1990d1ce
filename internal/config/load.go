package config

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/provider"
)

// Options say where a configuration comes from.
type Options struct {
	// File is the configuration file; "" is none: then the defaults hold, and providers are found in the environment.
	File string
	// Env finds variables; nil is the process's environment.
	Env Lookup
	// Flags are those that were given on the command line, without dashes: listen, admin-listen, data, store.
	Flags map[string]string
	// References asks for everything that a reference names to be there and readable. Without it a file can be checked on
	// a machine that does not have the secrets.
	References bool
}

// Load reads and checks the configuration. Flags win over PENSTOCK_* variables over the file over defaults. Everything
// that is wrong with it is one *Problems; then there is no File.
func Load(ctx context.Context, o Options) (*File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	src, err := readFile(o.File)
	if err != nil {
		return nil, &Problems{File: o.File, List: []Problem{{Problem: fault.Problem{
			Text: "the file cannot be read: " + cause(err).Error(), Hint: "check the path given with -c",
		}}}}
	}
	return build(src, o)
}

// build makes a File of what was read.
func build(src []byte, o Options) (*File, error) {
	f := &File{path: o.File, source: src, env: o.Env, origins: map[string]string{}}
	d := &decoder{places: map[string]place{}}
	d.decode(src, f)
	f.note(d)
	if o.File == "" {
		d.discover(f)
	}
	d.override(f, o)
	d.settle(f)
	d.check(f)
	if o.References {
		d.checkReferences(f)
	}
	if len(d.list) > 0 {
		return nil, &Problems{File: o.File, List: d.list}
	}
	return f, nil
}

// readFile reads little more than a configuration may be, so that a wrong path cannot fill the memory.
func readFile(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile+1))
}

// note keeps where each value of the file stood.
func (f *File) note(d *decoder) {
	for path, p := range d.places {
		f.origins[path] = fmt.Sprintf("%s:%d", f.path, p.value.line)
	}
}

// An override is a setting that flags and variables can set too.
type override struct {
	flag, variable, path string
	field                func(*File) *string
}

var overrides = []override{
	{"listen", "PENSTOCK_LISTEN", "listen", func(f *File) *string { return &f.Listen }},
	{"admin-listen", "PENSTOCK_ADMIN_LISTEN", "admin.listen", func(f *File) *string { return &f.Admin.Listen }},
	{"data", "PENSTOCK_DATA", "data", func(f *File) *string { return &f.Data }},
	{"store", "PENSTOCK_STORE", "store", func(f *File) *string { return &f.Store }},
}

// override lays variables and flags over the file. An empty variable counts as none: that is how containers unset one.
func (d *decoder) override(f *File, o Options) {
	for _, v := range overrides {
		value, origin := "", ""
		if text, ok := o.Env(v.variable); ok && text != "" {
			value, origin = text, v.variable
		}
		if text, ok := o.Flags[v.flag]; ok {
			value, origin = text, "--"+v.flag
		}
		if origin == "" {
			continue
		}
		s := settingAt(v.path)
		if text, hint := s.set(reflect.ValueOf(v.field(f)).Elem(), v.path, value, ast.StringType); text != "" {
			d.add(0, 0, origin, text, hint)
		}
		f.origins[v.path] = origin
		delete(d.places, v.path)
	}
	for flag := range o.Flags {
		if !slices.ContainsFunc(overrides, func(v override) bool { return v.flag == flag }) {
			panic("config: no setting for the flag " + flag)
		}
	}
}

// settingAt finds a setting by its path through sections.
func settingAt(path string) setting {
	t := reflect.TypeFor[File]()
	for {
		name, rest, more := strings.Cut(path, ".")
		list := settingsOf(t)
		s := list[slices.IndexFunc(list, func(s setting) bool { return s.name == name })]
		if !more {
			return s
		}
		path, t = rest, s.typ
	}
}

// settle fills in what depends on other settings, and makes paths start where the operator meant them to: those of the
// file at its directory, those of flags and variables at the working directory.
func (d *decoder) settle(f *File) {
	base := baseDir(f.path)
	f.Data = f.resolve("data", f.Data, base)
	switch {
	case f.Store == "":
		f.Store = "sqlite:" + filepath.Join(f.Data, "penstock.db")
	case strings.HasPrefix(f.Store, "sqlite:"):
		f.Store = "sqlite:" + f.resolve("store", strings.TrimPrefix(f.Store, "sqlite:"), base)
	}
	switch {
	case f.Keyring == "":
		f.Keyring = "file:" + filepath.Join(f.Data, "keyring.json")
	case strings.HasPrefix(f.Keyring, "file:"):
		f.Keyring = "file:" + f.resolve("keyring", strings.TrimPrefix(f.Keyring, "file:"), base)
	}
	if path, ok := strings.CutPrefix(f.Wrap, "file:"); ok {
		f.Wrap = "file:" + f.resolve("keyring_wrap", strings.TrimSpace(path), base)
	}
	switch {
	case f.Audit.Key == "":
		f.Audit.Key = "file:" + filepath.Join(f.Data, "audit.key")
	case strings.HasPrefix(f.Audit.Key, "file:"):
		f.Audit.Key = "file:" + f.resolve("audit.key", strings.TrimPrefix(f.Audit.Key, "file:"), base)
	}
	if path, ok := strings.CutPrefix(f.Audit.Checkpoints, "file:"); ok {
		f.Audit.Checkpoints = "file:" + f.resolve("audit.checkpoints", strings.TrimSpace(path), base)
	}
	d.standardTelemetry(f)
	for name, p := range f.Providers {
		f.inherit(&p, child("providers", showKey(name)))
		f.Providers[name] = p
	}
}

func (f *File) resolve(setting, path, base string) string {
	origin := f.Origin(setting)
	if base == "" || filepath.IsAbs(path) || path == "" || strings.HasPrefix(origin, "--") || strings.HasPrefix(origin, "PENSTOCK_") {
		return path
	}
	return filepath.Join(base, path)
}

// inherit gives a provider the timers that it does not set itself.
func (f *File) inherit(p *provider.Config, path string) {
	own, common := reflect.ValueOf(&p.Timeouts).Elem(), reflect.ValueOf(f.Timeouts)
	for _, s := range settingsOf(own.Type()) {
		if own.FieldByIndex(s.index).IsZero() {
			own.FieldByIndex(s.index).Set(common.FieldByIndex(s.index))
			f.origins[child(child(path, "timeouts"), s.name)] = "timeouts." + s.name
		}
	}
}

// checkReferences reports references to what is not there.
func (d *decoder) checkReferences(f *File) {
	r := f.Resolver()
	walk(f, func(l leaf) {
		isReference := l.setting.kind == "reference" || (l.setting.kind == "proxy" || l.setting.kind == "webhook") && !strings.Contains(l.value.String(), "://")
		if !isReference || l.empty() {
			return
		}
		if l.value.Kind() != reflect.Slice {
			d.checkResolves(r, l.path(), l.value.String())
			return
		}
		for i := range l.value.Len() {
			d.checkResolves(r, fmt.Sprintf("%s[%d]", l.path(), i), l.value.Index(i).String())
		}
	})
}

// checkResolves reports a reference to what is not there.
func (d *decoder) checkResolves(r Resolver, path, ref string) {
	if text, _ := checkReference(ref, ""); text != "" {
		return // reported when it was read
	}
	if _, err := r.Resolve(ref); err != nil {
		hint := "set it before the start, or write file:PATH"
		if strings.HasPrefix(ref, "file:") {
			hint = "put it there, or write env:NAME"
		}
		d.report(path, err.Error(), hint)
	}
}
