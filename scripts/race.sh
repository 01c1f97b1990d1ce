#!/usr/bin/env bash
# The Go tests with the race detector; arguments go to `go test`.
#
# SQLite itself is C that was translated: its memory is taken from the system and not from Go's heap, where the detector sees nothing, and
# its threads are Go's mutexes, which the detector knows of by themselves. To watch each of its loads costs more than half of the time of
# the store's tests and finds nothing, so these packages alone are compiled without. The driver above them, and all else, is watched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

flags=()
for package in sqlite/lib libc memory mathutil; do
  flags+=("-gcflags=modernc.org/$package=-race=false")
done
exec go test -race "${flags[@]}" "$@" ./...
