package config

import (
	_ "embed"
	"fmt"
	"reflect"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// Example is a configuration with every section in it, as the reference prints it and as the tests load it.
//
//go:embed testdata/example.yaml
var Example string

const pageHead = `# Configuration file

For whoever runs Penstock and looks up a setting. This page is generated from the program; do not edit it.

The file holds the process and the topology: listeners, store, providers, models and timeouts. Tenants, keys and prices are
in the store. Without a file the defaults below hold, and providers are found by their usual variables
([below](#without-a-file)).

- Check a file, all mistakes at once: ` + "`penstock config check -c FILE`" + `. See what is in force and where each value
  comes from: ` + "`penstock config show`" + `. See what a new file would change: ` + "`penstock config plan`" + `. The JSON
  Schema for your editor: ` + "`penstock config schema`" + `.
- Flags win over ` + "`PENSTOCK_*`" + ` variables, those over the file, that over the defaults: ` + "`--listen`, `--admin-listen`, `--data`, `--store`" + `
  and ` + "`PENSTOCK_LISTEN`, `PENSTOCK_ADMIN_LISTEN`, `PENSTOCK_DATA`, `PENSTOCK_STORE`" + `. An empty variable counts as none.
- Relative paths start at the file's directory; those of flags and variables at the working directory.
- A changed file is taken over while serving, save for the settings marked *(restart)*: a change of those is refused.
- A file is taken over as a whole or not at all. Unknown keys are errors, and so are anchors, aliases and a second document.
- **Durations** have a unit: ` + "`500ms`, `30s`, `1h30m`" + `. **Sizes** too: ` + "`64KB`, `20MB`" + ` (thousands) or ` + "`64KiB`, `20MiB`" + ` (1,024s).
  **True and false** are written so. **Secrets** are references, never literals: ` + "`env:NAME` or `file:PATH`" + `; one newline at
  the end of the file is not part of the secret.

`

// Reference is the reference page of the file, in Markdown.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(pageHead)
	b.WriteString("```yaml\n" + Example + "```\n")
	var defaults File
	setDefaults(reflect.ValueOf(&defaults).Elem())
	section(&b, "Top level", "", "", reflect.ValueOf(defaults))
	withoutFile(&b)
	b.WriteString("\nNext: [the command line](cli.md).\n")
	return []byte(b.String())
}

// section writes the table of one section, then those of the sections in it.
func section(b *strings.Builder, title, doc, path string, v reflect.Value) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if doc != "" {
		fmt.Fprintf(b, "%s.\n\n", sentence(doc))
	}
	b.WriteString("| key | takes | default | meaning |\n| --- | --- | --- | --- |\n")
	type inner struct {
		title, doc, path string
		v                reflect.Value
	}
	var sections []inner
	for _, s := range settingsOf(v.Type()) {
		field, at := v.FieldByIndex(s.index), child(path, s.name)
		takes, elem, name := s.takes(), field, at
		switch field.Kind() {
		case reflect.Map:
			elem = reflect.New(field.Type().Elem()).Elem()
			setDefaults(elem)
			name, takes = child(at, "NAME"), link(child(at, "NAME"))
		case reflect.Struct:
			takes = link(at)
		case reflect.Slice:
			if s.typ.Elem().Kind() == reflect.Struct {
				elem = reflect.New(s.typ.Elem()).Elem()
				setDefaults(elem)
				name, takes = child(at, "N"), "list of "+link(child(at, "N"))
			}
		}
		if elem.Kind() == reflect.Struct {
			sections = append(sections, inner{"`" + name + "`", s.doc, name, elem})
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s%s |\n", s.name, takes, fallbackCell(field, s), strings.ReplaceAll(s.doc, "|", `\|`), restartNote(s))
	}
	for _, in := range sections {
		section(b, in.title, in.doc, in.path, in.v)
	}
}

func sentence(doc string) string { return strings.ToUpper(doc[:1]) + doc[1:] }

func link(path string) string {
	anchor := strings.ToLower(strings.ReplaceAll(path, ".", ""))
	return fmt.Sprintf("[section](#%s)", anchor)
}

func restartNote(s setting) string {
	if s.restart {
		return " *(restart)*"
	}
	return ""
}

func fallbackCell(v reflect.Value, s setting) string {
	if v.Kind() == reflect.Struct || v.Kind() == reflect.Map {
		return ""
	}
	if v.Kind() == reflect.Bool {
		return "`false`"
	}
	if v.IsZero() {
		return ""
	}
	return "`" + plainText(v, s) + "`"
}

// takes names what a setting takes, for the table.
func (s setting) takes() string {
	switch words := s.enum; {
	case s.typ == durationType:
		return "duration"
	case s.kind == "bytes":
		return "size"
	case len(words) > 0:
		return "`" + strings.Join(words, "`, `") + "`"
	case s.kind == "proxy", s.kind == "webhook":
		return "URL or reference"
	case s.kind == "url":
		return "URL"
	case s.kind != "" && s.typ.Kind() == reflect.Slice:
		return s.kind + "s"
	case s.kind != "":
		return s.kind
	case s.typ.Kind() == reflect.Int:
		return fmt.Sprintf("%d to %d", s.least, s.most)
	case s.typ.Kind() == reflect.Slice:
		return "list"
	case s.typ.Kind() == reflect.Bool, s.typ.Kind() == reflect.Pointer:
		return "true or false"
	}
	return "text"
}

// withoutFile writes the table of the variables that tell of providers.
func withoutFile(b *strings.Builder) {
	b.WriteString("\n## Without a file\n\nA provider is added for each of these variables that is set.\n\n")
	b.WriteString("| provider | API key | address | by default |\n| --- | --- | --- | --- |\n")
	for _, v := range vendors {
		address := v.address
		if address == "" {
			address = "the vendor's own"
		}
		if v.dialect == llm.Azure {
			address = "none: your resource has its own"
		}
		if v.dialect == llm.Bedrock {
			address = "that of `AWS_REGION`"
		}
		fmt.Fprintf(b, "| `%s` | `%s` | `%s` | %s |\n", v.name, strings.Join(v.keys, "`, `"), v.baseURL, address)
	}
	b.WriteString("| `ollama` | | `OLLAMA_HOST` | port 11434 |\n")
}
