# SPDX-License-Identifier: MIT
# The front door.  CMake does the work (CMakePresets.json); this installs what is missing first.
.DEFAULT_GOAL := all
.PHONY: all demo test quick bench reference interop install fuzz cov format tidy clean help

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60

all: ## build the libraries, the command, examples and benchmarks into build/
	@scripts/bootstrap.sh build
	@scripts/build.sh release product

demo: all ## replay a week of earthquakes through a WebSocket into SQLite
	@scripts/demo.sh

test: ## every test on both backends, in four builds (two with sanitizers), and a while of fuzzing
	@scripts/bootstrap.sh test
	@scripts/test.sh dev release asan tsan fuzz

quick: ## the tests of the dev preset alone
	@scripts/bootstrap.sh test
	@scripts/test.sh dev

bench: all ## measure beck beside its peers (scripts/bench.py)
	@scripts/bootstrap.sh bench
	@scripts/bench.py

interop: ## run beck against other people's programs, and write docs/interop.md
	@scripts/bootstrap.sh test
	@scripts/interop.py

reference: ## the headers as man pages (section 3) and HTML, into build/reference/
	@python3 scripts/reference.py build/reference

install: all ## install into $(DESTDIR)$(PREFIX); with the man pages where python3 can make them
	@! command -v python3 >/dev/null || python3 scripts/reference.py build/reference >/dev/null
	@DESTDIR=$(DESTDIR) cmake --install build --prefix $(PREFIX)

fuzz: ## run each fuzz target for FUZZ_SECONDS (60)
	@scripts/bootstrap.sh test
	@scripts/fuzz.sh $(FUZZ_SECONDS)

cov: ## line coverage of each source file
	@scripts/bootstrap.sh test
	@scripts/cov.sh

format: ## clang-format every C file
	@find src include examples bench tests -name '*.[ch]' | xargs clang-format -i

tidy: ## clang-tidy every source of the library
	@scripts/bootstrap.sh test
	@scripts/tidy.sh

clean: ## remove build/
	@rm -rf build

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 10
