package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// serveOwn answers the simulator's own routes.
func (s *Sim) serveOwn(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /", "GET /_knobs":
		writeJSON(w, http.StatusOK, map[string]any{
			"routes": []string{"GET /_bill?since=SEQ|TIME&calls=0&wait=5s", "GET /_requests?n=N", "GET /_peak", "GET /_knobs", "GET /_health", "POST /_reset", "POST /_outage", "POST /_trouble"},
			"header": KnobHeader, "knobs": Knobs(),
		})
	case "GET /_health":
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	case "GET /_bill":
		s.serveBill(w, r)
	case "GET /_requests":
		n := -1
		if text := r.URL.Query().Get("n"); text != "" {
			var err error
			if n, err = count(text); err != nil {
				complain(w, "n: "+err.Error())
				return
			}
		}
		writeJSON(w, http.StatusOK, map[string]any{"requests": s.requests.last(n)})
	case "GET /_peak":
		all, providers := s.Peak()
		writeJSON(w, http.StatusOK, map[string]any{"all": all, "providers": providers})
	case "POST /_reset":
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	case "POST /_outage":
		s.serveOutage(w, r)
	case "POST /_trouble":
		s.serveTrouble(w, r)
	default:
		writeJSON(w, http.StatusNotFound, map[string]string{"error": fmt.Sprintf("There is no %s %s here. GET /_knobs lists the routes.", r.Method, r.URL.Path)})
	}
}

// serveBill gives the bill. since=SEQ lists the calls after that one, since=TIME those that ended later; calls=0 none.
// wait=5s waits so long at most until no call is open.
func (s *Sim) serveBill(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	keep := func(*Call) bool { return true }
	if query.Get("calls") == "0" {
		keep = func(*Call) bool { return false }
	}
	if since := query.Get("since"); since != "" {
		seq, notSeq := strconv.ParseInt(since, 10, 64)
		moment, notTime := time.Parse(time.RFC3339, since)
		switch {
		case notSeq == nil:
			keep = func(c *Call) bool { return c.Seq > seq }
		case notTime == nil:
			keep = func(c *Call) bool { return c.Ended.After(moment) }
		default:
			complain(w, fmt.Sprintf("since: %q is neither a call's seq nor a time such as 2026-01-02T15:04:05Z", since))
			return
		}
	}
	if wait := query.Get("wait"); wait != "" {
		d, err := parseDuration(wait)
		if err != nil {
			complain(w, "wait: "+err.Error())
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		_ = s.Idle(ctx) // the bill itself says how many calls are open
	}
	writeJSON(w, http.StatusOK, s.billOf(keep))
}

// serveOutage takes {"provider": "sim-a", "kind": "503", "for": "12s"}; a for of 0 ends the outage.
func (s *Sim) serveOutage(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Provider string `json:"provider"`
		Kind     string `json:"kind"`
		For      string `json:"for"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLoggedBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		complain(w, fmt.Sprintf(`The body is not {"provider": NAME, "kind": KIND, "for": DURATION}: %v`, err))
		return
	}
	length, err := parseDuration(in.For)
	if err == nil {
		err = s.Outage(in.Provider, in.Kind, length)
	}
	if err != nil {
		complain(w, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func complain(w http.ResponseWriter, text string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a reader that left is not our business
}
