# `make` prints what there is to make.
.DEFAULT_GOAL := help
.PHONY: help demo test lab lint fuzz bench size static devices features coverage

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: ## see it work: packets to a multicast group and back, in one process
	@cargo run --quiet --release --example mcast -- demo

test: ## run all tests, in a private network that the tests bring along
	@sh tests/in-namespace.sh

# ONLY: words, of which a case has one in its name. PROOF=1 switches off what each case tests: then each of them has to fail.
lab: ## several hosts on one machine, with real peers (ONLY=word, PROOF=1)
	@cargo test --quiet --test lab -- $(if $(PROOF),--proof) $(ONLY)

# The feature sets that a user can have: default, none, std, all. Without std there are no examples.
lint: ## check format, lints, documentation, who imports whom, dependencies, and that no call of the core can panic
	cargo fmt --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path benches/Cargo.toml --check
	cargo fmt --manifest-path examples/freestanding/Cargo.toml --check
	cargo fmt --manifest-path tests/devices/Cargo.toml --check
	.ci/imports --self-test
	.ci/imports
	.ci/dependencies
	.ci/panic-free
	RUSTFLAGS="--cfg fuzzing" cargo check --all-features --target-dir target/fuzzing
	cargo clippy --all-targets -- -D warnings
	cargo clippy --no-default-features --lib --tests -- -D warnings
	cargo clippy --no-default-features --features std --all-targets -- -D warnings
	cargo clippy --all-features --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --no-default-features
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --no-default-features --document-private-items

# Some minutes; with QUICK=1 under two. The table and the plots go to target/bench/.
bench: ## measure against every peer (QUICK=1: under two minutes)
	@cargo run --quiet --release --manifest-path benches/Cargo.toml --bin bench -- $(if $(QUICK),--quick)

# For each target. 2 GB and 10 seconds are far more than any input should take.
FUZZ_SECONDS ?= 30
fuzz: ## fuzz each target for FUZZ_SECONDS (30); needs the toolchain `nightly`
	@cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
	@targets=$$(cargo +nightly fuzz list) && [ -n "$$targets" ] && for target in $$targets; do \
	    echo "fuzz: $$target, $(FUZZ_SECONDS) s"; \
	    cargo +nightly fuzz run "$$target" -- \
	        -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 || failed="$$failed $$target"; \
	done && if [ -n "$$failed" ]; then echo "fuzz: failed:$$failed"; exit 1; fi

# The x86-64 mcast among them, which is built first.
size: ## measure how small the programs are, beside their peers; fails past the goals
	@.ci/static x86_64
	@python3 benches/small/size.py

# TARGET is x86_64, i686, aarch64, armv7, riscv64gc, s390x, powerpc64, mipsel, or several of them; all if not given.
static: ## build mcast fully static (TARGET=aarch64, say) into target/static/
	@.ci/static $(TARGET)

# MACHINES: arm64, armhf, s390x, mipsel, for their kernels; user, for tests without one; native, for this one. All but the last if not
# given: a quarter of an hour, most of it for building.
devices: ## run the self-test on the kernels of other processors, and tests, emulated (MACHINES=arm64, say)
	@sh tests/devices/run.sh $(MACHINES)

features: ## check all sets of features, the oldest dependencies and compiler, and the package's files
	@.ci/features

coverage: ## print how much of the code the tests run, and what they do not
	@.ci/coverage
