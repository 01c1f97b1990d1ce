package alert

import (
	"log/slog"
	"time"
)

// A Kind names one sort of trouble for good: receivers may branch on it.
type Kind string

// The kinds. Each has its row in the table below and its part of docs/reference/alerts.md.
const (
	Test              Kind = "test"
	CredentialRefused Kind = "credential_refused"
	QuotaExhausted    Kind = "quota_exhausted"
	ProviderDown      Kind = "provider_down"
	TargetEjected     Kind = "target_ejected"
	TargetDisabled    Kind = "target_disabled"
	ModelErrors       Kind = "model_errors"
	ModelUnpriced     Kind = "model_unpriced"
	StoreDown         Kind = "store_down"
	RecordsWaiting    Kind = "records_waiting"
	JournalFailing    Kind = "journal_failing"
	DiskLow           Kind = "disk_low"
	CertificateEnds   Kind = "certificate_expiring"
	CertificateOver   Kind = "certificate_last_day"
	AuditBroken       Kind = "audit_broken"
	CheckpointsStuck  Kind = "audit_checkpoints_stuck"
	RingUnreadable    Kind = "keyring_unreadable"
	RingOther         Kind = "keyring_replaced"
	RingSealed        Kind = "keyring_wrapper_failing"
	ReloadFailed      Kind = "reload_failed"
	BodiesDropped     Kind = "bodies_dropped"
	DescriptorsLow    Kind = "descriptors_low"
	ClockJumped       Kind = "clock_jumped"
	ClockApart        Kind = "clock_apart"
	Stopped           Kind = "stopped"
	TelemetryFailing  Kind = "telemetry_failing"
	BudgetUsed        Kind = "budget_used"
	BudgetSpent       Kind = "budget_spent"
	BudgetOverrun     Kind = "budget_overrun"
	BooksDrift        Kind = "books_drift"
)

// A Severity says who should look, and when.
type Severity string

// The severities.
const (
	Critical Severity = "critical" // calls fail, or soon will: wake somebody
	Warning  Severity = "warning"  // look today
	Info     Severity = "info"     // good to know
)

func (s Severity) rank() int {
	switch s {
	case Critical:
		return 2
	case Warning:
		return 1
	}
	return 0
}

func (s Severity) level() slog.Level {
	switch s {
	case Critical:
		return slog.LevelError
	case Warning:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// A Meaning is what the table knows of a kind.
type Meaning struct {
	Kind     Kind
	Severity Severity
	Object   string // what its objects are, "" if it is about the process
	Means    string // one or two sentences
	Do       string // what to do, as sentences
	// For is how long the condition must hold before anybody is told, and Calm how long it must be away before that is
	// over.
	For, Calm time.Duration
	// Lasts is how long one report is good for; 0 is until it is cleared.
	Lasts time.Duration
}

// Kinds lists all kinds, in the order of the reference.
func Kinds() []Meaning { return table }

var kinds = func() map[Kind]*Meaning {
	all := make(map[Kind]*Meaning, len(table))
	for i := range table {
		all[table[i].Kind] = &table[i]
	}
	return all
}()

// looked is how long a report is good for that is renewed every few seconds.
const looked = time.Minute

var table = []Meaning{
	{
		Kind: CredentialRefused, Severity: Critical, Object: "provider, and which credential if it has several",
		Means: "A provider answers 401 or 403, or Penstock's credential for it cannot be read. Callers of its models get provider_credential_refused.",
		Do: "Look at the record of a failed call (`penstock explain`) for the provider's own words. Renew the credential where the reference in " +
			"`providers.NAME.credential` leads: it is read again within a second, without a reload. It is resolved by the first call that the provider answers.",
		Calm: time.Minute,
	},
	{
		Kind: QuotaExhausted, Severity: Critical, Object: "provider, and which credential if it has several",
		Means: "A provider says that the account of a credential has nothing left to spend: no money, or a limit that its owner has set. The credential is out of use, " +
			"but for one call now and then that tries it. Models with another target or credential go on.",
		Do: "Pay, or raise the limit, at the provider; or put the credential of another account where the reference leads: it is read again within a second and used at once. " +
			"It is resolved by the first call that the provider answers, within ten minutes.",
		Calm: time.Second,
	},
	{
		Kind: ProviderDown, Severity: Critical, Object: "provider",
		Means: "For five minutes nearly every try at a provider failed: at least 10 tries, nine in ten of them with connection errors, timeouts or server errors.",
		Do: "Look at the provider's own status page and at `penstock_tries_total` by reason. Models with a second target go on; for the others " +
			"put another target first, or take the provider out of the file.",
		For: time.Minute, Calm: 2 * time.Minute, Lasts: looked,
	},
	{
		Kind: TargetEjected, Severity: Warning, Object: "target",
		Means: "A target fails, so it gets no calls: five tries in a row failed, or half of ten or more within 30 s. Other targets of its models get them.",
		Do: "`penstock route status` says why, since when, and when it is tried next: by one call, every tenth of the time for which it has been failing. It comes back by itself. " +
			"If you have mended it and do not want to wait: `penstock route enable TARGET`. A target that is the only one of a model is used on.",
		Calm: time.Second, Lasts: looked,
	},
	{
		Kind: TargetDisabled, Severity: Info, Object: "target or provider",
		Means: "An operator has disabled a target, or all of a provider: it gets no calls.",
		Do:    "`penstock route status` says who, when and why. When it is meant to be over: `penstock route enable NAME`.",
		Calm:  time.Second, Lasts: looked,
	},
	{
		Kind: ModelErrors, Severity: Warning, Object: "model",
		Means: "For five minutes many answers of a model were errors that the caller did not make: at least 20 calls, one in five of them.",
		Do:    "`penstock explain` one of them: it names each try and why it failed. Add a target, or raise the timer that fires.",
		For:   time.Minute, Calm: 2 * time.Minute, Lasts: looked,
	},
	{
		Kind: ModelUnpriced, Severity: Warning, Object: "target",
		Means: "A target without a price is answering: what it costs is in no sum, and no budget can hold it.",
		Do:    "`penstock price list --missing`, then `penstock price set PROVIDER/MODEL --input DOLLARS --output DOLLARS`. It is resolved when no such call has come for an hour.",
		Calm:  time.Minute, Lasts: time.Hour,
	},
	{
		Kind: StoreDown, Severity: Critical,
		Means: "The store does not answer. Keys cannot be checked for longer than `auth.max_stale`: then every call is answered 503. Records wait in the journal.",
		Do:    "Look at the log for the store's own words; at its disk, its load and who else holds it. Penstock tries on; it needs no restart.",
		For:   5 * time.Second, Calm: 30 * time.Second, Lasts: looked,
	},
	{
		Kind: RecordsWaiting, Severity: Warning,
		Means: "Records wait in the journal for the store: more than `alerts.backlog`, or the oldest for longer than `alerts.backlog_age`. Sums and records lag. Calls go on while the store can be read and the journal has room.",
		Do: "Look at the store's disk and load. If it grows on, the journal fills (`penstock_journal_free_bytes`) and calls are refused: " +
			"mend the store before that.",
		For: 10 * time.Second, Calm: time.Minute, Lasts: looked,
	},
	{
		Kind: JournalFailing, Severity: Critical,
		Means: "The journal cannot be written, or is nearly full. No record could be kept, so calls are refused with 503.",
		Do:    "Free space on the disk of the data directory, or mend it. Penstock notices by itself within a second.",
		Calm:  30 * time.Second, Lasts: looked,
	},
	{
		Kind: DiskLow, Severity: Critical, Object: "directory",
		Means: "The disk of the data directory has less free than `alerts.disk_free`.",
		Do:    "Free space or grow the disk before it is full: then records cannot be written, and calls are refused.",
		For:   10 * time.Second, Calm: time.Minute, Lasts: looked,
	},
	{
		Kind: CertificateEnds, Severity: Warning, Object: "setting, and within how many days",
		Means: "The certificate of a listener ends within 30 days; told again at 7.",
		Do:    "Put the new one where `tls.cert` and `tls.key` point: it is taken up within a second, without a restart.",
		Calm:  time.Minute, Lasts: looked,
	},
	{
		Kind: CertificateOver, Severity: Critical, Object: "setting",
		Means: "The certificate of a listener ends within a day, or has ended: clients refuse it then.",
		Do:    "As above, now.",
		Calm:  time.Minute, Lasts: looked,
	},
	{
		Kind: AuditBroken, Severity: Critical,
		Means: "An entry of the audit chain is not what was written, or is missing. Calls and changes go on.",
		Do: "Change nothing more, keep the store as it is, and run `penstock audit verify`; see docs/audit.md. After a restore that was meant, " +
			"move `audit.checkpoints` out of the data directory.",
		Calm: time.Minute, Lasts: looked,
	},
	{
		Kind: CheckpointsStuck, Severity: Warning,
		Means: "Signed checkpoints of the audit chain do not get where they should go. They wait and are offered again.",
		Do:    "`penstock status` says why. Mend the place that `audit.checkpoints` names.",
		For:   10 * time.Second, Calm: time.Minute, Lasts: looked,
	},
	{
		Kind: RingUnreadable, Severity: Critical,
		Means: "The key ring's file is missing, cannot be read, or cannot be unwrapped as it is now. Calls go on with what is in memory; after a restart no key could be checked.",
		Do: "Do not restart any Penstock that still runs. `penstock keyring status` says what is wrong. Put the file back from your copy, with its owner and mode; " +
			"after `penstock keyring rewrap`, bring `keyring_wrap` up to date. It is read again within a second, and resolved by that.",
		For: 5 * time.Second, Calm: 10 * time.Second, Lasts: looked,
	},
	{
		Kind: RingOther, Severity: Critical,
		Means: "Another key ring lies where that of this store was. Calls go on with what is in memory; after a restart Penstock would refuse to start.",
		Do: "Do not restart any Penstock that still runs. Find out who replaced the file: with another ring no key in the store is known and nothing sealed opens. " +
			"Put the right one back; `penstock keyring status` shows its id.",
		For: 5 * time.Second, Calm: 10 * time.Second, Lasts: looked,
	},
	{
		Kind: RingSealed, Severity: Warning,
		Means: "What `keyring_wrap` names would not unwrap the key ring now: its key is gone, a permission was taken away, or the key service is away. Calls go on; no Penstock can start with this ring.",
		Do:    "Do not restart. `penstock keyring status` shows what the wrapper said. Mend it there; it is asked again every few seconds.",
		For:   10 * time.Second, Calm: 10 * time.Second, Lasts: looked,
	},
	{
		Kind: BodiesDropped, Severity: Warning,
		Means: "Bodies of a project that keeps them could not be kept within the last minute. That stops no call and loses no record.",
		Do: "The line `bodies` of a record (`penstock explain`) and `penstock_bodies_dropped_total` say why: memory (raise `bodies.in_flight`), " +
			"journal (the store is away, or the disk is full), seal (the key ring has no data key), busy (too few processors). See docs/bodies.md.",
		Calm: 5 * time.Minute, Lasts: looked,
	},
	{
		Kind: ReloadFailed, Severity: Warning,
		Means: "The configuration file has changed and could not be taken over; what was in force before stays.",
		Do:    "`penstock status` says why. Mend the file, or `penstock config rollback -c FILE`.",
		For:   10 * time.Second, Calm: 5 * time.Second, Lasts: looked,
	},
	{
		Kind: DescriptorsLow, Severity: Warning,
		Means: "Nine in ten of the connections that the limit on open files allows are in use, or connections were closed for want of it.",
		Do:    "Raise the limit (`ulimit -n`, `LimitNOFILE=` of the unit) and restart, add a replica, or look for clients that open connections and do not use them again.",
		For:   10 * time.Second, Calm: 2 * time.Minute, Lasts: looked,
	},
	{
		Kind: ClockJumped, Severity: Warning,
		Means: "The machine's clock was set by more than two seconds. Durations are not affected. On PostgreSQL, times in records and the ends of keys and stops are right again within two seconds; on SQLite they go by the machine's clock.",
		Do:    "Look at the time service of the machine. It is resolved by itself after ten minutes without another jump.",
		Calm:  time.Minute, Lasts: 10 * time.Minute,
	},
	{
		Kind: ClockApart, Severity: Warning,
		Means: "This machine's clock and the database's differ by more than a second. Times in records, and the ends of keys and stops, are corrected by the difference, so replicas agree; logs, and certificates that are checked, go by the machine's clock.",
		Do:    "Start a time service on both machines (chrony, systemd-timesyncd). `penstock doctor` says by how much they differ, `penstock_clock_offset_seconds` for each replica.",
		For:   30 * time.Second, Calm: time.Minute, Lasts: 5 * time.Minute,
	},
	{
		Kind: Stopped, Severity: Info, Object: "what is stopped",
		Means: "An operator has stopped a model, a project or everything: calls to it get the error stopped.",
		Do:    "`penstock stop list` says who, when and why. When it is meant to be over: `penstock resume`.",
		Calm:  time.Second, Lasts: looked,
	},
	{
		Kind: BudgetUsed, Severity: Info, Object: "budget and share",
		Means: "What is settled and unknown of a budget in its window has passed a share at which somebody wants to be told (50, 80 and 90 % unless the budget says otherwise); of one that only observes, the whole.",
		Do:    "`penstock budget list` says how it stands and when it is expected to run out; `penstock usage` what it went to. Raise it with `penstock budget set`, or let models have a `when_low`.",
		Calm:  time.Second, Lasts: looked,
	},
	{
		Kind: BudgetSpent, Severity: Warning, Object: "budget",
		Means: "A budget has not enough left for a call, or what of it is not kept for others has not: such calls are refused with insufficient_quota until its window ends, but for those that need less than is left. Where less than 90 % was used, the call was large, or many ran at once: that is told of for ten minutes.",
		Do:    "`penstock budget list` says when it begins anew. Raise it with `penstock budget set`; that holds within a second.",
		Calm:  time.Second, Lasts: looked,
	},
	{
		Kind: BudgetOverrun, Severity: Warning, Object: "target",
		Means: "A provider has billed more for a call than was reserved for it: it took no notice of the cap on generated tokens, or its price here is too low. All of it is booked; of a stream that had to be ended at its cap, only what came until then, so that more may be billed. Calls with a budget do not go to the target for ten minutes.",
		Do:    "Compare what `penstock explain` says of the try with the provider's own bill; of a stream that was ended, `penstock reconcile --adjust` brings the rest into the books. Correct the price (`penstock price set`), or take the target out of the model.",
		Calm:  10 * time.Minute, Lasts: 10 * time.Minute,
	},
	{
		Kind: BooksDrift, Severity: Warning, Object: "provider",
		Means: "`penstock reconcile` has compared a provider's export with the books, and a day of one of its targets is further off than the threshold: more or less was billed than is booked, and calls whose end is unknown do not explain it.",
		Do: "Look at its table: a name that was not matched is use outside of Penstock, or wants `--name`; a price that is off by a share of all calls wants `penstock price set`. " +
			"`penstock reconcile --adjust` corrects the books by what is left. It is resolved by an export that fits, and forgotten after a day.",
		Calm: time.Second, Lasts: 24 * time.Hour,
	},
	{
		Kind: TelemetryFailing, Severity: Warning, Object: "signal",
		Means: "The collector does not take spans or metrics. Calls, records and money are not affected; telemetry is lost once its queue is full.",
		Do: "The log says why, once. Look at the collector, and at `telemetry` in the file: address, protocol, headers. " +
			"`penstock_telemetry_spans_total` counts what was lost.",
		For: 30 * time.Second, Calm: 10 * time.Second, Lasts: looked,
	},
	{
		Kind: Test, Severity: Info,
		Means: "Somebody ran `penstock alert test`.",
		Do:    "Nothing. It is sent once, as raised, and never resolved.",
	},
}
