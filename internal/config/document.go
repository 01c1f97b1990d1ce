package config

import (
	"reflect"

	"github.com/penstock/penstock/internal/fault"
)

// A Document is a YAML file that is not the configuration, such as a declaration of tenants. It is read as strictly, into a
// struct whose fields have yaml tags; only names in it are not checked, because they are not the configuration's. The zero
// Document knows no places.
type Document struct {
	file   string
	places map[string]place
}

// ReadDocument reads src, which came from the file, into the struct that into points to. What is wrong with it is *Problems.
func ReadDocument(file string, src []byte, into any) (*Document, error) {
	d := &decoder{places: map[string]place{}, free: true}
	if body := d.parse(src); body != nil {
		d.value(body, reflect.ValueOf(into).Elem(), "", setting{})
	}
	doc := &Document{file, d.places}
	if len(d.list) > 0 {
		return doc, &Problems{File: file, List: d.list}
	}
	return doc, nil
}

// Problems puts problems that were found later where they belong in the file.
func (doc *Document) Problems(list []fault.Problem) *Problems {
	d := &decoder{places: doc.places}
	for _, p := range list {
		if doc.places == nil {
			d.add(0, 0, p.Path, p.Text, p.Hint)
			continue
		}
		d.report(p.Path, p.Text, p.Hint)
	}
	return &Problems{File: doc.file, List: d.list}
}
