# A thin front over CMake. What each target does: README.md.
BUILD_TYPE ?= RelWithDebInfo
PREFIX     ?= /usr/local
PLAN       ?= loopback
ONCE       ?=

CTEST  = ctest --output-on-failure --no-tests=error -j2
DEPS   = tests/lab/deps
LAB    = PYTHONPATH=tests PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m lab

# What `check` repeats under ASan and UBSan: the units, the fault loops, and of the end-to-end tests the data path. `make asan` runs all.
SHORT = ^unit\.|^fuzz\.|^sim\.(faults|kept|test_)|^e2e\.(balance|churn|http|limits|reload|retry|surge|tcp)

.PHONY: all deps build demo check check-long bench asan tsan sim fuzz lint format install clean

all: build

deps:
	@$(DEPS) build lab test

build:
	@$(DEPS) build
	@cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) --log-level=WARNING
	@cmake --build build

demo: deps build
	@$(LAB) --plan $(PLAN) $(if $(ONCE),--once)

check: deps build build-asan
	@$(CTEST) --test-dir build-asan -R '$(SHORT)'
	@$(CTEST) --test-dir build

asan tsan: %: deps build-%
	@$(CTEST) --test-dir build-$@

build-asan: SANITIZE = address,undefined
build-tsan: SANITIZE = thread
build-asan build-tsan:
	@cmake -S . -B $@ -G Ninja -DHALB_SANITIZE=$(SANITIZE) --log-level=WARNING
	@cmake --build $@
.PHONY: build-asan build-tsan

bench: build
	@$(DEPS) lab bench
	@tests/bench/run

# Each target under libFuzzer for SECONDS. An input that breaks one stays in build-fuzz/, and ends this.
SECONDS ?= 20
FUZZ    ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz:
	@$(DEPS) build fuzz
	@cmake -S . -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_C_FLAGS=-fsanitize=fuzzer-no-link -DHALB_SANITIZE=address,undefined -DHALB_FUZZ=ON --log-level=WARNING
	@cmake --build build-fuzz --target fuzzers
	@tests/fuzz/run build-fuzz $(SECONDS) $(FUZZ)

lint:
	@$(DEPS) build lint
	@cmake -S . -B build-clang -G Ninja -DCMAKE_C_COMPILER=clang --log-level=WARNING
	@cmake --build build-clang

format:
	@test -f .clang-format || { echo "make format: there is no .clang-format to follow" >&2; exit 2; }
	@$(DEPS) lint
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: build
	@cmake --install build --prefix $(PREFIX)

# Runs of the simulated world by their seeds, and what they cost. All that fail are shown.
SEEDS ?= 1-2000
sim: build
	@build/tests/sim/halb_sim --seeds $(SEEDS) --jobs $$(nproc) --keep-going

check-long:
	@echo "make $@: not supported by this version" >&2; exit 2

clean:
	@rm -rf build build-asan build-tsan build-clang build-fuzz
