package admin

import (
	"context"

	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/fault"
)

// Bodies are what was asked and answered in an exchange.
type Bodies struct {
	Exchange string `json:"exchange"`
	Project  string `json:"project"` // id
	Stream   bool   `json:"stream"`  // the answer is the events of a stream
	Whole    bool   `json:"whole"`   // the answer came to its end
	Request  Body   `json:"request"` // as the provider was sent it, but for the model's name
	Answer   Body   `json:"answer"`  // as the provider gave it; of size 0 if it gave none
}

// A Body is a text of which everything, or the beginning, was kept.
type Body struct {
	Size int64  `json:"size"` // in bytes, as it was seen
	Kept int64  `json:"kept"` // in bytes; less than size if it was longer than bodies.max
	Text string `json:"text"` // bytes that are no UTF-8 are replaced
}

func bodyOf(p bodies.Part) Body {
	return Body{Size: p.Size, Kept: int64(len(p.Text)), Text: bodies.Readable(p.Text, p.Cut())}
}

var forReason = Param{"reason", "why they are read: needed; it stays in the audit chain"}

// readBodies gives bodies out. That it does is in the audit chain before.
func (a *API) readBodies(ctx context.Context, c *call) (Bodies, error) {
	if a.o.Bodies == nil {
		return Bodies{}, fault.New(fault.NotThere, "Nothing is kept here: records are off.")
	}
	reason, err := bodies.CleanReason(c.query["reason"])
	if err != nil { // before anything is said of the exchange
		return Bodies{}, err
	}
	r, err := a.exchange(ctx, c)
	if err != nil {
		return Bodies{}, err
	}
	got, err := a.o.Bodies.Read(ctx, r.Project, r.ID, reason)
	if err != nil {
		return Bodies{}, err
	}
	return Bodies{
		Exchange: r.ID, Project: r.Project, Stream: got.Stream, Whole: got.Whole, Request: bodyOf(got.Request), Answer: bodyOf(got.Answer),
	}, nil
}
