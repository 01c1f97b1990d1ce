package alert

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The example of the specification itself, so that its libraries accept what we sign.
func TestSignatureIsThatOfTheSpecification(t *testing.T) {
	t.Parallel()
	w := &Webhook{cfg: Config{Secret: "env:SPEC"}, resolve: lookup(map[string]string{"env:SPEC": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})}
	keys, err := w.keys()
	if err != nil {
		t.Fatal(err)
	}
	got := sign(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestReceivers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ webhook, secret, want string }{
		{"", "", ""},
		{"https://alerts.example.com/x", "env:KEY", ""},
		{"http://127.0.0.1:9/x", "env:KEY", ""},
		{"env:URL", "env:BOTH", ""},
		{"http://alerts.example.com/x", "env:KEY", "plain text"},
		{"https://me:pass@alerts.example.com/x", "env:KEY", "holds a user or password"},
		{"env:FTP", "env:KEY", "neither https:// nor http://"},
		{"env:NONE", "env:KEY", "env:NONE is not set"},
		{"env:URL", "env:NONE", "env:NONE is not set"},
		{"env:URL", "env:SHORT", "24 to 64 bytes"},
		{"env:URL", "env:BARE", "is not whsec_"},
	} {
		w, err := NewWebhook(Config{Webhook: c.webhook, Secret: c.secret}, resolve, nil)
		switch {
		case c.want == "" && (err != nil || (w == nil) != (c.webhook == "")):
			t.Errorf("%+v: %v", c, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %q", c, err, c.want)
		case err != nil && (strings.Contains(err.Error(), key) || strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "pass@")):
			t.Errorf("%+v: a secret in %v", c, err)
		}
	}
}

func TestTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		want string // the path of the problem
	}{
		{Config{}, ""},
		{Config{Webhook: "env:URL", Secret: "env:KEY", Repeat: time.Hour}, ""},
		{Config{Webhook: "env:URL", Format: FormatSlack}, ""},
		{Config{Webhook: "env:URL"}, "alerts.secret"},
		{Config{Secret: "env:KEY"}, "alerts.webhook"},
		{Config{Repeat: time.Second}, "alerts.repeat"},
	} {
		found := c.cfg.Validate()
		if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || found[0].Path != c.want) {
			t.Errorf("%+v: %v, want a problem at %q", c.cfg, found, c.want)
		}
	}
}

func TestSlack(t *testing.T) {
	t.Parallel()
	w, err := NewWebhook(Config{Webhook: "env:URL", Format: FormatSlack, Instance: "one"}, resolve, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.body(newMessage(Alert{
		Kind: ProviderDown, Severity: Critical, State: Raised, Object: "a", Text: `12 of "12"`, Instance: "one", Runbook: "r#provider_down",
	}, time.Now()))
	if want := `{"text":"[raised] critical provider_down a: 12 of \"12\" (one, r#provider_down)"}`; err != nil || string(b) != want {
		t.Errorf("%s, want %s (%v)", b, want, err)
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow()
		for i := range 100 {
			w.Add("a", i%4 == 0)
			time.Sleep(time.Second)
		}
		if c := w.Counts()["a"]; c != (Count{100, 25}) {
			t.Errorf("%+v", c)
		}
		time.Sleep(4 * time.Minute)
		if c := w.Counts()["a"]; c.All >= 100 || c.All < 30 {
			t.Errorf("%+v after four minutes", c)
		}
		time.Sleep(time.Hour)
		if n := len(w.Counts()); n != 0 {
			t.Errorf("%d objects after an hour", n)
		}
		w.Add("b", true)
		if c := w.Counts()["b"]; c != (Count{1, 1}) {
			t.Errorf("%+v", c)
		}
	})
}
