# One command each for what people and CI do here. See README.md.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help demo clean-demo test lint fmt clippy doc deny build unit bench

help:
	@echo 'make demo        build, then run a flow over 116 players on this machine'
	@echo 'make test        everything that CI runs'
	@echo 'make lint        the part of it that runs nothing'
	@echo 'make bench       what a conductor can do, measured with emulated players'
	@echo 'make clean-demo  remove what demos have left'

# The release build, then the flow of demo/roadrunner.yaml over 116 real players.
demo:
	$(CARGO) build --release --locked --bins -p conductor -p player -p audience-cli -p orchestra-ca
	'$(TARGET)/release/orc' sandbox run --players 'db[1-10],api[1-6],fe[1-100]' -- \
		demo/run.sh '$(abspath $(TARGET))/demo'

clean-demo:
	rm -rf '$(TARGET)/demo'

# What the test runner prints comes last.
test: lint build
	@$(MAKE) --no-print-directory unit

lint: fmt clippy doc deny

fmt:
	$(CARGO) fmt --all --check
	@for score in scores/[a-z]*[!f] scores/.lib/*.sh demo/*.sh .ci/run; do sh -n "$$score" || exit 1; done

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

# Licences, bans and sources need no network; advisories do, and are not asked for.
deny:
	@if $(CARGO) deny --version > /dev/null 2>&1; then \
		$(CARGO) deny --locked check licenses bans sources; \
	else \
		echo 'cargo-deny is not installed: licences, bans and sources are not checked'; \
	fi

# Tests start the programs: those of the whole workspace.
build:
	$(CARGO) build --workspace --all-targets --locked

unit:
	@if $(CARGO) nextest --version > /dev/null 2>&1; then \
		$(CARGO) test --workspace --doc --locked && \
		$(CARGO) nextest run --workspace --locked --no-fail-fast; \
	else \
		$(CARGO) test --workspace --locked --no-fail-fast; \
	fi

# Emulated players on a real conductor; FLEET says what to measure: see `fleet --help`.
FLEET ?= ping throughput
bench:
	$(CARGO) build --release --locked --bins
	'$(TARGET)/release/fleet' $(FLEET)
