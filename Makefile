# tandem: everything a contributor runs. 'make' lists the targets.

SHELL       := /bin/bash
GO          ?= go
BIN         := bin/tandem
CACHE       := $(CURDIR)/.cache
TOOLS       := $(CACHE)/bin
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X main.version=$(VERSION)
FUZZTIME    ?= 20s
SEED        ?= 1
SEEDS       ?= 1000
COUNT       ?= 20
BENCH       ?= .
# For all tests of a package. It ends what hangs, also on a slow machine.
TIMEOUT     ?= 30m
# Packages whose goroutines share state: what the race detector is for.
CONCURRENT  := ./app/... ./modules/... ./telemetry/... ./testutil/...

GOLANGCI    := $(TOOLS)/golangci-lint-v2.15.0
BUF         := $(TOOLS)/buf-v1.75.0
GEN_GO      := $(TOOLS)/protoc-gen-go-v1.36.12
GEN_CONNECT := $(TOOLS)/protoc-gen-connect-go-v1.21.1

.DEFAULT_GOAL := help
.PHONY: help build run test race simulate e2e smoke stress lint fmt generate bench figures profile microbench fuzz cover graph check clean tools

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/tandem
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/tandem

run: build ## run a whole chain on this machine: DA, sequencer, two followers
	./$(BIN) devnet $(ARGS)

test: ## run the tests
	$(GO) test -timeout $(TIMEOUT) ./...

race: ## run the concurrent packages under the race detector
	$(GO) test -race -short -timeout $(TIMEOUT) $(CONCURRENT)

e2e: build ## run the scenarios with real processes: kill, restart, outages, wrong input, attacks
	TANDEM_BINARY=$(CURDIR)/$(BIN) $(GO) test -count=1 -tags e2e -timeout $(TIMEOUT) ./cmd/tandem/...

smoke: build ## run the devnet unattended and check that all nodes agree
	./$(BIN) devnet --dir $(CACHE)/smoke --fresh --for 20s

simulate: ## run random trouble and attacks in virtual time, SEEDS schedules from SEED on
	$(GO) test -count=1 -timeout 60m -run '^TestSimulation$$' ./testutil/testnet -sim.seed $(SEED) -sim.runs $(SEEDS)

stress: ## run the tests of the concurrent packages COUNT times in random order
	$(GO) test -race -short -count=$(COUNT) -shuffle=on -failfast -timeout 0 $(CONCURRENT)

lint: $(GOLANGCI) ## check style, design rules and correctness
	$(GOLANGCI) run ./...

fmt: $(GOLANGCI) ## format the code
	$(GOLANGCI) fmt ./...

generate: $(BUF) $(GEN_GO) $(GEN_CONNECT) ## write generated code again: protobuf, graphs
	cd proto && $(BUF) lint && $(BUF) generate
	$(GO) test ./app -run TestGoldenGraphs -update

bench: ## measure the node and its parts: table, bench/results, docs/plots (ARGS='-run p2p -runs 3')
	$(GO) run ./testutil/bench $(ARGS)

figures: ## measure everything (20 minutes) and write it into docs/benchmarks.md
	$(GO) run ./testutil/bench -docs docs/benchmarks.md $(ARGS)

profile: ## write CPU and heap profiles of catch-ups and of the tip into .cache/profiles
	$(GO) build -o $(CACHE)/bench ./testutil/bench
	$(CACHE)/bench -runs 1 -run '^(p2p|da|restart|sequencer|tip)$$' -profile $(CACHE)/profiles -out '' -plots ''
	@echo "look at one: go tool pprof -http 127.0.0.1:8080 $(CACHE)/bench $(CACHE)/profiles/p2p-empty-100k.cpu"

microbench: ## run the Go benchmarks (BENCH=regexp chooses)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

fuzz: ## fuzz every decoder, FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

cover: ## write coverage.html and print the total
	$(GO) test -coverprofile=coverage.out -coverpkg=./... ./...
	$(GO) tool cover -html=coverage.out -o coverage.html
	$(GO) tool cover -func=coverage.out | tail -1

graph: build ## print the dependency graph of each role, in DOT
	@for role in full sequencer light; do ./$(BIN) graph $$role; done

check: ## what CI runs
	.ci/run

clean: ## remove what was built, not the tools
	rm -rf bin coverage.out coverage.html $(CACHE)/smoke .tandem

tools: $(GOLANGCI) $(BUF) $(GEN_GO) $(GEN_CONNECT) ## install the pinned tools below .cache

# install-tool NAME PACKAGE@VERSION: 'go install' into a folder of its own, then
# under a name that carries the version, so that a new pin is a new file.
define install-tool
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS)/tmp $(GO) install $(2)
	mv $(TOOLS)/tmp/$(1) $@ && ln -sf $@ $(TOOLS)/$(1)
endef

$(GOLANGCI):
	$(call install-tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0)
$(BUF):
	$(call install-tool,buf,github.com/bufbuild/buf/cmd/buf@v1.75.0)
$(GEN_GO):
	$(call install-tool,protoc-gen-go,google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12)
$(GEN_CONNECT):
	$(call install-tool,protoc-gen-connect-go,connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1)
