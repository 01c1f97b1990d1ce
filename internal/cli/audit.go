package cli

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/audit"
)

func (a *app) auditCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{Use: "audit", Short: "Read and verify the chain of administrative acts"})
	f.add(c)
	c.AddCommand(a.auditList(f), a.auditVerify(f), a.auditExport(f), a.auditCheckpoint(f), a.auditKey(f))
	return c
}

// auditWords says what is the matter with the audit chain.
func (a *app) auditWords(s *admin.Status) string {
	if s.AuditIntact {
		return a.paint(a.tty, bad, "The audit chain is whole, and its checkpoints do not get through: "+clean(s.AuditProblem))
	}
	return a.paint(a.tty, bad, "The audit chain is broken: "+clean(s.AuditProblem))
}

// An auditQuery says which entries are asked for.
type auditQuery struct {
	actor, action, object, project, from, to string
}

func (q *auditQuery) add(c *cobra.Command) {
	c.Flags().StringVar(&q.actor, "actor", "", "only acts with this key, by id; process is Penstock itself")
	c.Flags().StringVar(&q.action, "action", "", "only this action, such as key.create")
	c.Flags().StringVar(&q.object, "object", "", "only acts on this object, by id")
	c.Flags().StringVar(&q.project, "project", "", "only acts on objects of this project")
	c.Flags().StringVar(&q.from, "from", "", "first day or instant, UTC")
	c.Flags().StringVar(&q.to, "to", "", "day or instant before which to stop, UTC")
}

func (q *auditQuery) values() url.Values {
	out := url.Values{}
	for name, value := range map[string]string{
		"actor": q.actor, "action": q.action, "object": q.object, "project": q.project, "from": q.from, "to": q.to,
	} {
		if value != "" {
			out.Set(name, value)
		}
	}
	return out
}

func (a *app) auditList(f *adminFlags) *cobra.Command {
	q, limit := &auditQuery{}, 0
	c := &cobra.Command{
		Use:   "list",
		Short: "List who changed what, the newest first",
		Example: `  penstock audit list
  penstock audit list --object key_01K97K2QJ8W6T2Z3N5V4M1R0XY
  penstock audit list --action key.create --from 2026-11-01 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			query := q.values()
			query.Set("limit", strconv.Itoa(limit))
			var out page[audit.Entry]
			if err := client.call(cmd.Context(), http.MethodGet, "/audit", query, nil, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			return a.printAudit(out, limit)
		},
	}
	q.add(c)
	c.Flags().IntVar(&limit, "limit", 50, "at most so many, up to 1000")
	return c
}

func (a *app) printAudit(out page[audit.Entry], limit int) error {
	if len(out.Data) == 0 {
		fmt.Fprintln(a.err, "No such entries.")
		return nil
	}
	t := table{
		head: []string{"ENTRY", "TIME", "WHO", "FROM", "ACT", "OBJECT", "CHANGE"}, right: []string{"ENTRY"}, text: []string{"WHO", "CHANGE"},
	}
	for _, e := range out.Data {
		t.add(strconv.FormatInt(e.Seq, 10), e.Time.Local().Format("Jan 2 15:04:05"), who(e.Actor), e.Actor.Address,
			string(e.Action), e.Object, changeWords(&e))
	}
	if err := a.printTable(&t); err != nil {
		return err
	}
	if out.Next != "" {
		fmt.Fprintf(a.err, "The newest %d; more with --limit, or all with: penstock audit export\n", limit)
	}
	return nil
}

// who names an actor as a colleague would.
func who(a audit.Actor) string {
	switch {
	case a.Name == "":
		return a.Key
	case a.Prefix == "" || a.Name == a.Prefix:
		return a.Name
	}
	return a.Name + " (" + a.Prefix + ")"
}

// changeWords says what an act changed: "strict: false -> true".
func changeWords(e *audit.Entry) string {
	before, after := stateMembers(e.Before), stateMembers(e.After)
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := before[name], after[name]
		switch {
		case was == is:
		case was == "":
			words = append(words, name+": "+is)
		case is == "":
			words = append(words, name+": "+was+" -> none")
		default:
			words = append(words, name+": "+was+" -> "+is)
		}
	}
	if e.Reason != "" {
		words = append(words, "because: "+e.Reason)
	}
	return strings.Join(words, ", ")
}

// stateMembers are the members of a state as words; a text is without its quotes.
func stateMembers(state jsontext.Value) map[string]string {
	var members map[string]jsontext.Value
	if json.Unmarshal(state, &members) != nil {
		return nil
	}
	out := make(map[string]string, len(members))
	for name, v := range members {
		var text string
		if v.Kind() != '"' || json.Unmarshal(v, &text) != nil {
			text = string(v)
		}
		out[name] = text
	}
	return out
}

func (a *app) auditCheckpoint(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Sign the end of the chain now, and print what was signed",
		Long: `Verify what is new of the chain, sign its end and print the signed line. Keep it where whoever can write the store
cannot: verify takes it with --checkpoints.`,
		Example: "  penstock audit checkpoint >> /mnt/worm/penstock.checkpoints",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out audit.Checkpoint
			if err := client.call(cmd.Context(), http.MethodPost, "/audit/checkpoint", nil, nil, &out); err != nil {
				return err
			}
			line, err := json.Marshal(out)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\n", line)
			return err
		},
	}
}

func (a *app) auditKey(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print the public key that checkpoints and exports are verified with",
		Example: "  penstock audit key > audit.pub",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var state audit.State
			if err := client.call(cmd.Context(), http.MethodGet, "/audit/head", nil, nil, &state); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(map[string]string{"public_key": state.PublicKey})
			}
			_, err = fmt.Fprint(a.out, state.PublicKey)
			return err
		},
	}
}
