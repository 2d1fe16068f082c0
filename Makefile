# IWAS: `make help` lists what can be done here.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION := $(shell packaging/version.sh)
LDFLAGS := -s -w -buildid= -X iwas/internal/buildinfo.version=$(VERSION)
# Nothing is inlined into the console's sixty generic operations and into what reads flags,
# settings and steps of a schema: half a megabyte that nobody waits for.
SMALL := $(foreach p,iwas/cloud/console github.com/danielgtaylor/huma/v2/... github.com/spf13/... github.com/pelletier/go-toml/... github.com/pressly/goose/...,-gcflags=$(p)=-l)
GOFLAGS_BUILD := -trimpath -buildvcs=false $(SMALL) -ldflags "$(LDFLAGS)"
export CGO_ENABLED ?= 0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The race detector watches all but SQLite, which is C put into Go by a machine:
# what it does to its own memory is not ours to find, and watching it took two
# thirds of the time of all tests together. make check vets. -count=1, since go does
# not see that results hang on the programs that tests build.
RACE := -race $(foreach p,modernc.org/sqlite/lib modernc.org/libc modernc.org/libc/... modernc.org/memory,-gcflags=$(p)=-race=false)
PKG ?= $$(go list ./... | grep -v ^iwas/packaging/)

.PHONY: build
build: ## build bin/iwas-agent, bin/iwas-cloud, bin/routersim and bin/iwas-demo
	@mkdir -p bin
	@go build $(GOFLAGS_BUILD) -o bin/ ./internal/demo/iwas-demo ./internal/routersim/cmd/routersim
	@go build $(GOFLAGS_BUILD) -o bin/iwas-agent ./agent
	@go build $(GOFLAGS_BUILD) -o bin/iwas-cloud ./cloud

.PHONY: run
run: ## a whole cafe on this machine: cloud, agent, router, guests
	@rm -f .run/demo.json
	@$(MAKE) --no-print-directory build
	@exec bin/iwas-demo run --dir .run --bin bin

.PHONY: test
test: peers ## every test but the packages', against real peers, with the race detector; PKG=./agent/store for one room
	@CGO_ENABLED=1 go test -count=1 -vet=off $(RACE) -timeout 20m $(PKG)

.PHONY: package
package: ## build everything people install into dist/; IWAS_APT_KEY signs the apt repository
	@go run ./packaging/package

.PHONY: package-test
package-test: ## build the packages twice, and install, upgrade, remove and purge them in a fresh Debian
	@packaging/peers.sh packages
	@go test -count=1 -timeout 20m -v ./packaging/... | grep -v '^=== \|^== \|PASS: \|^The apt'; exit $${PIPESTATUS[0]}

.PHONY: peers
peers: ## install the Debian packages the tests talk to, if any is missing
	@packaging/peers.sh

.PHONY: check
check: ## format, vet, staticcheck, known vulnerabilities, rules on the tree
	@packaging/check.sh

.PHONY: fuzz
fuzz: ## run every fuzz target for a few seconds
	@packaging/fuzz.sh

.PHONY: bench
bench: build peers ## measure, side by side, and print ratios
	@packaging/bench.sh

.PHONY: pictures
pictures: peers ## take the pictures of the README anew
	@go test -count=1 -run TestAnOwnerLocksAGuestInTheBrowser ./internal/e2e -pictures

.PHONY: clean
clean: ## remove what was built and the demo's state
	@rm -rf bin .run dist
