// Package deploy tests the files in its folder, which install and watch Penstock: by the programs that read them where they
// are here (promtool, systemd-analyze), and by running the real binary the way that the files have it run. It holds no code.
package deploy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// tool finds a program. Without it the test is left out, in words; where nothing may be left out, it fails.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		leaveOut(t, name+" is not here (scripts/tools.sh deploy)")
	}
	return path
}

func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("PENSTOCK_TEST_ALL") != "" {
		t.Fatal(why)
	}
	t.Skip("LEFT OUT: " + why)
}

// built is where build put the binary, "" if nobody asked for it.
var built string

// build makes the binary that the container file makes, once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "penstock-deploy")
	if err != nil {
		return "", err
	}
	built = dir
	bin := filepath.Join(dir, "penstock")
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin, "../cmd/penstock")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built) // a temporary directory
	}
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// A line is what serve and sim say when they listen.
type line struct {
	Addr, Data, Admin string
	KeyFile           string `json:"admin_key_file"`
}

// start runs a command until the test ends and gives its first line.
func start(t *testing.T, dir, program string, args ...string) line {
	t.Helper()
	c := exec.Command(program, args...)
	c.Dir, c.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var l line
	first, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(first, &l)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt) // it may have ended
		kill := time.AfterFunc(10*time.Second, func() { _ = c.Process.Kill() })
		defer kill.Stop()
		_ = c.Wait()
	})
	if err != nil {
		_ = c.Process.Kill()
		_ = c.Wait()
		t.Fatalf("%s %v did not start: %v\n%s", program, args, err, stderr.String())
	}
	return l
}

// run runs a command to its end.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	c := exec.Command(program, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// call sends a request and gives status and body.
func call(t *testing.T, method, url, key, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
