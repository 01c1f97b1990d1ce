#!/usr/bin/env bash
# Everything that has to hold before a change lands. Each step has a heading and a time. A step that fails, or that cannot
# run here, does not stop the others; but the summary names it and the script fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# Tests bring their own providers: how this machine is set up must not change the outcome.
for name in $(compgen -e); do
  case $name in
    PENSTOCK_TEST_*) ;;
    PENSTOCK_* | OPENAI_* | ANTHROPIC_* | GEMINI_* | OLLAMA_* | AZURE_OPENAI_* | AWS_*) unset "$name" ;;
  esac
done

passed=0
failed=0
summary=""

# step NAME COMMAND...: runs the command under a heading and keeps its outcome and time.
step() {
  local name=$1 begin=$SECONDS outcome=ok
  shift
  printf '\n== step %d: %s\n' $((passed + failed + 1)) "$name"
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    outcome=FAILED
  fi
  printf -v name '%-6s %4d s  %s' "$outcome" $((SECONDS - begin)) "$name"
  echo "-- $name"
  summary+="$name"$'\n'
}

compilers() {
  scripts/tools.sh cc && go version && gcc --version | head -n 1
}

format() {
  local wrong
  wrong=$(find . \( -name '.?*' -o -name node_modules -o -name testdata \) -prune -o -name '*.go' -print0 | xargs -0 gofmt -l) || return
  if [[ -n $wrong ]]; then
    printf 'not formatted (make fmt mends it):\n%s\n' "$wrong"
    return 1
  fi
}

lint() {
  scripts/tools.sh lint && .tools/bin/golangci-lint run ./...
}

binary() {
  make build && bin/penstock version
}

deployment() {
  scripts/tools.sh deploy && PENSTOCK_TEST_ALL=1 go test -count=1 ./deploy
}

# raceless runs what the race detector leaves out: the tests in files that are built without it only.
raceless() {
  local files packages names
  files=$(grep -rlE '^//go:build .*!race' --include='*_test.go' internal) &&
    names=$(xargs grep -hoE '^func Test[A-Za-z0-9_]+' <<<"$files" | sed 's/^func //' | sort -u | paste -sd '|') &&
    packages=$(xargs dirname <<<"$files" | sort -u | sed 's/^/.\//') &&
    xargs go test -count=1 -run "^($names)\$" <<<"$packages"
}

sdks() {
  scripts/tools.sh python node &&
    PENSTOCK_TEST_SDK=1 PENSTOCK_BIN="$PWD/bin/penstock" go test -count=1 -parallel 4 -v ./test/sdk
}

console() {
  scripts/tools.sh browser && PENSTOCK_TEST_BROWSER=1 PENSTOCK_BIN="$PWD/bin/penstock" go test -count=1 -timeout 10m -v ./test/console
}

step "compilers" compilers
step "a PostgreSQL server" scripts/tools.sh postgres
step "format" format
step "vet" go vet ./...
step "lint" lint
step "generated files are current" scripts/generated.sh
step "Go tests with the race detector, fuzz seeds included" scripts/race.sh -count=1 -timeout 25m
step "what the race detector leaves out: allocation guards, long comparisons, a store of many weeks" raceless
step "the binary" binary
step "what installs and watches it: container, unit, manifests, rules, dashboards" deployment
step "the SDKs of the vendors, and what is built on them: Python, Node, Go" sdks
step "the console in a real browser" console

printf '\n== summary after %d s\n%s\n' "$SECONDS" "$summary"
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]
