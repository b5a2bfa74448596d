# make           builds orlop and puts a stripped copy at target/orlop, the manual and completions into target/cli-docs
# make demo      runs a container out of bundles/ and shows that it is one
# make test      installs what the tests need, runs all of them against target/orlop
# make test-engines  installs Podman, containerd and Docker, runs the tests with them only
# make test-vm   runs the integration tests once more in a virtual machine with systemd and cgroup2 (tests/vm),
#                and those of SELinux, AppArmor and systemd's cgroups of version 1
# make test-vm-engines  runs Podman and containerd there, with systemd's cgroups, and Podman as an ordinary user;
#                with VM_SUITE=sid in Debian sid, and Docker, too
# make conformance RUNTIME_TOOLS=DIR  runs the OCI's validation, of a checkout of runtime-tools that is built
# make bench-calls  prints the system calls, memory and size of what `make` built, crun and runc beside it
# make bench     compares with other runtimes and with the bare system calls, into docs/benchmarks/; BENCH_ARGS=--quick
# make bench-isolation  measures what limits are worth to a container's neighbour, into docs/benchmarks/isolation.md
# make bench-seccomp  compares the seccomp compiler and its filters with libseccomp
# make fuzz      gives the seccomp compiler profiles that libFuzzer makes up, for FUZZ_SECONDS (600)
# make lint      formatting and clippy, warnings are errors
# make install   installs what `make` built: PREFIX (/usr/local), DESTDIR
# make deb       makes a Debian package of it in DEB_DIR (target/debian); needs cargo-deb
# make clean     removes target/

PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
SHAREDIR ?= $(PREFIX)/share
MANDIR ?= $(SHAREDIR)/man

# A named target, even when it is the machine's own: only then does cargo keep the static linking of
# .cargo/config.toml away from build scripts and procedural macros.
ifndef CARGO_BUILD_TARGET
CARGO_BUILD_TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
endif
export CARGO_BUILD_TARGET
# The versions of Cargo.lock and no others; after a change of Cargo.toml: make CARGOFLAGS=
CARGOFLAGS ?= --locked
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BUILT := $(TARGET_DIR)/$(CARGO_BUILD_TARGET)/release/orlop
ORLOP := $(TARGET_DIR)/orlop
CLI_DOCS := $(TARGET_DIR)/cli-docs
# Tools that take long to get outlive `make clean`.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/orlop
CARGO_DEB := $(CACHE)/cargo-deb/bin/cargo-deb

# What demo and test run; another runtime can stand in: make demo RUNTIME=/usr/sbin/runc
RUNTIME ?= $(abspath $(ORLOP))

# Only creating containers and installing packages need root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# How cargo is told to run test executables by way of sudo, and to build as the user.
TARGET_NAME := $(shell echo $(CARGO_BUILD_TARGET) | tr a-z- A-Z_)
RUNNER := $(if $(SUDO),CARGO_TARGET_$(TARGET_NAME)_RUNNER="$(SUDO) -E")

STRIP ?= strip

.PHONY: all demo test test-engines test-vm test-vm-engines conformance bench bench-isolation bench-calls bench-seccomp \
        fuzz lint install clean root build-packages test-packages bench-packages engine-packages fuzz-packages \
        vm-packages FORCE
# cargo uses all cores by itself, and what a target needs is listed in order.
.NOTPARALLEL:

all: $(ORLOP) $(CLI_DOCS)

$(ORLOP): $(BUILT)
	$(STRIP) -o $@ $<

$(BUILT): FORCE
	cargo build --release $(CARGOFLAGS)

# The manual and the completions of bash, zsh and fish, out of the definition of the command line. What writes them runs here and
# nowhere else.
$(CLI_DOCS): $(wildcard src/cli.rs src/cli/*.rs src/time.rs docs/orlop.8.in tools/cli-docs/Cargo.* tools/cli-docs/src/*.rs)
	rm -rf $@ $@.new
	mkdir -p $@.new
	cargo run $(CARGOFLAGS) -q --manifest-path tools/cli-docs/Cargo.toml --target-dir $(TARGET_DIR)/tools -- $@.new
	mv $@.new $@

demo: root $(if $(filter $(abspath $(ORLOP)),$(RUNTIME)),$(ORLOP))
	$(SUDO) env RUNTIME=$(RUNTIME) tools/demo.sh

# The executable under test is the one that is installed: its size, memory and system calls are what
# the tests measure. The tests themselves are built without optimisation, with overflow checks.
test: root build-packages test-packages $(ORLOP) $(CLI_DOCS) $(CARGO_DEB)
	$(RUNNER) RUNTIME=$(RUNTIME) cargo test $(CARGOFLAGS)

# `make test` runs these, too, with those of the engines that are installed.
test-engines: root build-packages test-packages engine-packages $(ORLOP)
	$(RUNNER) RUNTIME=$(RUNTIME) cargo test $(CARGOFLAGS) --test engines

# TESTS='cgroup:: events::' chooses; without it, all run. BFQ and SELinux have their turn after them. Then comes another boot: with
# AppArmor, and systemd's cgroups of version 1, as far as the kernel has them (it lacks those of memory and processors).
test-vm: root build-packages test-packages vm-packages $(ORLOP)
	$(IN_MACHINE) cargo test $(CARGOFLAGS) --test integration -- $(TESTS)
	VM_KERNEL="$(OTHER_KERNEL)" $(IN_MACHINE) cargo test $(CARGOFLAGS) --test integration -- $(OTHER_TESTS)
test-vm: OTHER_KERNEL := apparmor=1 systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
test-vm: OTHER_TESTS := lsm:: cgroup:: cgroup_felt:: cgroup_limits:: events::
test-vm test-vm-engines: IN_MACHINE = RUNTIME=$(RUNTIME) \
    CARGO_TARGET_$(TARGET_NAME)_RUNNER="$(SUDO) $(if $(SUDO),-E) tests/vm/suite"

# What does not care for the machine is left to `make test-engines`.
test-vm-engines: TESTS := machine:: containerd::cri containerd::tasks::a_task containerd::tasks::limits \
    containerd::tasks::systemd containerd::tasks::terminals containerd::tasks::thirty containerd::tasks::user \
    docker::containers docker::daemon::userns_remap docker::runtimes docker::storm podman::
test-vm-engines: root build-packages test-packages vm-packages $(ORLOP)
	$(IN_MACHINE) VM_SECONDS=3600 cargo test $(CARGOFLAGS) --test engines -- $(TESTS) $(OWN_WORLD)
	ROOTLESS=1 $(IN_MACHINE) VM_SECONDS=3600 cargo test $(CARGOFLAGS) --test engines -- podman:: $(OWN_WORLD)
# What needs a Podman that no other test uses is for a world of its own.
test-vm-engines: OWN_WORLD := --skip storm::podman_is --skip conmon

BENCH := $(abspath $(TARGET_DIR))/bench
PEERS := $(CACHE)/peers
BENCH_VIEWS ?= v1 v2
BENCH_ARGS ?=

# The machine should have nothing else to do meanwhile.
bench: root build-packages test-packages bench-packages $(ORLOP)
	mkdir -p $(BENCH)
	$(SUDO) tools/bench/peers.sh $(PEERS) >$(BENCH)/peers
	for name in floor workload; do \
	    $(CC) -O2 -Wall -Wextra -static -o $(BENCH)/$$name tools/bench/$$name.c || exit; \
	done
	cargo build --release $(CARGOFLAGS) --manifest-path tools/bench/Cargo.toml --target-dir $(BENCH)/target
	for view in $(BENCH_VIEWS); do \
	    $(SUDO) $(BENCH)/target/$(CARGO_BUILD_TARGET)/release/bench --orlop $(RUNTIME) --peers $(BENCH)/peers \
	        --floor $(BENCH)/floor --workload $(BENCH)/workload --view $$view --out docs/benchmarks $(BENCH_ARGS) || exit; \
	done

# Nothing else, here as well.
bench-isolation: root test-packages $(ORLOP)
	$(SUDO) env RUNTIME=$(RUNTIME) tools/bench-isolation.sh >$(BENCH)-isolation.md
	mv $(BENCH)-isolation.md docs/benchmarks/isolation.md

bench-calls: root test-packages $(ORLOP)
	$(SUDO) env RUNTIME=$(RUNTIME) tools/bench-calls.sh

# Also with RUNTIME=/usr/bin/crun, and with TESTS="create kill" for some of them alone.
conformance: root $(if $(filter $(abspath $(ORLOP)),$(RUNTIME)),$(ORLOP))
	@[ -n "$(RUNTIME_TOOLS)" ] || { echo "make conformance RUNTIME_TOOLS=DIR: see README.md" >&2; exit 2; }
	$(SUDO) env RUNTIME=$(RUNTIME) RUNTIME_TOOLS=$(abspath $(RUNTIME_TOOLS)) tools/conformance.sh $(TESTS)

bench-seccomp: build-packages test-packages
	cargo bench $(CARGOFLAGS) --bench seccomp

# What cargo-fuzz compiles with; it takes no nightly compiler. Old inputs are kept, and runs begin with them.
FUZZ_SECONDS ?= 600
FUZZ := $(abspath $(TARGET_DIR))/fuzz
SANCOV := -sanitizer-coverage-level=4 -sanitizer-coverage-inline-8bit-counters -sanitizer-coverage-pc-table \
          -sanitizer-coverage-trace-compares
fuzz: build-packages fuzz-packages
	mkdir -p $(FUZZ)/corpus
	RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module $(addprefix -Cllvm-args=,$(SANCOV))" \
	    cargo build --release $(CARGOFLAGS) --manifest-path fuzz/Cargo.toml --target-dir $(FUZZ)/target
	$(FUZZ)/target/$(CARGO_BUILD_TARGET)/release/seccomp $(FUZZ)/corpus -artifact_prefix=$(FUZZ)/ \
	    -max_len=16384 -timeout=20 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1

# Packages of their own, which nothing else here builds. That of fuzz/ is left out: its C++ takes longer than all of these.
TOOLS := bench cli-docs gen-syscalls

lint: build-packages test-packages
	cargo fmt --check
	cargo clippy --all-targets $(CARGOFLAGS) -- -D warnings
	for package in tools/bench tools/cli-docs tools/gen-syscalls fuzz; do \
	    cargo fmt --check --manifest-path $$package/Cargo.toml || exit; \
	done
	for package in $(TOOLS); do \
	    cargo clippy -q $(CARGOFLAGS) --manifest-path tools/$$package/Cargo.toml --target-dir $(TARGET_DIR)/tools \
	        -- -D warnings || exit; \
	done

# Builds nothing, so that `sudo make install` needs no Rust.
install:
	@[ -x $(ORLOP) -a -d $(CLI_DOCS) ] || { echo "$(ORLOP) is not there: run make first" >&2; exit 1; }
	install -D -m 755 $(ORLOP) $(DESTDIR)$(SBINDIR)/orlop
	install -d $(DESTDIR)$(MANDIR)/man8
	install -m 644 $(CLI_DOCS)/*.8 $(DESTDIR)$(MANDIR)/man8/
	install -D -m 644 $(CLI_DOCS)/orlop.bash $(DESTDIR)$(SHAREDIR)/bash-completion/completions/orlop
	install -D -m 644 $(CLI_DOCS)/_orlop $(DESTDIR)$(SHAREDIR)/zsh/site-functions/_orlop
	install -D -m 644 $(CLI_DOCS)/orlop.fish $(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d/orlop.fish

# What belongs where is in Cargo.toml.
DEB_DIR ?= $(TARGET_DIR)/debian
.PHONY: deb
deb: export PATH := $(PATH):$(dir $(CARGO_DEB))
deb: $(ORLOP) $(CLI_DOCS)
	@command -v cargo-deb >/dev/null || { echo "needs cargo-deb: cargo install --locked cargo-deb" >&2; exit 1; }
	cargo deb --no-build --no-strip --target $(CARGO_BUILD_TARGET) --output $(DEB_DIR)/

# For the test of the package: a minute, once.
$(CARGO_DEB):
	cargo install --quiet --locked --version 3.8.0 --root $(CACHE)/cargo-deb cargo-deb

clean:
	cargo clean

root:
	@$(SUDO) true || { echo "creating containers needs root: run make as root or where sudo works" >&2; exit 1; }

build-packages: PACKAGES := gcc libc6-dev
test-packages: PACKAGES := busybox-static fish iproute2 libseccomp-dev strace uidmap zsh
fuzz-packages: PACKAGES := g++
bench-packages: PACKAGES := linux-perf
vm-packages: PACKAGES := busybox-static debian-archive-keyring e2fsprogs mmdebstrap xz-utils zstd
engine-packages: PACKAGES := podman containerd docker.io containernetworking-plugins iptables tini curl
build-packages test-packages bench-packages engine-packages fuzz-packages vm-packages:
	@if ! command -v dpkg-query >/dev/null; then \
	    echo "not a Debian: provide what these packages provide: $(PACKAGES)"; exit 0; \
	fi; \
	for package in $(PACKAGES); do \
	    dpkg-query -W -f '$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed || \
	        missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] || { \
	    $(SUDO) apt-get update -q && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	}
