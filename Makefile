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
JAEGER_V    := v1.76.0
JAEGER      := $(TOOLS)/jaeger-$(JAEGER_V)
OTEL_VIEW   := $(TOOLS)/otel-desktop-viewer-v0.4.1
VIEWER      := http://127.0.0.1:16686

.DEFAULT_GOAL := help
.PHONY: help build release run test race simulate powercuts e2e smoke stress lint fmt generate bench figures profile microbench fuzz cover graph jaeger trace trace-test traceview check clean tools

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/tandem
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/tandem

release: build ## build what is given away: the static binary and the licences of all that is linked into it
	@set -eo pipefail; { printf '== Go\n\n'; cat "$$($(GO) env GOROOT)/LICENSE"; \
	$(GO) list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/tandem | sort -u | \
	while read -r path version dir; do \
	  files=$$(find "$$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | LC_ALL=C sort); \
	  [ -n "$$files" ] || { echo "$$path $$version has no licence file in $$dir" >&2; exit 1; }; \
	  printf '\n== %s %s\n\n' "$$path" "$$version"; cat $$files; \
	done; } > bin/THIRD_PARTY_LICENSES
	@ls -l bin

run: build ## run a whole chain on this machine: DA, sequencer, two followers
	@set -m; ./$(BIN) devnet $(ARGS); exit $$?  # -m: Ctrl-C is for the devnet, and not for make

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

powercuts: ## cut the power of nodes in virtual time, SEEDS times from SEED on
	$(GO) test -count=1 -timeout 60m -run '^TestPowerCuts$$' ./testutil/testnet -power.seed $(SEED) -power.runs $(SEEDS)

stress: ## run the tests of the concurrent packages COUNT times in random order
	$(GO) test -race -short -count=$(COUNT) -shuffle=on -failfast -timeout 0 $(CONCURRENT)

lint: $(GOLANGCI) ## check style, design rules and correctness
	$(GOLANGCI) run ./...

fmt: $(GOLANGCI) ## format the code
	$(GOLANGCI) fmt ./...

generate: $(BUF) $(GEN_GO) $(GEN_CONNECT) ## write generated files again: protobuf, graphs, table of metrics
	cd proto && $(BUF) lint && $(BUF) generate
	$(GO) test ./telemetry/names -run TestMetricsPage -update
	$(GO) test ./app -run 'TestGoldenGraphs|TestArchitectureShows' -update

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

jaeger: $(JAEGER) ## start Jaeger on loopback: OTLP on 4317 and 4318, API and viewer on 16686
	@echo "traces of blocks: $(VIEWER)   (nodes: --tracing.endpoint 127.0.0.1:4317)"
	$(JAEGER) --config telemetry/deploy/jaeger.yaml

trace: build $(JAEGER) ## run the devnet with tracing on, and Jaeger; prints the URL of a trace
	@mkdir -p $(CACHE); set -m; $(JAEGER) --config telemetry/deploy/jaeger.yaml > $(CACHE)/jaeger.log 2>&1 & pid=$$!; \
	trap '{ kill $$pid; wait $$pid; } 2>/dev/null' EXIT; \
	./$(BIN) devnet --dir $(CACHE)/trace --fresh --tracing.endpoint 127.0.0.1:4317 --tracing.viewer $(VIEWER) $(ARGS)

trace-test: build $(JAEGER) ## read traces back from Jaeger, look at the viewer where there is a chromium
	TANDEM_BINARY=$(CURDIR)/$(BIN) JAEGER_BINARY=$(JAEGER) $(GO) test -count=1 -tags e2e -run 'TestTraceOfBlocks' -v ./cmd/tandem

traceview: $(OTEL_VIEW) ## start otel-desktop-viewer instead of Jaeger: OTLP on 4317 and 4318, its page on 8000
	$(OTEL_VIEW) --host 127.0.0.1 --open-browser=false --browser-port 8000

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

# build-tool MODULE@VERSION PACKAGE: built inside of its module, for those whose
# go.mod has replace lines. It takes minutes the first time: progress is shown.
define build-tool
	@mkdir -p $(TOOLS)
	@echo "building $(1): some minutes the first time"
	@dir=$$($(GO) mod download -json $(1) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && \
	  $(GO) build -C "$$dir" -v -trimpath -o $@.tmp $(2) 2>&1 | awk '{printf "\r\033[K  %d packages, %s", NR, $$0; fflush()} END {print ""}' && \
	  mv $@.tmp $@
endef

$(JAEGER):
	$(call build-tool,github.com/jaegertracing/jaeger@$(JAEGER_V),./cmd/jaeger)
$(OTEL_VIEW):
	$(call build-tool,github.com/CtrlSpice/otel-desktop-viewer@v0.4.1,.)
