# What can you do here? `make run` and `make test` are all one needs; the rest is thin names over
# cargo, and the one place that installs packages. One profile (release) builds everything, and
# into a directory outside the clone, so that RocksDB compiles once per machine and not per clone.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidegate
export CARGO_TARGET_DIR ?= $(CACHE)/target
CARGO_FLAGS := --release --locked
BIN_DIR := $(CARGO_TARGET_DIR)/release

# clang: bindgen and RocksDB. libcoap3-bin, openssl, gnutls-bin: foreign devices and servers.
# tshark: a foreign reader of our sessions. mosquitto: the MQTT broker. libssl-dev: OpenSSL as a
# yardstick in the handshake bench. python3-venv: the aws client, foreign devices; python3-dev and
# automake: one of these is compiled. iproute2: namespaces for AF_XDP. nats-server, kcat: a NATS
# server and a Kafka broker (librdkafka's) for actions of rules. systemd: what its units leave open
# is counted, it need not run. The rest: C compiler, shell tools.
PACKAGES := build-essential clang libclang-dev pkg-config libssl-dev libcoap3-bin mosquitto \
	mosquitto-clients openssl gnutls-bin tshark iproute2 nats-server kcat systemd python3-venv python3-dev \
	automake xxd curl ca-certificates

say = @printf '\n\033[1m== %s\033[0m\n' "$(1)"

.PHONY: help run demo test format lints build model smoke bench ratio soak fuzz docs sim armed reliability install-deps \
	aws foreign allowed audit advisories fuzzer
help:
	@echo 'make run    start an edge with a demo device on loopback (Ctrl-C stops it)'
	@echo 'make test   everything: format, lints, unit tests, stories with foreign clients'
	@echo 'make sim    the simulator: SEEDS seeds, MINUTES minutes at most, then bugs planted into'
	@echo '            it; SEED=n plays one seed again; make reliability writes it into docs/'
	@echo 'make smoke  the main job in under 40 s, binaries being built already'
	@echo 'make ratio   how we compare to a bare echo and others, core figures in under a minute'
	@echo 'make bench | fuzz   all figures into docs/performance.md, criterion benches | FUZZ_S'
	@echo '             seconds (60) of made-up bytes for each parser'
	@echo 'make soak   processes are killed under load, for an hour or SOAK_MINUTES'
	@echo 'make audit  advisories against what we stand on; licences and origins too (make test does so'
	@echo '            where their database can be had)'
	@echo 'make docs   write what the tests know into docs/: interop, compliance, lossy link'

run demo: install-deps build aws
	@exec deploy/demo/run.sh $(BIN_DIR) $(CACHE)/venv

build:
	$(call say,building (the first time takes some minutes: RocksDB))
	cargo build $(CARGO_FLAGS) --workspace --bins

format:
	$(call say,format)
	cargo fmt --all --check

lints:
	$(call say,lints)
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

# Doc examples, the model, the simulator and the fuzzer run before the rest so that the stories'
# results are the closing lines.
test: install-deps format advisories build lints foreign aws model
	$(call say,doc examples)
	cargo test $(CARGO_FLAGS) --workspace --doc --quiet
	@$(MAKE) sim SEEDS=400 MINUTES=1
	@$(MAKE) fuzz FUZZ_S=10
	$(call say,tests)
	TIDEGATE_CACHE=$(CACHE) cargo test $(CARGO_FLAGS) --workspace --lib --bins --tests

# What the workspace may stand on: deny.toml. Advisories come from RustSec's database on GitHub, or
# from a clone of it: make audit ADVISORY_DB=dir.
allowed:
	$(call say,licences and origins of what we stand on)
	$(call tool,cargo-deny@0.20.2)
	$(TOOLS)/cargo-deny --locked check licenses bans sources

RUSTSEC := https://github.com/RustSec/advisory-db
audit advisories: export GIT_CONFIG_COUNT := $(if $(ADVISORY_DB),2,0)
audit advisories: export GIT_CONFIG_KEY_0 := url.file://$(abspath $(ADVISORY_DB)).insteadOf
audit advisories: export GIT_CONFIG_VALUE_0 := $(RUSTSEC)
audit advisories: export GIT_CONFIG_KEY_1 := safe.directory
audit advisories: export GIT_CONFIG_VALUE_1 := *
audit: allowed
	$(call say,advisories against what we stand on)
	$(TOOLS)/cargo-deny --locked check advisories

# The same in `make test`, where GitHub or ADVISORY_DB has the database. Where not it is said, and
# fails nothing: a machine of CI need not reach GitHub.
advisories: allowed
	$(call say,advisories against what we stand on)
	@[ -n "$(ADVISORY_DB)" ] || why=$$(timeout 5 git ls-remote -q $(RUSTSEC) HEAD 2>&1 >/dev/null \
		&& timeout 120 $(TOOLS)/cargo-deny --locked fetch db 2>&1) \
		|| { echo "advisories were NOT checked, their database can't be had here (ADVISORY_DB=dir" \
			"names a clone): $${why:-$(RUSTSEC) does not answer}"; exit 0; }; \
	$(TOOLS)/cargo-deny --locked check advisories

# Tools of cargo, pinned, into the cache: nothing where they are already. Compiled for the sake of
# compiling: it is minutes, and what they do is seconds.
TOOLS := $(CACHE)/tools/bin
tool = @env -u CARGO_TARGET_DIR -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	cargo install --locked --root $(CACHE)/tools $(1)

# Every interleaving of the rings' two sides. A directory of its own: these flags are for it alone.
model: export RUSTFLAGS = --cfg loom
model:
	$(call say,model of the rings)
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/loom \
		cargo test $(CARGO_FLAGS) -p tidegate-ring --test loom_ring --test loom_seqlock --quiet

# A whole Tidegate on one thread, in which everything goes wrong, and bugs planted into it that have
# to be found: docs/simulator.md. Built for itself: the feature is for this binary alone.
SEEDS := 2000
MINUTES := 5
PLANTED_SEEDS := 400
sim: armed
	$(BIN_DIR)/tidegate-sim $(if $(SEED),seed $(SEED) $(if $(INSIDE),outside), \
		check $(SEEDS) $(MINUTES) $(PLANTED_SEEDS))

# Compiled lightly: our crates are so a second time, and seeds are many even so.
light = --config profile.release.package.tidegate-$(1).opt-level=1 \
	--config profile.release.package.tidegate-$(1).codegen-units=16
armed: ARMED := $(foreach crate,controlplane dataplane loadgen dtls tests,$(call light,$(crate)))
armed:
	$(call say,building the simulator)
	cargo build $(CARGO_FLAGS) $(ARMED) --workspace --features tidegate-tests/armed --bin tidegate-sim

# docs/reliability.md, from seeds, planted bugs and the record of soaks.
reliability: armed
	$(BIN_DIR)/tidegate-sim report $(SEEDS) $(MINUTES) $(PLANTED_SEEDS)

smoke: install-deps foreign
	@TIDEGATE_CACHE=$(CACHE) exec $(BIN_DIR)/tidegate-smoke

# What the tests know, written into docs/: the compliance map, lossy links, the interop tables,
# the OpenAPI document.
docs: install-deps build foreign
	TIDEGATE_WRITE_DOCS=1 TIDEGATE_CACHE=$(CACHE) cargo test $(CARGO_FLAGS) -p tidegate-tests \
		--test compliance --test interop --test interop_servers --test lossy_exchanges
	TIDEGATE_WRITE_DOCS=1 cargo test $(CARGO_FLAGS) -p tidegate-dtls --test lossy_table
	TIDEGATE_WRITE_DOCS=1 cargo test $(CARGO_FLAGS) -p tidegate-controlplane --lib openapi

# Every figure, by turns with its peer, into docs/performance.md; then the criterion benches, a
# second each. A row that can't be measured is missing from the table, and fails the target.
bench: install-deps aws
	$(call say,building)
	cargo build $(CARGO_FLAGS) --workspace --bins
	cargo build $(CARGO_FLAGS) -p tidegate-ring --example two_processes
	$(call say,figures)
	@set -o pipefail; failed=0; \
	TIDEGATE_CACHE=$(CACHE) $(BIN_DIR)/tidegate-ratio run | tee $(CACHE)/figures || failed=1; \
	$(BIN_DIR)/tidegate-ratio report $(CACHE)/figures docs/performance.md; \
	exit $$failed
	$(call say,criterion)
	cargo bench --locked -p tidegate-bench -p tidegate-controlplane --bench '*' -- \
		--warm-up-time 0.3 --measurement-time 1

# Kills under load for SOAK_MINUTES (60) with SOAK_DEVICES (500); each piece of it is a line of the
# record, with what was lost (nothing may be) and how soon the edge was back.
soak: install-deps build
	@set -o pipefail; TIDEGATE_CACHE=$(CACHE) $(BIN_DIR)/tidegate-soak | while read -r line; do \
		printf '{"date":"%s","commit":"%s",%s\n' "$$(date -u +%FT%TZ)" \
			"$$(git describe --always --dirty)" "$${line#\{}" | tee -a docs/soak.jsonl; \
	done

# One line of JSON for each core figure; the binaries are built already.
ratio:
	@exec $(BIN_DIR)/tidegate-ratio core

# FUZZ_S seconds for each target, two at a time. What was found interesting is kept in the cache and
# is where the next run begins; a crash says how it is played again (TARGET, INPUT).
FUZZ_S := 60
TARGET := $(notdir $(wildcard fuzz/seeds/*))
fuzz: fuzzer
	$(call say,fuzzing $(words $(TARGET)) targets for $(FUZZ_S) s each)
	@export FUZZER=$(BIN_DIR)/tidegate-fuzz FUZZ_S=$(FUZZ_S) FUZZ_DIR=$(CACHE)/fuzz; \
	$(if $(INPUT),fuzz/run.sh $(TARGET) $(INPUT), \
		printf '%s\n' $(TARGET) | xargs -P $$(nproc) -n 1 fuzz/run.sh)

# What we stand on is compiled already; ours, lightly, a time more: fuzz/instrument.sh.
fuzzer:
	$(call say,building the fuzzer)
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/fuzz/instrument.sh cargo build $(CARGO_FLAGS) \
		$(foreach crate,coap controlplane crypto dataplane dtls fuzz loadgen ring,$(call light,$(crate))) \
		--workspace --features tidegate-fuzz/engine --bin tidegate-fuzz

# The apt step is skipped when everything is there, so a second run needs no root.
install-deps:
	@missing=; for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' \
			|| missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		printf '\n\033[1m== installing%s\033[0m\n' "$$missing"; \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq \
		&& $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
			--no-install-recommends $$missing; \
	fi

# The aws command line and boto3, pinned, in an environment of their own.
aws:
	@if ! cmp -s tests/foreign/requirements.txt $(CACHE)/venv/requirements.txt; then \
		printf '\n\033[1m== installing the aws client (pinned) into %s\033[0m\n' $(CACHE)/venv; \
		rm -rf $(CACHE)/venv && mkdir -p $(CACHE) && python3 -m venv $(CACHE)/venv \
		&& $(CACHE)/venv/bin/pip install -q --disable-pip-version-check \
			-r tests/foreign/requirements.txt \
		&& cp tests/foreign/requirements.txt $(CACHE)/venv/requirements.txt; \
	fi

# Devices on other DTLS libraries, for the tests: see tests/foreign/Makefile. A first time takes two
# minutes, a later one half a second.
foreign:
	@$(MAKE) -C tests/foreign -j$$(nproc) OUT=$(CACHE)/foreign
