package usage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// The words below tell a record the way a colleague would. Command line and console use the same ones. They may hold texts
// that callers and providers wrote: whoever shows them makes them harmless for what they are shown on.

// Headline is who asked for what and who answered: "support -> claude/claude-haiku-4-5".
func (r *Record) Headline() string {
	if r.Target == "" {
		return r.Model + " -> nobody"
	}
	return r.Model + " -> " + r.Target
}

// StatusWords are the status that the caller got, and what it did not see of the way there: "200 after one failure".
func (r *Record) StatusWords() string {
	s := strconv.Itoa(r.Status)
	if r.Status == 0 {
		s = "status unknown"
	}
	if failed := r.FailedTries(); failed > 0 && r.Error == nil {
		if failed == 1 {
			return s + " after one failure"
		}
		return fmt.Sprintf("%s after %d failures", s, failed)
	}
	return s
}

// FailedTries counts the tries that did not answer, but not one that was outrun by another and cancelled for that.
func (r *Record) FailedTries() int {
	n := 0
	for i := range r.Tries {
		if r.failed(&r.Tries[i]) {
			n++
		}
	}
	return n
}

func (r *Record) failed(t *pipeline.Try) bool {
	return t.Reason != "" && t.Reason != "ok" && !r.outrun(t)
}

// Story is whose fault it was, and what the caller saw of it.
func (r *Record) Story() string {
	var s string
	failed := r.FailedTries()
	switch {
	case r.Replayed:
		return "Penstock ended while this was under way; what the caller saw is not known. Settled after a restart, from the journal."
	case r.Error != nil && r.Error.Code == string(fault.ClientGone):
		s = "The client left before the answer was whole."
	case r.Error != nil && r.Status < 400:
		s = "The answer broke off; the caller saw an error event."
	case r.Error != nil && len(r.Tries) == 0:
		s = "The request was refused; no target was asked."
	case r.Error != nil && failed == 0:
		s = "A target answered, and the answer could not be passed on; the caller saw the error."
	case r.Error != nil:
		s = "No target answered; the caller saw the error."
	case failed > 0:
		first := &r.Tries[slices.IndexFunc(r.Tries, func(t pipeline.Try) bool { return r.failed(&t) })]
		s = fmt.Sprintf("%s failed (%s), so %s answered. The caller saw no error.", first.Target, TryWords(first), r.Target)
	case r.raceWords() == "":
		s = "Answered at the first try."
	}
	if r.Error == nil {
		s = strings.TrimSpace(s + r.raceWords())
	}
	return s + r.endWords() + " Penstock's own time: " + figure.Duration(time.Duration(r.Timings.OverheadNS)) + "."
}

// answering is the try that answered, else the last. There must be one.
func (r *Record) answering() *pipeline.Try {
	if i := slices.IndexFunc(r.Tries, func(t pipeline.Try) bool { return t.Reason == "ok" }); i >= 0 {
		return &r.Tries[i]
	}
	return &r.Tries[len(r.Tries)-1]
}

// endWords say that an answer which came whole may not be all that the model had to say.
func (r *Record) endWords() string {
	if r.Error != nil || len(r.Tries) == 0 {
		return ""
	}
	switch finish := r.answering().Finish; {
	case slices.Contains(finish, llm.FinishFilter):
		return " The provider's content filter ended the answer."
	case slices.Contains(finish, llm.FinishLength):
		return " The answer ended at its limit of tokens."
	}
	return ""
}

// FinishWords are why the choices of a try's answer ended, as the provider said: "stop", "3 x stop", "stop, length"; "" if it
// did not.
func FinishWords(t *pipeline.Try) string {
	if len(t.Finish) == 0 {
		return ""
	}
	first := t.Finish[0]
	switch same := !slices.ContainsFunc(t.Finish, func(r llm.FinishReason) bool { return r != first }); {
	case len(t.Finish) == 1:
		return string(first)
	case same:
		return fmt.Sprintf("%d x %s", len(t.Finish), first)
	}
	all := make([]string, len(t.Finish))
	for i, reason := range t.Finish {
		all[i] = string(reason)
	}
	return strings.Join(all, ", ")
}

// OtherModel is the model that a provider says has answered, if that is not the one that was asked for; else "".
func OtherModel(t *pipeline.Try) string {
	if asked, _ := llm.ParseTarget(t.Target); t.Model == asked.Model {
		return ""
	}
	return t.Model
}

// ServedWords are how and where a provider says that it served a try, if that is not as usual; else "".
func ServedWords(t *pipeline.Try) string {
	s := ""
	if tier := llm.TierOf(t.Tier); tier != "" && tier != llm.UsualTier {
		s = " as " + t.Tier
	}
	if t.Region != "" && t.Region != "global" && t.Region != "not_available" {
		s += " in " + t.Region
	}
	if s != "" {
		s = "served" + s
	}
	return s
}

// TryWords are how a try ended: the provider's status, or the reason.
func TryWords(t *pipeline.Try) string {
	if t.Reason == "status" && t.Status != 0 {
		return strconv.Itoa(t.Status)
	}
	return strings.ReplaceAll(t.Reason, "_", " ")
}

// SettledWords are what a try cost, as far as that is known.
func SettledWords(t *pipeline.Try) string {
	switch {
	case t.Outcome == pipeline.Unknown:
		return "what was billed is unknown"
	case t.Unpriced:
		return "unpriced"
	}
	s := "settled "
	if t.Outcome == pipeline.SettledEstimated {
		s += "~"
	}
	s += figure.Money(t.CostNano)
	if t.FeeNano > 0 {
		s += ", of which " + figure.Money(t.FeeNano) + " beside the tokens"
	}
	if t.Cut {
		s += ", and more may be billed"
	}
	return s
}

// CostWords are what the exchange cost, as far as that is known.
func (r *Record) CostWords() string {
	switch {
	case r.Unpriced:
		return figure.Unpriced
	case r.CostUnknown() && r.CostNano == 0:
		return "cost unknown"
	case r.CostUnknown():
		return "at least " + figure.Money(r.CostNano)
	}
	return figure.Money(r.CostNano)
}

// ClockWords say that the clock of the process was wrong, and by how much; "" if it was not.
func (r *Record) ClockWords() string {
	off := time.Duration(r.ClockMS) * time.Millisecond
	switch {
	case off < 0:
		return "this Penstock's clock was " + figure.Duration(-off) + " ahead of the store's; times are the store's"
	case off > 0:
		return "this Penstock's clock was " + figure.Duration(off) + " behind the store's; times are the store's"
	}
	return ""
}

// partWords are what the parts of a usage are, in the order of [llm.Parts.All].
var partWords = [len(llm.PartNames)]string{
	"of the input kept in the cache for an hour", "of the input kept in the cache for five minutes", "of the input sound", "of the input cached sound", "of the output sound", "of the output pictures", "searches",
}

// PartWords are the parts of a usage that are not 0.
func PartWords(u llm.Usage) (all []string) {
	for i, n := range u.Parts.All() {
		if *n > 0 {
			all = append(all, figure.Count(*n)+" "+partWords[i])
		}
	}
	return all
}

// TokenWords are how many tokens went in and out, and who counted them.
func TokenWords(u llm.Usage) string {
	s := fmt.Sprintf("%s in, %s out", figure.Count(u.Input), figure.Count(u.Output))
	for _, part := range PartWords(u) {
		s += ", " + part
	}
	if u.CachedInput > 0 {
		s += fmt.Sprintf(", %s of the input cached", figure.Count(u.CachedInput))
	}
	if u.Reasoning > 0 {
		s += fmt.Sprintf(", %s of the output reasoning", figure.Count(u.Reasoning))
	}
	switch {
	case u.Estimated:
		return s + " (estimated by Penstock)"
	case u.Input+u.Output == 0:
		return s
	}
	return s + " (reported by the provider)"
}
