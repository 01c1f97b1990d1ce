package sim

import (
	"bytes"
	"compress/gzip"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func take(w Workload, n int) []Arrival {
	out := make([]Arrival, 0, n)
	for a := range w.Arrivals() {
		if out = append(out, a); len(out) == n {
			break
		}
	}
	return out
}

// The published figures of the trace are the judge, not the fit.
func TestWorkloadHasThePublishedLengths(t *testing.T) {
	t.Parallel()
	all := take(Workload{Seed: 7, Rate: 50}, 200_000)
	check := func(name string, length func(Arrival) int, mean, median, p99 float64) {
		t.Helper()
		values, sum := make([]int, len(all)), 0
		for i, a := range all {
			values[i] = length(a)
			sum += values[i]
		}
		slices.Sort(values)
		at := func(q float64) float64 { return float64(values[int(q*float64(len(values)))]) }
		for _, c := range []struct {
			name      string
			got, want float64
		}{{"mean", float64(sum) / float64(len(all)), mean}, {"median", at(0.5), median}, {"p99", at(0.99), p99}} {
			if math.Abs(c.got/c.want-1) > 0.04 {
				t.Errorf("%s %s is %.0f, published %.0f", name, c.name, c.got, c.want)
			}
		}
	}
	check("input", func(a Arrival) int { return a.Input }, 1155, 1020, 4142)
	check("output", func(a Arrival) int { return a.Output }, 211, 129, 601)
}

func TestWorkloadArrivesInBursts(t *testing.T) {
	t.Parallel()
	const rate, hours = 5.53, 10
	all := take(Workload{Seed: 3, Rate: rate}, rate*3600*hours)
	gaps := make([]float64, len(all)-1)
	for i := range gaps {
		gaps[i] = (all[i+1].At - all[i].At).Seconds()
		if gaps[i] < 0 {
			t.Fatalf("request %d comes before the one before it", i+1)
		}
	}
	dispersion := func(window time.Duration) float64 {
		counts := make([]float64, all[len(all)-1].At/window)
		for _, a := range all {
			if i := int(a.At / window); i < len(counts) {
				counts[i]++
			}
		}
		mean, variance := moments(counts)
		return variance / mean
	}
	mean, variance := moments(gaps)
	for _, c := range []struct {
		what           string
		got, low, high float64
	}{
		{"requests a second", 1 / mean, rate * 0.9, rate * 1.1},
		{"variation of gaps (trace: 1.08)", math.Sqrt(variance) / mean, 1.02, 1.14},
		{"dispersion over seconds (trace: 1.35)", dispersion(time.Second), 1.2, 1.5},
		{"dispersion over minutes (trace: 15.5)", dispersion(time.Minute), 10, 22},
	} {
		if c.got < c.low || c.got > c.high {
			t.Errorf("%s: %.3f, want %.2f to %.2f", c.what, c.got, c.low, c.high)
		}
	}
}

func moments(values []float64) (mean, variance float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		variance += (v - mean) * (v - mean) / float64(len(values))
	}
	return mean, variance
}

func TestWorkloadDependsOnItsSeedAlone(t *testing.T) {
	t.Parallel()
	if !slices.Equal(take(Workload{Seed: 1, Rate: 9}, 500), take(Workload{Seed: 1, Rate: 9}, 500)) {
		t.Error("one seed, two workloads")
	}
	if slices.Equal(take(Workload{Seed: 1, Rate: 9}, 500), take(Workload{Seed: 2, Rate: 9}, 500)) {
		t.Error("two seeds, one workload")
	}
	if got := take(Workload{Seed: 1}, 1); len(got) != 0 {
		t.Errorf("rate 0 yields %v", got)
	}
}

func TestPromptIsAsLongAsSaid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ input, output int }{{1, 1}, {3, 120}, {10, 7}, {1020, 129}, {14050, 1000}} {
		text := Prompt(c.input, c.output)
		want := max(c.input, promptTokens(len("say:  ")+1, 0)-1)
		if got := promptTokens(len(text), 0); got != c.input && got > want+2 {
			t.Errorf("Prompt(%d, %d) counts as %d", c.input, c.output, got)
		}
		if n, ok := lengthAsked(text); !ok || n != c.output {
			t.Errorf("Prompt(%d, %d) asks for %d, %v", c.input, c.output, n, ok)
		}
	}
}

func TestReadTrace(t *testing.T) {
	t.Parallel()
	want := []Arrival{{0, 374, 44}, {4315 * time.Millisecond, 396, 109}}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("ms,input,output\n0,374,44\n4315,396,109\n")); err != nil || z.Close() != nil {
		t.Fatal("cannot compress")
	}
	for name, text := range map[string]string{
		"own":           "ms,input,output\n0,374,44\n4315,396,109\n",
		"gzip":          zipped.String(),
		"azure 2023":    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9955900,396,109\n",
		"azure 2024":    "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.000000+00:00,374,44\n2024-05-10 00:00:04.315000+00:00,396,109",
		"other columns": "output,kind,ms,input\n109,a,5315,396\n44,b,1000,374\n",
		"mark, CRLF":    "\ufeffms,input,output\r\n0,374,44\r\n4315,396,109\r\n",
	} {
		got, err := ReadTrace(strings.NewReader(text))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestReadTraceNamesTheMistake(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                "the trace has no header: EOF",
		"a,b\n1,2\n":                      `line 1: the header is "a,b" (it must have ms,input,output or TIMESTAMP,ContextTokens,GeneratedTokens)`,
		"ms,input,output\n":               "the trace has no rows",
		"ms,input,output\n0,1,2\nx,1,2\n": `line 3: "x" is not a number of milliseconds`,
		"ms,input,output\n0,1,-2\n":       `line 2: "-2" is not a number of tokens`,
		"ms,input,output\n0,1\n":          "read the trace: record on line 2: wrong number of fields",
		"TIMESTAMP,ContextTokens,GeneratedTokens\nnow,1,2\n": `line 2: "now" is not a time such as 2023-11-16 18:15:46.680590`,
		"\x1f\x8bxx": "the trace is not whole gzip: unexpected EOF",
	} {
		if _, err := ReadTrace(strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add([]byte("ms,input,output\n0,374,44\n4315,396,109\n"))
	f.Add([]byte("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := ReadTrace(bytes.NewReader(text))
		if err != nil {
			return
		}
		if len(all) == 0 || all[0].At != 0 {
			t.Fatalf("starts at %v", all)
		}
		for i, a := range all {
			if a.Input < 1 || a.Output < 1 || (i > 0 && a.At < all[i-1].At) {
				t.Fatalf("row %d: %+v", i, a)
			}
		}
	})
}
