# The commands of the project. CI runs `.ci/run`, which runs these.

TOOL = go tool -modfile=$(CURDIR)/tools/go.mod

.PHONY: build test race check fuzz conformance bench demo chaos soak

build:            ## the binaries, in bin/
	go build -o bin/ ./cmd/...

test:             ## every test that needs Go alone
	go test ./...

race:             ## the same under the race detector, with the invariants checked (-short: without the loads)
	go test -race -short ./...

check:            ## formatting, vet, staticcheck, house rules, tidiness
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...
	go test ./internal/archtest
	go mod tidy -diff
	cd tools && go mod tidy -diff
	go build ./... && CGO_ENABLED=0 go build ./...

fuzz:             ## every fuzz target for FUZZTIME (60s); FUZZ=pattern chooses some
	FUZZTIME=$(or $(FUZZTIME),60s) tools/fuzz.sh $(FUZZ)

conformance:      ## real clients and servers, in a virtual environment of its own
	tools/conformance/run.sh

bench:            ## benchmarks with allocations; the router beside nginx
	go test -run '^$$' -bench . -benchtime 0.2s -benchmem ./internal/...
	benchmarks/proxy/run.sh -peers nginx -connections 64 -bodies json

demo: build       ## the built-in model, one request, its answer
	bin/router -listen 127.0.0.1:8000 -admin off & pid=$$!; sleep 1; \
	curl -sS 127.0.0.1:8000/v2/models/fashion/infer -d @examples/infer.json; echo; kill $$pid; wait $$pid

SEED = 1
CHAOS_FLAGS =
chaos:            ## real processes, killed, hung, cut off and worse (docs/chaos.md); SEED=n; CHAOS_FLAGS=-short: a minute
	MOTLEY_CHAOS=1 MOTLEY_CHAOS_SEED=$(SEED) go test -count=1 -timeout 15m -v $(CHAOS_FLAGS) ./internal/chaos

DURATION = 30m
soak:             ## steady traffic, workers that come and go: nothing may grow; DURATION=d
	MOTLEY_CHAOS=1 MOTLEY_CHAOS_SEED=$(SEED) MOTLEY_SOAK=$(DURATION) go test -count=1 -timeout 0 -v -run 'TestSoak$$' ./internal/chaos
