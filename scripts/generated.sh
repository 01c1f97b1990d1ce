#!/usr/bin/env bash
# Runs the tests that compare files made from code with the code: scripts/generated.sh [-update]
# Their names end in IsCurrent, in whichever package owns the file; with -update they rewrite it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mapfile -t folders < <(grep -rlE --include='*_test.go' '^func Test[A-Za-z]+IsCurrent\(' cmd internal deploy | xargs -r -n 1 dirname | sort -u)
if [[ ${#folders[@]} == 0 ]]; then
  echo "no test is named Test...IsCurrent: nothing checks the generated files" >&2
  exit 1
fi
go test -race -count=1 -run 'IsCurrent$' "${folders[@]/#/./}" "$@"
