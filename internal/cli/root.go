// Package cli is the command line: it reads arguments, runs what they ask for, and prints results for people and scripts.
//
// It decides nothing. Commands about tenants, money and records are clients of the admin API, so that they work while
// Penstock serves; serve, demo and sim run a server in this process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, part of the contract.
const (
	exitClean       = 0
	exitFailure     = 1
	exitUsage       = 2
	exitConfig      = 3
	exitStore       = 4
	exitUnreachable = 5
)

// An exitError is what went wrong, what to do about it, and the exit code.
type exitError struct {
	code   int
	what   string
	hint   string
	status int  // of the answer in which Penstock refused it, 0 if that is not what it is
	lost   bool // whether what was asked for is done is not known
}

func (e *exitError) Error() string { return e.what }

// fail makes an error with an exit code and a hint, which may be empty.
func fail(code int, hint, format string, args ...any) error {
	return &exitError{code: code, what: fmt.Sprintf(format, args...), hint: hint}
}

// An app is one run of the program.
type app struct {
	in      io.Reader
	out     io.Writer // data
	err     io.Writer // words
	tty     bool      // out is a terminal
	ttyErr  bool      // err is a terminal
	ttyIn   bool      // in is a terminal
	version string
	commit  string // that the program was built from, "" if the build did not say
	env     func(string) (string, bool)
}

// Main runs the program and gives its exit code.
func Main(version, commit string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, version: version, commit: commit, env: os.LookupEnv,
		tty: isTerminal(os.Stdout), ttyErr: isTerminal(os.Stderr), ttyIn: isTerminal(os.Stdin),
	}
	return a.run(ctx, os.Args[1:])
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitClean
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{code: exitUsage, what: err.Error(), hint: "see: " + cmd.CommandPath() + " --help"}
	}
	if e.what != "" {
		fmt.Fprintln(a.err, sentence(e.what))
	}
	if e.hint != "" {
		fmt.Fprintln(a.err, "  do: "+e.hint)
	}
	return e.code
}

// sentence starts what a library says with a capital, as our own messages do; names and paths stay as they are.
func sentence(s string) string {
	for _, library := range []string{"unknown command", "unknown flag", "unknown shorthand", "required flag", "accepts ", "requires ", "invalid argument", "flag needs"} {
		if strings.HasPrefix(s, library) {
			return strings.ToUpper(s[:1]) + s[1:]
		}
	}
	return s
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "penstock",
		Short: "Penstock stands between your applications and the language models they use",
		Long: `Penstock stands between your applications and the language models they use: one
address, keys per team, fallback between providers, a record and a price for every call.

  penstock demo                     see it work, with nothing configured
  penstock serve                    run it with the providers found in the environment
  penstock serve -c penstock.yaml   run it with a file

Exit codes: 0 clean, 1 failure, 2 usage, 3 configuration, 4 store locked or unusable, 5 unreachable or refused.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       a.version,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("penstock {{.Version}}\n")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "tenants", Title: "Tenants and money:"},
		&cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "upkeep", Title: "Upkeep:"},
		&cobra.Group{ID: "file", Title: "Configuration:"},
	)
	root.SetHelpCommandGroupID("file")
	root.SetCompletionCommandGroupID("file")
	in := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	in("run",
		a.serveCommand(),
		a.demoCommand(),
		a.simCommand(),
		a.chatCommand(),
		a.benchCommand(),
		a.drillCommand(),
	)
	in("tenants",
		a.projectCommand(),
		a.keyCommand(),
		a.priceCommand(),
		a.budgetCommand(),
		a.ledgerCommand(),
		a.reconcileCommand(),
		a.limitCommand(),
		a.tierCommand(),
		a.applyCommand(),
		a.exportCommand(),
		a.auditCommand(),
		a.holdCommand(),
		a.keyringCommand(),
	)
	in("look",
		a.explainCommand(),
		a.usageCommand(),
		a.latencyCommand(),
		a.routeCommand(),
		a.statusCommand(),
		a.alertCommand(),
		a.doctorCommand(),
		a.bundleCommand(),
		a.stopCommand(),
		a.resumeCommand(),
		a.upgradeCommand(),
	)
	in("upkeep",
		a.backupCommand(),
		a.restoreCommand(),
		a.adminKeyCommand(),
	)
	in("file",
		a.configCommand(),
		a.versionCommand(),
	)
	failures(root)
	return root
}

// failures makes failures of the errors that commands return and that name no exit code themselves; what is left is what
// cobra finds before a command runs, and that is a mistake of usage.
func failures(c *cobra.Command) {
	for _, child := range c.Commands() {
		failures(child)
	}
	run := c.RunE
	if run == nil {
		return
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if _, coded := errors.AsType[*exitError](err); err == nil || coded {
			return err
		}
		return fail(exitFailure, "", "%v", err)
	}
}

// group makes a command that only holds others: alone it shows its help, and a name that it does not have is a mistake.
func group(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "see: " + cmd.CommandPath() + " --help"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean: " + cmd.CommandPath() + " " + near[0]
		}
		return fail(exitUsage, hint, "Unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return c
}
