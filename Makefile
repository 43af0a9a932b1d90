# `make help` lists what can be made. Everything works on a fresh machine.

BENCH ?=
TEST ?=
N ?= 3
.DEFAULT_GOAL := help
.PHONY: help build images quickstart down clean check test unit e2e bench engine hosts hosts-down

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: ## Start a one-node cluster on this machine and deploy examples/counter
	@deploy/quickstart.sh

down: ## Stop what quickstart started; named volumes stay
	@deploy/down.sh

clean: ## As down, and the named volumes and build output too
	@deploy/down.sh --volumes
	cargo clean

build: ## Build the release binaries
	@deploy/check-tools.sh
	@deploy/build-release.sh

images: build engine ## Build the service images
	@deploy/build-images.sh

engine: ## Make sure that a Docker Engine answers
	@deploy/ensure-engine.sh

check: ## Format, lints, protos, licences and advisories
	@deploy/check.sh

unit: ## Unit and integration tests, without an engine
	cargo test --workspace --exclude gantry-e2e --locked $(TEST)

# A test asks what the proxy does, not how fast: it is spared the minutes that the last tenth takes to compile.
e2e test: export PROXY_PROFILE := release
e2e: images ## End-to-end tests on the real engine (TEST=name runs some)
	@e2e/run.sh $(TEST)

test: ## Everything: check, unit, e2e
	@deploy/check-tools.sh
	@$(MAKE) --no-print-directory check engine unit e2e

hosts: images ## A cluster of N=3 real hosts on this machine, to try things by hand
	@e2e/hosts.sh up $(N)

hosts-down: ## Remove those hosts
	@e2e/hosts.sh down

bench: images ## Benches against peers (BENCH=deploy runs one)
	@e2e/bench.sh $(BENCH)
