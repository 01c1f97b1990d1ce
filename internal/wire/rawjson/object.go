package rawjson

import (
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
)

// An Object is a JSON object on its way into the canonical form. Members that the form can hold exactly are taken; all
// others stay, and end up in some Extra: unknown ones, null, and older or odder ways to say something. Of the latter the
// meaning is decoded nevertheless, so that whoever reads the canonical form sees it; [EncodeChat] then writes what is in
// Extra and leaves out what it made of it.
type Object struct {
	Text   []byte
	Fields []llm.Field

	room [4]llm.Field // for the members that most have
}

// ObjectOf finds the members of a value; one that is no object has none.
func ObjectOf(value []byte) *Object {
	o := &Object{Text: value}
	o.Fields = appendFields(o.room[:0], value)
	return o
}

// Open makes o the object of another value. It is for those of whom many come, one like the other: the room of the last one and the
// names of its members are used again.
func (o *Object) Open(value []byte) {
	if o.Fields == nil {
		o.Fields = o.room[:0]
	}
	o.Text, o.Fields = value, appendFields(o.Fields[:0], value)
}

// Value is the text of a member, nil if it is not there, or taken.
func (o *Object) Value(name string) []byte {
	for _, f := range o.Fields {
		if f.Name == name {
			return f.Value.Of(o.Text)
		}
	}
	return nil
}

// Kind is the first byte of a member, 0 if it is not there.
func (o *Object) Kind(name string) byte {
	if v := o.Value(name); v != nil {
		return v[0]
	}
	return 0
}

// Has reports whether a member is there, be it null, and has not been taken.
func (o *Object) Has(name string) bool { return o.Value(name) != nil }

// Take marks members as held by the canonical form.
func (o *Object) Take(names ...string) {
	left := o.Fields[:0]
	for _, f := range o.Fields {
		if !slices.Contains(names, f.Name) {
			left = append(left, f)
		}
	}
	o.Fields = left
}

// Rest are the members that were not taken.
func (o *Object) Rest() []llm.Member {
	if len(o.Fields) == 0 {
		return nil
	}
	all := make([]llm.Member, 0, len(o.Fields))
	for _, f := range o.Fields {
		all = append(all, llm.Member{Name: f.Name, Value: f.Value.Of(o.Text)})
	}
	return all
}

// Only reports whether there are no members but these.
func (o *Object) Only(names ...string) bool {
	return !slices.ContainsFunc(o.Fields, func(f llm.Field) bool { return !slices.Contains(names, f.Name) })
}

// Str is a member as a string, "" if it is none.
func (o *Object) Str(name string) string {
	if v := o.Value(name); len(v) > 0 && v[0] == '"' {
		return UnquotedString(v)
	}
	return ""
}

// Word is a member as a string; a word that is known costs no allocation.
func (o *Object) Word(name string, known ...string) string {
	v := o.Value(name)
	if len(v) == 0 || v[0] != '"' {
		return ""
	}
	for _, k := range known {
		if string(v[1:len(v)-1]) == k {
			return k
		}
	}
	return UnquotedString(v)
}

// TakeString takes a string, unless it is empty and so could not be told from one that is absent.
func (o *Object) TakeString(name string, to *string) {
	if s := o.Str(name); s != "" {
		*to = s
		o.Take(name)
	}
}

// TakeNumber takes a number.
func (o *Object) TakeNumber(name string, to **float64) {
	if n, err := strconv.ParseFloat(string(o.Value(name)), 64); err == nil {
		*to = &n
		o.Take(name)
	}
}

// Integer is a member as a whole number, nil if it is none.
func (o *Object) Integer(name string) *int64 {
	n, ok := o.Int(name)
	if !ok {
		return nil
	}
	return &n
}

// Int is as Integer, without an allocation; ok is false if it is none.
func (o *Object) Int(name string) (n int64, ok bool) {
	v := o.Value(name)
	if k := len(v); k > 0 && k < 10 && v[0] != '-' && v[0] != '+' {
		for _, c := range v {
			if c < '0' || c > '9' {
				return 0, false
			}
			n = n*10 + int64(c-'0')
		}
		return n, true
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil
}

// TakeInteger takes a whole number.
func (o *Object) TakeInteger(name string, to **int64) {
	if n := o.Integer(name); n != nil {
		*to = n
		o.Take(name)
	}
}

// TakeBool takes true or false.
func (o *Object) TakeBool(name string, to **bool) {
	if k := o.Kind(name); k == 't' || k == 'f' {
		b := k == 't'
		*to = &b
		o.Take(name)
	}
}

// TakeObject takes an object as it stands.
func (o *Object) TakeObject(name string, to *[]byte) {
	if o.Kind(name) == '{' {
		*to = o.Value(name)
		o.Take(name)
	}
}

// StringsOf reads an array of strings; ok is false if it is empty or something else.
func StringsOf(value []byte) (all []string, ok bool) {
	c := Cursor{Text: value}
	ok = true
	for range c.Elements() {
		if c.Kind() != '"' {
			ok = false
			continue
		}
		all = append(all, UnquotedString(c.Value()))
	}
	return all, ok && len(all) > 0
}

// ObjectsOf opens the objects of an array; ok is false if it is empty or something else.
func ObjectsOf(value []byte) (all []*Object, ok bool) {
	c := Cursor{Text: value}
	ok = true
	for range c.Elements() {
		if c.Kind() != '{' {
			ok = false
			continue
		}
		all = append(all, ObjectOf(c.Value()))
	}
	return all, ok && len(all) > 0
}

// Member makes one member of those that were not taken.
func (o *Object) Member(name string) llm.Member {
	e := Writer{Dst: []byte{'{'}}
	e.Extra(o.Rest())
	return llm.Member{Name: name, Value: append(e.Dst, '}')}
}
