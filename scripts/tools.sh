#!/usr/bin/env bash
# Installs what tests and linters need into .tools/, once: scripts/tools.sh [cc] [lint] [python] [node] [postgres] [deploy]
# [browser]
# What only the system can give (a C compiler, Python, Node, a browser) is taken from Debian's packages where we are root on a system
# that has them; elsewhere the script says what is missing, and fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

golangci_version=v2.15.0
python_minimum=3.10
node_minimum=20

# missing WHAT HOW-TO-MEND
missing() {
  printf 'missing: %s\ndo: %s\n' "$1" "$2" >&2
  exit 1
}

# debian PACKAGE: installs it if we may, and fails if we may not.
debian() {
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return
  echo "installing Debian's package $1"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null && hash -r
}

# require COMMAND PACKAGE: makes sure that the command is there.
require() {
  command -v "$1" >/dev/null && return
  debian "$2" && command -v "$1" >/dev/null || missing "$1" "install the package $2"
}

install_cc() {
  require gcc gcc
}

install_lint() {
  local program=.tools/bin/golangci-lint
  if [[ -x $program ]] && "$program" version 2>/dev/null | grep -qF "version ${golangci_version#v} "; then
    return
  fi
  echo "installing golangci-lint $golangci_version (a minute or two, once)"
  GOBIN="$PWD/.tools/bin" CGO_ENABLED=0 go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_version" ||
    missing "golangci-lint $golangci_version" "make the Go module proxy reachable, or put the program at $program"
}

install_python() {
  local wanted=test/sdk/python/requirements.txt venv=.tools/venv
  require python3 python3
  python3 -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$python_minimum'.split('.'))))" ||
    missing "Python $python_minimum or newer (this is $(python3 --version))" "upgrade Python"
  if cmp -s "$wanted" "$venv/installed.txt"; then
    return
  fi
  echo "installing the SDKs for Python into $venv"
  rm -rf "$venv"
  python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv || missing "Python's venv" "install the package python3-venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" || missing "the packages of $wanted" "make PyPI reachable"
  cp "$wanted" "$venv/installed.txt"
}

install_node() {
  local folder=test/sdk/node
  require node nodejs
  require npm npm
  [[ $(node -p 'process.versions.node.split(".")[0]') -ge $node_minimum ]] ||
    missing "Node $node_minimum or newer (this is $(node --version))" "upgrade Node"
  if cmp -s "$folder/package-lock.json" "$folder/node_modules/installed.json"; then
    return
  fi
  echo "installing the SDKs for Node into $folder/node_modules"
  npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error ||
    missing "the packages of $folder/package-lock.json" "make the npm registry reachable"
  cp "$folder/package-lock.json" "$folder/node_modules/installed.json"
}

install_deploy() {
  require promtool prometheus
  require systemd-analyze systemd
  require unshare util-linux
}

install_postgres() {
  [[ -n ${PENSTOCK_TEST_POSTGRES:-} ]] || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null ||
    debian postgresql || missing "a PostgreSQL server" "install the package postgresql, or set PENSTOCK_TEST_POSTGRES to the URL of one whose user may make databases"
}

# The browser is the one that PENSTOCK_TEST_CHROMIUM names, or the first of these that there is; test/console has the same list.
find_browser() {
  local name
  for name in ${PENSTOCK_TEST_CHROMIUM:-chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable chrome}; do
    command -v "$name" && return
  done
  return 1
}

install_browser() {
  local wanted=test/console/axe folder=.tools/axe
  find_browser >/dev/null || [[ -n ${PENSTOCK_TEST_CHROMIUM:-} ]] || debian chromium-headless-shell || debian chromium || true
  find_browser >/dev/null || missing "Chromium, which shows the console to its tests" \
    "install the package chromium or chromium-headless-shell, or set PENSTOCK_TEST_CHROMIUM to a program that is one"
  if cmp -s "$wanted/package-lock.json" "$folder/installed.json"; then
    return
  fi
  require node nodejs
  require npm npm
  echo "installing axe-core into $folder"
  rm -rf "$folder" && mkdir -p "$folder" && cp "$wanted"/package*.json "$folder"
  npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error ||
    missing "the package of $wanted/package-lock.json" "make the npm registry reachable"
  cp "$wanted/package-lock.json" "$folder/installed.json"
}

for part in "$@"; do
  case $part in
    cc | lint | python | node | deploy | postgres | browser) "install_$part" ;;
    *) missing "a part named $part" "choose from: cc lint python node deploy postgres browser" ;;
  esac
done
