package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/penstock/penstock/internal/fault"
)

var durationType = reflect.TypeFor[time.Duration]()

// A decoder fills a struct from a YAML tree by its tags, strictly: it collects all problems instead of stopping at one,
// and remembers where everything stood, so that later checks can point at it.
type decoder struct {
	list   []Problem
	places map[string]place
	free   bool // names are whatever their owner checks them for
}

// A place is where a setting stands. Its value's place is that of its key if the value is not a scalar: the reader looks
// for the name of a section, not for its first line.
type place struct{ key, value pos }

type pos struct{ line, col int }

func (d *decoder) add(line, col int, path, text, hint string) {
	d.list = append(d.list, Problem{Line: line, Col: col, Problem: fault.Problem{Path: path, Text: text, Hint: hint}})
}

// report adds a problem with the value of the setting at path.
func (d *decoder) report(path, text, hint string) {
	p := d.find(path).value
	d.add(p.line, p.col, path, text, hint)
}

// reportKey adds a problem with the setting itself.
func (d *decoder) reportKey(path, text, hint string) {
	p := d.find(path).key
	d.add(p.line, p.col, path, text, hint)
}

// find gives the place of a path, or of the nearest section around it that is in the file.
func (d *decoder) find(path string) place {
	for at := path; at != ""; at = parent(at) {
		if p, ok := d.places[at]; ok {
			return p
		}
	}
	return place{key: pos{1, 1}, value: pos{1, 1}}
}

func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// child is the path of a key within a section.
func child(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// decode reads a whole file into f.
func (d *decoder) decode(src []byte, f *File) {
	v := reflect.ValueOf(f).Elem()
	setDefaults(v)
	if body := d.parse(src); body != nil {
		d.value(body, v, "", setting{})
	}
}

// value reads one node. s says what the setting's tags want.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, s setting) {
	if d.free && n.Type() == ast.NullType && v.Kind() == reflect.Struct {
		return // a name with nothing under it: all as it is by default
	}
	if n = d.plain(n, path); n == nil {
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem(), path, s)
		v.Set(p)
	case v.Kind() == reflect.Struct:
		if short, ok := shortOf(v.Type()); ok {
			if _, text := scalarText(n); text {
				d.scalar(n, v.FieldByIndex(short.index), path, short)
				return
			}
		}
		d.section(n, v, path)
	case v.Kind() == reflect.Map:
		d.named(n, v, path)
	case v.Kind() == reflect.Slice:
		d.sequence(n, v, path, s)
	default:
		d.scalar(n, v, path, s)
	}
}

// plain refuses what has no place in a configuration: a missing value, and what makes one part of a YAML file stand for
// another. Nothing is ever expanded.
func (d *decoder) plain(n ast.Node, path string) ast.Node {
	switch n := n.(type) {
	case *ast.NullNode:
		d.report(path, "has no value", "write one, or remove the key")
	case *ast.AnchorNode:
		d.report(path, "anchors are not read", "write the value without &NAME")
	case *ast.AliasNode:
		d.report(path, "aliases are not read", "write the value itself instead of *NAME")
	case *ast.TagNode:
		d.report(path, "tags are not read", "write the value without !TAG")
	default:
		return n
	}
	return nil
}

// An entry is one key of a mapping and its value.
type entry struct {
	key   string
	path  string
	value ast.Node
}

// entries walks a mapping, reports keys that are no plain text or are there twice, and notes the places of the others.
func (d *decoder) entries(n ast.Node, path string, yield func(entry)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		what := "must be keys and values, not " + kindOf(n)
		if path == "" {
			p := start(n)
			d.add(p.line, p.col, "", "the file "+what, "write KEY: VALUE")
			return
		}
		d.report(path, what, "write KEY: VALUE under it")
		return
	}
	seen := map[string]int{} // line by key
	for it := m.MapRange(); it.Next(); {
		key := start(it.Key())
		name, ok := keyText(it.Key())
		if !ok {
			d.add(key.line, key.col, path, "a key that is not plain text", "write it out; merges, anchors and tags are not read")
			continue
		}
		e := entry{key: name, path: child(path, showKey(name)), value: it.Value()}
		if first, twice := seen[name]; twice {
			d.add(key.line, key.col, e.path, fmt.Sprintf("is there twice, first in line %d", first), "remove one")
			continue
		}
		seen[name] = key.line
		at := place{key: key, value: key}
		if _, scalar := e.value.(ast.ScalarNode); scalar && e.value.Type() != ast.NullType {
			at.value = start(e.value)
		}
		d.places[e.path] = at
		yield(e)
	}
}

// section reads a mapping into a struct.
func (d *decoder) section(n ast.Node, v reflect.Value, path string) {
	known := settingsOf(v.Type())
	d.entries(n, path, func(e entry) {
		for _, s := range known {
			if s.name == e.key {
				d.value(e.value, v.FieldByIndex(s.index), e.path, s)
				return
			}
		}
		d.unknownKey(e, known)
	})
}

// named reads a mapping whose keys the operator chose.
func (d *decoder) named(n ast.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.entries(n, path, func(e entry) {
		if text, hint := checkName(e.key); text != "" && !d.free {
			d.reportKey(e.path, text, hint)
			return
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		setDefaults(elem)
		d.value(e.value, elem, e.path, setting{})
		v.SetMapIndex(reflect.ValueOf(e.key), elem)
	})
}

func (d *decoder) sequence(n ast.Node, v reflect.Value, path string, s setting) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.report(path, "must be a list, not "+kindOf(n), "write [ONE, TWO]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	for i, one := range list.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		p := start(one)
		d.places[at] = place{key: p, value: p}
		setDefaults(v.Index(i))
		d.value(one, v.Index(i), at, s)
	}
}

// scalar reads a text, number or word; what it may be is in scalar.go.
func (d *decoder) scalar(n ast.Node, v reflect.Value, path string, s setting) {
	text, ok := scalarText(n)
	if !ok {
		d.report(path, "must be "+s.wants(v.Type())+", not "+kindOf(n), "write it on the same line")
		return
	}
	if text, hint := s.set(v, path, text, n.Type()); text != "" {
		d.report(path, text, hint)
	}
}

// scalarText gives what the file says, before any YAML rule has made a number or a truth value of it.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.MappingNode:
		return rejoin(n)
	}
	return "", false
}

// rejoin gives back the text that the parser took for a mapping: in a list within braces, as in {targets: [a/b:free]}, it
// splits at a colon that no space follows, where YAML does not. Names of models have such colons.
func rejoin(m *ast.MappingNode) (string, bool) {
	if m.IsFlowStyle || len(m.Values) != 1 {
		return "", false
	}
	pair := m.Values[0]
	key, value := pair.Key.GetToken(), pair.Value.GetToken()
	if key == nil || value == nil || isQuoted(key) || isQuoted(value) {
		return "", false
	}
	before, ok := keyText(pair.Key)
	behind, also := scalarText(pair.Value)
	colon := key.Position.Column + utf8.RuneCountInString(before)
	adjacent := key.Position.Line == value.Position.Line && colon+1 == value.Position.Column
	return before + ":" + behind, ok && also && adjacent
}

func isQuoted(t *token.Token) bool {
	return t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
}

// keyText gives a key; what is true or 1 to YAML is still a name.
func keyText(k ast.MapKeyNode) (string, bool) {
	n, ok := k.(ast.Node)
	if !ok {
		return "", false
	}
	if n.Type() == ast.NullType {
		return n.GetToken().Value, true
	}
	return scalarText(n)
}

// kindOf names what a node is, for a person.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.LiteralNode:
		return "a block of text"
	}
	return "a text"
}

// start is where a node begins. A mapping's own token is its first colon; it begins at its first key.
func start(n ast.Node) pos {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// setDefaults fills a struct from its default tags. A default is YAML, so it is read as the file is; a bad one is a
// mistake of ours, found by any test.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for _, s := range settingsOf(v.Type()) {
		field := v.FieldByIndex(s.index)
		if s.fallback == "" {
			setDefaults(field)
			continue
		}
		file, err := parser.ParseBytes([]byte(s.fallback), 0)
		if err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", s.name, err))
		}
		d := decoder{places: map[string]place{}}
		d.value(file.Docs[0].Body, field, s.name, s)
		if len(d.list) > 0 {
			panic("config: default of " + s.name + ": " + d.list[0].Error())
		}
	}
}
