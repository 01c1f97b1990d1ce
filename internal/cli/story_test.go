package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The stories in testdata/script run the real binary, as a user would. Their own commands:
//
//	simulate                  run simulated providers; their address is $SIM
//	up ARGS...                run penstock serve --json ARGS; sets PENSTOCK_URL, PENSTOCK_ADMIN_URL and ADMIN_KEY_FILE
//	down SIGNAL CODE          send it a signal and expect it to exit with the code within ten seconds
//	key NAME ARGS...          make a project of the name, if there is none, and a key in it; sets PENSTOCK_API_KEY
//	http METHOD PATH [FILE]   call the data plane with PENSTOCK_API_KEY; stdout is the status and the body
//	eventually TEXT CMD...    run a command until its stdout holds the text, for at most eight seconds
//	expand FILE               replace $SIM and the like in a file
//	for-help NAMES...         expect that each command's --help has an example or subcommands
//	receive                   run a receiver of alerts; see there
//	collect PATH              run a collector of telemetry; see there
//	bill FILE                 write what the simulator has billed as the plain CSV that "penstock reconcile" reads
//	setenvout NAME            put the last stdout, trimmed, into a variable
func TestStories(t *testing.T) {
	t.Parallel()
	bin := build(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(bin)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Values["processes"] = &processes{}
			e.Defer(e.Values["processes"].(*processes).kill) //nolint:forcetypeassert // put there above
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"simulate": simulate, "up": up, "down": down, "key": key, "http": call, "eventually": eventually, "setenvout": setenvout,
			"expand": expand, "for-help": forHelp, "receive": receive, "collect": collect, "bill": bill,
		},
	})
}

// build makes the binary that the stories run.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "penstock")
	out, err := exec.Command("go", "build", "-o", bin, "../../cmd/penstock").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

type processes struct {
	all   []*exec.Cmd
	serve *exec.Cmd
}

func (p *processes) kill() {
	for _, c := range p.all {
		if c.ProcessState == nil {
			_ = c.Process.Kill() // it may have ended by itself
			_ = c.Wait()
		}
	}
}

func processesOf(ts *testscript.TestScript) *processes { return ts.Value("processes").(*processes) } //nolint:forcetypeassert // Setup put it there

// start runs a command of the binary until the story ends, and decodes its first line of stdout.
func start(ts *testscript.TestScript, log string, line any, args ...string) *exec.Cmd {
	c := exec.Command("penstock", args...)
	if path, err := exec.LookPath(filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], "penstock")); err == nil {
		c.Path, c.Err = path, nil
	}
	c.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "WORK", "SIM", "OPENAI_API_KEY", "OPENAI_BASE_URL", "PENSTOCK_DATA"} {
		if v := ts.Getenv(name); v != "" {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	stderr, err := os.OpenFile(ts.MkAbs(log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer stderr.Close()
	c.Stderr = stderr
	stdout, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	p := processesOf(ts)
	p.all = append(p.all, c)
	first, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		text, _ := os.ReadFile(ts.MkAbs(log)) // shown if it can be
		ts.Fatalf("penstock %s did not start: %v\n%s", strings.Join(args, " "), err, text)
	}
	ts.Check(json.Unmarshal(first, line))
	return c
}

func simulate(ts *testscript.TestScript, _ bool, args []string) {
	var line struct{ Event, Addr string }
	start(ts, "sim.log", &line, append([]string{"sim", "--listen", "127.0.0.1:0", "--json"}, args...)...)
	ts.Setenv("SIM", line.Addr)
}

func up(ts *testscript.TestScript, _ bool, args []string) {
	var line struct {
		Event, Data, Admin string
		KeyFile            string `json:"admin_key_file"`
	}
	processesOf(ts).serve = start(ts, "serve.log", &line, append([]string{"serve", "--json"}, args...)...)
	if line.Event != "listening" {
		ts.Fatalf("the line is %+v", line)
	}
	ts.Setenv("PENSTOCK_URL", "http://"+line.Data)
	ts.Setenv("PENSTOCK_ADMIN_URL", "http://"+line.Admin)
	ts.Setenv("ADMIN_KEY_FILE", line.KeyFile)
}

var signals = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP}

func down(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: down SIGNAL [CODE]")
	}
	c := processesOf(ts).serve
	ts.Check(c.Process.Signal(signals[args[0]]))
	if len(args) == 1 {
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		if got := fmt.Sprint(c.ProcessState.ExitCode()); got != args[1] {
			text, _ := os.ReadFile(ts.MkAbs("serve.log")) // shown if it can be
			ts.Fatalf("exit code %s, want %s (%v)\n%s", got, args[1], err, text)
		}
	case <-time.After(10 * time.Second):
		ts.Fatalf("still running ten seconds after SIG%s", args[0])
	}
}

func key(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: key PROJECT ARGS...")
	}
	admin := []string{"--admin-key-file", ts.Getenv("ADMIN_KEY_FILE")}
	_ = ts.Exec("penstock", append([]string{"project", "create", args[0]}, admin...)...) // it may be there
	ts.Check(ts.Exec("penstock", append(append([]string{"key", "create", "--project", args[0]}, admin...), args[1:]...)...))
	ts.Setenv("PENSTOCK_API_KEY", strings.TrimSpace(ts.ReadFile("stdout")))
}

func setenvout(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

func call(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: http METHOD PATH [FILE]")
	}
	var body io.Reader
	if len(args) > 2 {
		body = bytes.NewReader([]byte(ts.ReadFile(args[2])))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	base := ts.Getenv("PENSTOCK_URL")
	if strings.HasPrefix(args[1], "/_") {
		base = "http://" + ts.Getenv("SIM")
	}
	if strings.HasPrefix(args[1], "/admin/") || args[1] == "/metrics" {
		base = ts.Getenv("PENSTOCK_ADMIN_URL")
	}
	req, err := http.NewRequestWithContext(ctx, args[0], base+args[1], body)
	ts.Check(err)
	if k := ts.Getenv("PENSTOCK_API_KEY"); k != "" {
		req.Header.Set("Authorization", "Bearer "+k)
	}
	resp, err := new(http.Client).Do(req)
	if err != nil {
		if neg {
			return
		}
		ts.Fatalf("%v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ts.Check(err)
	_, err = fmt.Fprintf(ts.Stdout(), "%d\n", resp.StatusCode)
	ts.Check(err)
	for name, v := range resp.Header {
		fmt.Fprintf(ts.Stdout(), "%s: %s\n", name, strings.Join(v, ", "))
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", b)
}

func eventually(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(8 * time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if strings.Contains(out, args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %q after eight seconds (%v):\n%s", args[0], errors.Join(err), out)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

func forHelp(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Check(ts.Exec("penstock", name, "--help"))
		if out := ts.ReadFile("stdout"); !strings.Contains(out, "Usage:") || !strings.Contains(out, "Flags:") {
			ts.Fatalf("penstock %s --help:\n%s", name, out)
		}
	}
}

// bill writes the simulator's bill by day, provider and model, once no call is open.
func bill(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: bill FILE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ts.Getenv("SIM")+"/_bill?wait=10s", nil)
	ts.Check(err)
	resp, err := new(http.Client).Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	var got struct {
		Open  int
		Calls []struct {
			Provider, Model, Do string
			Started             time.Time
			Prompt              int64 `json:"prompt_tokens"`
			Cached              int64 `json:"cached_tokens"`
			Completion          int64 `json:"completion_tokens"`
			Cost                int64 `json:"cost_nano"`
		}
	}
	ts.Check(json.NewDecoder(resp.Body).Decode(&got))
	if got.Open > 0 {
		ts.Fatalf("%d calls are still open", got.Open)
	}
	text := "day,provider,model,input_tokens,cached_input_tokens,output_tokens,cost_usd\n"
	for _, c := range got.Calls {
		model := c.Model
		if c.Do != "" {
			model += "?" + c.Do
		}
		text += fmt.Sprintf("%s,%s,%q,%d,%d,%d,%d.%09d\n", c.Started.UTC().Format(time.DateOnly), c.Provider, model, c.Prompt, c.Cached, c.Completion, c.Cost/1e9, c.Cost%1e9)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
