// Package proc starts the benchmark's processes and reads from the kernel what they have used.
//
// It works where there is a /proc file system, so on Linux. It does not look inside the processes.
package proc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of the times in /proc/PID/stat. Linux gives them to programs in hundredths of a second everywhere.
const tick = 10 * time.Millisecond

// startTime is how long a process may take to say that it listens.
const startTime = 30 * time.Second

// A Process is a child that serves.
type Process struct {
	cmd  *exec.Cmd
	done chan error
}

// Start runs a program and waits for its first line on standard output, which says where it listens. Its standard error
// goes into the file. The process is asked to end when ctx ends, and killed ten seconds later.
func Start(ctx context.Context, log *os.File, env []string, program string, args ...string) (*Process, []byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	p := &Process{cmd: cmd, done: make(chan error, 1)}
	lines := make(chan []byte, 1)
	go func() {
		in := bufio.NewReader(out)
		line, err := in.ReadBytes('\n')
		if err == nil {
			lines <- line
		}
		_, _ = io.Copy(io.Discard, in) // until it ends
		p.done <- cmd.Wait()
	}()
	select {
	case line := <-lines:
		return p, line, nil
	case err := <-p.done:
		return nil, nil, fmt.Errorf("%s ended before it listened: %w\n%s", program, errors.Join(err, io.ErrUnexpectedEOF), end(log))
	case <-time.After(startTime):
		p.Stop()
		return nil, nil, fmt.Errorf("%s did not listen within %s", program, startTime)
	}
}

// end is the end of a log.
func end(log *os.File) []byte {
	const most = 2 << 10
	info, err := log.Stat()
	if err != nil {
		return nil
	}
	text := make([]byte, min(info.Size(), most))
	n, _ := log.ReadAt(text, info.Size()-int64(len(text))) // what can be read is better than nothing
	return text[:n]
}

// Stop asks the process to end and waits for it.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err
	case <-time.After(startTime):
		_ = p.cmd.Process.Kill()
	}
}

// CPU is the processor time that all threads of the process have used, in steps of 10 ms.
func (p *Process) CPU() (time.Duration, error) { return cpu(p.cmd.Process.Pid) }

func cpu(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseCPU(stat)
}

// parseCPU adds the 14th and the 15th field, user and system time. The second field is the program's name, which may hold
// blanks and brackets, so fields are counted from its last bracket.
func parseCPU(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%q is not what /proc/PID/stat looks like", stat)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// Quiet waits until the process has used next to nothing for some time, so that work which it put off is over, and gives
// its processor time then. It waits at most the given time.
func (p *Process) Quiet(ctx context.Context, limit time.Duration) (time.Duration, error) {
	const look, calm = 50 * time.Millisecond, 4
	last, err := p.CPU()
	still := 0
	for end := time.Now().Add(limit); err == nil && still < calm && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(look):
		}
		var now time.Duration
		if now, err = p.CPU(); now-last < tick {
			still++
		} else {
			still = 0
		}
		last = now
	}
	return last, err
}

// Memory is what the process holds, in bytes.
type Memory struct {
	Resident int64 // in memory now, mapped files included
	Anon     int64 // of it, what no file stands behind: heap and stacks
	Peak     int64 // the most that was ever resident
}

// Memory reads what the process holds.
func (p *Process) Memory() (Memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return Memory{}, err
	}
	return parseMemory(string(status))
}

func parseMemory(status string) (Memory, error) {
	var m Memory
	fields := map[string]*int64{"VmRSS": &m.Resident, "RssAnon": &m.Anon, "VmHWM": &m.Peak}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		if into := fields[name]; into != nil {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return Memory{}, fmt.Errorf("/proc/PID/status: %w", err)
			}
			*into = kb << 10
		}
	}
	if m.Resident == 0 || m.Peak == 0 {
		return Memory{}, errors.New("/proc/PID/status has no VmRSS or no VmHWM")
	}
	return m, nil
}
