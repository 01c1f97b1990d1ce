package cli

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/figure"
)

// verify walks a chain and prints what it finds. What breaks off the walk for another reason than a bad entry is no
// verdict.
func (a *app) verify(f *adminFlags, v *audit.Verifier, head audit.Head, points int, walk func(func(*audit.Entry) error) error) error {
	var seen atomic.Int64
	stop := a.progress(time.Now(), 0, func() string {
		if head.Seq > 0 {
			return fmt.Sprintf("%s of %s entries", figure.Count(seen.Load()), figure.Count(head.Seq))
		}
		return figure.Count(seen.Load()) + " entries"
	})
	err := walk(func(e *audit.Entry) error {
		seen.Add(1)
		return v.Next(e)
	})
	stop()
	if err == nil {
		err = v.End(head)
	}
	var b *audit.Break
	if err != nil && !errors.As(err, &b) {
		return err
	}
	out := verdict{Intact: b == nil, Chain: v.At().Chain, Entries: v.At().Seq, Checkpoints: points, Break: b}
	if f.json {
		if err := a.printJSON(out); err != nil {
			return err
		}
		if b != nil {
			return fail(exitFailure, "", "")
		}
		return nil
	}
	if b != nil {
		return fail(exitFailure, "stop changing things; keep the store as it is, and compare it with a backup and with the checkpoints",
			"The audit chain is broken: %s", b.Text)
	}
	_, err = fmt.Fprintf(a.out, "The audit chain is whole: %s entries%s.\n", figure.Count(out.Entries), pointWords(points))
	return err
}

func pointWords(n int) string {
	if n == 0 {
		return ", and no checkpoint to hold them against"
	}
	return ", held against " + plural(n, "checkpoint", "checkpoints")
}
