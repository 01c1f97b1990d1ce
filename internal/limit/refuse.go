package limit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/window"
)

// settledOf is how a pool stands for a caller: what a lease has free is free.
func settledOf(short *escrow.Short) escrow.State {
	s := short.State
	s.Held = max(s.Held-max(short.Free-s.Free(), 0), 0)
	return s
}

// refuse is the end of a call that a budget has not enough left for.
func (l *Limiter) refuse(x *pipeline.Exchange, h *held, s escrow.State, need int64) error {
	whose := ""
	if h.part >= 0 {
		kept := h.Kept[h.part]
		whose = fmt.Sprintf(" for calls without the tag %s, for which %d%% is kept", quote(kept.Tag), kept.Share)
	}
	f := fault.New(fault.QuotaSpent, "The budget %s has %s free of %s%s (settled %s, held %s, unknown %s), and this call may come to %s.",
		h.name, h.show(s.Free()), h.show(h.limit()), whose, h.show(s.Settled), h.show(s.Held), h.show(s.Unknown), h.show(need))
	if h.Per == window.Term {
		f.Message += " It ends " + h.in.End.Format(time.RFC3339) + "."
	} else {
		f.Message += " It begins anew " + h.in.End.Format(time.RFC3339) + "."
	}
	f.Spent = true
	f.RetryAfter = min(max(h.in.End.Sub(l.o.Now()), time.Second), time.Minute)
	f.Detail = detailOf(h, s, need)
	x.Note("budget", "refused by "+h.budgetRule.id+": "+h.show(need)+" needed, "+h.show(s.Free())+" free", 0)
	l.markRefused(h, s, need)
	l.m.refused.WithLabelValues(string(h.Unit)).Inc()
	return &pipeline.Unaffordable{Why: "over the budget " + h.name, Err: f}
}

// unfunded is the error of a store that does not say what is left.
func unfunded(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, context.Canceled) {
		return fault.From(err)
	}
	return unavailable(err, "How much is left of your budget")
}

// show writes an amount in the unit of the budget.
func (h *held) show(n int64) string {
	if h.Unit == TokenCount {
		return strconv.FormatInt(n, 10) + " tokens"
	}
	return "$" + llm.Money(n).String()
}

// detailOf is what a program can read of a refusal.
func detailOf(h *held, s escrow.State, need int64) []byte {
	unit := "_nano"
	if h.Unit == TokenCount {
		unit = "_tokens"
	}
	detail := map[string]any{
		"budget": h.budgetRule.id, "limit" + unit: h.limit(), "settled" + unit: s.Settled, "held" + unit: s.Held, "unknown" + unit: s.Unknown,
		"free" + unit: s.Free(), "needed" + unit: need,
	}
	if h.part >= 0 {
		detail["kept_for"] = h.Kept[h.part].Tag
	}
	if !h.in.End.IsZero() {
		detail["resets_at"] = h.in.End.Format(time.RFC3339)
	}
	b, err := json.Marshal(detail, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return b
}
