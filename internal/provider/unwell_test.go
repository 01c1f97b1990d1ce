package provider

import "testing"

func TestWhatFailuresTellOfHealth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		f    Failure
		want string
	}{
		{Failure{Reason: ReasonConnect, NothingBilled: true}, "connect_error"},
		{Failure{Reason: ReasonConnectTimer, NothingBilled: true}, "connect_timeout"},
		{Failure{Reason: ReasonFirstToken}, "first_token_timeout"},
		{Failure{Reason: ReasonGap, Status: 200}, "gap_timeout"},
		{Failure{Reason: ReasonTotal}, "total_timeout"},
		{Failure{Reason: ReasonCut, Status: 200}, "cut"},
		{Failure{Reason: ReasonEmpty, Status: 200}, "empty"},
		{Failure{Reason: ReasonGarbage, Status: 200}, "garbage"},
		{Failure{Reason: ReasonGarbage, NothingBilled: true}, ""},
		{Failure{Reason: ReasonInBand, Status: 200}, "in_band"},
		{Failure{Reason: ReasonInBand}, "in_band"},
		{Failure{Reason: ReasonInBand, Status: 503}, "status_503"},
		{Failure{Reason: ReasonInBand, Status: 400}, ""},
		{Failure{Reason: ReasonInBand, Class: ClassContentPolicy}, ""},
		{Failure{Reason: ReasonStatus, Status: 500}, "status_500"},
		{Failure{Reason: ReasonStatus, Status: 521}, "status_5xx"},
		{Failure{Reason: ReasonStatus, Status: 529}, "status_529"},
		{Failure{Reason: ReasonStatus, Status: 408}, "status_408"},
		{Failure{Reason: ReasonStatus, Status: 424}, "status_424"},
		{Failure{Reason: ReasonStatus, Status: 302}, "status"},
		{Failure{Reason: ReasonStatus, Status: 400}, ""},
		{Failure{Reason: ReasonStatus, Status: 401}, ""},
		{Failure{Reason: ReasonStatus, Status: 403}, ""},
		{Failure{Reason: ReasonStatus, Status: 404}, ""},
		{Failure{Reason: ReasonStatus, Status: 413}, ""},
		{Failure{Reason: ReasonStatus, Status: 422}, ""},
		{Failure{Reason: ReasonStatus, Status: 429}, ""},
		{Failure{Reason: ReasonStatus, Status: 503, Class: ClassQuota}, ""},
		{Failure{Reason: ReasonTooLarge}, ""},
		{Failure{Reason: ReasonCredential}, ""},
		{Failure{Reason: ReasonUnsupported}, ""},
		{Failure{Reason: ReasonCanceled}, ""},
	} {
		if got := c.f.Unwell(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
}
