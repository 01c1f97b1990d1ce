package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
)

// A member is one file of a support bundle.
type member struct{ name, what, text string }

func (a *app) bundleCommand() *cobra.Command {
	f, names := &adminFlags{}, false
	c := &cobra.Command{
		Use:   "support-bundle FILE.tar.gz",
		Short: "Gather what helps whoever helps you, without secrets",
		Long: `Gather what helps whoever helps you into one file: versions, the configuration with secrets masked,
what doctor finds, and of the running Penstock its state, alerts, stops, metrics, stacks and last log
lines. It holds no secrets, no bodies and no records, and names of projects only with --with-names. It says
what is inside, so that you can look before you send it. It takes an admin key, and is in the audit chain.`,
		Example: "  penstock support-bundle penstock-support.tar.gz -c penstock.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			members := a.gather(cmd.Context(), f, names)
			if err := writeBundle(args[0], members); err != nil {
				if errors.Is(err, fs.ErrExist) {
					return fail(exitFailure, "name another file, or remove it", "%s is there already", args[0])
				}
				return fail(exitFailure, "", "The bundle cannot be written: %v", err)
			}
			if f.json {
				list := []string{}
				for _, m := range members {
					list = append(list, m.name)
				}
				return a.printJSON(map[string]any{"file": args[0], "members": list})
			}
			t := table{head: []string{"INSIDE", "BYTES", "WHAT"}, right: []string{"BYTES"}, text: []string{"WHAT"}}
			for _, m := range members {
				t.add(m.name, fmt.Sprint(len(m.text)), m.what)
			}
			if err := a.printTable(&t); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.err, "%s is written. Look before you send it: tar -xzf %[1]s\n", args[0])
			return err
		},
	}
	f.add(c)
	c.Flags().BoolVar(&names, "with-names", false, "leave names of projects in")
	return c
}

// gather makes the members. What cannot be had is a member that says so.
func (a *app) gather(ctx context.Context, f *adminFlags, names bool) []member {
	all := []member{
		{"version.json", "this program", jsonText(map[string]string{"version": a.version, "commit": a.commit})},
		{"doctor.json", "what penstock doctor finds", jsonText(diagnose(a.examine(ctx, f)))},
	}
	flags := map[string]string{}
	if f.data != "" {
		flags["data"] = f.data
	}
	shown := ""
	if cfg, err := config.Load(ctx, config.Options{File: f.file, Env: a.env, Flags: flags}); err != nil {
		shown = "cannot be read; see doctor.json\n"
	} else {
		shown = string(config.Show(cfg))
	}
	all = append(all, member{"config.yaml", "the configuration in force for this command, secrets masked", shown})
	own := *f
	client, err := a.client(ctx, &own)
	if err != nil {
		return append(all, member{"serving.txt", "why nothing of a running Penstock is here", err.Error() + "\n"})
	}
	return append(all, client.gather(ctx, names)...)
}

// gather asks the running Penstock.
func (c *adminClient) gather(ctx context.Context, names bool) []member {
	var st admin.Status
	var inside admin.Support
	var stops page[admin.Stop]
	var alerts page[admin.Alert]
	ask := func(path string, into any) string {
		if err := c.call(ctx, http.MethodGet, path, nil, nil, into); err != nil {
			return err.Error() + "\n"
		}
		return ""
	}
	text := func(failed string, v any) string {
		if failed != "" {
			return failed
		}
		return jsonText(v)
	}
	noStatus, noAlerts, noStops, noInside := ask("/status", &st), ask("/alerts", &alerts), ask("/stops", &stops), ask("/support", &inside)
	for i := range stops.Data {
		if s := &stops.Data[i]; !names {
			s.ProjectName, s.ByName, s.Reason = "", "", "" // a reason is free text, and may name anybody
		}
	}
	stacks, log := inside.Stacks, strings.Join(inside.Log, "")
	if noInside != "" {
		stacks, log = noInside, noInside
	}
	inside.Stacks, inside.Log = "", nil
	return []member{
		{"status.json", "how the running Penstock is", text(noStatus, st)},
		{"alerts.json", "open alerts", text(noAlerts, alerts)},
		{"stops.json", "what operators have stopped", text(noStops, stops)},
		{"process.json", "memory, store, versions of the running Penstock", text(noInside, inside)},
		{"stacks.txt", "what its goroutines do, counted", stacks},
		{"log.txt", "its last log lines, without those of exchanges; they have addresses of clients", log},
		{"metrics.txt", "its metrics; labels are ids and names of models", c.metrics(ctx)},
	}
}

// metrics are the text for Prometheus.
func (c *adminClient) metrics(ctx context.Context) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/metrics", nil)
	if err != nil {
		return err.Error() + "\n"
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := c.http.Do(req)
	if err != nil {
		return err.Error() + "\n"
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("status %d\n", resp.StatusCode)
	}
	return string(b)
}

func jsonText(v any) string {
	b, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err.Error() + "\n"
	}
	return string(b) + "\n"
}

// writeBundle writes members into a new file that only its owner may read.
func writeBundle(path string, members []member) (err error) {
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	archive := tar.NewWriter(zipped)
	for _, m := range members {
		head := &tar.Header{Name: "penstock-support/" + m.name, Mode: 0o600, Size: int64(len(m.text)), ModTime: time.Now().Truncate(time.Second)}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		if _, err := io.WriteString(archive, m.text); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b.Bytes())
	return errors.Join(err, file.Close())
}
