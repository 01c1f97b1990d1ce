package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/reference/cli.md anew")

const cliPage = `# The command line

For whoever types ` + "`penstock`" + ` or writes a script around it. Generated from the commands by ` + "`go test ./internal/cli -update`" + `;
do not edit it. Next: [the configuration file](config.md).

Data goes to stdout, words to stderr. ` + "`--json`" + ` prints what the API says. On a terminal, tables fit its width and colours mean
something (` + "`NO_COLOR`" + ` and ` + "`TERM=dumb`" + ` turn them off); elsewhere nothing is cut and figures are exact. No secret is ever an argument.

| exit code | means |
| --- | --- |
| 0 | clean, or drained |
| 1 | failure |
| 2 | usage: no such command or flag, or a value that cannot be one |
| 3 | configuration |
| 4 | the store is locked or unusable |
| 5 | no Penstock answers, or it refuses |

The commands about tenants, money and records talk to the control plane of a running Penstock, which they find by
` + "`--admin-url`" + ` or ` + "`PENSTOCK_ADMIN_URL`" + `, else by the data directory (` + "`-c`, `--data`" + ` or ` + "`PENSTOCK_DATA`" + `), with the key from
` + "`--admin-key-file`" + ` or ` + "`PENSTOCK_ADMIN_KEY`" + `, else ` + "`<data>/admin.key`" + `.
`

// The page of commands is made from the commands.
func TestCommandReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	const file = "../../docs/reference/cli.md"
	var b strings.Builder
	b.WriteString(cliPage)
	eachCommand(testRoot(), func(c *cobra.Command) { section(&b, c) })
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != b.String() {
		t.Errorf("%s is not current (%v): go test ./internal/cli -update", file, err)
	}
}

func testRoot() *cobra.Command {
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, version: "test", env: func(string) (string, bool) { return "", false }}
	root := a.root()
	root.InitDefaultHelpFlag()
	root.InitDefaultCompletionCmd()
	return root
}

// eachCommand visits what a user may call, but not what cobra adds by itself.
func eachCommand(c *cobra.Command, visit func(*cobra.Command)) {
	for _, child := range c.Commands() {
		if child.Hidden || child.Name() == "help" || child.Name() == "completion" {
			continue
		}
		visit(child)
		eachCommand(child, visit)
	}
}

// section writes one command: what it does, how it is called, examples and flags.
func section(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
	words := c.Long
	if words == "" {
		words = c.Short + "."
	}
	b.WriteString(paragraphs(words) + "\n")
	if children := c.Commands(); len(children) > 0 {
		b.WriteString("\n| command | does |\n| --- | --- |\n")
		for _, child := range children {
			if !child.Hidden {
				fmt.Fprintf(b, "| [`%s`](#%s) | %s |\n", child.CommandPath(), strings.ReplaceAll(child.CommandPath(), " ", "-"), child.Short)
			}
		}
	}
	if c.Runnable() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", unindented(c.Example))
	}
	flags := flagRows(c.LocalFlags())
	if len(flags) > 0 {
		b.WriteString("\n| flag | default | meaning |\n| --- | --- | --- |\n" + strings.Join(flags, ""))
	}
	if inherited := c.InheritedFlags(); c.Runnable() && inherited.HasAvailableFlags() {
		fmt.Fprintf(b, "\nAnd the flags of [`%s`](#%s).\n", c.Parent().CommandPath(), strings.ReplaceAll(c.Parent().CommandPath(), " ", "-"))
	}
}

var indentation = regexp.MustCompile(`(?m)^  `)

// unindented takes away the two spaces that examples have for the terminal's help.
func unindented(s string) string { return indentation.ReplaceAllString(s, "") }

// paragraphs makes a block of what is indented in a help text.
func paragraphs(s string) string {
	parts := strings.Split(s, "\n\n")
	for i, p := range parts {
		if strings.HasPrefix(p, "  ") {
			parts[i] = "```\n" + unindented(p) + "\n```"
		}
	}
	return strings.Join(parts, "\n\n")
}

func flagRows(set *pflag.FlagSet) []string {
	var rows []string
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		rows = append(rows, fmt.Sprintf("| %s` | %s | %s |\n", name, value, strings.ReplaceAll(usage, "|", `\|`)))
	})
	return rows
}

// Every command says in one line what it does, and is shown with an example where it takes arguments.
func TestCommandsExplainThemselves(t *testing.T) {
	t.Parallel()
	eachCommand(testRoot(), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.Contains(c.Short, "\n") {
			t.Errorf("%s: the short description %q is not a line without full stop", c.CommandPath(), c.Short)
		}
		if takes := strings.Contains(c.Use, " "); takes && c.Example == "" {
			t.Errorf("%s: takes arguments and has no example", c.CommandPath())
		}
		if !c.HasParent() || c.Parent().HasParent() || c.GroupID != "" {
			return
		}
		t.Errorf("%s: is in no group of the help", c.CommandPath())
	})
}

// The same word means the same everywhere.
func TestFlagsMeanTheSame(t *testing.T) {
	t.Parallel()
	kinds := map[string]string{}
	eachCommand(testRoot(), func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if known := kinds[f.Name]; known != "" && known != f.Value.Type() {
				t.Errorf("%s: --%s is %s here and %s elsewhere", c.CommandPath(), f.Name, f.Value.Type(), known)
			}
			kinds[f.Name] = f.Value.Type()
			if f.Usage == "" {
				t.Errorf("%s: --%s is not explained", c.CommandPath(), f.Name)
			}
		})
	})
}
