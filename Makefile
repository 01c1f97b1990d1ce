# `make` lists the targets. What they do beyond one command is in scripts/.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules --no-print-directory

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
FUZZTIME ?= 30s
DEMO     ?=
BENCH    ?=
RELEASE  ?=

.DEFAULT_GOAL := help
.PHONY: help build demo test lint fmt race fuzz soak bench cover sdk browser screens release docs tools clean

help: ## show this list
	@echo "Penstock: one program around language models in production."
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/penstock (static, no cgo)
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o bin/penstock ./cmd/penstock

demo: build ## run the whole system on simulated providers; DEMO="--for 20s" for other flags
	bin/penstock demo $(DEMO)

test: ## everything that CI runs; installs its tools into .tools/
	@scripts/test.sh

lint: ## golangci-lint with .golangci.yml
	@scripts/tools.sh lint
	.tools/bin/golangci-lint run ./...

fmt: ## format all Go files
	@scripts/tools.sh lint
	.tools/bin/golangci-lint fmt ./...

race: ## Go tests with the race detector
	@scripts/race.sh

fuzz: ## run each fuzz target for FUZZTIME (30s); their seeds run in `make test`
	@scripts/fuzz.sh $(FUZZTIME)

soak: build ## the fault tests at length, sums after 50 kills, then a million requests: memory flat, no record lost, and a minute of each fuzz target (two to three hours)
	PENSTOCK_SOAK=1 PENSTOCK_BIN=$(CURDIR)/bin/penstock go test -count=1 -timeout 60m -v ./test/chaos
	PENSTOCK_SLOW=1 go test -count=1 -timeout 90m -v -run TestSumsSurviveKills ./internal/store
	go run ./bench -only memory,lost -requests 1000000 -overload 60s $(BENCH)
	scripts/fuzz.sh 60s

bench: build ## compare with a plain reverse proxy; BENCH="-check" fails on a missed ceiling, "-write" updates docs
	go run ./bench $(BENCH)

cover: ## how much of each package the tests run
	go test -coverprofile=coverage.out ./internal/...
	@go tool cover -func=coverage.out | tail -n 1

sdk: build ## the vendors' SDKs for Python, Node and Go against bin/penstock
	@scripts/tools.sh python node
	PENSTOCK_TEST_SDK=1 PENSTOCK_BIN=$(CURDIR)/bin/penstock go test -count=1 -parallel 4 -v ./test/sdk

browser: build ## the console in a headless Chromium against bin/penstock: accessibility, keyboard, sessions, roles
	@scripts/tools.sh browser
	PENSTOCK_TEST_BROWSER=1 PENSTOCK_BIN=$(CURDIR)/bin/penstock go test -count=1 -v ./test/console

screens: build ## pictures of the console for docs/images, light and dark, from a minute of the demo
	@scripts/tools.sh browser
	PENSTOCK_TEST_BROWSER=1 PENSTOCK_TEST_SCREENS=1 PENSTOCK_BIN=$(CURDIR)/bin/penstock go test -count=1 -run TestScreens -v ./test/console

release: ## archives, bills of materials and checksums for all platforms in dist/; RELEASE="linux/amd64" for some
	@scripts/release.sh $(RELEASE)

docs: ## rewrite the files that are made from code
	@scripts/generated.sh -update

tools: ## install what lint, sdk, browser and test need into .tools/
	@scripts/tools.sh lint python node browser

clean: ## remove what was built; .tools/ and data directories stay
	rm -rf bin dist coverage.out bench-results
