# The short commands; the build itself is Meson's (see meson.build).
#
#   make            release build in build/release (-O2 -g)
#   make demo       build, then examples/wordcount/demo.sh
#   make test       everything; the last line is "N passed, N failed"
#   make check      the checks of tools/ alone (layers, symbols, format, docs, pairs, build lists)
#   make bench CASE=lock        plait beside its peers
#   make install PREFIX=/usr/local DESTDIR=
#   make test-asan | test-tsan | test-clang | soak | large | valgrind | format | clean
#
# Each target first installs the Debian packages it needs if run as root, else names them.

PREFIX ?= /usr/local
CASE ?=

build_packages  = gcc libc6-dev binutils meson ninja-build pkg-config python3
test_packages   = $(build_packages) g++ libcmocka-dev zlib1g-dev liblua5.4-dev libsqlite3-dev \
                  libssl-dev openssl libhttp-parser-dev libcurl4-openssl-dev libhiredis-dev redis-tools
clang_packages  = $(test_packages) clang-19 libclang-rt-19-dev
format_packages = clang-format-14
peer_packages   = $(shell sed '/^\#/d' bench/packages)

.PHONY: all demo test bench install test-asan test-tsan test-clang soak large valgrind format check clean

all:
	@tools/need $(build_packages)
	@tools/configure release
	@ninja -C build/release

demo:
	@tools/need $(build_packages) zlib1g-dev
	@tools/configure release
	@ninja -C build/release
	@PLAIT_BUILD=build/release examples/wordcount/demo.sh

test:
	@tools/need $(clang_packages) $(format_packages) || { echo "0 passed, 1 failed"; exit 1; }
	@tools/run_tests all

bench:
	@tools/need $(build_packages)
	@tools/need $(peer_packages) || echo "bench: measuring without the missing peers"
	@tools/configure bench
	@ninja -C build/bench
	@PLAIT_BUILD=build/bench bench/run $(CASE)

install:
	@tools/need $(build_packages)
	@tools/configure install --prefix $(PREFIX)
	@ninja -C build/install
	@DESTDIR=$(DESTDIR) meson install -C build/install --no-rebuild

test-asan test-tsan:
	@tools/need $(clang_packages)
	@tools/run_tests $(@:test-%=%)

test-clang:
	@tools/need $(clang_packages)
	@tools/run_tests clang

soak:
	@tools/need $(test_packages)
	@tools/run_tests soak

# A million tasks, a million timers, 10,000 connections, 10,000 processes one after the other; needs 6 GiB of memory and some minutes.
large:
	@tools/need $(test_packages)
	@tools/configure release
	@ninja -C build/release --quiet tests/stress/scale_test tests/proc/life_test
	@build/release/tests/stress/scale_test --large
	@build/release/tests/proc/life_test --large

valgrind:
	@tools/need $(test_packages) valgrind
	@tools/run_valgrind

check:
	@tools/need $(test_packages) $(format_packages)
	@tools/run_tests check

format:
	@tools/need $(format_packages)
	@tools/check_format --fix

clean:
	rm -rf build
