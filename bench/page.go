package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A section is a part of the page below a heading. Its first word says which it is.
type section struct{ text string }

func (s section) word() string {
	word, _, _ := strings.Cut(strings.TrimPrefix(s.text, heading), " ")
	return word
}

const heading = "## "

// sections cuts a page into what is before the first heading and what is below each.
func sections(page string) (head string, all []section) {
	pieces := strings.Split("\n"+page, "\n"+heading)
	for _, p := range pieces[1:] {
		all = append(all, section{heading + strings.TrimRight(p, "\n") + "\n"})
	}
	return strings.TrimLeft(pieces[0], "\n"), all
}

// update writes what was measured into the page in the file. Parts that did not run stay there as they are.
func (r *results) update(file string) error {
	before, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(file, []byte(r.page(string(before))), 0o644)
}

// page is docs/benchmarks.md: anew, or of a run of some parts the page as it was with these parts in it, which say when and how they
// were measured.
func (r *results) page(before string) string {
	head, all := r.head(), r.sections()
	whole := !slices.ContainsFunc(parts, func(part string) bool { return !slices.Contains(r.options.only, part) })
	if oldHead, old := sections(before); !whole && len(old) > 0 {
		for _, s := range all {
			title, rest, _ := strings.Cut(s.text, "\n")
			s.text = title + "\n\n" + r.measured() + ", with `" + r.options.command + "`.\n" + rest
			if i := slices.IndexFunc(old, func(o section) bool { return o.word() == s.word() }); i >= 0 {
				old[i] = s
			} else {
				old = append(old, s)
			}
		}
		head, all = oldHead, old
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(head, "\n") + "\n")
	for _, s := range all {
		b.WriteString("\n" + strings.TrimRight(s.text, "\n") + "\n")
	}
	return b.String()
}

// measured says when and where.
func (r *results) measured() string {
	return fmt.Sprintf("Measured on %s: %s, %d cores, %s", time.Now().UTC().Format("2006-01-02"), cpuModel(), runtime.NumCPU(), runtime.Version())
}

// head is what the page says of all parts.
func (r *results) head() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Benchmarks\n")
	p("What Penstock costs beside a plain reverse proxy. This page is written by the command that measures:\n")
	p("    make build && %s\n", r.options.command)
	p("%s. Load, provider and target share the machine, over loopback and plain", r.measured())
	p("HTTP. Absolute figures move with the machine by up to half; ratios within a run hold, and one run resolves differences")
	p("of about 0.15. Every answer is checked for its exact text and its end; one wrong answer fails the run.\n")
	p("The plain proxy is `httputil.ReverseProxy` with a transport that keeps its connections, full duplex, and a flush after")
	p("each read. Penstock has its defaults: it checks the key, routes, changes the model's name in request and answer, prices,")
	p("counts metrics, writes a log line (into a file) and, with records on, keeps a durable record of every exchange, in a file or")
	p("in a PostgreSQL server that runs beside it with its defaults and is not counted. `records: off` is there for this comparison")
	p("only. With bodies kept, it also compresses and seals what is asked and answered, and keeps that as durably as the record.")
	return b.String()
}

// sections are what was measured.
func (r *results) sections() (all []section) {
	for _, part := range []struct {
		ran   bool
		write func(printer)
	}{
		{len(r.cpu) > 0, r.writeCPU}, {len(r.latency) > 0, r.writeLatency}, {len(r.memory) > 0, r.writeMemory}, {r.lost != nil, r.writeLost},
		{len(r.translated) > 0, r.writeTranslated}, {r.routing != nil, r.writeRoute}, {r.limiting != nil, r.writeLimits},
	} {
		if part.ran {
			var b strings.Builder
			part.write(func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) })
			all = append(all, section{b.String()})
		}
	}
	return all
}
