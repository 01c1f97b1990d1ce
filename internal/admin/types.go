package admin

import (
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

// The types of the API are their own, and never those that the store keeps: what is not named here cannot leak.

// A Project is a project as the API shows it.
type Project struct {
	ID        string            `json:"id"`
	Org       string            `json:"org"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	Bodies    string            `json:"bodies"`
	Retention string            `json:"retention,omitzero"`
	Strict    bool              `json:"strict"`
	Created   time.Time         `json:"created"`
}

func projectOf(p auth.Project) Project {
	out := Project{ID: p.ID, Org: p.Org, Name: p.Name, Labels: p.Labels, Bodies: p.Bodies, Strict: p.Strict, Created: p.Created.UTC()}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if p.Retention > 0 {
		out.Retention = span(p.Retention)
	}
	return out
}

// A ProjectInput makes or changes a project; what is absent stays as it is, or takes the default.
type ProjectInput struct {
	Name      string            `json:"name,omitzero"`
	Org       string            `json:"org,omitzero"`
	Labels    map[string]string `json:"labels,omitempty"`
	Bodies    string            `json:"bodies,omitzero"`
	Retention string            `json:"retention,omitzero"`
	Strict    *bool             `json:"strict,omitzero"`
}

// A Key is a key as the API shows it: never the key itself, never its hash.
type Key struct {
	ID          string     `json:"id"`
	Project     string     `json:"project"`
	ProjectName string     `json:"project_name"`
	Name        string     `json:"name"`
	Prefix      string     `json:"prefix"`
	Role        string     `json:"role"`
	Models      []string   `json:"models"`
	Created     time.Time  `json:"created"`
	Expires     *time.Time `json:"expires"`
	Revoked     *time.Time `json:"revoked"`
	Replaces    string     `json:"replaces,omitzero"`
	LastUsed    *time.Time `json:"last_used"`
}

func keyOf(k auth.Key, project string) Key {
	return Key{
		ID: k.ID, Project: k.Project, ProjectName: project, Name: k.Name, Prefix: k.Prefix, Role: string(k.Role),
		Models: append([]string{}, k.Models...), Created: k.Created.UTC(), Replaces: k.Replaces,
		Expires: instant(k.Expires), Revoked: instant(k.Revoked), LastUsed: instant(k.LastUsed),
	}
}

// instant makes an absent time null.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// A KeyInput makes a key. Expires is a span from now, such as 720h or 30d.
type KeyInput struct {
	Project string   `json:"project"`
	Name    string   `json:"name,omitzero"`
	Models  []string `json:"models,omitempty"`
	Expires string   `json:"expires,omitzero"`
	Role    string   `json:"role,omitzero"`
	// SHA256 takes over a key of another gateway, whose text is not known, by its SHA-256 in hex.
	SHA256 string `json:"sha256,omitzero"`
}

// A RotateInput says how long the old key works on.
type RotateInput struct {
	Overlap string `json:"overlap,omitzero"`
}

// A NewKey is the one answer that holds a key. Key is empty for a key that was taken over.
type NewKey struct {
	ID      string     `json:"id"`
	Key     string     `json:"key"`
	Prefix  string     `json:"prefix"`
	Project string     `json:"project"`
	Name    string     `json:"name"`
	Role    string     `json:"role"`
	Expires *time.Time `json:"expires"`
}

// A Price is in US dollars per million tokens, as decimal text.
type Price struct {
	Target      string     `json:"target"` // PROVIDER/MODEL
	Input       string     `json:"input,omitzero"`
	Output      string     `json:"output,omitzero"`
	CachedInput string     `json:"cached_input,omitzero"`
	CacheWrite  string     `json:"cache_write,omitzero"`
	Source      string     `json:"source,omitzero"`
	Set         *time.Time `json:"set,omitzero"`
	Unpriced    bool       `json:"unpriced,omitzero"`
}

// PriceOf writes a price as the API has it.
func PriceOf(t llm.Target, p llm.Price) Price {
	return Price{
		Target: t.String(), Input: p.Input.PerMillion(), Output: p.Output.PerMillion(),
		CachedInput: p.CachedInput.PerMillion(), CacheWrite: p.CacheWrite.PerMillion(),
	}
}

// A Usage is the answer to a question for sums. Names gives the names of the projects and keys in it by their ids.
type Usage struct {
	From    string            `json:"from"`
	To      string            `json:"to"`
	GroupBy []string          `json:"group_by"`
	Data    []usage.Sum       `json:"data"`
	Names   map[string]string `json:"names"`
}

// A Route is what answers for one model name.
type Route struct {
	Model   string        `json:"model"`
	Route   string        `json:"route"`
	Targets []RouteTarget `json:"targets"`
}

// A RouteTarget is one of the targets of a Route, in the order in which they are tried.
type RouteTarget struct {
	Target    string `json:"target"`
	Price     *Price `json:"price"`   // null: unpriced
	Context   int64  `json:"context"` // tokens; 0: unknown
	MaxOutput int64  `json:"max_output"`
}

// A Status says how the process is.
type Status struct {
	Version        string    `json:"version"`
	Started        time.Time `json:"started"`
	Ready          bool      `json:"ready"`
	Reason         string    `json:"reason,omitzero"` // why it is not ready
	ConfigLoaded   time.Time `json:"config_loaded"`
	ConfigError    string    `json:"config_error,omitzero"` // of the last reload, "" if it succeeded
	Models         int       `json:"models"`
	Providers      int       `json:"providers"`
	JournalBacklog int64     `json:"journal_backlog_bytes"`
}
