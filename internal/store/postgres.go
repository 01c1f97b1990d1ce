package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// A replica has a bounded number of connections to PostgreSQL, shared out by what they are for. Two are kept, the others made
// when they are needed and given back soon, so that replicas share what a small server has.
const (
	usualConnections = 8
	leastConnections = 4
	watchers         = 1 // keys and prices, which must not wait behind reports
	mostWriters      = 6 // one for each lane, and one who waits; more of them would only wait
	schemaOnes       = 2 // beyond what was asked for: at the start, before there are others, and one while a backup is read
)

// share says how many of n connections write, and how many read.
func share(n int) (writers, reporters int) {
	if n == 0 {
		n = usualConnections
	}
	n = max(n, leastConnections)
	writers = min(n/2, mostWriters)
	return writers, n - writers - watchers
}

const (
	// connectTime is for one connection to be made; several addresses of one URL share it.
	connectTime = 5 * time.Second
	// crowded is how long to wait before asking again a server that has no connection left.
	crowded = 50 * time.Millisecond
	// idleTime is how long a connection that is not needed is kept: those of a small server are for all replicas.
	idleTime = 15 * time.Second
	// oldest is the first version of PostgreSQL that we test with or whose makers still mend it.
	oldest = 140000
)

// settings are what every connection asks of the server. A replica that is frozen or cut off in the middle of a
// transaction would hold its locks, which all replicas need, until the server notices.
var settings = map[string]string{
	"application_name":                    "penstock",
	"idle_in_transaction_session_timeout": "10s",
	"tcp_keepalives_idle":                 "5",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "2",
	"tcp_user_timeout":                    "15s",
	"lock_timeout":                        "10s",
	"statement_timeout":                   "60s",
	// Whoever has waited for a lane must see what the one before has done, whatever somebody has set for the database.
	"default_transaction_isolation": "read committed",
	// Searches say in which order to look.
	"join_collapse_limit": "1",
}

// reading are the settings of connections that search and sum. Searches are written so that they walk blocks from the newest
// on and stop early; a planner that counts on reading a whole table once, to join it by a hash, would read it each time.
// Where there is no other way than to read one, such as a list of few rows, that has a price which is beyond all bounds, and
// the server would compile the query for it: a tenth of a second for what takes a thousandth.
var reading = map[string]string{
	"jit":            "off",
	"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_material": "off", "enable_bitmapscan": "off",
}

// migrating are the settings of the connection that changes the schema. Whoever waits for the lock on a table lets
// everybody else wait behind it, so it gives up soon and comes again.
var migrating = map[string]string{"lock_timeout": "500ms", "statement_timeout": "0", "idle_in_transaction_session_timeout": "60s"}

// postgresURL tells an address that is PostgreSQL's.
func postgresURL(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

// CheckPostgres says what is wrong with the address of a PostgreSQL database, without asking anybody for it; nil if
// nothing is. The error never holds a password.
func CheckPostgres(address string) error {
	_, err := postgresConfig(address)
	return err
}

// postgresConfig reads an address. What it leaves open comes from the usual variables: PGPASSWORD, PGSSLMODE and so on.
func postgresConfig(address string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("is no URL") // the error would hold the address, and that perhaps a password
	}
	for _, own := range []string{"pool_max_conns", "default_query_exec_mode", "statement_cache_capacity"} {
		if u.Query().Has(own) {
			return nil, fmt.Errorf("has the option %s, which Penstock sets itself", own)
		}
	}
	c, err := pgx.ParseConfig(address)
	if err != nil {
		var cause *pgconn.ParseConfigError
		if errors.As(err, &cause) && cause.Unwrap() != nil {
			err = cause.Unwrap()
		}
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if c.Database == "" || u.Path == "" || u.Path == "/" {
		return nil, errors.New("names no database")
	}
	c.ConnectTimeout = connectTime
	return c, nil
}

// shownAddress is an address for people: without password and options.
func shownAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the PostgreSQL database"
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}

// openPostgres makes the pools. It asks nobody: connections are made when they are needed.
func openPostgres(address string, o Options) (p pools, err error) {
	c, err := postgresConfig(address)
	if err != nil {
		return p, fmt.Errorf("store %s %w", shownAddress(address), err)
	}
	writers, reporters := share(o.Connections)
	p.write, p.read = openPool(c, o, nil, writers), openPool(c, o, reading, reporters)
	p.watch, p.schemas = openPool(c, o, nil, watchers), openPool(c, o, migrating, schemaOnes)
	p.schemas.SetMaxIdleConns(0)
	p.read.SetMaxIdleConns(0) // between reports there is nobody
	return p, nil
}

func openPool(c *pgx.ConnConfig, o Options, more map[string]string, n int) *sql.DB {
	c = c.Copy()
	for _, some := range []map[string]string{settings, more} {
		for name, value := range some {
			c.RuntimeParams[name] = value
		}
	}
	db := sql.OpenDB(patient{stdlib.GetConnector(*c, stdlib.OptionBeforeConnect(o.setPassword))})
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(1)
	db.SetConnMaxIdleTime(idleTime)
	return db
}

// errPassword says that a connection was not begun, because the password for it could not be read.
var errPassword = errors.New("password of the store")

// setPassword gives a new connection the password of now.
func (o Options) setPassword(_ context.Context, c *pgx.ConnConfig) error {
	if o.Password == nil {
		return nil
	}
	p, err := o.Password()
	if err != nil {
		return fmt.Errorf("%w: %w", errPassword, err)
	}
	c.Password = p.Reveal()
	return nil
}

// patient asks for a connection again where the server has none left at the moment.
type patient struct{ driver.Connector }

func (p patient) Connect(ctx context.Context) (driver.Conn, error) {
	for pause := crowded; ; pause = min(2*pause, 8*crowded) {
		c, err := p.Connector.Connect(ctx)
		if code := postgresCode(err); code != "53300" {
			return c, err
		}
		if !rest(ctx, pause) { // replicas must not come all at once
			return nil, err
		}
	}
}

// postgresCode is the SQLSTATE of an error of PostgreSQL, "" of another.
func postgresCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// postgresAway reports that the server could not be asked, or may answer better later: whoever can should wait for it.
func postgresAway(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return silent(err)
	}
	switch e.Code {
	case "25006": // a standby, which may be promoted
		return true
	case "55P03": // somebody else holds a lock
		return true
	}
	switch e.Code[:2] {
	case "08", "40", "53", "57", "58": // connection, to be tried again, resources, operator's doing, the system
		return true
	}
	return false
}

// refused reports that the server did not let us in, or that we had nothing to show it.
func refused(err error) bool {
	code := postgresCode(err)
	return code == "28P01" || code == "28000" || errors.Is(err, errPassword)
}

// silent reports that no server has said anything.
func silent(err error) bool {
	var certificate *tls.CertificateVerificationError
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &certificate):
		return false // it has said who it is
	case errors.As(err, &connect), errors.As(err, &network), pgconn.SafeToRetry(err), pgconn.Timeout(err):
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, context.DeadlineExceeded)
}

// postgresHint is what to do about a server that does not let us work.
func postgresHint(err error) string {
	switch code := postgresCode(err); {
	case code == "28P01", code == "28000":
		return "check user and password: store_password, or PGPASSWORD or PGPASSFILE, and pg_hba.conf on the server"
	case code == "3D000":
		return "make it: createdb -O USER DATABASE"
	case code == "42501":
		return "let the user own the database, or its schema: ALTER DATABASE name OWNER TO user"
	}
	if errors.Is(err, errPassword) {
		return "put it where store_password says, readable by the user that runs Penstock"
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return "set sslrootcert to the authority of the server's certificate"
	}
	return "see docs/postgresql.md"
}

// greet finds out whether the server is one that Penstock can work with.
func (s *Store) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	var version int64
	var encoding, commits, fsync string
	var standby bool
	err := s.watch.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'), pg_is_in_recovery(), "+
		durability).Scan(&version, &encoding, &standby, &commits, &fsync)
	switch {
	case err != nil:
		return s.failed(err)
	case version < oldest:
		return unusable(s.path, fmt.Errorf("the server is PostgreSQL %d, and Penstock needs %d or newer", version/10000, oldest/10000))
	case encoding != "UTF8":
		return unusable(s.path, fmt.Errorf("the database is encoded in %s, and Penstock needs UTF8", encoding))
	case standby:
		return s.absent(errors.New("the server is a standby, which cannot be written"))
	}
	if lost := losable(commits, fsync); lost != "" {
		s.log.Warn("the database server may lose what it has confirmed, when it or its machine crashes", "store", s.path, "because", lost,
			"hint", "see docs/postgresql.md, Durability")
	}
	return nil
}

// durability are the settings by which a server may confirm what is not on its disk.
const durability = "current_setting('synchronous_commit'), current_setting('fsync')"

// losable names the setting by which a server may lose what it has confirmed, "" if there is none. With synchronous_commit
// local and more it is on the disk of the one server at least, whatever its standbys have.
func losable(synchronousCommit, fsync string) string {
	switch {
	case fsync == "off":
		return "fsync is off"
	case synchronousCommit == "off":
		return "synchronous_commit is off"
	}
	return ""
}

// absent is the error of a database that is not there now.
func (s *Store) absent(err error) error {
	return &OpenError{
		Kind: ErrAbsent, Text: s.path + " does not answer", Err: err,
		Hint: "start it, or check host and port in the address of the store",
	}
}
