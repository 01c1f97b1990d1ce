package config

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A setting is one key of a section, as the tags of its field describe it.
type setting struct {
	name     string // the key
	doc      string
	fallback string // the default, as YAML; "" if there is none
	kind     string
	enum     []string
	zero     bool
	restart  bool
	short    bool
	least    int64 // of a number
	most     int64
	index    []int // of the field
	typ      reflect.Type
}

// cache keeps the settings of each section type: reading tags is slow beside everything else here.
var cache sync.Map // reflect.Type -> []setting

// settingsOf lists the settings of a struct in the order of its fields. A field without yaml tag is not a setting; one
// tagged ",inline" gives its own fields.
func settingsOf(t reflect.Type) []setting {
	if known, ok := cache.Load(t); ok {
		return known.([]setting)
	}
	var list []setting
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			for _, s := range settingsOf(f.Type) {
				s.index = append([]int{i}, s.index...)
				list = append(list, s)
			}
		case name != "" && name != "-":
			list = append(list, newSetting(name, f))
		}
	}
	cache.Store(t, list)
	return list
}

// shortOf is the setting that a text in the place of the section stands for.
func shortOf(section reflect.Type) (s setting, ok bool) {
	for _, s := range settingsOf(section) {
		if s.short {
			return s, true
		}
	}
	return setting{}, false
}

func newSetting(name string, f reflect.StructField) setting {
	s := setting{
		name: name, doc: f.Tag.Get("doc"), fallback: f.Tag.Get("default"), kind: f.Tag.Get("kind"),
		zero: f.Tag.Get("zero") == "true", restart: f.Tag.Get("restart") == "true", short: f.Tag.Get("short") == "true", index: f.Index, typ: f.Type,
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		s.enum = strings.Split(enum, ",")
	}
	if least, most, ok := strings.Cut(f.Tag.Get("range"), ","); ok {
		s.least, _ = strconv.ParseInt(least, 10, 64) // a bad one refuses its own default, which any test finds
		s.most, _ = strconv.ParseInt(most, 10, 64)
	}
	return s
}

// A leaf is one setting with its value: a scalar or a list.
type leaf struct {
	keys    []string // from the top
	setting setting
	value   reflect.Value
	restart bool // its own, or that of a section around it
}

func (l leaf) path() string { return strings.Join(l.keys, ".") }

// empty reports whether there is nothing to show: no text, no list, no choice, and no duration where none is a value or the default.
func (l leaf) empty() bool {
	switch l.value.Kind() {
	case reflect.Int64:
		return l.value.Type() == durationType && l.value.Int() == 0 && !l.setting.zero && l.setting.fallback == ""
	case reflect.String, reflect.Slice:
		return l.value.Len() == 0
	case reflect.Pointer:
		return l.value.IsNil()
	}
	return false
}

// walk visits all leaves of a file in the order of the reference, names within a section of names alphabetically.
func walk(f *File, visit func(leaf)) {
	walkSection(reflect.ValueOf(f).Elem(), leaf{}, visit)
}

// walkSection visits what is in a section; around is the leaf it would be.
func walkSection(v reflect.Value, around leaf, visit func(leaf)) {
	for _, s := range settingsOf(v.Type()) {
		walkValue(leaf{
			keys: append(slices.Clip(around.keys), s.name), setting: s, value: v.FieldByIndex(s.index),
			restart: around.restart || s.restart,
		}, visit)
	}
}

func walkValue(l leaf, visit func(leaf)) {
	switch l.value.Kind() {
	case reflect.Struct:
		walkSection(l.value, l, visit)
	case reflect.Map:
		keys := l.value.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			walkSection(l.value.MapIndex(key), leaf{keys: append(slices.Clip(l.keys), key.String()), restart: l.restart}, visit)
		}
	default:
		visit(l)
	}
}

// text shows a value as the file would have it.
func (l leaf) text() string { return showValue(l.value, l.setting) }

func showValue(v reflect.Value, s setting) string {
	switch {
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return showValue(v.Elem(), s)
	case v.Type() == durationType:
		return formatDuration(time.Duration(v.Int()))
	case s.kind == "bytes":
		return formatBytes(v.Int())
	case v.Kind() == reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = showValue(v.Index(i), s)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case v.Kind() == reflect.Struct:
		return showInline(v)
	case v.Kind() == reflect.String:
		return scalarYAML(v.String())
	}
	return fmt.Sprint(v.Interface())
}

// showInline writes a section that stands in a list: what differs from its defaults, or the text that stands for it.
func showInline(v reflect.Value) string {
	defaults := reflect.New(v.Type()).Elem()
	setDefaults(defaults)
	var pairs []string
	short := ""
	for _, s := range settingsOf(v.Type()) {
		field := v.FieldByIndex(s.index)
		if reflect.DeepEqual(field.Interface(), defaults.FieldByIndex(s.index).Interface()) {
			continue
		}
		text := showValue(field, s)
		pairs = append(pairs, s.name+": "+text)
		if s.short {
			short = text
		}
	}
	if len(pairs) == 1 && short != "" {
		return short
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// scalarYAML writes a text so that YAML reads the same text, and not if it looks like a secret.
func scalarYAML(s string) string {
	if looksSecret(s) {
		return strconv.Quote(hidden)
	}
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:@+-", r)
	}
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 && !strings.HasSuffix(s, ":") &&
		!strings.ContainsAny(s[:1], ":@+-.") && !looksTyped(s)
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// looksTyped reports whether YAML, in any of its versions, would read a plain text as something else than a text.
func looksTyped(s string) bool {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return true
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "y", "n", "on", "off", "null", "nan", "inf":
		return true
	}
	return otherNumber.MatchString(s)
}

// otherNumber is what YAML takes for a number, a time or a date, and Go does not.
var otherNumber = regexp.MustCompile(`^(0[xob]?[0-9a-fA-F_]+|[0-9][0-9_]*|[0-9]+(:[0-9]+)+(\.[0-9]*)?|[0-9]{4}-[0-9].*)$`)

// formatDuration writes 10m, not 10m0s; and 120s, as people say of timers.
func formatDuration(d time.Duration) string {
	if d >= time.Second && d < 3*time.Minute && d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// A size is a unit of bytes.
type size struct {
	unit string
	n    int64
}

var sizes = []size{
	{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
}

// formatBytes writes a size exactly, with the unit that makes it shortest.
func formatBytes(n int64) string {
	best := strconv.FormatInt(n, 10) + "B"
	for _, s := range sizes {
		if n != 0 && n%s.n == 0 {
			text := strconv.FormatInt(n/s.n, 10) + s.unit
			if cmp.Compare(len(text), len(best)) < 0 {
				best = text
			}
		}
	}
	return best
}
