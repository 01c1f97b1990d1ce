package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	golden(t, "../../api/config.schema.json", Schema())
}

func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	golden(t, "../../docs/reference/config.md", Reference())
}

// Every setting says what it is, in the style of the others, and its kind is one that is checked.
func TestEverySettingIsDescribed(t *testing.T) {
	t.Parallel()
	all := map[string]bool{}
	eachSetting(reflect.TypeFor[File](), "", func(path string, _ setting) { all[path] = true })
	eachSetting(reflect.TypeFor[File](), "", func(path string, s setting) {
		if s.doc == "" || strings.HasSuffix(s.doc, ".") {
			t.Errorf("%s: the doc tag %q is not a phrase without full stop", path, s.doc)
		}
		if s.kind != "" && s.kind != "bytes" && kinds[s.kind] == nil {
			t.Errorf("%s: no check of the kind %q", path, s.kind)
		}
		if !readable(s) {
			t.Errorf("%s: a %s is not read", path, s.typ)
		}
		if word := otherWords[s.name]; word != "" && all[child(parent(path), word)] {
			t.Errorf("%s: is listed among the words of others, for %s beside it", path, word)
		}
		for _, word := range future {
			if word == s.name {
				t.Errorf("%s: is listed as not in this version", path)
			}
		}
	})
}

// The schema knows every setting, allows no other, and has the defaults that Load has.
func TestSchemaKnowsEverySetting(t *testing.T) {
	t.Parallel()
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	if root["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("draft %v", root["$schema"])
	}
	eachSetting(reflect.TypeFor[File](), "", func(path string, s setting) {
		at := root
		for name := range strings.SplitSeq(path, ".") {
			if name == "NAME" {
				at, _ = at["additionalProperties"].(map[string]any)
				continue
			}
			if at["additionalProperties"] != false {
				t.Errorf("%s: other keys are allowed beside it", path)
			}
			properties, _ := at["properties"].(map[string]any)
			at, _ = properties[name].(map[string]any)
		}
		if at["description"] != s.doc {
			t.Errorf("%s: described as %v", path, at["description"])
		}
		if s.fallback != "" && s.typ.Kind() != reflect.Struct && fmt.Sprint(at["default"]) != s.fallback {
			t.Errorf("%s: default %v, want %s", path, at["default"], s.fallback)
		}
	})
}

// readable says whether setting.set has a reading of the type.
func readable(s setting) bool {
	t := s.typ
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Struct:
		return true
	case reflect.Map:
		return t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.Struct
	}
	return t == durationType || t.Kind() == reflect.Int64 && s.kind == "bytes" || t.Kind() == reflect.Int && s.least < s.most
}

// eachSetting visits the settings of a section type and of those in it; NAME stands for a name of the operator's choice.
func eachSetting(t reflect.Type, path string, visit func(path string, s setting)) {
	for _, s := range settingsOf(t) {
		at := child(path, s.name)
		visit(at, s)
		switch s.typ.Kind() {
		case reflect.Struct:
			eachSetting(s.typ, at, visit)
		case reflect.Map:
			eachSetting(s.typ.Elem(), child(at, "NAME"), visit)
		}
	}
}
