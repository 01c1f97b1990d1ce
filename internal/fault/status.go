package fault

import "net/http"

// StatusClosed is what a record shows for a client that left before it was answered; no client ever sees it.
const StatusClosed = 499

var statuses = [...]int{
	Internal: http.StatusInternalServerError, BadRequest: http.StatusBadRequest, Unauthenticated: http.StatusUnauthorized,
	Forbidden: http.StatusForbidden, NotFound: http.StatusNotFound, Conflict: http.StatusConflict,
	TooLarge: http.StatusRequestEntityTooLarge, Unprocessable: http.StatusUnprocessableEntity,
	RateLimited: http.StatusTooManyRequests, Unavailable: http.StatusServiceUnavailable, Upstream: http.StatusBadGateway,
	Timeout: http.StatusGatewayTimeout, Canceled: StatusClosed,
}

// HTTPStatus is the status that tells the caller the truth about the error: the provider's own where the error carries
// one, else that of the kind.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 {
		return e.Status
	}
	return statuses[e.Kind]
}
