package sim

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxSchemaDepth ends recursive schemas, maxSchemaNodes wide ones.
const (
	maxSchemaDepth = 32
	maxSchemaNodes = 10_000
)

// instance makes a small JSON value that fits the JSON Schema, as far as types, properties, items, enum, const, $ref,
// anyOf, oneOf, allOf and bounds of length and size go. It gives {} for a schema that cannot be read.
func instance(schema json.RawMessage) json.RawMessage {
	var root map[string]any
	if json.Unmarshal(schema, &root) != nil || len(root) == 0 {
		return emptyObject
	}
	made, err := json.Marshal((&maker{root: root}).value(root, 0))
	if err != nil {
		return emptyObject
	}
	return made
}

// A maker makes one instance.
type maker struct {
	root  map[string]any // where references begin
	nodes int            // so far
}

func (m *maker) value(node any, depth int) any {
	s, ok := node.(map[string]any)
	if m.nodes++; !ok || depth > maxSchemaDepth || m.nodes > maxSchemaNodes {
		return nil
	}
	if c, ok := s["const"]; ok {
		return c
	}
	if list, ok := s["enum"].([]any); ok && len(list) > 0 {
		return list[0]
	}
	if ref, ok := s["$ref"].(string); ok {
		return m.value(m.resolve(ref), depth+1)
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if list, ok := s[key].([]any); ok && len(list) > 0 {
			return m.value(m.shallowest(list), depth+1)
		}
	}
	if list, ok := s["allOf"].([]any); ok {
		return m.all(list, depth)
	}
	return m.typed(s, depth)
}

// shallowest prefers an alternative that is neither object nor array, so that recursive types end.
func (m *maker) shallowest(list []any) any {
	i := slices.IndexFunc(list, func(n any) bool {
		s, _ := n.(map[string]any)
		switch typeOf(s) {
		case "string", "number", "integer", "boolean", "null":
			return true
		}
		return false
	})
	return list[max(i, 0)]
}

// all merges the members that every part of an allOf wants.
func (m *maker) all(list []any, depth int) any {
	merged := map[string]any{}
	var other any
	for _, part := range list {
		v := m.value(part, depth+1)
		if object, ok := v.(map[string]any); ok {
			for k, v := range object {
				merged[k] = v
			}
			continue
		}
		other = v
	}
	if len(merged) > 0 {
		return merged
	}
	return other
}

// typeOf is the schema's type, the first that is not null of several, or what its keywords imply.
func typeOf(s map[string]any) string {
	switch t := s["type"].(type) {
	case string:
		return t
	case []any:
		for _, one := range t {
			if name, ok := one.(string); ok && name != "null" {
				return name
			}
		}
		return "null"
	}
	if _, ok := s["items"]; ok {
		return "array"
	}
	if _, ok := s["properties"]; ok {
		return "object"
	}
	return ""
}

func (m *maker) typed(s map[string]any, depth int) any {
	switch typeOf(s) {
	case "object":
		return m.object(s, depth)
	case "array":
		n := int(numberOf(s, "minItems", 1))
		list := make([]any, 0, min(n, 64))
		for range min(n, 64) {
			list = append(list, m.value(s["items"], depth+1))
		}
		return list
	case "string":
		return stringOf(s)
	case "integer":
		return math.Ceil(lowest(s))
	case "number":
		return lowest(s)
	case "boolean":
		return true
	}
	return nil
}

// object has all required properties, or all properties if none is said to be required.
func (m *maker) object(s map[string]any, depth int) map[string]any {
	properties, _ := s["properties"].(map[string]any)
	required, some := s["required"].([]any)
	out := make(map[string]any, len(properties))
	for name, p := range properties {
		if some && !slices.Contains(required, any(name)) {
			continue
		}
		out[name] = m.value(p, depth+1)
	}
	return out
}

// formats are examples of the formats of strings.
var formats = map[string]string{
	"date-time": "2026-01-02T03:04:05Z", "date": "2026-01-02", "time": "03:04:05Z", "email": "someone@example.com",
	"uri": "https://example.com/", "uuid": "00000000-0000-4000-8000-000000000000", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
}

func stringOf(s map[string]any) string {
	if format, ok := s["format"].(string); ok && formats[format] != "" {
		return formats[format]
	}
	text := "water"
	if n := int(numberOf(s, "minLength", 0)); n > len(text) {
		text += strings.Repeat("r", min(n, 4096)-len(text))
	}
	if n := int(numberOf(s, "maxLength", 4096)); n < len(text) {
		text = text[:max(n, 0)]
	}
	return text
}

// lowest is the smallest round number that the bounds allow, 1 without bounds.
func lowest(s map[string]any) float64 {
	v := numberOf(s, "minimum", 1)
	if x, ok := s["exclusiveMinimum"].(float64); ok {
		v = math.Floor(x) + 1
	}
	return min(v, numberOf(s, "maximum", math.MaxInt32))
}

func numberOf(s map[string]any, key string, otherwise float64) float64 {
	if n, ok := s[key].(float64); ok {
		return n
	}
	return otherwise
}

// resolve follows a reference inside the schema: "#", "#/$defs/name".
func (m *maker) resolve(ref string) any {
	var at any = m.root
	path := strings.TrimPrefix(strings.TrimPrefix(ref, "#"), "/")
	if path == "" {
		return at
	}
	for part := range strings.SplitSeq(path, "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch node := at.(type) {
		case map[string]any:
			at = node[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(node) {
				return nil
			}
			at = node[i]
		default:
			return nil
		}
	}
	return at
}
