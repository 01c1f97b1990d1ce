//go:build unix

// Package pgtest gives tests a PostgreSQL server: one that is named by PENSTOCK_TEST_POSTGRES, or else a throw-away one,
// started from the programs on this machine, which ends with the test's process however that ends.
//
// Without a server program a test that needs one is left out, in words; with PENSTOCK_TEST_ALL=1 it fails. The package is
// for tests only; it knows nothing of Penstock.
package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// givenBy names the variable with the address of a server whose user may make databases.
const givenBy = "PENSTOCK_TEST_POSTGRES"

// A Server is a throw-away server. Its methods fail the test they are given.
type Server struct {
	bin, dir string
	port     int
	args     []string
	keeper   *exec.Cmd      // a shell that ends the server when our process is gone
	alive    io.WriteCloser // by which the shell knows that we are
}

var shared = sync.OnceValues(func() (*Server, error) { return start() })

var databases atomic.Int64

// Database gives the address of a new, empty database, which is dropped when the test ends. All tests of a process share
// one server.
func Database(t testing.TB) string {
	t.Helper()
	admin := os.Getenv(givenBy)
	if admin == "" {
		s, err := shared()
		need(t, err)
		admin = s.URL("postgres")
	}
	return makeDatabase(t, admin)
}

// New starts a server of the test's own, to be stopped and frozen, with settings such as "max_connections=10".
func New(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings...)
	need(t, err)
	t.Cleanup(func() { s.Thaw(t); s.Stop(t); _ = os.RemoveAll(s.dir) })
	return s
}

// Start starts a server for a program that measures, and gives it back with the function that ends it. Without a server
// program the error matches [ErrNone].
func Start(settings ...string) (*Server, func(), error) {
	s, err := start(settings...)
	if err != nil {
		return nil, nil, err
	}
	return s, func() {
		_ = s.alive.Close()
		_ = s.keeper.Wait()
		_ = os.RemoveAll(s.dir)
	}, nil
}

// AskPassword makes the server want a password of one user, and of postgres none.
func (s *Server) AskPassword(t testing.TB, user string) {
	t.Helper()
	rules := "host all " + user + " 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n"
	if err := os.WriteFile(filepath.Join(s.dir, "data", "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	Execute(t, s.URL("postgres"), "SELECT pg_reload_conf()")
}

// Database gives the address of a new, empty database on this server.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("penstock_%d", databases.Add(1))
	Execute(t, s.URL("postgres"), "CREATE DATABASE "+name)
	return s.URL(name)
}

// URL is the address of a database on this server.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func makeDatabase(t testing.TB, admin string) string {
	t.Helper()
	name := fmt.Sprintf("penstock_%d_%d", os.Getpid(), databases.Add(1))
	Execute(t, admin, "CREATE DATABASE "+name)
	t.Cleanup(func() { Execute(t, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// Execute runs statements, past everything that is tested.
func Execute(t testing.TB, address, query string) {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // it was asked what it was to be asked
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := db.ExecContext(ctx, query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// ErrNone says that there is no server program here.
var ErrNone = errors.New("there is no PostgreSQL server on this machine (Debian's package postgresql has one), and " + givenBy + " names none")

func need(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrNone) && os.Getenv("PENSTOCK_TEST_ALL") == "":
		t.Skip("LEFT OUT: " + err.Error())
	default:
		t.Fatal(err)
	}
}

// programs is the folder of the server's programs.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is right
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", ErrNone
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// start makes a cluster and starts its server.
func start(settings ...string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "penstock-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir}
	who, err := owner()
	if err != nil {
		return nil, err
	}
	if who != nil {
		err = os.Chown(dir, int(who.Uid), int(who.Gid))
	}
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: who}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port), "unix_socket_directories=", "fsync=off", "full_page_writes=off",
		"max_connections=300", "shared_buffers=64MB", "log_min_messages=fatal",
	}, settings...) {
		s.args = append(s.args, "-c", setting)
	}
	return s, s.launch()
}

// owner is whom the server runs as: it refuses to be root's.
func owner() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // nil is ourselves
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("a server refuses to run as root, and there is no other user for it: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// keep runs the server until its input ends, which it does when we end. A frozen one is woken, to be ended.
const keep = `dir=$1; shift; "$@" & pid=$!; echo $pid
read -r _
kill -CONT $pid $(cat /proc/$pid/task/$pid/children 2>/dev/null) 2>/dev/null
kill -QUIT $pid; wait $pid
[ -e "$dir/stay" ] && rm "$dir/stay" || rm -rf "$dir"`

// launch starts the server and waits until it answers.
func (s *Server) launch() error {
	who, err := owner()
	if err != nil {
		return err
	}
	said, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer said.Close()
	args := append([]string{"-c", keep, "keep", s.dir, filepath.Join(s.bin, "postgres"), "-D", filepath.Join(s.dir, "data")}, s.args...)
	s.keeper = exec.Command("/bin/sh", args...)
	s.keeper.Dir, s.keeper.Stderr, s.keeper.SysProcAttr = s.dir, said, &syscall.SysProcAttr{Credential: who, Setpgid: true}
	s.keeper.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	if s.alive, err = s.keeper.StdinPipe(); err != nil {
		return err
	}
	if err := s.keeper.Start(); err != nil {
		return err
	}
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		if s.answers() {
			return nil
		}
		<-time.After(20 * time.Millisecond)
	}
	return errors.Join(errors.New("the server does not answer"), s.alive.Close(), s.keeper.Wait(), errors.New(logged(s.dir)))
}

func logged(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "log")) // it is only for the error
	return string(text)
}

func (s *Server) answers() bool {
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return false
	}
	defer func() { _ = db.Close() }() // it was asked what it was to be asked
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return db.PingContext(ctx) == nil
}

// Stop ends the server at once, as a crash would. What is committed stays.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.alive == nil {
		return
	}
	if err := os.WriteFile(filepath.Join(s.dir, "stay"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = s.alive.Close()
	_ = s.keeper.Wait()
	s.alive = nil
}

// Start starts a server that was stopped.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.launch(); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops all of the server's processes: connections stay, and nobody answers.
func (s *Server) Freeze(t testing.TB) {
	t.Helper()
	for _, pid := range s.processes(t) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw(t testing.TB) {
	t.Helper()
	for _, pid := range s.processes(t) {
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may have gone
	}
}

// processes are the server's, the first one first: it must not start others while they are being stopped.
func (s *Server) processes(t testing.TB) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return nil
	}
	all := []int{pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // none where there is no /proc
	for _, child := range strings.Fields(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			all = append(all, n)
		}
	}
	return all
}
