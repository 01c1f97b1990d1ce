package responses

import (
	"iter"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Past is a turn that a request goes on from: its input, as [InputItems] gives it, and its response.
type Past struct{ Input, Response []byte }

// InputItems are the items of an input, an array in any case. Those without an id get one that is made of the response's.
func InputItems(input []byte, response string) []byte {
	w := rawjson.Writer{Dst: append(make([]byte, 0, len(input)+64), '[')}
	suffix := strings.TrimPrefix(response, "resp_") + "_in"
	if len(input) > 0 && input[0] == '"' {
		w.Dst = append(w.Dst, `{"type":"message"`...)
		w.Member(idField, "msg_"+suffix+"0")
		w.Dst = append(w.Dst, `,"role":"user","content":[{"type":"input_text","text":`...)
		w.Dst = append(append(w.Dst, input...), `}]}]`...)
		return w.Dst
	}
	c := rawjson.Cursor{Text: input}
	for i := range c.Elements() {
		item := c.Value()
		o := rawjson.ObjectOf(item)
		w.Comma()
		if o.Str(idField) != "" || item[0] != '{' {
			w.Dst = append(w.Dst, item...)
			continue
		}
		r := llm.Request{Raw: item, Fields: rawjson.Fields(item)}
		w.Dst = r.AppendBody(w.Dst, llm.Edit{Name: idField, Value: rawjson.AppendQuoted(nil, prefixOf(o)+suffix+strconv.Itoa(i))})
	}
	return append(w.Dst, ']')
}

// prefixOf begins the id of an item that has none.
func prefixOf(o *rawjson.Object) string {
	switch o.Str(typeField) {
	case callItem:
		return "fc_"
	case resultItem:
		return "fco_"
	case customCallItem:
		return "ctc_"
	case customResultItem:
		return "ctco_"
	case reasoningItem:
		return "rs_"
	case "", messageItem:
		return "msg_"
	}
	return "item_"
}

// Joined is the input of a request that goes on from others: theirs with what was answered, the oldest first, and then its own. It is
// made if room, which is told how many bytes it has, gives no error.
func Joined(past []Past, input []byte, room func(size int64) error) ([]byte, error) {
	return arrayOf(room, func(w *array) {
		for _, p := range past {
			w.all(p.Input)
			w.all(rawjson.ObjectOf(p.Response).Value(outputField))
		}
		if len(input) > 0 && input[0] == '"' {
			w.element([]byte(`{"role":"user","content":`), input, []byte("}"))
		} else {
			w.all(input)
		}
	})
}

// ID is a response's id, "" if it has none.
func ID(response []byte) string { return rawjson.ObjectOf(response).Str(idField) }

// AppendDeleted appends what a caller is told whose response was deleted.
func AppendDeleted(dst []byte, id string) []byte {
	w := rawjson.Writer{Dst: append(dst, '{')}
	w.Member(idField, id)
	return append(w.Dst, `,"object":"response","deleted":true}`...)
}

// A Page says which of the items of a list are asked for.
type Page struct {
	After     string // the id of the last one that is known
	Limit     int
	Ascending bool
}

// AppendItems appends a page of the items of an array; ok is false if there is none of the id to go on after.
func AppendItems(dst, items []byte, p Page) (out []byte, ok bool) {
	var all [][]byte
	c := rawjson.Cursor{Text: items}
	for range c.Elements() {
		all = append(all, c.Value())
	}
	if !p.Ascending {
		for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
			all[i], all[j] = all[j], all[i]
		}
	}
	if p.After != "" {
		at := -1
		for i, item := range all {
			if ID(item) == p.After {
				at = i
			}
		}
		if at < 0 {
			return dst, false
		}
		all = all[at+1:]
	}
	more := len(all) > p.Limit
	all = all[:min(len(all), p.Limit)]
	w := rawjson.Writer{Dst: append(dst, `{"object":"list","data":[`...)}
	for _, item := range all {
		w.Comma()
		w.Dst = append(w.Dst, item...)
	}
	w.Dst = append(w.Dst, ']')
	for _, end := range []struct {
		name string
		at   int
	}{{"first_id", 0}, {"last_id", len(all) - 1}} {
		w.Name(end.name)
		if len(all) == 0 {
			w.Dst = append(w.Dst, nullValue...)
		} else {
			w.Quoted(ID(all[end.at]))
		}
	}
	w.Name("has_more")
	w.Dst = strconv.AppendBool(w.Dst, more)
	return append(w.Dst, '}'), true
}

// References are the ids of items that an input names instead of holding them, each once, in the order of their first places.
func References(input []byte) (ids []string) {
	seen := map[string]bool{}
	c := rawjson.Cursor{Text: input}
	for range c.Elements() {
		if id, ok := named(c.Value()); ok && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// named is the id of the item that an element of an input stands for; ok is false of those that are items themselves.
func named(element []byte) (id string, ok bool) {
	o := rawjson.ObjectOf(element)
	id = o.Str(idField)
	kind := o.Str(typeField)
	return id, kind == "item_reference" || kind == "" && id != "" && o.Only(typeField, idField)
}

// Resolved is an input with items in the place of those that it names by their ids. It is made if room, which is told how many bytes
// it has, gives no error: few names can stand for much.
func Resolved(input []byte, items map[string][]byte, room func(size int64) error) ([]byte, error) {
	return arrayOf(room, func(w *array) {
		c := rawjson.Cursor{Text: input}
		for range c.Elements() {
			element := c.Value()
			if id, ok := named(element); ok {
				element = items[id]
			}
			w.element(element)
		}
	})
}

// OutputIDs are the ids of the items of a response.
func OutputIDs(response []byte) (ids []string) {
	for id := range OutputItems(response) {
		ids = append(ids, id)
	}
	return ids
}

// OutputItems are the items of a response that have an id, by that.
func OutputItems(response []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		c := rawjson.Cursor{Text: rawjson.ObjectOf(response).Value(outputField)}
		for range c.Elements() {
			item := c.Value()
			if id := ID(item); id != "" && !yield(id, item) {
				return
			}
		}
	}
}

// An array is one of JSON that is walked twice: to know its size, and to be written.
type array struct {
	dst   []byte
	size  int64
	write bool
	some  bool // elements so far
}

// arrayOf makes an array of what walk gives it, if room gives no error for its size.
func arrayOf(room func(size int64) error, walk func(a *array)) ([]byte, error) {
	a := array{size: int64(len("[]"))}
	walk(&a)
	if err := room(a.size); err != nil {
		return nil, err
	}
	a = array{dst: append(make([]byte, 0, a.size), '['), write: true}
	walk(&a)
	return append(a.dst, ']'), nil
}

// element adds an element, which may be in parts.
func (a *array) element(parts ...[]byte) {
	if a.some {
		a.part([]byte(","))
	}
	a.some = true
	for _, p := range parts {
		a.part(p)
	}
}

func (a *array) part(p []byte) {
	if a.write {
		a.dst = append(a.dst, p...)
	} else {
		a.size += int64(len(p))
	}
}

// all adds the elements of another array.
func (a *array) all(other []byte) {
	c := rawjson.Cursor{Text: other}
	for range c.Elements() {
		a.element(c.Value())
	}
}
