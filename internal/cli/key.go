package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
)

func (a *app) keyCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{Use: "key", Short: "Create, list, change, rotate and revoke keys"})
	f.add(c)
	c.AddCommand(a.keyCreate(f), a.keyList(f), a.keySet(f), a.keyRevoke(f), a.keyRotate(f))
	return c
}

func (a *app) keyCreate(f *adminFlags) *cobra.Command {
	in := admin.KeyInput{}
	c := &cobra.Command{
		Use:   "create --project NAME",
		Short: "Make a key; it is shown once",
		Example: `  penstock key create --project checkout
  export PENSTOCK_API_KEY=$(penstock key create --project checkout --name trial --models 'gpt-5*' --expires 720h)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("models") && len(in.Models) == 0 {
				return fail(exitUsage, "leave --models out for all models", "--models is empty, which would allow every model")
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.NewKey
			if err := client.call(cmd.Context(), http.MethodPost, "/keys", nil, in, &out); err != nil {
				return err
			}
			return a.printKey(f, out)
		},
	}
	c.Flags().StringVar(&in.Project, "project", "", "project that the key belongs to")
	c.Flags().StringVar(&in.Name, "name", "", "what the key is for")
	c.Flags().StringSliceVar(&in.Models, "models", nil, "models it may ask for, with * as a wildcard (default: all)")
	c.Flags().StringVar(&in.Expires, "expires", "", "how long it works, such as 720h or 30d (default: until revoked)")
	c.Flags().StringVar(&in.Role, "role", "caller", "what it may do: caller; or, for all projects, viewer, operator, auditor, metrics, admin")
	c.Flags().StringVar(&in.SHA256, "sha256", "", "take over a key of another gateway by its SHA-256, in hex")
	_ = c.MarkFlagRequired("project") // fails only for a flag that is not there
	return c
}

// printKey shows a key that was just made. Without --json stdout is the key alone, for scripts; nothing for a key that was
// taken over, which nobody here knows.
func (a *app) printKey(f *adminFlags, k admin.NewKey) error {
	if f.json {
		return a.printJSON(k)
	}
	if k.Key == "" {
		fmt.Fprintf(a.err, "Key %s is taken over; whoever holds it uses it as before.\n", k.Prefix)
		return nil
	}
	fmt.Fprintf(a.err, "Key %s is made. It is shown this once and kept as a hash only.\n", k.Prefix)
	_, err := fmt.Fprintln(a.out, k.Key)
	return err
}

func (a *app) keyList(f *adminFlags) *cobra.Command {
	var project string
	c := &cobra.Command{
		Use:   "list",
		Short: "List keys",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			keys, err := list[admin.Key](cmd.Context(), client, "/keys", queryOf("project", project))
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Key]{Data: keys})
			}
			t := table{
				head: []string{"PREFIX", "NAME", "PROJECT", "ROLE", "STATE", "LAST USED", "MODELS", "ID"},
				text: []string{"NAME", "PROJECT", "MODELS"},
			}
			for _, k := range keys {
				t.add(k.Prefix, k.Name, k.ProjectName, k.Role, keyState(k, time.Now()), ago(k.LastUsed), orAll(k.Models), k.ID)
			}
			return a.printTable(&t)
		},
	}
	c.Flags().StringVar(&project, "project", "", "only keys of this project")
	return c
}

func orAll(globs []string) string {
	if len(globs) == 0 {
		return "all"
	}
	return strings.Join(globs, ",")
}

func keyState(k admin.Key, now time.Time) string {
	switch {
	case k.Revoked != nil && !k.Revoked.After(now):
		return "revoked"
	case k.Expires != nil && !k.Expires.After(now):
		return "expired"
	case k.Revoked != nil:
		return "ends in " + figure.Duration(k.Revoked.Sub(now).Round(time.Second))
	case k.Expires != nil:
		return "live, " + figure.Duration(k.Expires.Sub(now).Round(time.Second)) + " left"
	}
	return "live"
}

func ago(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Local().Format("Jan 2 15:04:05")
}

func (a *app) keySet(f *adminFlags) *cobra.Command {
	var name, expires, role string
	var models []string
	c := &cobra.Command{
		Use:   "set ID",
		Short: "Change a key's name, models, expiry or role; what is not said stays as it is",
		Example: `  penstock key set key_01K97K2QJ8W6T2Z3N5V4M1R0XY --models 'gpt-5*'
  penstock key set key_01K97K2QJ8W6T2Z3N5V4M1R0XY --models '*' --expires 0s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := admin.KeyChange{}
			for flag, set := range map[string]func(){
				"name":    func() { in.Name = &name },
				"expires": func() { in.Expires = &expires },
				"role":    func() { in.Role = &role },
				"models":  func() { in.Models = models },
			} {
				if cmd.Flags().Changed(flag) {
					set()
				}
			}
			if cmd.Flags().Changed("models") && len(models) == 0 {
				return fail(exitUsage, "write --models '*' for all models", "--models is empty, which could be taken for none")
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Key
			if err := client.call(cmd.Context(), http.MethodPatch, "/keys/"+url.PathEscape(args[0]), nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Key %s is changed. It counts everywhere within 5 s.\n", out.Prefix)
			return err
		},
	}
	c.Flags().StringVar(&name, "name", "", "new name")
	c.Flags().StringSliceVar(&models, "models", nil, "models it may ask for, with * as a wildcard")
	c.Flags().StringVar(&expires, "expires", "", "how long it works from now, such as 720h or 30d; 0s for a key without end")
	c.Flags().StringVar(&role, "role", "", "what it may do: caller, viewer, operator, auditor, metrics, admin")
	return c
}

func (a *app) keyRevoke(f *adminFlags) *cobra.Command {
	yes := false
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "Stop a key; it is refused everywhere within 5 s",
		Long: `Stop a key for good; it is refused everywhere within 5 s. On a terminal it asks first, unless --yes; a
script is never asked.`,
		Example: "  penstock key revoke key_01K97K2QJ8W6T2Z3N5V4M1R0XY",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			if !yes && !a.confirm("Revoke "+args[0]+" for good? Calls with it fail from now on.") {
				return fail(exitFailure, "answer y, or give --yes", "Nothing was changed")
			}
			var out admin.Key
			if err := client.call(cmd.Context(), http.MethodPost, "/keys/"+url.PathEscape(args[0])+"/revoke", nil, struct{}{}, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Key %s is revoked; it is refused everywhere within 5 s. Running streams finish.\n", out.Prefix)
			return err
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) keyRotate(f *adminFlags) *cobra.Command {
	in := admin.RotateInput{}
	c := &cobra.Command{
		Use:     "rotate ID",
		Short:   "Replace a key; the old one works on for the overlap",
		Example: "  penstock key rotate key_01K97K2QJ8W6T2Z3N5V4M1R0XY --overlap 24h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.NewKey
			if err := client.call(cmd.Context(), http.MethodPost, "/keys/"+url.PathEscape(args[0])+"/rotate", nil, in, &out); err != nil {
				return err
			}
			if !f.json {
				fmt.Fprintf(a.err, "The key before it works on for %s.\n", clean(in.Overlap))
			}
			return a.printKey(f, out)
		},
	}
	c.Flags().StringVar(&in.Overlap, "overlap", "24h", "how long the old key works on")
	return c
}
