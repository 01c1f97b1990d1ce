package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/figure"
)

// lookOutEvery is how often trouble is looked for.
const lookOutEvery = 2 * time.Second

// lookOut tells the board of alerts how everything is, until ctx ends. What it says holds no words of others: an error of
// a store, a file or a provider may name what is nobody's business. The log has them.
func (s *Server) lookOut(ctx context.Context) error {
	tick := time.NewTicker(lookOutEvery)
	defer tick.Stop()
	l := &lookout{Server: s, clock: time.Now(), dropped: s.doors.data.dropped.Load()}
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			l.look(s.inForce(), now)
			if now.Sub(l.compared) >= compareEvery {
				l.compared = now
				l.compareClocks(ctx)
			}
		}
	}
}

// A lookout remembers what it saw last.
type lookout struct {
	*Server
	clock    time.Time
	compared time.Time // when the clock was last held against the database's
	dropped  int64
}

func (l *lookout) look(rt *runtime, now time.Time) {
	l.lookAtStore()
	l.lookAtDisk(rt.cfg)
	l.lookAtRecords(rt.cfg)
	l.lookAtAudit()
	l.lookAtStops()
	l.lookAtBudgets()
	l.lookAtTargets(now)
	l.lookAtRing()
	l.lookAtBodies(now)
	l.lookAtProviders(rt)
	l.lookAtProcess(now)
	l.lookAtTelemetry()
	for name, section := range map[string]config.TLS{"tls": rt.cfg.TLS, "admin.tls": rt.cfg.Admin.TLS} {
		if section.On() {
			l.lookAtCertificate(name, section, rt.cfg.Resolver(), now)
		}
	}
}

func (l *lookout) lookAtStore() {
	switch {
	case !l.keys.Ready():
		l.alerts.Report(alert.StoreDown, "", "The store does not answer: keys cannot be checked, and calls are refused.")
	case l.store.Healthy() != nil:
		l.alerts.Report(alert.StoreDown, "", "The store can be read, and not be written.")
	default:
		l.alerts.Clear(alert.StoreDown, "")
	}
}

func (l *lookout) lookAtDisk(cfg *config.File) {
	if free, known := DiskFree(cfg.Data); known {
		l.alerts.Set(alert.DiskLow, cfg.Data, free < cfg.Alerts.DiskFree,
			fmt.Sprintf("The disk of the data directory has %d MB free, less than %d MB.", free/1e6, cfg.Alerts.DiskFree/1e6))
	}
}

func (l *lookout) lookAtAudit() {
	intact, problem := l.auditStatus()
	l.alerts.Set(alert.AuditBroken, "", !intact, "The audit chain is broken: "+problem+".")
	l.alerts.Set(alert.CheckpointsStuck, "", intact && problem != "", "Checkpoints of the audit chain do not get where they should go.")
}

func (l *lookout) lookAtStops() {
	inForce := map[string]bool{}
	for _, s := range l.stops.InForce() {
		inForce[s.Scope()] = true
		text := "Stopped since " + s.Since.UTC().Format(time.DateTime) + " UTC, until it is lifted."
		if !s.Until.IsZero() {
			text = "Stopped until " + s.Until.UTC().Format(time.DateTime) + " UTC."
		}
		l.alerts.Report(alert.Stopped, s.Scope(), text)
	}
	l.alerts.ClearOthers(alert.Stopped, inForce)
}

func (l *lookout) lookAtBodies(now time.Time) {
	if l.bodies.keeper != nil && now.Sub(l.bodies.keeper.Dropped()) < time.Minute {
		l.alerts.Report(alert.BodiesDropped, "", "Bodies of a project that keeps them could not be kept; records say why.")
	}
}

func (l *lookout) lookAtRecords(cfg *config.File) {
	err := l.recorder.Ready()
	l.alerts.Set(alert.JournalFailing, "", err != nil, "Records cannot be written, so calls are refused.")
	if l.writer == nil {
		return
	}
	bytes, age := l.writer.LagBytes(), l.writer.Lag()
	l.alerts.Set(alert.RecordsWaiting, "", bytes > cfg.Alerts.Backlog || age > cfg.Alerts.BacklogAge,
		fmt.Sprintf("%d MB of records wait in the journal for the store, the oldest for %s.", bytes/1e6, figure.Duration(age.Round(time.Second))))
}

// When providers and models count as troubled: so many outcomes in five minutes, and such a share of them bad.
const (
	downTries, downShare   = 10, 0.9
	errorCalls, errorShare = 20, 0.2
)

func (l *lookout) lookAtProviders(rt *runtime) {
	refusing := l.tally.refusing()
	one := l.lookAtAccounts()
	for name := range refusing {
		if rt.clients[name] == nil {
			delete(refusing, name) // it went with a reload
			continue
		}
		l.alerts.Report(alert.CredentialRefused, name, "The provider refuses Penstock's credential, or it cannot be read.")
	}
	maps.Copy(refusing, one)
	l.alerts.ClearOthers(alert.CredentialRefused, refusing)
	for name, c := range l.tally.providers.Counts() {
		if rt.clients[name] != nil && c.All >= downTries && float64(c.Bad) >= downShare*float64(c.All) {
			l.alerts.Report(alert.ProviderDown, name, fmt.Sprintf("%d of %d tries failed within five minutes.", c.Bad, c.All))
		} else {
			l.alerts.Clear(alert.ProviderDown, name)
		}
	}
	named := map[string]bool{} // what callers ask for may be their own invention, and is not told then
	for _, name := range rt.table.Names() {
		named[name] = true
		for _, t := range rt.table.Targets(name) {
			named[t.String()] = true
		}
	}
	for name, c := range l.tally.models.Counts() {
		if named[name] && c.All >= errorCalls && float64(c.Bad) >= errorShare*float64(c.All) {
			l.alerts.Report(alert.ModelErrors, name, fmt.Sprintf("%d of %d answers were errors within five minutes.", c.Bad, c.All))
		} else {
			l.alerts.Clear(alert.ModelErrors, name)
		}
	}
	for target := range l.tally.takeUnpriced() {
		if !named[target] {
			target, _, _ = strings.Cut(target, "/")
		}
		l.alerts.Report(alert.ModelUnpriced, target, "It answers calls, and has no price: what they cost is in no sum.")
	}
}

func (l *lookout) lookAtProcess(now time.Time) {
	s := l.status()
	l.alerts.Set(alert.ReloadFailed, "", s.ConfigError != "", "The configuration file has changed and could not be taken over.")

	l.lookAtDoor(l.doors.data)

	if by := jump(l.clock, now); by != 0 {
		l.alerts.Report(alert.ClockJumped, "", fmt.Sprintf("The clock was set by %s.", by))
		l.compared = time.Time{} // what it was corrected by is wrong now
	}
	l.clock = now
}

func (l *lookout) lookAtDoor(door *door) {
	open, dropped := door.open.Load(), door.dropped.Load()
	full := open*10 >= door.most*9 || dropped > l.dropped
	l.alerts.Set(alert.DescriptorsLow, "", full, fmt.Sprintf("%d of %d connections are open; %d were closed for want of descriptors.", open, door.most, dropped))
	l.dropped = dropped
}

// smallJump is by how much a clock may be set without anybody being told.
const smallJump = 2 * time.Second

// jump is by how much the civil clock was set between two readings, 0 if by little. Both have monotonic readings.
func jump(last, now time.Time) time.Duration {
	by := (now.Round(0).Sub(last.Round(0)) - now.Sub(last)).Round(time.Second)
	if by.Abs() <= smallJump {
		return 0
	}
	return by
}

const day = 24 * time.Hour

func (l *lookout) lookAtCertificate(name string, section config.TLS, resolve config.Resolver, now time.Time) {
	end, err := CertificateEnd(section, resolve)
	if err != nil {
		return // the last good one stays in use, and the log says so
	}
	left := end.Sub(now)
	text := fmt.Sprintf("The certificate ends on %s.", end.UTC().Format(time.DateTime+" UTC"))
	l.alerts.Set(alert.CertificateOver, name, left < day, text)
	l.alerts.Set(alert.CertificateEnds, name+" (7 days)", left < 7*day && left >= day, text)
	l.alerts.Set(alert.CertificateEnds, name+" (30 days)", left < 30*day && left >= 7*day, text)
}

// CertificateEnd is when the certificate of a listener ends: the first in its file, which is the listener's own.
func CertificateEnd(section config.TLS, resolve config.Resolver) (time.Time, error) {
	text, err := resolve.Resolve(section.Cert)
	if err != nil {
		return time.Time{}, err
	}
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil {
		return time.Time{}, errors.New("no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter, nil
}

// WayOut is how a provider of a configuration is reached by what is no call of a model: through the same proxy, checked
// against the same authorities.
func WayOut(cfg *config.File) (http.RoundTripper, error) {
	out, err := egressOf(cfg.Egress, cfg.Resolver())
	if err != nil {
		return nil, err
	}
	return roundTripper(out, cfg.Resolver(), false), nil
}

// roundTripper is the way out for what is no call of a model: through the proxy, checked against the same authorities.
// With plainHTTP2 it speaks HTTP/2 without TLS to http:// URLs, and no proxy is between.
func roundTripper(out wayOut, resolve config.Resolver, plainHTTP2 bool) *http.Transport {
	t := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: out.Roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second}, // or a dead connection is used on
	}
	if plainHTTP2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
		return t
	}
	if out.Proxy != "" {
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			to := out.Proxy
			if !strings.Contains(to, "://") { // read anew each time, since it may change
				s, err := resolve.Resolve(to)
				if err != nil {
					return nil, fmt.Errorf("egress.proxy: %w", err)
				}
				to = s.Reveal()
			}
			proxy := httpproxy.Config{HTTPProxy: to, HTTPSProxy: to, NoProxy: out.NoProxy}
			return proxy.ProxyFunc()(r.URL)
		}
	}
	return t
}
