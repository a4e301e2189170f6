# What a developer types. Every target stands for a script or one cargo command, which can be run without make as well.

.DEFAULT_GOAL := help
.PHONY: help demo test clients gen robustness bench lint fmt

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

demo: ## A real agent writes and runs a program; watched live, cut and resumed, and read again after kill -9
	@bash scripts/demo.sh

test: ## Everything that must hold: format, lints, all tests, duplicate crates, no process left behind
	@bash scripts/test.sh

clients: ## Only the clients in Go, Python and TypeScript, against what cargo build made
	@bash scripts/clients.sh

gen: ## Generate the clients' code from the contract
	@bash scripts/gen.sh

robustness: ## Kill, cut off and power off servers by the thousand; KILLS= CLAUDE_KILLS= RESUMES= PAUSES= POWER= SEED= set sizes
	@bash scripts/robustness.sh

bench: ## Measure latency, throughput and memory, end to end (ARGS="fan_paced replay": only these)
	cargo bench --locked --bench suite -- $(ARGS)

lint: ## Format and lints only
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

fmt: ## Format the sources
	cargo fmt
