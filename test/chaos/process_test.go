//go:build linux

package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// startTime is how long a process may take to say that it listens; the machine may be busy with other tests.
	startTime = 30 * time.Second
	// patience is how long is waited for what must happen soon.
	patience = 20 * time.Second
)

// A process is a Penstock or a simulator.
type process struct {
	cmd     *exec.Cmd
	logFile string
	ended   chan struct{} // closed when it is gone; cmd.ProcessState is set then
}

// A launch says how a process is started.
type launch struct {
	dir  string
	args []string
	env  []string
	// around is a shell command in which "$@" is the process: limits are set there.
	around  string
	program string // another than the one under test, "" for that one
}

// start runs the binary and decodes its first line of stdout. The process ends with the test: it is asked to, and must
// then exit with 0, unless the test has ended it already.
func start(t *testing.T, l launch, line any) *process {
	t.Helper()
	p := &process{logFile: filepath.Join(t.TempDir(), l.args[0]+".log"), ended: make(chan struct{})}
	program := binary
	if l.program != "" {
		program = l.program
	}
	words := append([]string{program}, l.args...)
	if l.around != "" {
		words = append([]string{"/bin/sh", "-c", l.around, "sh"}, words...)
	}
	p.cmd = exec.Command(words[0], words[1:]...)
	p.cmd.Dir, p.cmd.Env = l.dir, append(environment(), l.env...)
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make(chan []byte, 1)
	go func() { // ends with the process
		text, _ := bufio.NewReader(out).ReadBytes('\n') // an empty line is not understood, below
		first <- text
		_ = p.cmd.Wait() // its state says how it ended
		close(p.ended)
	}()
	t.Cleanup(func() { p.finish(t) })
	select {
	case text := <-first:
		if err := json.Unmarshal(text, line); err != nil {
			<-p.ended
			t.Fatalf("penstock %v said %q instead of where it listens, and ended with %d:\n%s", l.args, text, p.code(), p.log(t))
		}
	case <-time.After(startTime):
		t.Fatalf("penstock %v did not listen within %s:\n%s", l.args, startTime, p.log(t))
	}
	return p
}

// environment is ours without what is set up for other Penstocks and providers.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PENSTOCK_") || strings.HasPrefix(v, "OPENAI_") || strings.HasPrefix(strings.ToLower(v), "http")
	})
}

// finish stops what still runs.
func (p *process) finish(t *testing.T) {
	if !p.running() {
		return
	}
	if code := p.end(t, syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("%v ended with %d", p.cmd.Args, code)
	}
	if t.Failed() {
		t.Logf("the end of the log of %v:\n%s", p.cmd.Args, tail(p.log(t)))
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v to %v: %v", s, p.cmd.Args, err)
	}
}

// end sends a signal, waits and gives the exit code: -1 if a signal killed it.
func (p *process) end(t *testing.T, s syscall.Signal, most time.Duration) int {
	t.Helper()
	p.signal(t, s)
	return p.wait(t, most)
}

func (p *process) wait(t *testing.T, most time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(most):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says where it stands
		<-time.After(time.Second)
		_ = p.cmd.Process.Kill()
		<-p.ended
		t.Fatalf("%v still ran after %s:\n%s", p.cmd.Args, most, tail(p.log(t)))
	}
	return p.code()
}

func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

func (p *process) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// tail is the end of a log, without the lines of exchanges.
func tail(text string) string {
	const most = 40
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.Contains(l, `"msg":"exchange"`) })
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// proc reads a file of /proc about the process.
func (p *process) proc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
	if err != nil {
		t.Fatalf("%v: %v\n%s", p.cmd.Args, err, tail(p.log(t)))
	}
	return string(text)
}

// memory is a figure of /proc/PID/status in bytes: VmRSS is what is held, VmHWM the most that ever was.
func (p *process) memory(t *testing.T, name string) int64 {
	t.Helper()
	for line := range strings.Lines(p.proc(t, "status")) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == name+":" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("no %s in /proc", name)
	return 0
}

// cpu is the time that the process has computed. A tick is 10 ms on every Linux that Go runs on.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	_, rest, _ := strings.Cut(p.proc(t, "stat"), ") ") // the command's name may hold spaces
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] { // user and system
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// descriptors is how many files and sockets are open.
func (p *process) descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// command runs a command of the binary to its end.
func command(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env = dir, append(environment(), "SIM_KEY="+providerKey)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// eventually waits until check is content. Its last complaint fails the test.
func eventually(t *testing.T, most time.Duration, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(most); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %v", what, most, err)
		}
	}
}
