//go:build faults

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A fault is what happens at the n-th pass of a place.
type fault struct {
	what string
	n    int
	long time.Duration
}

var (
	mu     sync.Mutex // guards passes
	passes = map[string]int{}
	faults = sync.OnceValue(read)
)

// read takes the variable apart. What cannot be read ends the process: a test that tests nothing must not pass.
func read() map[string]fault {
	all := map[string]fault{}
	for one := range strings.SplitSeq(os.Getenv(Variable), ",") {
		if one == "" {
			continue
		}
		place, rest, _ := strings.Cut(one, "=")
		parts := strings.Split(rest, ":")
		f := fault{what: parts[0], n: 1}
		var err error
		if len(parts) > 1 {
			f.n, err = strconv.Atoi(parts[1])
		}
		if len(parts) > 2 && err == nil {
			f.long, err = time.ParseDuration(parts[2])
		}
		if err != nil || f.what != "crash" && f.what != "stall" && f.what != "error" {
			panic(Variable + ": " + one)
		}
		all[place] = f
	}
	return all
}

// Pass notes that a place was come to, and does what was asked for there.
func Pass(place string) error {
	f, ok := faults()[place]
	if !ok {
		return nil
	}
	mu.Lock()
	passes[place]++
	now := passes[place] == f.n
	mu.Unlock()
	if !now {
		return nil
	}
	switch f.what {
	case "crash":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stall":
		time.Sleep(f.long)
		return nil
	}
	return fmt.Errorf("failpoint %s", place)
}

// Skew is by how much the clock is wrong.
func Skew() time.Duration {
	text := os.Getenv(SkewVariable)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(SkewVariable + ": " + err.Error())
	}
	return d
}
