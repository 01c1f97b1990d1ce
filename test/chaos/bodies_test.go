//go:build linux

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const megabyte = 1_000_000

// Fault 58: 100 clients send 20 MB each at once, into a process that may have 512 MB. Some are answered, the others are
// told to come again; what is over the limit of one body is told so; the process lives, and gives the memory back.
func TestLargeBodies(t *testing.T) {
	rng := draws(t)
	caged, cage := memoryCage(t, 512<<20)
	// The buffers that bodies grow out of live until they are collected: twice in_flight, and a little, is needed.
	w := newWorld(t, rng, plan{
		around: cage, env: []string{"GOMEMLIMIT=400MiB"},
		config: "limits: { body: 20MB, in_flight: 200MB }\n" + providers + "models: { plain: { targets: [\"sim-a/x?events=3&first=200ms\"] } }\n",
	})
	w.must(call{model: "plain"})
	before := w.serve.memory(t, "VmRSS")
	fits := bytes.Repeat([]byte("a"), 19*megabyte+900_000)
	over := append(bytes.Clone(fits), fits[:megabyte]...)
	all := make([]answer, 110)
	var done sync.WaitGroup
	for i := range all {
		done.Go(func() {
			switch {
			case i < 100:
				all[i] = w.upload(fits, false, i%2 == 0)
			default: // with its length announced, and without
				all[i] = w.upload(over, i%2 == 0, i%3 == 0)
			}
		})
	}
	done.Wait()
	peak := w.serve.memory(t, "VmHWM")
	kinds := map[string]int{}
	for i, a := range all {
		kind := fmt.Sprintf("%d %s", a.status, a.code())
		kinds[kind]++
		switch {
		case i < 100 && a.whole:
		case i < 100 && a.status == http.StatusServiceUnavailable && a.code() == "overloaded" && a.header.Get("Retry-After") != "" && strings.Contains(string(a.body), "limits.in_flight"):
		case i >= 100 && a.status == http.StatusRequestEntityTooLarge && a.code() == "body_too_large":
		case i >= 100 && a.status == http.StatusServiceUnavailable && a.code() == "overloaded": // its length was not known
		default:
			t.Errorf("body %d: %s", i, a)
		}
	}
	if kinds["200 "] < 1 || kinds["413 body_too_large"] < 5 || kinds["503 overloaded"] == 0 {
		t.Errorf("%v", kinds)
	}
	if peak > 512<<20 {
		t.Errorf("the most memory held was %d MB", peak>>20)
	}
	w.must(call{model: "plain"})
	given := time.Now()
	eventually(t, 3*time.Minute, "the memory is given back", func() error {
		if now := w.serve.memory(t, "VmRSS"); now > before+64<<20 {
			return fmt.Errorf("%d MB are held, %d MB were before", now>>20, before>>20)
		}
		return nil
	})
	if held := w.metric("penstock_held_body_bytes"); held != 0 {
		t.Errorf("%v bytes of bodies are still counted as held", held)
	}
	t.Logf("%v; memory: %d MB before, %d MB at most (in a cage of 512 MB: %v), given back after %s",
		kinds, before>>20, peak>>20, caged, time.Since(given).Round(time.Second))
}

// upload makes a call with a prompt of the given text. A careful client asks before it sends all of it; another one sends
// it to the end whatever it is answered, and must see the answer all the same.
func (w *world) upload(text []byte, chunked, careful bool) answer {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	head, tail := `{"model":"plain","messages":[{"role":"user","content":"`, `"}]}`
	body := io.MultiReader(strings.NewReader(head), bytes.NewReader(text), strings.NewReader(tail))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/chat/completions", body)
	if err != nil {
		return answer{err: err}
	}
	if !chunked {
		req.ContentLength = int64(len(head) + len(text) + len(tail))
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	if careful {
		req.Header.Set("Expect", "100-continue")
	}
	client := newClient()
	client.Transport.(*http.Transport).ExpectContinueTimeout = 10 * time.Second
	defer client.CloseIdleConnections()
	return do(client, req, nil)
}

// memoryCage gives a shell command that runs a process in a group which may have so much memory, if this machine lets us
// make one; else the process is only looked at.
func memoryCage(t *testing.T, size int) (caged bool, around string) {
	t.Helper()
	for _, kind := range []struct{ root, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"},
	} {
		dir := filepath.Join(kind.root, fmt.Sprintf("penstock-chaos-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		remove := func() {
			eventually(t, patience, "an empty group", func() error {
				if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
				return nil
			})
		}
		if err := os.WriteFile(filepath.Join(dir, kind.limit), fmt.Append(nil, size), 0o600); err != nil {
			remove()
			continue
		}
		t.Cleanup(remove)
		return true, `echo $$ > ` + dir + `/cgroup.procs && exec "$@"`
	}
	t.Log("NO CAGE: this machine lets us make no group with a limit on memory; the process is only looked at")
	return false, ""
}
