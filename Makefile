# One command each for what people and CI do here. See README.md.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help demo blackout clean-demo test lint fmt clippy doc deny build unit bench bench-engine bench-parts bench-peers bench-propagation bench-units sim sim-mutants deb tarball

help:
	@echo 'make demo        build, then run a flow over 116 players on this machine'
	@echo 'make blackout    cut 120 of 200 players off for SECONDS (600): nothing may move'
	@echo 'make test        everything that CI runs'
	@echo 'make lint        the part of it that runs nothing'
	@echo 'make sim         a pretended world, by chance: SEEDS=n, or SEED=n for one of them'
	@echo 'make sim-mutants deliberate mistakes, each of which the simulation has to catch'
	@echo 'make bench       what a conductor can do, measured with emulated players'
	@echo 'make bench-engine what the scheduler alone can do'
	@echo 'make bench-parts what store, host sets and wire can do'
	@echo 'make bench-units what it costs to keep units running, beside other supervisors'
	@echo 'make bench-peers what other tools take for the same work, those that are installed'
	@echo 'make bench-propagation how long a bundle takes to all hosts over links of a given rate (root)'
	@echo 'make deb         Debian packages of conductor, player, relay and tools, in target/packages'
	@echo 'make tarball     the same as one archive'
	@echo 'make clean-demo  remove what demos have left'

# The release build, then the flow of demo/roadrunner.yaml over 116 real players.
demo:
	$(CARGO) build --release --locked --bins -p conductor -p player -p relay -p audience-cli -p orchestra-ca
	'$(TARGET)/release/orc' sandbox run --relays --players 'db[1-10],api[1-6],fe[1-100]' -- \
		demo/run.sh '$(abspath $(TARGET))/demo'

# Most of a fleet is cut off, with a service on it: tests/blackout/run.sh.
blackout:
	$(CARGO) build --release --locked --bins -p conductor -p player -p relay -p audience-cli -p orchestra-ca
	'$(TARGET)/release/orc' sandbox run --players 'h[1-200]' -- \
		tests/blackout/run.sh '$(abspath $(TARGET))/blackout' $(SECONDS)

clean-demo:
	rm -rf '$(TARGET)/demo'

# What the test runner prints comes last.
test: lint build
	@$(MAKE) --no-print-directory unit

lint: fmt clippy doc deny

fmt:
	$(CARGO) fmt --all --check
	@for score in scores/[a-z]*[!f] scores/.lib/*.sh demo/*.sh tests/propagation/*.sh tests/blackout/*.sh packaging/build.sh packaging/debian/*.p* .ci/run; do sh -n "$$score" || exit 1; done

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

# Licences, bans and sources need no network. Advisories need their database, and are asked for
# where it can be had; where it cannot, that is said and is no failure.
deny:
	@if $(CARGO) deny --version > /dev/null 2>&1; then \
		$(CARGO) deny --locked check licenses bans sources && \
		if $(CARGO) deny --locked fetch db > /dev/null 2>&1; then \
			$(CARGO) deny --locked check --disable-fetch advisories; \
		else \
			echo 'NOT CHECKED: advisories, because their database cannot be reached' >&2; \
		fi; \
	else \
		echo 'NOT CHECKED: licences, bans, sources and advisories, because cargo-deny is not installed' >&2; \
	fi

# Tests start the programs: all but tests/peers, which is no default member of the workspace.
build:
	$(CARGO) build --all-targets --locked

unit:
	@if $(CARGO) nextest --version > /dev/null 2>&1; then \
		$(CARGO) test --doc --locked && \
		$(CARGO) nextest run --locked --no-fail-fast; \
	else \
		$(CARGO) test --locked --no-fail-fast; \
	fi

# Emulated players on a real conductor; FLEET says what to measure: see `fleet --help`.
FLEET ?= ping throughput
bench:
	$(CARGO) build --release --locked --bins
	'$(TARGET)/release/fleet' $(FLEET)

# The engines alone: time of an event and of a plan, bytes of a task, recovery; placements. BENCH says
# which.
bench-engine:
	$(CARGO) bench --locked -p orchestra-flow --bench engine -- --noplot $(BENCH)
	$(CARGO) run --release --locked -p orchestra-flow --example memory
	$(CARGO) run --release --locked -p orchestra-flow --example recover
	$(CARGO) run --release --locked -p orchestra-service --example placement
	$(CARGO) run --release --locked -p orchestra-service --example start
	$(CARGO) run --release --locked -p orchestra-service --example leaving

# What the engine stands on: the store on this disk, host sets, messages. BENCH says which.
bench-parts:
	$(CARGO) bench --locked -p orchestra-store -p orchestra-model -p orchestra-proto \
		--bench store --bench hostset --bench wire -- --noplot $(BENCH)

# What it costs to keep units running: from an end to the next run, memory, wake-ups, probes, a log
# through kills. Beside runit, s6, supervisor and monit, where they are installed.
bench-units:
	$(CARGO) test --release --locked -p player --test sitter -- measure

# The work of `fleet throughput` and `fleet exec` by other tools, those that are installed; PEERS says
# which and how much: see `peers --help`. Nothing else builds it, and `make lint` checks it.
PEERS ?= throughput exec
bench-peers:
	$(CARGO) test --release --locked -p orchestra-peers
	$(CARGO) build --release --locked --bins
	$(CARGO) build --release --locked -p orchestra-peers
	'$(TARGET)/release/peers' $(PEERS)

# Bundles over links of a given rate, in network namespaces: needs root, ip and tc, and says so where it
# has not got them. HOSTS, MIB, MBIT and CASES choose: see tests/propagation/bench.sh.
bench-propagation:
	$(CARGO) build --release --locked --bins -p conductor -p player -p relay -p audience-cli -p orchestra-ca
	tests/propagation/bench.sh '$(TARGET)/release'

# What may happen in a pretended world: tests/sim/README.md. SEEDS says how many, FROM where to
# begin; SEED runs one, with what happened.
SIM_SEEDS := $(or $(SEEDS),1000)
sim:
	SEEDS=$(SIM_SEEDS) $(CARGO) test --locked -p orchestra-tests --test sim -- whatever_happens

# Whether the simulation catches what it should.
sim-mutants:
	$(CARGO) run --locked -p orchestra-tests --example sim-mutants -- $(MUTANTS)

# What is installed on hosts: docs/install.md.
deb tarball:
	$(CARGO) build --release --locked --bins -p conductor -p player -p relay -p audience-cli -p orchestra-ca
	packaging/build.sh $@ '$(TARGET)/release' '$(TARGET)/packages'
