package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/figure"
)

func (a *app) priceCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{Use: "price", Short: "Set, import and list prices"})
	f.add(c)
	c.AddCommand(a.priceSet(f), a.priceImport(f), a.priceList(f))
	return c
}

func (a *app) priceSet(f *adminFlags) *cobra.Command {
	in := admin.PriceInput{}
	c := &cobra.Command{
		Use:   "set PROVIDER/MODEL --input DOLLARS --output DOLLARS",
		Short: "Set what a model costs, in US dollars per million tokens",
		Example: `  penstock price set house/qwen3-32b --input 0.15 --output 0.60
  penstock price set openai/gpt-5-mini --input 0.25 --output 2 --cached-input 0.025`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			in.Target = args[0]
			return a.putPrices(cmd, f, client, []admin.PriceInput{in})
		},
	}
	c.Flags().StringVar(&in.Input, "input", "", "a million prompt tokens")
	c.Flags().StringVar(&in.Output, "output", "", "a million generated tokens")
	c.Flags().StringVar(&in.CachedInput, "cached-input", "", "a million prompt tokens from the provider's cache (default: as --input)")
	c.Flags().StringVar(&in.CacheWrite, "cache-write", "", "a million prompt tokens written to the provider's cache (default: as --input)")
	_ = c.MarkFlagRequired("input")  // these fail only for flags that are not there
	_ = c.MarkFlagRequired("output") //
	return c
}

func (a *app) putPrices(cmd *cobra.Command, f *adminFlags, client *adminClient, prices []admin.PriceInput) error {
	var out page[admin.Price]
	if err := client.call(cmd.Context(), http.MethodPut, "/prices", nil, admin.PricesInput{Data: prices}, &out); err != nil {
		return err
	}
	unused := []string{}
	for _, p := range out.Data {
		if name, _, _ := strings.Cut(p.Target, "/"); p.Unused && !slices.Contains(unused, name) {
			unused = append(unused, name)
		}
	}
	if len(unused) > 0 {
		fmt.Fprintf(a.err, "No provider is configured with the name %s: these prices are for nothing until there is one.\n", clean(strings.Join(unused, ", ")))
	}
	if f.json {
		return a.printJSON(out)
	}
	_, err := fmt.Fprintf(a.err, "In force for calls that begin from now on: %s.\n", plural(len(prices), "price", "prices"))
	return err
}

func (a *app) priceImport(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Set many prices from a CSV file or a LiteLLM price table; all or none",
		Long: `Set many prices, all or none.
CSV has the columns provider/model,input,output,cached_input,cache_write in US dollars per million tokens.
A LiteLLM price table (JSON, US dollars per token) is taken as it is.`,
		Example: "  penstock price import prices.csv",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := os.ReadFile(args[0])
			if err != nil {
				return fail(exitFailure, "", "%v", err)
			}
			found := catalog.ParseImport(bytes.NewReader(b), filepath.Base(args[0]), time.Now())
			for _, p := range slices.Concat(found.Problems, found.Warnings) {
				fmt.Fprintf(a.err, "%s: %v\n", args[0], p)
			}
			if n := len(found.Problems); n > 0 {
				return fail(exitConfig, "", "%s. Nothing was changed.", plural(n, "problem", "problems"))
			}
			overrides := found.Prices
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			prices := make([]admin.PriceInput, len(overrides))
			for i, o := range overrides {
				prices[i] = admin.PriceInputOf(o)
			}
			return a.putPrices(cmd, f, client, prices)
		},
	}
}

func (a *app) priceList(f *adminFlags) *cobra.Command {
	var missing bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List what the models in use cost, and where each price comes from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			query := url.Values{}
			if missing {
				query.Set("missing", "true")
			}
			prices, err := list[admin.Price](cmd.Context(), client, "/prices", query)
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Price]{Data: prices})
			}
			t := table{
				head:  []string{"MODEL", "INPUT", "CACHED", "WRITE", "OUTPUT", "SOURCE"},
				right: []string{"INPUT", "CACHED", "WRITE", "OUTPUT"}, text: []string{"SOURCE"},
			}
			unpriced := 0
			for _, p := range prices {
				if p.Unpriced {
					unpriced++
					t.add(p.Target, figure.Unpriced)
					continue
				}
				t.add(p.Target, p.Input, p.CachedInput, p.CacheWrite, p.Output, p.Source)
			}
			fmt.Fprintln(a.err, "US dollars per million tokens.")
			if unpriced > 0 {
				fmt.Fprintf(a.err, "%s no price. Set it: penstock price set PROVIDER/MODEL --input DOLLARS --output DOLLARS\n",
					plural(unpriced, "model has", "models have"))
			}
			return a.printTable(&t)
		},
	}
	c.Flags().BoolVar(&missing, "missing", false, "only models without a price")
	return c
}
