package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/server"
)

func (a *app) keyringCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{Use: "keyring", Short: "Look at the key ring, add data keys, and change what wraps it"})
	f.add(c)
	c.AddCommand(a.keyringStatus(f), a.keyringRotate(f), a.keyringRewrap(f))
	return c
}

// ringConfig is the configuration that says where the ring's file is.
func (a *app) ringConfig(ctx context.Context, f *adminFlags) (*config.File, error) {
	flags := map[string]string{}
	if f.data != "" {
		flags["data"] = f.data
	}
	cfg, err := config.Load(ctx, config.Options{File: f.file, Env: a.env, Flags: flags})
	if err != nil {
		return nil, configError(err)
	}
	return cfg, nil
}

// elsewhere reports that a Penstock is asked by its address, so that no file here says anything of it.
func (a *app) elsewhere(f *adminFlags) bool {
	url, _ := a.env("PENSTOCK_ADMIN_URL")
	return f.url != "" || url != ""
}

func (a *app) keyringStatus(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say which data keys there are, which one seals, and what wraps the ring",
		Long: `Say which data keys there are, which one seals and what wraps the ring, as the running Penstock has it. Where
none serves from the data directory, it is what the file shows: nothing is unwrapped for that.`,
		Example: "  penstock keyring status -c penstock.yaml\n  penstock keyring status --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := a.askKeyring(cmd.Context(), f)
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(ring)
			}
			return a.printKeyring(ring)
		},
	}
}

// askKeyring asks the running Penstock, or, where there is none, the file.
func (a *app) askKeyring(ctx context.Context, f *adminFlags) (*admin.Keyring, error) {
	if !a.elsewhere(f) {
		cfg, err := a.ringConfig(ctx, f)
		if err != nil {
			return nil, err
		}
		if _, err := server.ReadPresence(cfg.Data); err != nil {
			s, err := seal.ReadStatus(cfg.KeyringPath())
			if err != nil {
				return nil, ringError(cfg.KeyringPath(), err)
			}
			ring := admin.KeyringOf(&s)
			ring.Wrapper = cfg.Wrap
			return &ring, nil
		}
	}
	client, err := a.client(ctx, f)
	if err != nil {
		return nil, err
	}
	ring := &admin.Keyring{}
	return ring, client.call(ctx, http.MethodGet, "/keyring", nil, nil, ring)
}

func (a *app) printKeyring(ring *admin.Keyring) error {
	if !ring.Serving {
		fmt.Fprintln(a.err, "No Penstock serves from here: this is what the file shows.")
	}
	fmt.Fprintf(a.out, "Key ring %s of %s, in %s\n", clean(ring.ID), ring.Created.Local().Format("Jan 2 2006"), clean(ring.File))
	switch {
	case len(ring.Wraps) > 0:
		fmt.Fprintf(a.out, "Wrapped by %s\n", clean(strings.Join(ring.Wraps, " and by ")))
	default:
		fmt.Fprintln(a.out, "Not wrapped: whoever reads the file has its secrets")
	}
	switch {
	case ring.Unreadable != "":
		fmt.Fprintln(a.out, a.paint(a.tty, bad, "The file cannot be read any more, and what is in memory is in use. Do not restart: "+clean(ring.Unreadable)))
	case ring.WrapperError != "":
		fmt.Fprintln(a.out, a.paint(a.tty, bad, "It would not be unwrapped now. Do not restart: "+clean(ring.WrapperError)))
	case ring.Wrapper != "" && len(ring.Wraps) == 0:
		fmt.Fprintln(a.out, a.paint(a.tty, bad, "keyring_wrap is set, and the file is in clear. Wrap it with: penstock keyring rewrap"))
	}
	t := table{head: []string{"DATA KEY", "MADE", "USE", "VALUES"}, right: []string{"VALUES"}}
	for _, k := range ring.Keys {
		use, values := "opens", "-"
		switch {
		case k.Current:
			use = "seals and opens"
		case k.From.After(time.Now()):
			use = "seals from " + k.From.Local().Format("Jan 2 15:04:05")
		}
		if k.Values != nil {
			values = strconv.FormatInt(*k.Values, 10)
		}
		t.add(k.ID, k.Created.Local().Format("Jan 2 2006 15:04:05"), use, values)
	}
	return a.printTable(&t)
}

func (a *app) keyringRotate(f *adminFlags) *cobra.Command {
	var in time.Duration
	var offline bool
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Add a data key while serving: it seals from now on, and the older ones still open what they sealed",
		Long: `Add a data key to the ring: the running Penstock does it and records who asked. What is sealed from now on is sealed
with it; what older keys sealed stays readable. Replicas that share the file take it over within a second. Where they
have copies, give --in: the key begins later, and you hand the file out in the meantime.

Where the file is read-only for Penstock, run it with --offline where the file can be written.`,
		Example: "  penstock keyring rotate -c penstock.yaml\n  penstock keyring rotate --in 15m\n  penstock keyring rotate --offline -c penstock.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var from time.Time
			if in < 0 {
				return fail(exitUsage, "give a time such as 15m", "--in is in the past")
			}
			if in > 0 {
				from = time.Now().Add(in).UTC().Truncate(time.Second)
			}
			key, err := a.rotateRing(cmd.Context(), f, from, offline)
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(key)
			}
			if !key.From.IsZero() {
				_, err = fmt.Fprintf(a.err, "Data key %s seals from %s on, in %s. Where replicas have copies of the file, hand it out now.\n",
					key.ID, key.From.Local().Format("Jan 2 15:04:05"), figure.Duration(time.Until(key.From).Round(time.Second)))
				return err
			}
			_, err = fmt.Fprintf(a.err, "Data key %s seals from now on. Bring your copy of the key ring's file up to date: what it seals opens with that file only.\n", key.ID)
			return err
		},
	}
	c.Flags().DurationVar(&in, "in", 0, "let the key begin to seal so much later, such as 15m")
	c.Flags().BoolVar(&offline, "offline", false, "change the file itself; a running Penstock finds and records it")
	return c
}

func (a *app) rotateRing(ctx context.Context, f *adminFlags, from time.Time, offline bool) (admin.DataKey, error) {
	if !offline {
		client, err := a.client(ctx, f)
		if err != nil {
			return admin.DataKey{}, err
		}
		var key admin.DataKey
		return key, client.call(ctx, http.MethodPost, "/keyring/rotate", nil, admin.DataKeyInput{From: from}, &key)
	}
	cfg, err := a.ringConfig(ctx, f)
	if err != nil {
		return admin.DataKey{}, err
	}
	k, _, err := seal.Rotate(ctx, cfg.KeyringPath(), cfg.KeyringWrapper(), from)
	if err != nil {
		return admin.DataKey{}, ringError(cfg.KeyringPath(), err)
	}
	return admin.DataKey{ID: k.ID, Created: k.Created, From: k.From, Current: k.Current}, nil
}

func (a *app) keyringRewrap(f *adminFlags) *cobra.Command {
	var from, to string
	var add, inClear bool
	c := &cobra.Command{
		Use:   "rewrap",
		Short: "Change what wraps the ring's file, or wrap one that is in clear",
		Long: `Encrypt the ring's file anew, under a new key that only what keyring_wrap names can unwrap. Data keys stay as they are,
so nothing in the store changes, and a running Penstock takes the file over within a second. The new file is read back
and opened before it is in the place of the old one; whenever the command ends, there is the one or the other.

To change the wrapper of several replicas without a moment in which one could not start: add the new one beside the old
(--to NEW --add), set keyring_wrap to it and restart them one by one, then run rewrap alone, which leaves only the new.`,
		Example: `  penstock keyring rewrap -c penstock.yaml
  penstock keyring rewrap -c penstock.yaml --to "exec:/usr/local/bin/penstock-kms" --add
  penstock keyring rewrap -c penstock.yaml --from file:/run/secrets/old.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.ringConfig(cmd.Context(), f)
			if err != nil {
				return err
			}
			how := seal.Rewrapping{From: cfg.KeyringWrapper(), To: cfg.KeyringWrapper(), Add: add}
			for _, flag := range []struct {
				name, text string
				w          *seal.Wrapper
			}{{"from", from, &how.From}, {"to", to, &how.To}} {
				if flag.text == "" {
					continue
				}
				if *flag.w, err = seal.NewWrapper(flag.text); err != nil {
					return fail(exitUsage, "write file:PATH or exec:/PATH/OF/COMMAND", "--%s: %v", flag.name, err)
				}
			}
			switch {
			case inClear && (to != "" || add):
				return fail(exitUsage, "", "--in-clear leaves nothing that wraps the ring, so it goes with neither --to nor --add")
			case inClear:
				how.To = nil
			case how.To == nil:
				return fail(exitUsage, "set keyring_wrap in the file, or give --to file:PATH or --to exec:COMMAND; --in-clear takes a wrap away",
					"Nothing is named to wrap the key ring")
			}
			return a.rewrap(cmd.Context(), f, cfg, how)
		},
	}
	c.Flags().StringVar(&to, "to", "", "what shall wrap it: file:PATH or exec:COMMAND (default: keyring_wrap)")
	c.Flags().StringVar(&from, "from", "", "what unwraps it as it is (default: keyring_wrap)")
	c.Flags().BoolVar(&add, "add", false, "leave what wraps it now beside the new one")
	c.Flags().BoolVar(&inClear, "in-clear", false, "take the wrap away: the file then has its secrets in clear")
	return c
}

func (a *app) rewrap(ctx context.Context, f *adminFlags, cfg *config.File, how seal.Rewrapping) error {
	before, err := seal.ReadStatus(cfg.KeyringPath())
	if err != nil {
		return ringError(cfg.KeyringPath(), err)
	}
	after, err := seal.Rewrap(ctx, cfg.KeyringPath(), how)
	if err != nil {
		return ringError(cfg.KeyringPath(), err)
	}
	if f.json {
		ring := admin.KeyringOf(&after)
		ring.Wrapper = cfg.Wrap
		if err := a.printJSON(ring); err != nil {
			return err
		}
	} else {
		by := "nothing: its secrets are in clear"
		if len(after.Wraps) > 0 {
			by = strings.Join(after.Wraps, " and by ")
		}
		fmt.Fprintf(a.err, "Key ring %s is wrapped by %s. The file was read back and opened.\n", after.ID, by)
	}
	if len(before.Wraps) == 0 && len(after.Wraps) > 0 {
		fmt.Fprintln(a.err, "Copies of the file from before have its secrets in clear: replace your backup of it, and destroy them.")
	} else {
		fmt.Fprintln(a.err, "Replace your backup of the file: an older copy opens only by what wrapped it then.")
	}
	configured := ""
	if w := cfg.KeyringWrapper(); w != nil {
		configured = w.String()
	}
	if len(after.Wraps) > 0 && !slices.Contains(after.Wraps, configured) {
		fmt.Fprintf(a.err, "Set keyring_wrap: %q before the next start: the configuration names %s.\n", after.Wraps[len(after.Wraps)-1], orNothing(configured))
	}
	ring, err := filepath.Abs(cfg.KeyringPath())
	if path, ok := strings.CutPrefix(how.String(), "file:"); err == nil && ok && filepath.Dir(path) == filepath.Dir(ring) {
		fmt.Fprintln(a.err, "The key lies beside the file that it opens, so whoever copies the directory has both: put it elsewhere.")
	}
	return nil
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// ringError puts what is wrong with the ring's file into words. What only another configuration mends has its exit code.
func ringError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fail(exitStore, "is -c or --data that of your Penstock? A key ring is made at its first start", "There is no key ring in %s", path)
	}
	if s, ok := errors.AsType[*seal.SealedError](err); ok {
		code := exitStore
		if s.NoWrapper {
			code = exitConfig
		}
		return fail(code, s.Hint, "%s", clean(s.Error()))
	}
	if p, ok := errors.AsType[fault.Problem](err); ok {
		return fail(exitStore, p.Hint, "%s: %s", p.Path, clean(p.Text))
	}
	return fail(exitFailure, "", "%v", err)
}
