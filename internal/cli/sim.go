package cli

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/sim"
)

func (a *app) simCommand() *cobra.Command {
	var file, listen string
	var asJSON bool
	c := &cobra.Command{
		Use:   "sim",
		Short: "Run simulated providers: for drills, load tests and CI",
		Long: `Run simulated providers that keep their own bill.

What a call shall do is written behind the model's name, as in "gpt-x?status=503&retry_after=2".
The list of such knobs is at /_knobs; /_bill is what was charged, /_requests what was asked.

A model of the file may have slots (calls at once; others wait in their order) and prefill (prompt tokens a second, one prompt
after the other), so that its time to the first token grows with load:

  providers:
    own:
      models: { small: { slots: 32, prefill: 8000, first_token: 60ms, gap: 20ms } }`,
		Example: "  penstock sim\n  penstock sim -c sim.yaml --listen 127.0.0.1:9090\n  curl -s 127.0.0.1:8090/_bill",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := sim.Default()
			if file != "" {
				text, err := os.ReadFile(file)
				if err != nil {
					return fail(exitConfig, "", "%v", err)
				}
				if cfg, err = sim.Parse(text); err != nil {
					return fail(exitConfig, "", "%s: %v", file, err)
				}
			}
			if listen != "" {
				cfg.Listen = listen
			}
			s, err := sim.New(cfg)
			if err != nil {
				return fail(exitConfig, "", "%v", err)
			}
			l, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", cfg.Listen)
			if err != nil {
				return fail(exitFailure, "use another --listen", "%v", err)
			}
			a.announceSim(cfg, l.Addr().String(), asJSON)
			if err := s.Run(cmd.Context(), l); err != nil {
				return fail(exitFailure, "", "%v", err)
			}
			bill := s.Bill()
			_, err = fmt.Fprintf(a.err, "Stopped. %d calls, billed $%s.\n", bill.Total.Calls, bill.Total.Cost)
			return err
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "file with the simulated providers (default: two providers, every model name)")
	c.Flags().StringVar(&listen, "listen", "", "address (default 127.0.0.1:8090)")
	c.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON when listening")
	return c
}

func (a *app) announceSim(cfg sim.Config, addr string, asJSON bool) {
	if asJSON {
		line, _ := json.Marshal(struct { // strings always encode
			Event string `json:"event"`
			Addr  string `json:"addr"`
		}{"listening", addr})
		fmt.Fprintf(a.out, "%s\n", line)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
		fmt.Fprintf(a.err, "  %-10s http://%s/%s/v1   models: %s\n", name, addr, name, joinNames(slices.Sorted(maps.Keys(cfg.Providers[name].Models))))
	}
	fmt.Fprintf(a.err, "Bill at http://%s/_bill. Ctrl-C stops.\n", addr)
}

// joinNames lists models; "*" stands for all further names.
func joinNames(names []string) string {
	known := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "*" })
	s := strings.Join(known, ", ")
	if len(known) < len(names) {
		s += " and any other"
	}
	return s
}
