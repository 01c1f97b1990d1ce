package sim

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody is the largest request that is read, in bytes.
const maxBody = 64 << 20

// TryHeader is the request header whose value the bill keeps: the gateway's id of its try.
const TryHeader = "X-Penstock-Try"

// A call is one request in its passage. It belongs to one goroutine.
type call struct {
	sim     *Sim
	p       *provider
	r       *http.Request
	path    string  // under the provider's name
	dialect dialect // of this path
	player  *player
	line    Call // of the bill
	log     *Request
	body    []byte
	op      operation
	model   *model
	do      behaviour
	nth     int // of the calls with this plan, from 0
	random  *rand.Rand
	answer  *answer // nil until there is one
	begun   bool    // generation began, so the prompt is billed
}

// An upset ends a call at the connection: without an answer.
type upset string

func (u upset) Error() string { return string(u) }

// serveProvider answers one request to a provider, and bills it.
func (s *Sim) serveProvider(w http.ResponseWriter, r *http.Request, p *provider, path string) {
	c := &call{sim: s, p: p, r: r, path: path, line: Call{ID: "req_" + s.nextID(), Provider: p.name, Started: time.Now(), Try: r.Header.Get(TryHeader)}}
	c.player = newPlayer(r.Context(), w, &c.do)
	w.Header().Set("X-Request-Id", c.line.ID)
	c.dialect = p.dialectOf(path)
	op, known := c.dialect.operation(r.Method, path)
	c.op = op
	c.line.Operation = op.String()
	billed := known && op != opModels && op != opCount
	if billed {
		s.ledger.open(p.name)
	}
	defer func() {
		c.end(billed)
		if c.line.Cut || (c.line.Status == 0 && c.line.Canceled.IsZero()) {
			c.player.hangUp(c.do.reset)
		}
	}()
	err := c.read()
	if err == nil && c.fast(known) {
		return
	}
	if err == nil {
		c.log = c.logged()
		s.requests.add(c.log)
		if !known {
			err = refuse(http.StatusNotFound, "", fmt.Sprintf("Invalid URL (%s %s)", r.Method, r.URL.Path))
		} else {
			err = c.run()
		}
	}
	c.conclude(err)
}

// conclude turns what stopped a call into what the client sees of it.
func (c *call) conclude(err error) {
	var refused *refusal
	if errors.As(err, &refused) {
		err = c.refuse(refused)
	}
	var u upset
	switch {
	case errors.Is(err, errCut):
		c.line.Cut = true
	case errors.Is(err, errCanceled):
		c.line.Canceled = time.Now()
	case errors.As(err, &u):
		c.line.Status = 0
		c.do.reset = u == doRst
	}
}

// end bills the call.
func (c *call) end(billed bool) {
	c.line.Ended = time.Now()
	c.line.Bytes = c.player.bytes
	if c.begun {
		u := c.answer.billed()
		c.line.Prompt, c.line.Cached, c.line.Completion = int64(u.prompt), int64(u.cached), int64(u.completion)
		c.line.Parts = u.parts()
		c.line.Cost = c.model.price.cost(u)
	}
	if c.log != nil {
		c.sim.requests.update(func() {
			c.log.Status, c.log.Ended, c.log.Canceled = c.line.Status, c.line.Ended, c.line.Canceled
		})
	}
	if billed {
		c.sim.ledger.close(&c.line)
	}
}

// read takes the body whole: only then does the server notice a client that leaves.
func (c *call) read() error {
	body, err := io.ReadAll(http.MaxBytesReader(c.player.w, c.r.Body, maxBody))
	c.body = body
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "", fmt.Sprintf("The body is over %d bytes.", maxBody))
	case err != nil:
		return errCanceled
	}
	return nil
}

func (c *call) logged() *Request {
	return &Request{
		ID: c.line.ID, Provider: c.p.name, Method: c.r.Method, Path: c.r.URL.RequestURI(), Header: shownHeader(c.r.Header),
		Body: string(c.body[:min(len(c.body), maxLoggedBody)]), Size: len(c.body), Time: c.line.Started,
	}
}

// run takes a request from the door to the answer's last byte.
func (c *call) run() error {
	if err := c.admit(); err != nil {
		return err
	}
	if c.op == opModels {
		if err := c.troubledList(); err != nil {
			return err
		}
		return c.send(c.dialect.models(c.p.names))
	}
	parse := c.dialect.chat
	switch c.op {
	case opEmbed:
		parse = c.dialect.embed
	case opJudge:
		parse = c.dialect.(judge).moderate
	}
	in, err := parse(c.path, c.body)
	if err != nil {
		return err
	}
	if err := c.behave(in); err != nil {
		return err
	}
	if c.do.stall.at == spotHeaders {
		if err := c.player.pause(c.do.stallFor); err != nil {
			return err
		}
	}
	c.answer = newAnswer(c.line.ID[len("req_"):], in, c.model, &c.do, c.random)
	c.answer.model = c.line.Model
	if err := c.planned(); err != nil {
		c.begun = c.do.bill != nil
		return err
	}
	if counts, ok := c.dialect.(counter); ok && c.op == opCount {
		return c.send(counts.countOf(in.prompt))
	}
	return c.speak(in)
}

// admit is the provider's door: outages, key, rate limit.
func (c *call) admit() error {
	switch kind := c.p.down(c.line.Started); kind {
	case "":
	case "refuse":
		return upset(doRst)
	case "hang":
		return sleep(c.r.Context(), 0)
	case "503":
		return refuse(http.StatusServiceUnavailable, "server_is_overloaded", "The server is overloaded or not ready yet.")
	case "429":
		return &refusal{status: http.StatusTooManyRequests, code: "slow_down", message: "Too many requests for now.", retryAfter: "1"}
	}
	if !c.p.allowed(c.r, c.body) {
		return refuse(http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided: "+masked(credential(c.r.Header))+".")
	}
	if wait, ok := c.p.limit.admit(c.line.Started); !ok {
		return &refusal{
			status: http.StatusTooManyRequests, code: "rate_limit_exceeded",
			message:    fmt.Sprintf("Rate limit reached: %d requests in %s.", c.p.limit.requests, c.p.limit.per),
			retryAfter: strconv.Itoa(int(wait/time.Second) + 1),
		}
	}
	return nil
}

// behave finds the model and collects the knobs: its own, those of a fault that is drawn, of the name, of the header.
func (c *call) behave(in *ask) error {
	name, knobs, _ := strings.Cut(in.model, "?")
	c.line.Model, c.line.Stream = name, in.stream
	c.model = c.p.find(name)
	if c.model == nil {
		return refuse(http.StatusNotFound, "model_not_found", fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", name))
	}
	c.line.Number = c.model.calls.Add(1)
	c.random = randomness(c.sim.seed, c.p.name, c.model.name, c.line.Number)
	header := c.r.Header.Get(KnobHeader)
	c.do = c.model.do
	fault := draw(c.random.Float64(), c.p.troubled(name, c.line.Started), c.model.faults)
	for _, text := range []string{fault, knobs, header} {
		if err := c.do.set(text); err != nil {
			c.do = behaviour{} // it is half set, and the error itself should be answered well
			return badRequest("model", "Simulator: "+err.Error())
		}
	}
	c.line.Do = strings.Trim(strings.Join([]string{fault, knobs, header}, "&"), "&")
	if in.dimensions == 0 || c.do.ignoreFormat {
		in.dimensions = c.model.dimensions
	}
	if c.do.ignoreFormat {
		in.base64 = false
	}
	if len(c.do.plan) > 0 {
		c.nth = c.p.planned(in.model + "\n" + header)
	}
	return nil
}

// planned is what status and plan say about this call: an error, an upset, or nothing for 200.
func (c *call) planned() error {
	if c.do.redirect != "" {
		c.player.w.Header().Set("Location", c.do.redirect)
		return refuse(http.StatusTemporaryRedirect, "", "Look elsewhere.")
	}
	switch what := step(c.do.plan, c.nth); what {
	case "", "200":
		return nil
	case doDrop, doRst:
		return upset(what)
	case doHang:
		return sleep(c.r.Context(), 0)
	default:
		status, err := strconv.Atoi(what)
		if err != nil {
			return err
		}
		r := refuse(status, c.do.code, c.do.message)
		if r.message == "" {
			r.message = fmt.Sprintf("Simulated error: %d %s.", status, http.StatusText(status))
		}
		return r
	}
}

// refuse answers with an error.
func (c *call) refuse(r *refusal) error {
	c.line.Status = r.status
	if c.do.leak {
		r.message += " Credential: " + credential(c.r.Header)
	}
	if after := step(c.do.retryAfter, c.nth); after != "" {
		r.retryAfter = after
	}
	if r.retryAfter != "" {
		c.player.w.Header().Set("Retry-After", r.retryAfter)
	}
	r.pad = c.do.pad
	if d, ok := c.dialect.(labeller); ok {
		d.label(c.player.w.Header(), r)
	}
	if c.do.html {
		return c.page(r.status)
	}
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		c.player.begin(r.status, typeJSON, -1)
		return nil
	}
	return c.player.whole(r.status, typeJSON, c.dialect.failure(r), nil)
}

// The content types of answers.
const (
	typeJSON   = "application/json"
	typeStream = "text/event-stream; charset=utf-8"
	typeHTML   = "text/html"
)

// page answers with HTML, as a proxy in front of a provider does.
func (c *call) page(status int) error {
	body := fmt.Sprintf("<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%[1]d %[2]s</h1></center>\r\n</body>\r\n</html>\r\n", status, http.StatusText(status))
	return c.player.whole(status, typeHTML, []byte(body), nil)
}

// send answers 200 with JSON.
func (c *call) send(body []byte) error {
	c.line.Status = http.StatusOK
	return c.player.whole(http.StatusOK, typeJSON, body, nil)
}
