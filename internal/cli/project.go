package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
)

func (a *app) projectCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{Use: "project", Short: "Create, list and change projects"})
	f.add(c)
	c.AddCommand(a.projectCreate(f), a.projectList(f), a.projectSet(f))
	return c
}

// A projectFlags holds what can be said of a project when it is made and later.
type projectFlags struct {
	labels    []string
	bodies    string
	retention string
	strict    bool
	stateless bool
	regions   []string
	private   bool
}

func (p *projectFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&p.labels, "label", nil, "label as `NAME=VALUE`, for usage by cost centre and the like; may be repeated")
	c.Flags().StringVar(&p.bodies, "bodies", "", "whether bodies are kept: none or keep")
	c.Flags().StringVar(&p.retention, "retention", "", "how long kept bodies live, such as 30d")
	c.Flags().BoolVar(&p.strict, "strict", false, "sync the record of every try to the disk before it is sent")
	c.Flags().BoolVar(&p.stateless, "stateless", false, "keep no response that callers of /v1/responses could go on from")
	c.Flags().StringSliceVar(&p.regions, "regions", nil, "where its calls may go: regions of targets, with * as a wildcard (default: anywhere)")
	c.Flags().BoolVar(&p.private, "private-only", false, "its calls go to targets that are marked private only: your own servers")
}

// labelsOf reads labels; nil if there are none.
func labelsOf(texts []string) (map[string]string, error) {
	var labels map[string]string
	for _, l := range texts {
		name, value, ok := strings.Cut(l, "=")
		if _, twice := labels[name]; !ok || name == "" || twice {
			return nil, fail(exitUsage, "write each name once, as in --label cost_center=42", "--label %q has no name or no value, or is there twice", l)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[name] = value
	}
	return labels, nil
}

func (a *app) projectCreate(f *adminFlags) *cobra.Command {
	p, org := &projectFlags{}, ""
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a project",
		Example: `  penstock project create checkout
  penstock project create search --org acme --label cost_center=42 --json
  penstock project create patients --regions 'eu,eu-west*' --private-only`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			labels, err := labelsOf(p.labels)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("regions") && len(p.regions) == 0 {
				return fail(exitUsage, "leave --regions out for anywhere", "--regions is empty, which would allow every region")
			}
			in := admin.ProjectInput{
				Name: args[0], Org: org, Labels: labels, Bodies: p.bodies, Retention: p.retention, Strict: p.strict, Stateless: p.stateless,
				Regions: p.regions, Private: p.private,
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Project
			if err := client.call(cmd.Context(), http.MethodPost, "/projects", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			fmt.Fprintf(a.err, "Project %s is there. Next: penstock key create --project %s\n", clean(out.Name), clean(out.Name))
			_, err = fmt.Fprintln(a.out, out.ID)
			return err
		},
	}
	p.add(c)
	c.Flags().StringVar(&org, "org", "", "organisation that the project belongs to; made if it is new (default: default)")
	return c
}

func (a *app) projectSet(f *adminFlags) *cobra.Command {
	p := &projectFlags{}
	var name string
	c := &cobra.Command{
		Use:   "set PROJECT",
		Short: "Change a project; what is not said stays as it is, but labels replace all labels, and regions all regions",
		Example: `  penstock project set checkout --label cost_center=43
  penstock project set checkout --name checkout-eu --regions eu
  penstock project set checkout --regions "" --private-only=false   # anywhere again`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := p.change(cmd, name)
			if err != nil {
				return err
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Project
			if err := client.call(cmd.Context(), http.MethodPatch, "/projects/"+url.PathEscape(args[0]), nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Project %s is changed. It counts everywhere within 5 s.\n", clean(out.Name))
			return err
		},
	}
	p.add(c)
	c.Flags().StringVar(&name, "name", "", "new name")
	return c
}

// change holds the flags that were given.
func (p *projectFlags) change(c *cobra.Command, name string) (in admin.ProjectChange, err error) {
	for flag, set := range map[string]func(){
		"name":         func() { in.Name = &name },
		"bodies":       func() { in.Bodies = &p.bodies },
		"retention":    func() { in.Retention = &p.retention },
		"strict":       func() { in.Strict = &p.strict },
		"stateless":    func() { in.Stateless = &p.stateless },
		"regions":      func() { in.Regions = append([]string{}, p.regions...) }, // none are not nil, which would be "as they are"
		"private-only": func() { in.Private = &p.private },
	} {
		if c.Flags().Changed(flag) {
			set()
		}
	}
	in.Labels, err = labelsOf(p.labels)
	return in, err
}

func (a *app) projectList(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List projects",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			projects, err := list[admin.Project](cmd.Context(), client, "/projects", nil)
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Project]{Data: projects})
			}
			if len(projects) == 0 {
				fmt.Fprintln(a.err, "No projects yet. Make one: penstock project create NAME")
				return nil
			}
			t := table{head: []string{"NAME", "ORG", "BODIES", "STRICT", "PLACE", "HELD", "CREATED", "ID"}, text: []string{"NAME", "ORG", "PLACE"}}
			for _, p := range projects {
				t.add(p.Name, p.Org, p.Bodies, yes(p.Strict), placeWords(p), yes(p.Held), p.Created.Local().Format("Jan 2 15:04"), p.ID)
			}
			return a.printTable(&t)
		},
	}
}

// placeWords are where a project's calls may go.
func placeWords(p admin.Project) string {
	var words []string
	if p.Private {
		words = append(words, "private only")
	}
	words = append(words, p.Regions...)
	if len(words) == 0 {
		return "anywhere"
	}
	return strings.Join(words, ", ")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
