package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/server"
	"github.com/penstock/penstock/internal/store"
)

// A serveFlags holds the settings that flags may override.
type serveFlags struct {
	file   string
	values map[string]*string
	json   bool
}

func (f *serveFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (default: providers from the environment)")
	f.values = map[string]*string{}
	for name, help := range map[string]string{
		"listen":       "address of the data plane (PENSTOCK_LISTEN; default 127.0.0.1:8080)",
		"admin-listen": "address of the control plane (PENSTOCK_ADMIN_LISTEN; default 127.0.0.1:8081)",
		"data":         "data directory (PENSTOCK_DATA; default penstock-data)",
		"store":        "store, as sqlite:PATH or postgres://USER@HOST/DATABASE (PENSTOCK_STORE; default in the data directory)",
	} {
		f.values[name] = c.Flags().String(name, "", help)
	}
}

// options are what to load. references asks for the secrets that the file refers to, which only a serving process needs.
func (f *serveFlags) options(a *app, references bool) config.Options {
	flags := map[string]string{}
	for name, value := range f.values {
		if *value != "" {
			flags[name] = *value
		}
	}
	return config.Options{File: f.file, Env: a.env, Flags: flags, References: references}
}

func (a *app) serveCommand() *cobra.Command {
	f := &serveFlags{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway and the control plane",
		Long: `Run the gateway and the control plane.

Without a file, providers come from the usual environment variables: OPENAI_API_KEY, OLLAMA_HOST
and so on, with their *_BASE_URL. SIGHUP or a change of the file takes over the new configuration;
SIGTERM or Ctrl-C drains and stops: open exchanges have shutdown_grace to finish. A second one
hurries: what is open ends at once, with an error event.`,
		Example: "  penstock serve\n  penstock serve -c penstock.yaml\n  OPENAI_API_KEY=... penstock serve --listen 127.0.0.1:9000",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), f) },
	}
	f.add(c)
	c.Flags().BoolVar(&f.json, "json", false, "print one line of JSON when listening, and log as JSON")
	return c
}

func (a *app) serve(ctx context.Context, f *serveFlags) error {
	begun := time.Now()
	load := func(ctx context.Context) (*config.File, error) { return config.Load(ctx, f.options(a, true)) }
	cfg, err := load(ctx)
	if err != nil {
		return configError(err)
	}
	if len(cfg.Providers) == 0 {
		return fail(exitConfig, "set OPENAI_API_KEY or OLLAMA_HOST, or write a file (docs/reference/config.md); or try it out with: penstock demo",
			"There are no providers: no file was given, and the environment names none")
	}
	log := a.logger(cfg, f.json)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	hurry := make(chan os.Signal, 1)
	unwatch := context.AfterFunc(ctx, func() { signal.Notify(hurry, os.Interrupt, syscall.SIGTERM) }) // the first one is ctx's
	defer signal.Stop(hurry)
	defer unwatch()
	s, err := server.New(ctx, cfg, server.Options{Log: log, Version: a.version, Load: load, Hangup: hangup, Hurry: hurry, Skew: failpoint.Skew()})
	if err != nil {
		return startError(err)
	}
	a.announce(cfg, s, f.json, time.Since(begun))
	switch err := s.Run(ctx); {
	case errors.Is(err, store.ErrUnusable), isRing(err): // one that was waited for
		return startError(err)
	case err != nil:
		return fail(exitFailure, "", "Penstock stopped with an error: %v", err)
	}
	return nil
}

func (a *app) logger(cfg *config.File, asJSON bool) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Log.Level)) // the file's check allows known levels only
	o := &slog.HandlerOptions{Level: level}
	if asJSON || cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.err, o))
	}
	return slog.New(slog.NewTextHandler(a.err, o))
}

// announce says that the server listens: for scripts one line of JSON on stdout, for people a few lines on stderr.
func (a *app) announce(cfg *config.File, s *server.Server, asJSON bool, took time.Duration) {
	p := s.Presence()
	keyFile, err := filepath.Abs(filepath.Join(cfg.Data, "admin.key"))
	if err != nil {
		keyFile = filepath.Join(cfg.Data, "admin.key")
	}
	if asJSON {
		line, _ := json.Marshal(struct { // strings always encode
			Event        string `json:"event"`
			Data         string `json:"data"`
			Admin        string `json:"admin"`
			AdminKeyFile string `json:"admin_key_file"`
		}{"listening", address(p.DataURL), address(p.AdminURL), keyFile})
		fmt.Fprintf(a.out, "%s\n", line)
		return
	}
	if cfg.Path() == "" {
		fmt.Fprintln(a.err, "No configuration file: using defaults and the environment.")
		for _, skipped := range cfg.Discovered.Skipped {
			fmt.Fprintln(a.err, "  "+skipped)
		}
	}
	for _, line := range s.Describe() {
		fmt.Fprintln(a.err, "  "+line)
	}
	fmt.Fprintf(a.err, "API      %s/v1\n", p.DataURL)
	where := "admin key in " + filepath.Join(cfg.Data, "admin.key")
	if _, err := os.Stat(keyFile); err != nil {
		where = "the admin key is not here: it was made with the store, and its hash is there"
	}
	fmt.Fprintf(a.err, "Control  %s/admin/v1   %s\n", p.AdminURL, where)
	flag := ""
	if cfg.Path() != "" {
		flag = " -c " + cfg.Path()
	}
	fmt.Fprintf(a.err, "Ready in %s. Ctrl-C drains and stops.   Next: penstock project create demo%[2]s && penstock key create --project demo%[2]s\n",
		figure.Duration(took), flag)
}

func address(url string) string {
	_, host, _ := strings.Cut(url, "://")
	return host
}

// configError makes all problems of a file one failure.
func configError(err error) error {
	var p *config.Problems
	if errors.As(err, &p) {
		return fail(exitConfig, "", "%s", strings.TrimRight(p.Error(), "\n"))
	}
	return fail(exitConfig, "", "%v", err)
}

func isRing(err error) bool { _, is := errors.AsType[*server.RingError](err); return is }

// startError tells a store that cannot be used from everything else that can go wrong at the start.
func startError(err error) error {
	switch {
	case errors.Is(err, store.ErrLocked), errors.Is(err, journal.ErrInUse):
		return fail(exitStore, "stop it, or use another --data", "%v", err)
	case errors.Is(err, server.ErrNoRing):
		return fail(exitStore, "put that ring's file back from your copy; a new one would make all keys in the store unknown, so none is made", "%v", err)
	case isRing(err):
		return ringError("", err)
	case errors.Is(err, store.ErrUnusable):
		hint := "check the disk, or restore a copy"
		if e, ok := errors.AsType[*store.OpenError](err); ok {
			hint = e.Hint
		}
		return fail(exitStore, hint, "%v", err)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fail(exitFailure, "stop what listens there, or use another --listen or --admin-listen", "%v", err)
	}
	return fail(exitFailure, "see: penstock serve --help", "%v", err)
}
