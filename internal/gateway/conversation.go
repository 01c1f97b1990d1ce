package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/conversation"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/rawjson"
	"github.com/penstock/penstock/internal/wire/responses"
)

// What callers of the Responses dialect go on from is kept here, and never at a provider. A request that goes on has what came
// before put into its input, so that any provider can be asked, and any other after it.

// kept reports whether the response of an exchange is kept, which [Gateway.goOn] decides.
func kept(x *pipeline.Exchange) bool {
	return !x.Caller.Stateless && string(x.Request.Field("store")) != "false"
}

// goOn puts what a request goes on from into its input, and sees to it that its response is kept.
func (g *Gateway) goOn(ctx context.Context, x *pipeline.Exchange, c *call) error {
	r, keeper := x.Request, g.o.Conversations
	if err := stateless(x, keeper); err != nil {
		return err
	}
	if keeper == nil {
		r.Set("store", []byte("false"))
		return nil
	}
	project := x.Caller.Project
	input, changed, err := g.resolved(ctx, project, r.Field("input"), c)
	if err != nil {
		return err
	}
	previous := textOf(r.Field("previous_response_id"))
	if previous != "" {
		turns, err := keeper.Conversation(ctx, project, previous, c.runtime.Limits.Body)
		if err != nil {
			return err
		}
		past := make([]responses.Past, len(turns))
		for i := range turns {
			past[i] = responses.Past{Input: turns[i].Input, Response: turns[i].Response}
		}
		joined, err := responses.Joined(past, input, c.roomFor(g, "previous_response_id"))
		if err != nil {
			return err
		}
		r.Set("input", joined)
		x.Note("conversation", "goes on from "+previous+", the turns before it are "+strconv.Itoa(len(turns)), 0)
	} else if changed {
		r.Set("input", input)
	}
	r.Set("previous_response_id", nil)
	if kept(x) && x.Op == llm.OpChat {
		c.keep = func(response []byte) bool {
			id := responses.ID(response)
			return keeper.Keep(ctx, project, x.ID, conversation.Turn{
				ID: id, Previous: previous, Input: responses.InputItems(input, id), Response: response, Items: responses.OutputIDs(response),
			})
		}
	}
	return nil
}

// take counts bytes that a call holds beside its body against what bodies may hold together, until it ends.
func (c *call) take(g *Gateway, n int64) error {
	if l := c.runtime.Limits; !g.hold(n, l.InFlight) {
		return overloaded(l)
	}
	c.held += n
	return nil
}

// roomFor says whether a call may have a further input of so many bytes in the place of its own, and takes them; param is what made it so
// large. It is asked before the input is made.
func (c *call) roomFor(g *Gateway, param string) func(size int64) error {
	return func(n int64) error {
		if l := c.runtime.Limits; n > l.Body {
			f := fault.New(fault.BodyTooLarge, "%s: with what it stands for, the input is %s, the limit is %s (limits.body).", param, size(n), size(l.Body))
			f.Param = param
			return f
		}
		return c.take(g, n)
	}
}

// stateless refuses what needs something that is kept where nothing is.
func stateless(x *pipeline.Exchange, keeper *conversation.Keeper) error {
	why := ""
	switch {
	case keeper == nil:
		why = "This Penstock keeps no responses"
	case x.Caller.Stateless:
		why = "The project " + x.Caller.ProjectName + " is not to have responses kept"
	default:
		return nil
	}
	refuse := func(param, what, hint string) error {
		f := fault.New(fault.InvalidRequest, "%s: %s, %s.", param, why, what)
		f.Param, f.Hint = param, hint
		return f
	}
	if previous := textOf(x.Request.Field("previous_response_id")); previous != "" {
		return refuse("previous_response_id", "so there is none to go on from", "Send what was said before in the input.")
	}
	if string(x.Request.Field("store")) == "true" {
		return refuse("store", "so this one cannot be", "Leave it out, or send false.")
	}
	return nil
}

// textOf is what a JSON string says, "" for all else.
func textOf(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return string(rawjson.Unquoted(value))
}

// resolved is an input with the items that it names by their ids; changed says that there are such.
func (g *Gateway) resolved(ctx context.Context, project string, input []byte, c *call) (out []byte, changed bool, err error) {
	ids := responses.References(input)
	if len(ids) == 0 {
		return input, false, nil
	}
	holders, err := g.o.Conversations.Holders(ctx, project, ids, c.runtime.Limits.Body)
	if err != nil {
		return nil, false, err
	}
	items := itemsOf(holders)
	for _, id := range ids {
		if items[id] == nil {
			f := fault.New(fault.ResponseNotFound, "input: there is no item %q here.", clip(id))
			f.Param, f.Hint = "input", "Send the item itself."
			return nil, false, f
		}
	}
	out, err = responses.Resolved(input, items, c.roomFor(g, "input"))
	return out, true, err
}

// itemsOf are items by their ids, of the turns that hold them. Each response is walked once, however many of its items are named.
func itemsOf(holders map[string]conversation.Turn) map[string][]byte {
	items, walked := make(map[string][]byte, len(holders)), map[string]bool{}
	for _, t := range holders {
		if walked[t.ID] {
			continue
		}
		walked[t.ID] = true
		for id, item := range responses.OutputItems(t.Response) {
			if holders[id].ID == t.ID {
				items[id] = item
			}
		}
	}
	return items
}

// A holding is a writer that has the whole response when it has written the end.
type holding interface {
	whole(ev llm.Event) []byte
}

// keepWhole keeps the response that has just been written to its end, before its caller is told that. If that cannot be done,
// the end says so: nobody is to find out by going on from it.
func (c *call) keepWhole(written []byte, answer writer, ev llm.Event) []byte {
	h, ok := answer.(holding)
	if !ok || c.keep == nil || c.keep(h.whole(ev)) {
		return written
	}
	return responses.AppendUnkept(written)
}

// turn is a kept response of the caller's project.
func (g *Gateway) turn(ctx context.Context, c *call, id string) (conversation.Turn, error) {
	if g.o.Conversations == nil {
		return conversation.Turn{}, notThere(conversation.NotKept(id))
	}
	t, err := g.o.Conversations.Turn(ctx, c.grant.Caller.Project, id)
	return t, notThere(err)
}

// notThere is an error about a response that the path names, and no member of a body.
func notThere(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.ResponseNotFound {
		f.Param, f.Hint = "", "It was not kept, or its 30 days are over."
	}
	return err
}

// response shows a kept response, or what was asked for it.
func (g *Gateway) response(w http.ResponseWriter, r *http.Request, c *call) {
	id, items := strings.CutSuffix(c.rest, "/input_items")
	if strings.Contains(id, "/") {
		g.refuse(w, r, c, fault.New(fault.UnknownRoute, "No route %s here.", clip(r.URL.Path)))
		return
	}
	query := r.URL.Query()
	if query.Get("stream") == "true" {
		f := fault.New(fault.InvalidRequest, "stream: a response that has ended is not streamed again.")
		f.Param, f.Hint = "stream", "Leave it out."
		g.refuse(w, r, c, f)
		return
	}
	t, err := g.turn(r.Context(), c, id)
	if err != nil {
		g.refuse(w, r, c, err)
		return
	}
	if !items {
		c.show(w, t.Response)
		return
	}
	page := responses.Page{After: query.Get("after"), Limit: 20, Ascending: query.Get("order") == "asc"}
	if s := query.Get("limit"); s != "" {
		if page.Limit, err = strconv.Atoi(s); err != nil || page.Limit < 1 || page.Limit > 100 {
			g.refuse(w, r, c, fault.New(fault.InvalidRequest, "limit: %q; send a whole number from 1 to 100.", clip(s)))
			return
		}
	}
	out, ok := responses.AppendItems(nil, t.Input, page)
	if !ok {
		g.refuse(w, r, c, fault.New(fault.InvalidRequest, "after: there is no item %q in the input of this response.", clip(page.After)))
		return
	}
	c.show(w, out)
}

// deleteResponse deletes a kept response.
func (g *Gateway) deleteResponse(w http.ResponseWriter, r *http.Request, c *call) {
	var err error
	if g.o.Conversations == nil {
		err = conversation.NotKept(c.rest)
	} else {
		err = g.o.Conversations.Delete(r.Context(), c.grant.Caller.Project, c.rest)
	}
	if err != nil {
		g.refuse(w, r, c, notThere(err))
		return
	}
	c.show(w, responses.AppendDeleted(nil, c.rest))
}
