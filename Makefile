# `make` prints the list of targets.
.DEFAULT_GOAL := help
.PHONY: help demo test bare lab runtimes lint faults soak mutants fuzz bench size static release devices features coverage

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: ## send packets to a multicast group and receive them, in one process
	@echo "Building the program mcast, optimised, in target/release. The first time takes a minute or two."
	@cargo build --release -p mcast
	@target/release/mcast demo

test: ## run all tests, in a private network namespace; installs the programs that they need
	@.ci/install test || echo "Tests that need them are left out, and named at the end."
	@sh tests/in-namespace.sh

# Takes a quarter of an hour, mostly for building.
bare: ## run `make demo` and `make test` on a bare Debian with Rust, in a root of its own made by debootstrap
	@.ci/bare

# ONLY: runs the cases with one of these words in their names. PROOF=1 switches off what each case tests: then every case must
# fail.
lab: ## run the laboratory: several hosts on one machine, with real peers (ONLY=word, PROOF=1)
	@.ci/install all
	@sh tests/lab/protocols/install.sh
	@cargo build --quiet --examples
	@cargo build --quiet -p mcast
	@cargo test --quiet --test lab -- $(if $(PROOF),--proof) $(ONLY)

# Built outside of the namespace, which has no network for downloads.
runtimes: ## run the examples for tokio, mio, calloop, async-io and poll(2), in a private network namespace
	@.ci/install test || echo "Tests that need them fail, and say so."
	@cargo test --quiet --no-run --locked --manifest-path examples/runtimes/Cargo.toml --test '*'
	@sh tests/in-namespace.sh cargo test --quiet --offline --manifest-path examples/runtimes/Cargo.toml --test '*'

# The feature sets: default, none, std, all. Without std there are no examples.
lint: ## check format, words, spelling, lints, documentation, imports, dependencies, and that no call of the core can panic
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path benches/Cargo.toml --check
	cargo fmt --manifest-path examples/freestanding/Cargo.toml --check
	cargo fmt --manifest-path examples/runtimes/Cargo.toml --check
	cargo fmt --manifest-path tests/devices/Cargo.toml --check
	cargo fmt --manifest-path tests/faults/Cargo.toml --check
	cargo fmt --manifest-path tests/soak/Cargo.toml --check
	.ci/words --self-test
	.ci/words
	.ci/spelling
	.ci/guide
	.ci/imports --self-test
	.ci/imports
	.ci/dependencies
	.ci/panic-free
	RUSTFLAGS="--cfg fuzzing" cargo check --all-features --target-dir target/fuzzing
	cargo clippy --all-targets -- -D warnings
	cargo clippy --no-default-features --lib --tests -- -D warnings
	cargo clippy --no-default-features --features std --all-targets -- -D warnings
	cargo clippy --all-features --all-targets -- -D warnings
	cargo clippy -p mcast --all-targets --features plot -- -D warnings
	cargo clippy -p mcast --no-default-features --features send,listen -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --no-default-features
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --no-default-features --document-private-items

# Takes some minutes; with QUICK=1 less than two. Writes the table and the plots to target/bench/.
bench: ## compare the speed with that of its peers (QUICK=1: less than two minutes)
	@cargo run --quiet --release --manifest-path benches/Cargo.toml --bin bench -- $(if $(QUICK),--quick)

# Each call of each scenario and command fails in each way that its manual page names, once and from then on. Then descriptors, stack, /proc
# and system calls are taken away. The static mcast, since the loader of a dynamic program has faults of its own. PART=3/10 runs a tenth of
# them. ONLY: scenarios with one of these words in their names.
faults: ## make every system call of the library and of mcast fail, once and for ever, take away what they need, and check what follows (PART=3/10, ONLY=word)
	@.ci/install all
	@cargo build --quiet --release --locked --manifest-path tests/faults/Cargo.toml
	@.ci/static x86_64
	@sh tests/in-namespace.sh tests/faults/target/release/faults tests/faults/target/release/driver \
	    target/static/x86_64-unknown-linux-musl/mcast tests/faults/target/release/confined \
	    $(if $(PART),--part $(PART)) $(ONLY)

# HOURS may be a fraction. The result is in target/soak/result.txt, too.
HOURS ?= 1
soak: ## send through every kind of listener and sender for HOURS (1) while links and routes change, and account for each packet
	@.ci/install all
	@cargo build --quiet --release --locked --manifest-path tests/soak/Cargo.toml
	@sh tests/in-namespace.sh tests/soak/target/release/soak --hours $(HOURS) --to target/soak

# ROOM is one of tests/mutants/rooms, or several of them; default: all, which takes hours.
mutants: ## change the code in small ways, one at a time: a test must notice each change (for example ROOM=guard)
	@.ci/install all
	@.ci/mutants $(ROOM)

# FUZZ_SECONDS is the time per target. 2 GB and 10 seconds are far more than any input should need.
FUZZ_SECONDS ?= 30
fuzz: ## fuzz each target for FUZZ_SECONDS (30); needs the toolchain `nightly`
	@cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
	@targets=$$(cargo +nightly fuzz list) && [ -n "$$targets" ] && for target in $$targets; do \
	    echo "fuzz: $$target, $(FUZZ_SECONDS) s"; \
	    cargo +nightly fuzz run "$$target" -- \
	        -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 || failed="$$failed $$target"; \
	done && if [ -n "$$failed" ]; then echo "fuzz: failed:$$failed"; exit 1; fi

# Builds the x86-64 mcast first, which is one of the programs: with all commands, and with send and listen alone.
size: ## measure the size of the programs and of their peers; fails above the goals
	@.ci/static x86_64
	@.ci/static --small x86_64
	@python3 benches/small/size.py

# TARGET is x86_64, i686, aarch64, armv7, riscv64gc, s390x, powerpc64, mipsel, or several of them; default: all.
static: ## build static mcast binaries in target/static/ (for example TARGET=aarch64)
	@.ci/static $(TARGET)

# TARGET as for `static`; default: all eight, which takes a quarter of an hour. A second build of the first one must give the same bytes.
release: ## make what a user of a device downloads, in target/release-files/ (for example TARGET=x86_64)
	@.ci/release $(TARGET)

# MACHINES: arm64, armhf, s390x, mipsel (emulated, each with its own kernel); user (tests under qemu-user); native (this machine).
# Default: all except native; this takes a quarter of an hour, mostly for building.
devices: ## run the self-test and tests on other processors and their kernels, emulated (for example MACHINES=arm64)
	@sh tests/devices/run.sh $(MACHINES)

features: ## check feature sets, oldest dependencies and compiler, docs.rs, licences, advisories, the public API, the package
	@.ci/features

coverage: ## print how much of the code the tests run, and which lines they do not
	@.ci/coverage
