package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

const openapiFile = "../../api/openapi.yaml"

// The description of the API is made from the table of endpoints, the types of its bodies and their comments.
func TestOpenAPIIsCurrent(t *testing.T) {
	t.Parallel()
	text, err := yaml.Marshal(describe(t))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, openapiFile, "# Made from internal/admin by: go test ./internal/admin -update\n"+string(text))
}

// A description collects what OpenAPI says of the types.
type description struct {
	t       *testing.T
	types   map[string]reflect.Type
	schemas map[string]*jsonschema.Schema
	in, out *jsonschema.Reflector
}

func describe(t *testing.T) yaml.MapSlice {
	t.Helper()
	d := &description{t: t, types: map[string]reflect.Type{}, schemas: map[string]*jsonschema.Schema{}}
	d.in, d.out = d.reflector(false), d.reflector(true)
	paths := yaml.MapSlice{}
	for _, e := range admin.Endpoints() {
		i := slices.IndexFunc(paths, func(p yaml.MapItem) bool { return p.Key == e.Path })
		if i < 0 {
			i, paths = len(paths), append(paths, yaml.MapItem{Key: e.Path, Value: yaml.MapSlice{}})
		}
		operations, _ := paths[i].Value.(yaml.MapSlice)
		paths[i].Value = append(operations, yaml.MapItem{Key: strings.ToLower(e.Method), Value: d.operation(e)})
	}
	refusal := d.ref(d.out, reflect.TypeFor[admin.Refusal]())
	schemas := yaml.MapSlice{}
	for _, name := range sorted(d.schemas) {
		schemas = append(schemas, yaml.MapItem{Key: name, Value: d.ordered(d.schemas[name])})
	}
	return yaml.MapSlice{
		{Key: "openapi", Value: "3.1.0"},
		{Key: "info", Value: yaml.MapSlice{
			{Key: "title", Value: "Penstock control API"},
			{Key: "version", Value: "1"},
			{Key: "description", Value: "Projects, keys, prices, records and sums. Bodies are read strictly: members and parameters that are " +
				"not listed here are refused. Answers may get further members in later versions. Money is whole nano-dollars in members " +
				"that end in _nano; prices are decimal text in US dollars per million tokens. Every answer carries X-Request-Id."},
			{Key: "license", Value: yaml.MapSlice{{Key: "name", Value: "Apache-2.0"}, {Key: "identifier", Value: "Apache-2.0"}}},
		}},
		{Key: "servers", Value: []yaml.MapSlice{{{Key: "url", Value: "http://127.0.0.1:8081"}}}},
		{Key: "security", Value: []yaml.MapSlice{{{Key: "key", Value: []string{}}}}},
		{Key: "paths", Value: paths},
		{Key: "components", Value: yaml.MapSlice{
			{Key: "securitySchemes", Value: yaml.MapSlice{{Key: "key", Value: yaml.MapSlice{
				{Key: "type", Value: "http"}, {Key: "scheme", Value: "bearer"},
				{Key: "description", Value: "A key whose role has the permission in x-permission; the first one lies in <data>/admin.key."},
			}}}},
			{Key: "responses", Value: yaml.MapSlice{{Key: "Refusal", Value: response("What was wrong, and what to do.", refusal)}}},
			{Key: "schemas", Value: schemas},
		}},
	}
}

func (d *description) operation(e admin.Endpoint) yaml.MapSlice {
	op := yaml.MapSlice{
		{Key: "operationId", Value: operationID(e)},
		{Key: "summary", Value: e.Summary},
	}
	if e.Permission == "" {
		op = append(op, yaml.MapItem{Key: "security", Value: []string{}})
	} else {
		op = append(op, yaml.MapItem{Key: "x-permission", Value: string(e.Permission)})
	}
	var params []yaml.MapSlice
	if strings.Contains(e.Path, "{id}") {
		params = append(params, param("id", "path", "", true))
	}
	for _, p := range e.Query {
		params = append(params, param(p.Name, "query", p.Meaning, false))
	}
	if len(params) > 0 {
		op = append(op, yaml.MapItem{Key: "parameters", Value: params})
	}
	if e.In != nil {
		body := content(d.ref(d.in, e.In))
		op = append(op, yaml.MapItem{Key: "requestBody", Value: append(yaml.MapSlice{{Key: "required", Value: !e.MayBeEmpty}}, body...)})
	}
	answer := yaml.MapSlice{{Key: "description", Value: "As asked."}, {Key: "content", Value: yaml.MapSlice{{Key: "text/plain", Value: yaml.MapSlice{}}}}}
	if e.Out != reflect.TypeFor[http.Handler]() {
		answer = response("As asked.", d.ref(d.out, e.Out))
	}
	return append(op, yaml.MapItem{Key: "responses", Value: yaml.MapSlice{
		{Key: strconv.Itoa(e.Status), Value: answer},
		{Key: "default", Value: yaml.MapSlice{{Key: "$ref", Value: "#/components/responses/Refusal"}}},
	}})
}

// operationID is "post_keys_id_rotate".
func operationID(e admin.Endpoint) string {
	name := strings.NewReplacer("/admin/v1", "", "/", "_", "{", "", "}", "").Replace(e.Path)
	return strings.ToLower(e.Method) + name
}

func param(name, in, meaning string, required bool) yaml.MapSlice {
	p := yaml.MapSlice{{Key: "name", Value: name}, {Key: "in", Value: in}}
	if meaning != "" {
		p = append(p, yaml.MapItem{Key: "description", Value: meaning})
	}
	if required {
		p = append(p, yaml.MapItem{Key: "required", Value: true})
	}
	return append(p, yaml.MapItem{Key: "schema", Value: yaml.MapSlice{{Key: "type", Value: "string"}}})
}

func content(schema any) yaml.MapSlice {
	return yaml.MapSlice{{Key: "content", Value: yaml.MapSlice{{Key: "application/json", Value: yaml.MapSlice{{Key: "schema", Value: schema}}}}}}
}

func response(meaning string, schema any) yaml.MapSlice {
	return append(yaml.MapSlice{{Key: "description", Value: meaning}}, content(schema)...)
}

// reflector makes schemas of types. Those of answers allow further members, for later versions.
func (d *description) reflector(more bool) *jsonschema.Reflector {
	r := &jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: more, Namer: d.name, LookupComment: listComment, Mapper: textual}
	for _, pkg := range []string{".", "../usage", "../pipeline", "../llm", "../audit"} {
		if err := r.AddGoComments("github.com/penstock/penstock/internal/admin", pkg); err != nil {
			d.t.Fatal(err)
		}
	}
	return r
}

// textual are the types whose JSON is not what they look like in Go.
func textual(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[jsontext.Value]():
		return &jsonschema.Schema{Type: "object"}
	case reflect.TypeFor[audit.Hash]():
		return &jsonschema.Schema{Type: "string", Pattern: "^[0-9a-f]{64}$"}
	case reflect.TypeFor[w3c.TraceID]():
		return &jsonschema.Schema{Type: "string", Pattern: "^([0-9a-f]{32})?$"}
	case reflect.TypeFor[w3c.SpanID]():
		return &jsonschema.Schema{Type: "string", Pattern: "^([0-9a-f]{16})?$"}
	}
	return nil
}

// otherNames are those of types whose own say too little outside of their package.
var otherNames = map[reflect.Type]string{
	reflect.TypeFor[llm.Usage](): "Tokens", reflect.TypeFor[usage.Error](): "RecordError", reflect.TypeFor[pipeline.Decision](): "StageDecision",
	reflect.TypeFor[audit.Entry](): "AuditEntry", reflect.TypeFor[audit.State](): "AuditState", reflect.TypeFor[audit.Break](): "AuditBreak",
	reflect.TypeFor[audit.Actor](): "AuditActor",
}

// name is a type's own name; a page of things is called ThingList.
func (d *description) name(t reflect.Type) string {
	name := t.Name()
	if other := otherNames[t]; other != "" {
		name = other
	}
	if element, ok := strings.CutPrefix(name, "list["); ok {
		name = strings.TrimPrefix(path.Ext(strings.TrimSuffix(element, "]")), ".") + "List"
	}
	if t.Kind() != reflect.Struct {
		return name
	}
	if known := d.types[name]; known != nil && known != t {
		d.t.Fatalf("%v and %v have the same name", known, t)
	}
	d.types[name] = t
	return name
}

func listComment(t reflect.Type, field string) string {
	if !strings.HasPrefix(t.Name(), "list[") {
		return ""
	}
	return map[string]string{"": "A page of a list.", "Next": "send it as after for the next page; \"\" at the end",
		"Behind": "records wait in the journal for the store, and are missing here"}[field]
}

// ref gives a reference to the schema of a type, and keeps all schemas that belong to it.
func (d *description) ref(r *jsonschema.Reflector, t reflect.Type) any {
	s := r.ReflectFromType(t)
	for name, def := range s.Definitions {
		if d.schemas[name] == nil {
			d.schemas[name] = def
			d.finish(def, d.types[name])
		}
	}
	s.Version, s.Definitions = "", nil
	return d.ordered(s)
}

// finish says what the tags of a type do not: where a member may be null, which is where it is a pointer that is never left
// out; and it puts the members' names into descriptions instead of those of the fields.
func (d *description) finish(s *jsonschema.Schema, t reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p, ok := s.Properties.Get(name)
		if !ok {
			continue
		}
		meaning := strings.Join(strings.Fields(p.Description), " ")
		if rest, ok := strings.CutPrefix(meaning, f.Name+" "); ok {
			meaning = name + " " + rest
		}
		if f.Type.Kind() == reflect.Pointer && options == "" {
			p.Description = ""
			p = &jsonschema.Schema{OneOf: []*jsonschema.Schema{p, {Type: "null"}}}
			s.Properties.Set(name, p)
		}
		p.Description = meaning
	}
}

// ordered turns a schema into what YAML writes in the same order, with references as OpenAPI has them.
func (d *description) ordered(s *jsonschema.Schema) any {
	text, err := json.Marshal(s)
	if err != nil {
		d.t.Fatal(err)
	}
	var out any
	if err := yaml.UnmarshalWithOptions([]byte(strings.ReplaceAll(string(text), "#/$defs/", "#/components/schemas/")), &out, yaml.UseOrderedMap()); err != nil {
		d.t.Fatal(err)
	}
	return out
}

// A contract is api/openapi.yaml as a validator sees it.
type contract struct {
	t        *testing.T
	compiler *validator.Compiler
}

// loadContract reads the file. Members that it does not list are mistakes here, so that no answer has any.
func loadContract(t *testing.T) *contract {
	t.Helper()
	text, err := os.ReadFile(openapiFile)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = yaml.YAMLToJSON(text); err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	forbidOthers(doc)
	c := validator.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return &contract{t, c}
}

func forbidOthers(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, object := node["properties"]; object && node["additionalProperties"] == nil {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			forbidOthers(child)
		}
	case []any:
		for _, child := range node {
			forbidOthers(child)
		}
	}
}

// check validates a body against the schema at a place of the file.
func (c *contract) check(body string, place ...string) error {
	c.t.Helper()
	pointer := "openapi.json#"
	for _, p := range append(place, "content", "application/json", "schema") {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(p)
	}
	schema, err := c.compiler.Compile(pointer)
	if err != nil {
		c.t.Fatal(err)
	}
	value, err := validator.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %s", err, body)
	}
	return schema.Validate(value)
}

// Every endpoint takes and gives what the file says, as it does so; and every error has the one shape.
func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	w := newWorld(t, penstocktest.Options{})
	w.Price("sim-a/m")
	w.Admin(http.MethodPost, "/projects", admin.ProjectInput{Name: "full", Org: "o", Labels: map[string]string{"a": "b"}, Bodies: "keep", Retention: "7d", Strict: true, Regions: []string{"eu"}, Private: true}, nil)
	w.makeKey(admin.KeyInput{Project: "full", Models: []string{"a*"}, Expires: "1h"})
	for _, m := range []string{"sim-a/m", "sim-b/m?usage=none", "sim-a/x?status=503", "missing"} {
		for _, stream := range []bool{false, true} {
			body := strings.TrimSuffix(penstocktest.Chat(m, "say:5 hello", stream), "}") + `,"user":"ada"}`
			w.Post(w.keys[auth.RoleCaller], "/v1/chat/completions", body, "X-Penstock-Tags", "a,b", "X-Request-Id", "mine")
		}
	}
	for _, e := range admin.Endpoints() {
		at := []string{"paths", e.Path, strings.ToLower(e.Method)}
		path, body := w.request(e)
		if e.In != nil && body != "" {
			if err := c.check(body, append(at, "requestBody")...); err != nil {
				t.Errorf("%s %s takes something else: %v", e.Method, e.Path, err)
			}
			if c.check(strings.TrimSuffix(body, "}")+`,"budgett":1}`, append(at, "requestBody")...) == nil {
				t.Errorf("%s %s: the file allows members that are refused", e.Method, e.Path)
			}
		}
		good := w.call(e.Method, path, w.AdminKey, body)
		if good.status != e.Status {
			t.Errorf("%s %s: %d %s", e.Method, e.Path, good.status, good.body)
		}
		if e.Out == reflect.TypeFor[http.Handler]() {
			continue
		}
		if err := c.check(good.body, append(at, "responses", strconv.Itoa(e.Status))...); err != nil {
			t.Errorf("%s %s gives something else: %v\n%s", e.Method, e.Path, err, good.body)
		}
		for _, bad := range []answer{w.call("BREW", path, w.AdminKey, ""), w.call(e.Method, path+"/x", "", ""), w.call(e.Method, path+"?x=1", w.AdminKey, "{")} {
			if err := c.check(bad.body, "components", "responses", "Refusal"); err != nil && bad.status/100 != 2 {
				t.Errorf("%s %s refuses with something else: %v\n%s", e.Method, e.Path, err, bad.body)
			}
		}
	}
	for _, path := range []string{"/admin/v1/exchanges?status=ok", "/admin/v1/exchanges?status=error"} {
		if err := c.check(w.call(http.MethodGet, path, w.AdminKey, "").body, "paths", "/admin/v1/exchanges", "get", "responses", "200"); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	sums := w.call(http.MethodGet, "/admin/v1/usage?group_by=org,project,key,user,model,target,tag,day", w.AdminKey, "").body
	if err := c.check(sums, "paths", "/admin/v1/usage", "get", "responses", "200"); err != nil || !strings.Contains(sums, `"group":{`) {
		t.Errorf("usage by everything: %v\n%s", err, sums)
	}
}

// The reference for people has a line for each endpoint and role, from the same tables.
func TestAPIReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	const file, begin, end = "../../docs/reference/api.md", "<!-- made by: go test ./internal/admin -update -->\n", "<!-- end -->\n"
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(have), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no part between %q and %q", file, begin, end)
	}
	golden(t, file, before+begin+reference()+end+after)
}

func reference() string {
	var b strings.Builder
	b.WriteString("| route | permission | what |\n| --- | --- | --- |\n")
	for _, e := range admin.Endpoints() {
		path, permission, what := e.Path, string(e.Permission), e.Summary
		if len(e.Query) > 0 {
			names := make([]string, len(e.Query))
			for i, p := range e.Query {
				names[i] = p.Name + "="
			}
			path += "?" + strings.Join(names, "&")
		}
		if permission == "" {
			permission = "none"
		}
		if e.In != nil && e.In.NumField() > 0 {
			what += " `" + shape(e.In) + "`"
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", e.Method, path, permission, what)
	}
	b.WriteString("\n| role | may |\n| --- | --- |\n")
	permissions := []auth.Permission{auth.Call, auth.WriteRoles}
	for _, e := range admin.Endpoints() {
		if e.Permission != "" && !slices.Contains(permissions, e.Permission) {
			permissions = append(permissions, e.Permission)
		}
	}
	slices.Sort(permissions)
	for _, role := range auth.Roles() {
		var may []string
		for _, p := range permissions {
			if role.Can(p) {
				may = append(may, string(p))
			}
		}
		fmt.Fprintf(&b, "| %s | %s |\n", role, strings.Join(may, ", "))
	}
	return b.String()
}

// shape writes the members of a body; those with a ? may be left out.
func shape(t reflect.Type) string {
	var members []string
	for f := range t.Fields() {
		if f.Anonymous {
			members = append(members, strings.Trim(shape(f.Type), "{}"))
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		member := strconv.Quote(name)
		if options != "" {
			member += "?"
		}
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			member += ": [" + shape(f.Type.Elem()) + "]"
		}
		members = append(members, member)
	}
	return "{" + strings.Join(members, ", ") + "}"
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
