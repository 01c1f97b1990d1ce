package responses

import (
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

// Joined is the input of a request that goes on from others: theirs with what was answered, the oldest first, and then its own.
func Joined(past []Past, input []byte) []byte {
	w := rawjson.Writer{Dst: []byte{'['}}
	add := func(array []byte) {
		c := rawjson.Cursor{Text: array}
		for range c.Elements() {
			w.Comma()
			w.Dst = append(w.Dst, c.Value()...)
		}
	}
	for _, p := range past {
		add(p.Input)
		add(rawjson.ObjectOf(p.Response).Value(outputField))
	}
	if len(input) > 0 && input[0] == '"' {
		w.Comma()
		w.Dst = append(append(append(w.Dst, `{"role":"user","content":`...), input...), '}')
	} else {
		add(input)
	}
	return append(w.Dst, ']')
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

// References are the ids of items that an input names instead of holding them.
func References(input []byte) (ids []string) {
	items, _ := rawjson.ObjectsOf(input)
	for _, o := range items {
		if kind := o.Str(typeField); kind == "item_reference" || kind == "" && o.Only(typeField, idField) && o.Str(idField) != "" {
			ids = append(ids, o.Str(idField))
		}
	}
	return ids
}

// Resolved is an input with items in the place of those that are named by their ids; missing is the first id of which there is none.
func Resolved(input []byte, find func(id string) []byte) (out []byte, missing string) {
	w := rawjson.Writer{Dst: append(make([]byte, 0, len(input)), '[')}
	c := rawjson.Cursor{Text: input}
	for range c.Elements() {
		item := c.Value()
		if ids := References(append(append([]byte{'['}, item...), ']')); len(ids) == 1 {
			if item = find(ids[0]); item == nil {
				return nil, ids[0]
			}
		}
		w.Comma()
		w.Dst = append(w.Dst, item...)
	}
	return append(w.Dst, ']'), ""
}

// OutputIDs are the ids of the items of a response.
func OutputIDs(response []byte) (ids []string) {
	items, _ := rawjson.ObjectsOf(rawjson.ObjectOf(response).Value(outputField))
	for _, o := range items {
		if id := o.Str(idField); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// OutputItem is the item of an id among those of a response, nil if it is not.
func OutputItem(response []byte, id string) (found []byte) {
	c := rawjson.Cursor{Text: rawjson.ObjectOf(response).Value(outputField)}
	for range c.Elements() {
		if item := c.Value(); ID(item) == id {
			found = item
		}
	}
	return found
}
