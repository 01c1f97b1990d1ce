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
	var v admin.PriceVariant
	var remove bool
	c := &cobra.Command{
		Use:   "set PROVIDER/MODEL --input DOLLARS --output DOLLARS",
		Short: "Set what a model costs, in US dollars per million tokens",
		Long: `Set what a model costs, in US dollars per million tokens, and with --per-call for each call beside them.

With --tier, --credential or --hours it is what holds instead for calls that this is true of: that a service tier served
(as long as the provider does not say: that ask for it), with one of the provider's credentials, at some hours of each day.
Where several fit, the one with the most conditions counts. The usual price and other such prices stay as they are.`,
		Example: `  penstock price set house/qwen3-32b --input 0.15 --output 0.60
  penstock price set openai/gpt-5-mini --input 0.25 --output 2 --cached-input 0.025
  penstock price set openai/gpt-5-mini --tier flex --input 0.125 --output 1
  penstock price set deepseek/deepseek-chat --hours 16:30-00:30 --input 0.135 --output 0.55
  penstock price set openai/gpt-5-mini --credential 2 --input 0.20 --output 1.60
  penstock price set perplexity/sonar --input 1 --output 1 --per-call 0.005
  penstock price set anthropic/claude-haiku-4-5 --input 1 --output 5 --cached-input 0.1 --cache-write 1.25 --cache-write-hour 2 --per-search 0.01
  penstock price set openai/gpt-audio --input 2.5 --output 10 --input-audio 32 --output-audio 64
  penstock price set openai/gpt-5-mini --tier flex --remove`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			in.Target = args[0]
			prices := []admin.PriceInput{in}
			special := v.Tier != "" || v.Credential != 0 || v.Hours != ""
			switch {
			case !remove && (in.Input == "" || in.Output == ""):
				return fail(exitUsage, "write 0 if it is free", "--input and --output are needed")
			case !special && (remove || v.Zone != ""):
				return fail(exitUsage, "", "--remove and --zone are for prices with --tier, --credential or --hours")
			}
			have, err := a.havePrices(cmd, client)
			if err != nil {
				return err
			}
			if special {
				v.Input, v.Output, v.CachedInput, v.CacheWrite, v.PerCall = in.Input, in.Output, in.CachedInput, in.CacheWrite, in.PerCall
				v.PartTexts = in.PartTexts
				if prices[0], err = withVariant(have, in.Target, v, remove); err != nil {
					return err
				}
				return a.putPrices(cmd, f, client, prices)
			}
			keepVariants(have, prices)
			return a.putPrices(cmd, f, client, prices)
		},
	}
	c.Flags().StringVar(&in.Input, "input", "", "a million prompt tokens")
	c.Flags().StringVar(&in.Output, "output", "", "a million generated tokens")
	c.Flags().StringVar(&in.CachedInput, "cached-input", "", "a million prompt tokens from the provider's cache (default: as --input)")
	c.Flags().StringVar(&in.CacheWrite, "cache-write", "", "a million prompt tokens written to the provider's cache (default: as --input)")
	c.Flags().StringVar(&in.PerCall, "per-call", "", "each call, beside its tokens (0: nothing; default: as before, of special prices as usual)")
	c.Flags().StringVar(&in.CacheWriteHour, "cache-write-hour", "", "a million prompt tokens kept in the provider's cache for an hour (default: as before, of special prices as usual; else 1.6 times --cache-write)")
	c.Flags().StringVar(&in.InputAudio, "input-audio", "", "a million tokens of sound that is heard (default: as before, of special prices as usual; else as --input)")
	c.Flags().StringVar(&in.CachedAudio, "cached-audio", "", "the same from the provider's cache (default: as before, of special prices as usual; else as --cached-input)")
	c.Flags().StringVar(&in.OutputAudio, "output-audio", "", "a million tokens of sound that is spoken (default: as before, of special prices as usual; else as --output)")
	c.Flags().StringVar(&in.OutputImage, "output-image", "", "a million tokens of pictures that are made (default: as before, of special prices as usual; else as --output)")
	c.Flags().StringVar(&in.PerSearch, "per-search", "", "each search that the provider makes, beside its tokens (0: nothing; default: as before, of special prices as usual)")
	c.Flags().StringVar(&in.Hourly, "hourly", "", "what the target's servers cost an hour, spread over its tokens; the rates are then what these weigh (0: nothing)")
	c.Flags().StringVar(&v.Tier, "tier", "", "only calls of this service_tier, such as flex or priority")
	c.Flags().IntVar(&v.Credential, "credential", 0, "only calls with this one of the provider's credentials, counted from 1")
	c.Flags().StringVar(&v.Hours, "hours", "", "only calls at these hours of each day, as HH:MM-HH:MM")
	c.Flags().StringVar(&v.Zone, "zone", "", "time zone of --hours (default UTC)")
	c.Flags().BoolVar(&remove, "remove", false, "remove the price with these conditions")
	return c
}

// havePrices are the prices in force, by target.
func (a *app) havePrices(cmd *cobra.Command, client *adminClient) (map[string]admin.Price, error) {
	all, err := list[admin.Price](cmd.Context(), client, "/prices", url.Values{})
	have := map[string]admin.Price{}
	for _, p := range all {
		have[p.Target] = p
	}
	return have, err
}

// keepVariants lets what holds for some calls, and the amounts for a call and an hour, stay where the usual price is set.
func keepVariants(have map[string]admin.Price, prices []admin.PriceInput) {
	for i := range prices {
		is := have[prices[i].Target]
		prices[i].Variants = is.Variants
		if prices[i].PerCall == "" {
			prices[i].PerCall = is.PerCall
		}
		prices[i].Keep(is.PartTexts) // one that is lost is sound booked as text
		if prices[i].Hourly == "" {
			prices[i].Hourly = is.Hourly
		}
	}
}

// withVariant is the price of a target with one of its variants set or removed.
func withVariant(have map[string]admin.Price, target string, v admin.PriceVariant, remove bool) (admin.PriceInput, error) {
	is, ok := have[target]
	if !ok || is.Unpriced {
		return admin.PriceInput{}, fail(exitFailure, "set it first, without --tier, --credential and --hours", "%s has no usual price", target)
	}
	in := admin.PriceInput{Target: target, Input: is.Input, Output: is.Output, CachedInput: is.CachedInput, CacheWrite: is.CacheWrite, PartTexts: is.PartTexts, PerCall: is.PerCall, Hourly: is.Hourly}
	if is.Set != nil {
		in.Source = is.Source
	}
	in.Variants = slices.DeleteFunc(slices.Clone(is.Variants), func(w admin.PriceVariant) bool {
		return v.Tier == w.Tier && v.Credential == w.Credential && v.Hours == w.Hours && v.Zone == w.Zone
	})
	switch {
	case !remove:
		in.Variants = append(in.Variants, v)
	case len(in.Variants) == len(is.Variants):
		return in, fail(exitFailure, "penstock price list --json shows them", "%s has no price with these conditions", target)
	}
	return in, nil
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
CSV has the columns provider/model,input,output,cached_input,cache_write in US dollars per million tokens, per_call, and those
of parts: cache_write_1h,input_audio,cached_audio,output_audio,output_image,per_search. Those after output may be left out.
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
			have, err := a.havePrices(cmd, client)
			if err != nil {
				return err
			}
			keepVariants(have, prices)
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
				for _, part := range p.Words() {
					t.add("  " + part)
				}
				if p.PerCall != "" {
					t.add("  $" + p.PerCall + " for each call")
				}
				if p.Hourly != "" {
					t.add("  $" + p.Hourly + " an hour, spread over tokens")
				}
				for _, v := range p.Variants {
					t.add("  "+v.When(), v.Input, v.CachedInput, v.CacheWrite, v.Output, "")
					for _, part := range v.Words() {
						t.add("    " + part)
					}
					if v.PerCall != "" {
						t.add("    $" + v.PerCall + " for each call")
					}
				}
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
