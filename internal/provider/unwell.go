package provider

import (
	"net/http"
	"strconv"
)

// Unwell says in a word what the failure tells of the health of the model that was asked, "" if it tells nothing: the request
// itself was refused, or Penstock's credential, or a limit was reached, or the caller left, or nothing was sent. The words are
// few, so they may be labels of metrics.
func (f *Failure) Unwell() string {
	if f.Class != "" { // whatever the status: it is about the request or the account
		return ""
	}
	switch f.Reason {
	case ReasonCanceled, ReasonCredential, ReasonUnsupported, ReasonTooLarge:
		return ""
	case ReasonStatus, ReasonInBand:
		switch s := f.Status; {
		case f.Reason == ReasonInBand && (s == 0 || s/100 == 2):
			return string(f.Reason)
		case s == http.StatusRequestTimeout, s == http.StatusFailedDependency, s == http.StatusInternalServerError,
			s == http.StatusBadGateway, s == http.StatusServiceUnavailable, s == http.StatusGatewayTimeout, s == StatusOverloaded:
			return "status_" + strconv.Itoa(s)
		case s >= 500:
			return "status_5xx"
		case s < 400:
			return "status"
		}
		return ""
	case ReasonGarbage:
		if f.NothingBilled && f.Status == 0 { // nothing was sent
			return ""
		}
	}
	return string(f.Reason)
}
