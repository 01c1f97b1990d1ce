#!/usr/bin/env bash
# Runs each fuzz target for some time: scripts/fuzz.sh [TIME] (30s). Stops at the first input that fails; the input is
# then in testdata/fuzz of its package, and belongs into the commit of the fix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

time=${1:-30s}
count=0
while IFS=: read -r file target; do
  echo "== $target in $(dirname "$file"), $time"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")"
  count=$((count + 1))
done < <(grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' internal | sed -E 's/:[0-9]+:func /:/' | sort)
echo "$count fuzz targets, $time each, nothing found"
