package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/store"
)

// An upgradeCheck is what `penstock upgrade --check --json` prints.
type upgradeCheck struct {
	Store      string           `json:"store"`
	Engine     string           `json:"engine"`
	Schema     int64            `json:"schema"` // of the store; 0: there is nothing in it yet
	Knows      int64            `json:"knows"`  // the last migration of this version
	From       int64            `json:"compatible_from"`
	Migrations []pending        `json:"migrations"`
	Replicas   []upgradeReplica `json:"replicas"`
	Bytes      int64            `json:"store_bytes"`
	Need       int64            `json:"need_bytes"`          // that the migrations take at most
	Free       *int64           `json:"free_bytes,omitzero"` // left out where it is not known
	Obstacles  []string         `json:"obstacles"`
}

type pending struct {
	Number int64  `json:"number"`
	Name   string `json:"name"`
	Online bool   `json:"online"`
	Why    string `json:"why,omitzero"` // it is not
}

type upgradeReplica struct {
	Name     string  `json:"name"`
	Version  string  `json:"version"`
	Schema   int64   `json:"schema"`
	Running  bool    `json:"running"`
	GoesOn   bool    `json:"goes_on"` // it can live with the schema as it is after the upgrade
	SeenAgo  float64 `json:"seen_ago_seconds"`
	ClockOff float64 `json:"clock_off_seconds"`
}

func (a *app) upgradeCommand() *cobra.Command {
	f := &serveFlags{}
	var check, asJSON bool
	c := &cobra.Command{
		Use:   "upgrade --check",
		Short: "Say what a start of this version would do to the store",
		Long: `Say what a start of this version would do to the store: which migrations it would run, whether
anybody would wait for them, what they take on the disk, and whether the Penstocks that run now can
go on meanwhile. Nothing is changed, and it may run beside a Penstock that serves.

Exit codes: 0 go on, 1 something stands against it, 3 configuration, 4 this version cannot use the
store, 5 the store does not answer.`,
		Example: "  penstock upgrade --check -c penstock.yaml\n  penstock upgrade --check --store postgres://penstock@db/penstock --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !check {
				return fail(exitUsage, "see what it will do: penstock upgrade --check", "The upgrade is the start of the new version: penstock serve")
			}
			return a.upgrade(cmd.Context(), f, asJSON)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&check, "check", false, "look, and change nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) upgrade(ctx context.Context, f *serveFlags, asJSON bool) error {
	cfg, err := config.Load(ctx, f.options(a, false))
	if err != nil {
		return configError(err)
	}
	u, err := store.CheckUpgrade(ctx, cfg.Store, cfg.StoreOptions())
	if e, ok := errors.AsType[*store.OpenError](err); ok {
		code := exitStore
		if errors.Is(err, store.ErrAbsent) {
			code = exitUnreachable
		}
		return fail(code, e.Hint, "%v", err)
	}
	if err != nil {
		return err
	}
	obstacles := u.Obstacles()
	if asJSON {
		err = a.printJSON(checkOf(u, obstacles))
	} else {
		err = a.printUpgrade(u, obstacles)
	}
	if err == nil && len(obstacles) > 0 {
		return fail(exitFailure, "", "%s against the upgrade.", plural(len(obstacles), "thing stands", "things stand"))
	}
	return err
}

func checkOf(u *store.Upgrade, obstacles []string) upgradeCheck {
	out := upgradeCheck{
		Store: u.Path, Engine: u.Engine, Schema: u.Schema, Knows: u.Knows, From: u.From, Bytes: u.Bytes, Need: u.Need,
		Migrations: []pending{}, Replicas: []upgradeReplica{}, Obstacles: append([]string{}, obstacles...),
	}
	if u.Free >= 0 {
		out.Free = &u.Free
	}
	for _, m := range u.Migrations {
		out.Migrations = append(out.Migrations, pending{m.Number, m.Name, m.Online, m.Why})
	}
	for _, r := range u.Replicas {
		out.Replicas = append(out.Replicas, upgradeReplica{
			r.Name, r.Version, r.Knows, r.Ago < store.Gone, r.Knows >= u.From || len(u.Migrations) == 0, r.Ago.Seconds(), r.ClockOff.Seconds(),
		})
	}
	return out
}

func (a *app) printUpgrade(u *store.Upgrade, obstacles []string) error {
	fmt.Fprintf(a.out, "%s, %s: schema %d; this version knows %d.\n", clean(u.Path), u.Engine, u.Schema, u.Knows)
	switch {
	case u.Schema == 0:
		fmt.Fprintln(a.out, "There is nothing in it yet; the start makes it.")
	case u.Schema > u.Knows:
		fmt.Fprintln(a.out, "A newer Penstock has migrated it, and this version may go on with it.")
	case len(u.Migrations) == 0:
		fmt.Fprintln(a.out, "There is nothing to migrate.")
	default:
		if err := a.printMigrations(u); err != nil {
			return err
		}
	}
	if err := a.printReplicas(u); err != nil {
		return err
	}
	for _, o := range obstacles {
		fmt.Fprintln(a.out, a.paint(a.tty, bad, "Against it: ")+clean(o)+".")
	}
	if len(obstacles) == 0 {
		fmt.Fprintln(a.out, a.paint(a.tty, good, "Nothing stands against it."))
	}
	return nil
}

func (a *app) printMigrations(u *store.Upgrade) error {
	t := table{head: []string{"MIGRATION", "WHAT", "WHILE SERVING"}, right: []string{"MIGRATION"}, text: []string{"WHILE SERVING"}}
	for _, m := range u.Migrations {
		how := "yes"
		if !m.Online {
			how = "no: it " + m.Why
		}
		t.add(fmt.Sprint(m.Number), m.Name, how)
	}
	if err := a.printTable(&t); err != nil {
		return err
	}
	free := "; how much the disk has free is not known here, look there"
	switch {
	case u.Free >= 0:
		free = fmt.Sprintf("; %s are free", megabytes(u.Free))
	case u.Need == 0:
		free = ""
	}
	fmt.Fprintf(a.out, "On the disk they take %s at most beside the %s that are there%s.\n", megabytes(u.Need), megabytes(u.Bytes), free)
	return nil
}

// megabytes is a size in whole millions of bytes, rounded up.
func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+999_999)/1_000_000) }

func (a *app) printReplicas(u *store.Upgrade) error {
	if len(u.Replicas) == 0 {
		return nil
	}
	t := table{head: []string{"REPLICA", "VERSION", "SCHEMA", "STATE", "GOES ON"}, right: []string{"SCHEMA"}}
	for _, r := range u.Replicas {
		state, goesOn := "runs", "yes"
		if r.Ago >= store.Gone {
			state = "gone for " + r.Ago.Round(time.Second).String()
		}
		if r.Knows < u.From && len(u.Migrations) > 0 {
			goesOn = "no"
		}
		t.add(r.Name, r.Version, fmt.Sprint(r.Knows), state, goesOn)
	}
	return a.printTable(&t)
}
