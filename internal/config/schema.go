package config

import (
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/invopop/jsonschema"
)

// patterns are what JSON Schema can say of a kind. They are for completion in editors; Load says more.
var patterns = map[string]string{
	"address":   `^[^/]*:[0-9]+$`,
	"bytes":     `^[0-9]+(\.[0-9]+)? ?(B|KB|MB|GB|KiB|MiB|GiB)$`,
	"reference": `^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$`,
	"store":     `^(sqlite:.+|postgres(ql)?://.+)$`,
	"keyring":   `^file:.+$`,
	"wrapper":   `^(file|exec):.+$`,
	"keyfile":   `^file:.+$`,
	"anchor":    `^(file|exec):.+$`,
	"span":      `^(forever|[0-9]+d|([0-9]+(h|m|s))+)$`,
	"share":     `^[0-9]+(\.[0-9]+)?%?$`,
	"url":       `^https?://[^@?#]+$`,
}

const durationPattern = `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`

// Schema is the JSON Schema (draft 2020-12) of the file, for editors and for other programs.
func Schema() []byte {
	r := jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true, DoNotReference: true, RequiredFromJSONSchemaTags: true, FieldNameTag: "yaml",
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t == durationType {
				return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
			}
			return nil
		},
	}
	s := r.ReflectFromType(reflect.TypeFor[File]())
	s.Title = "Penstock configuration"
	var defaults File
	setDefaults(reflect.ValueOf(&defaults).Elem())
	describe(s, reflect.ValueOf(defaults))
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("config: schema: " + err.Error()) // a value of ours that is not JSON
	}
	return append(out, '\n')
}

// describe adds to the schema of a section what the tags of its settings say. v is the section with its defaults.
func describe(s *jsonschema.Schema, v reflect.Value) {
	for _, one := range settingsOf(v.Type()) {
		p, ok := s.Properties.Get(one.name)
		if !ok {
			panic("config: the schema lacks " + one.name)
		}
		p.Description = one.doc
		field := v.FieldByIndex(one.index)
		switch field.Kind() {
		case reflect.Struct:
			describe(p, field)
		case reflect.Map:
			elem := reflect.New(field.Type().Elem()).Elem()
			setDefaults(elem)
			describe(p.AdditionalProperties, elem)
		case reflect.Slice:
			describeList(p, one, field)
		default:
			describeScalar(p, one, field)
		}
	}
}

// describeList describes a list: of sections, which a text may stand for, or of scalars.
func describeList(p *jsonschema.Schema, s setting, v reflect.Value) {
	elem := v.Type().Elem()
	if elem.Kind() != reflect.Struct {
		describeScalar(p, s, v)
		return
	}
	defaults := reflect.New(elem).Elem()
	setDefaults(defaults)
	describe(p.Items, defaults)
	if _, ok := shortOf(elem); ok {
		p.Items = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, p.Items}}
	}
}

func describeScalar(p *jsonschema.Schema, s setting, v reflect.Value) {
	switch pattern := patterns[s.kind]; {
	case pattern == "":
	case v.Kind() == reflect.Slice:
		p.Items.Type, p.Items.Pattern = "string", pattern
	default:
		p.Type, p.Pattern = "string", pattern
	}
	for _, word := range s.enum {
		p.Enum = append(p.Enum, word)
	}
	if v.Kind() == reflect.Int {
		p.Minimum, p.Maximum = json.Number(strconv.FormatInt(s.least, 10)), json.Number(strconv.FormatInt(s.most, 10))
		p.Default = v.Int()
		return
	}
	if !v.IsZero() {
		p.Default = plainText(v, s)
	}
}

// plainText is a default without YAML's quotes.
func plainText(v reflect.Value, s setting) string {
	if v.Kind() == reflect.String {
		return v.String()
	}
	return showValue(v, s)
}
