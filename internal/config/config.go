// Package config turns the configuration file into a validated struct, and says all that is wrong with it at once: each
// mistake as "FILE:LINE:COL: path: problem (hint)".
//
// A [File] is what was declared. It holds no connections, no parsed addresses and no secrets, only references to them
// ([Resolver] reads those); what it is compiled into (clients, routes, listeners) is made by server, anew for every
// reload. The package does not know tenants, prices or policies either: those live in the store, for every setting has
// exactly one home.
//
// The sections belong to the packages that they configure. A section is a struct; config reads it by its tags:
//
//	yaml:"name"      the key in the file; ",inline" for a section whose keys stand beside those around it
//	doc:"..."        one sentence for the schema and docs/reference/config.md
//	default:"..."    the value if the key is absent, as YAML
//	kind:"..."       what a text must be: see kinds in scalar.go
//	enum:"a,b"       the only texts allowed (of a type of its own, the owner checks it)
//	range:"1,100"    the least and the most that a number may be
//	zero:"true"      a duration or size that may be 0
//	restart:"true"   a running Penstock cannot take over a change
//	short:"true"     where a section stands in a list, a text in its place is this key alone
//
// Use [Load]; [Plan] compares two files, [Show] prints what is in force, [Watch] says when the file has changed.
package config

import (
	"time"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/route"
	"github.com/penstock/penstock/internal/telemetry"
	"github.com/penstock/penstock/internal/usage"
)

// A File is the whole configuration: the file's settings, with flags, variables and defaults applied. It is immutable
// once Load has returned it.
type File struct {
	Listen    string                     `yaml:"listen" kind:"address" default:"127.0.0.1:8080" restart:"true" doc:"address of the data plane, HOST:PORT; port 0 takes a free one"`
	TLS       TLS                        `yaml:"tls" restart:"true" doc:"certificate of the data plane; plain HTTP without"`
	Admin     Admin                      `yaml:"admin" doc:"the control plane"`
	Data      string                     `yaml:"data" kind:"path" default:"penstock-data" restart:"true" doc:"directory of the admin key, the key ring, the journal and the default store"`
	Store     string                     `yaml:"store" kind:"store" restart:"true" doc:"where tenants, records and prices are kept: sqlite:PATH, by default penstock.db in the data directory, or postgres://USER@HOST/DATABASE for several replicas, with the password in PGPASSWORD or PGPASSFILE"`
	Password  string                     `yaml:"store_password" kind:"reference" restart:"true" doc:"the password of a PostgreSQL store as env:NAME or file:PATH, read again for each new connection; without, PGPASSWORD or PGPASSFILE"`
	Pool      int                        `yaml:"store_connections" range:"4,500" default:"8" restart:"true" doc:"most connections of this process to a PostgreSQL store; while a backup is read, one more"`
	Keyring   string                     `yaml:"keyring" kind:"keyring" restart:"true" doc:"where the key ring is kept: file:PATH; by default keyring.json in the data directory"`
	Wrap      string                     `yaml:"keyring_wrap" kind:"wrapper" restart:"true" doc:"what the key ring's file is encrypted by: file:PATH, a file with a key of 32 bytes, or exec:COMMAND, which asks a key service; without it the file has its secrets in clear"`
	Region    string                     `yaml:"region" doc:"where this Penstock is, in your own words, for rules of models"`
	Timeouts  provider.Timeouts          `yaml:"timeouts" default:"{connect: 3s, first_token: 120s, gap: 30s, total: 10m}" doc:"the four timers of a try; a provider may have its own"`
	Egress    Egress                     `yaml:"egress" doc:"how providers are reached"`
	Providers map[string]provider.Config `yaml:"providers" doc:"the upstream APIs, by a name of your choice"`
	Models    route.Config               `yaml:"models" doc:"the names that clients ask for; without any, clients ask for PROVIDER/MODEL or for a name that only one provider has"`
	Auth      auth.Config                `yaml:"auth" doc:"the check of keys"`
	Audit     audit.Config               `yaml:"audit" doc:"the chain of administrative acts"`
	Limits    Limits                     `yaml:"limits" doc:"what a client may make the data plane hold and wait for"`
	// ShutdownGrace may be 0: then nothing is waited for.
	ShutdownGrace time.Duration `yaml:"shutdown_grace" zero:"true" default:"30s" doc:"how long open exchanges may go on after a stop was asked for"`
	Usage         usage.Config  `yaml:",inline"` // records
	Bodies        bodies.Config `yaml:"bodies" doc:"keeping what is asked and answered, for projects that want it"`
	// Retention of bodies is with the projects.
	Retention retention.Config `yaml:"retention" doc:"how long things are kept"`
	Alerts    alert.Config     `yaml:"alerts" doc:"who is told of trouble, and from when on"`
	// Telemetry names the standard variables of OpenTelemetry where the file says nothing of endpoints.
	Telemetry telemetry.Config `yaml:"telemetry" doc:"OpenTelemetry traces and metrics, by OTLP"`
	Log       Log              `yaml:"log" restart:"true" doc:"the log on stderr"`

	// Discovered is what the environment offered where there is no file.
	Discovered Discovered `yaml:"-"`

	path    string            // as given, "" without a file
	source  []byte            // the file's text
	env     Lookup            // for references
	origins map[string]string // where values came from that are not defaults, by path
}

// TLS names a certificate. Files are read again when they change.
type TLS struct {
	Cert     string `yaml:"cert" kind:"reference" doc:"certificate chain in PEM, as file:PATH or env:NAME"`
	Key      string `yaml:"key" kind:"reference" doc:"private key in PEM, as file:PATH or env:NAME"`
	ClientCA string `yaml:"client_ca" kind:"reference" doc:"authorities in PEM, as file:PATH or env:NAME; clients must show a certificate of theirs"`
}

// On reports whether the listener speaks TLS.
func (t TLS) On() bool { return t.Cert != "" }

// Admin is the control plane.
type Admin struct {
	Listen         string `yaml:"listen" kind:"address" default:"127.0.0.1:8081" restart:"true" doc:"address of the control plane, HOST:PORT; port 0 takes a free one"`
	TLS            TLS    `yaml:"tls" restart:"true" doc:"certificate of the control plane; needed on a public address"`
	OpenMetrics    bool   `yaml:"open_metrics" doc:"/metrics needs no key"`
	AllowPlaintext bool   `yaml:"allow_plaintext" restart:"true" doc:"plain HTTP on a public address, for the control plane behind something that adds TLS"`
}

// Egress is the way out to the providers.
type Egress struct {
	Proxy string `yaml:"proxy" kind:"proxy" doc:"proxy for all providers: a URL without password, or env:NAME or file:PATH"`
	CA    string `yaml:"ca" kind:"reference" doc:"authorities in PEM beside those of the system, as file:PATH or env:NAME; read again at a reload or SIGHUP"`
}

// Limits are what a client may make the data plane hold and wait for. Sizes are bytes.
type Limits struct {
	Body      int64         `yaml:"body" kind:"bytes" default:"20MB" doc:"a request's body, decompressed"`
	Headers   int64         `yaml:"headers" kind:"bytes" default:"64KB" restart:"true" doc:"a request's head"`
	InFlight  int64         `yaml:"in_flight" kind:"bytes" default:"256MB" doc:"all bodies held at once"`
	HeadTime  time.Duration `yaml:"head_time" default:"10s" restart:"true" doc:"for a head to arrive"`
	BodyTime  time.Duration `yaml:"body_time" default:"30s" doc:"for a body to arrive"`
	Write     time.Duration `yaml:"write_time" default:"60s" doc:"for a client to take what is written to it"`
	Keepalive time.Duration `yaml:"keepalive" zero:"true" default:"15s" doc:"without an event of a stream until its client is sent a sign of life: a comment, or Anthropic's ping; 0 sends none"`
}

// Log is the log on stderr.
type Log struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" default:"info" doc:"the least that is written"`
	Format string `yaml:"format" enum:"text,json" default:"text" doc:"text for people, json for machines"`
}

// Path is the file's name as it was given, "" if there is no file.
func (f *File) Path() string { return f.path }

// Source is the file's text as it was read, nil if there is no file. It must not be changed.
func (f *File) Source() []byte { return f.source }

// Origin says where the value at a path came from: "penstock.yaml:7", "--listen", "PENSTOCK_DATA", "default".
func (f *File) Origin(path string) string {
	if o, ok := f.origins[path]; ok {
		return o
	}
	return "default"
}
