# Makefile -- builds kv, runs it, proves it. `make help` lists the targets.
# SPDX-License-Identifier: BSD-3-Clause
#
# One source tree, several variants: release (build/), and build/<variant>/ for test, debug, asan, ubsan, tsan, cover, bugs, fuzz, and
# train, whose server's counts release is compiled with.
# A target of a variant is built with V=<variant>, e.g. `make V=test build/test/unit-tests`. Tests use V=test unless V is given.
# Everything is found by wildcard: a new src/*/*.c, tests/unit/*/*.c, tests/integration/*.c ... needs no line here.

V       ?= release
VARIANTS := release test debug asan ubsan tsan cover bugs fuzz train
ifneq ($(words $(V)) $(filter $(VARIANTS),$(V)),1 $(V))
$(error V=$(V) is no variant; there are: $(VARIANTS) (VERBOSE=1 shows the commands))
endif
JOBS    ?= $(shell nproc)
PORT    ?= 6379
TIME    ?= 60
PREFIX  ?= /usr/local
DESTDIR ?=
ifeq ($(origin CC),default)
CC      := gcc
endif
ifeq ($(V),fuzz)
CC      := clang
endif

# `make` alone uses all cores; an explicit -j, and the makes started from here, keep what they were given.
ifeq ($(MAKELEVEL),0)
ifeq ($(filter -j%,$(MFLAGS)),)
MAKEFLAGS += -j$(JOBS) --no-print-directory
endif
endif
.DELETE_ON_ERROR:

# One short line per file; VERBOSE=1 shows the commands.
say = $(if $(VERBOSE),,@printf '  %-5s %s\n' $(1) $@;)

out_of  = build$(if $(filter release,$(1)),,/$(1))
OUT    := $(call out_of,$(V))
TV     := $(if $(filter command environment,$(firstword $(origin V))),$(V),test)
TOUT   := $(call out_of,$(TV))

# --- compiler flags -------------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef
# snprintf() into a sized buffer is how text is cut on purpose; only gcc has (and knows) this warning.
WARN += $(if $(findstring clang,$(CC)),,-Wno-format-truncation)
HARD := -fstack-protector-strong
DEBUG_DEFS := -DKV_DEBUG -DKV_FAULTS
# Link-time optimization: a command crosses four layers of small functions. gcc's own, clang builds without.
LTO := $(if $(findstring clang,$(CC)),,-flto=2 -fno-fat-lto-objects)
CFLAGS_release := -O3 -g -DNDEBUG -fno-plt $(HARD) $(LTO)
# Release builds are compiled with the counts of a run (utils/train.sh), made once per checkout; PGO=no: without, and at once.
PGO ?= $(if $(findstring clang,$(CC)),no,yes)
PROFILE := $(if $(filter releaseyes,$(V)$(PGO)),$(OUT)/obj/profile)
CFLAGS_train   := -O3 -DNDEBUG -fno-plt $(HARD) -fprofile-generate -fprofile-update=prefer-atomic
CFLAGS_release += $(if $(PROFILE),-fprofile-use -fprofile-partial-training -fprofile-correction -Wno-missing-profile -Wno-coverage-mismatch)
CFLAGS_test    := -O1 -g $(DEBUG_DEFS) -Werror $(HARD)
CFLAGS_debug   := -Og -g3 $(DEBUG_DEFS)
CFLAGS_bugs    := -O1 -g $(DEBUG_DEFS) -DKV_SEEDED_BUGS
CFLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address $(DEBUG_DEFS) -DKV_SANITIZE
CFLAGS_ubsan   := -O1 -g -fno-omit-frame-pointer -fsanitize=undefined -fno-sanitize-recover=undefined $(DEBUG_DEFS)
CFLAGS_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread $(DEBUG_DEFS) -DKV_SANITIZE
CFLAGS_fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined $(DEBUG_DEFS) -DKV_SANITIZE
CFLAGS_cover   := -O0 -g --coverage $(DEBUG_DEFS)
LDFLAGS_release := -Wl,-z,relro,-z,now
LDFLAGS_train   := -fprofile-generate
LDFLAGS_asan    := -fsanitize=address
LDFLAGS_ubsan   := -fsanitize=undefined
LDFLAGS_tsan    := -fsanitize=thread
LDFLAGS_fuzz    := -fsanitize=fuzzer,address,undefined
LDFLAGS_cover   := --coverage -Wl,--wrap=_exit
# The allocator of the sanitizers must see every allocation, so these variants are built without jemalloc.
JEMALLOC    := $(if $(filter asan tsan fuzz,$(V)),,-ljemalloc)
ALL_CFLAGS  := -std=gnu11 -D_GNU_SOURCE= $(WARN) $(CFLAGS_$(V)) -pthread -Isrc -isystem /usr/include/lua5.1 -MMD -MP $(CFLAGS)
ALL_LDFLAGS := -pthread -rdynamic $(LDFLAGS_$(V)) $(LDFLAGS)
LIBS        := $(JEMALLOC) -lev -lssl -lcrypto -llua5.1 -llua5.1-cjson -llzf -lm -ldl
CHECK_LIBS  := -lcheck -lsubunit -lrt

# --- what there is to build -----------------------------------------------------------------------------------------------
SRC      := $(wildcard src/*/*.c)
LIB_OBJ  := $(patsubst %.c,$(OUT)/obj/%.o,$(filter-out src/server/main.c,$(SRC)) $(if $(filter cover,$(V)),utils/cover_exit.c))
PROGRAMS := $(if $(wildcard src/server/main.c),kv-server) $(if $(wildcard utils/kv-wal.c),kv-wal)
objects   = $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard $(1)))
TESTLIB_OBJ     := $(call objects,tests/lib/*.c)
UNIT_OBJ        := $(call objects,tests/unit/*/*.c)
INTEGRATION_OBJ := $(call objects,tests/integration/*.c)
CRASH_OBJ       := $(filter-out $(addprefix $(OUT)/obj/tests/crash/,preload_% powerloss_refuse.o),$(call objects,tests/crash/*.c))
PRELOADS        := $(patsubst tests/crash/%.c,$(OUT)/%.so,$(wildcard tests/crash/preload_*.c))
FUZZERS         := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZLIB         := build/fuzz/fuzzlib.a
FUZZLIB_OBJ     := $(call objects,$(filter-out $(wildcard tests/fuzz/fuzz_*.c),$(wildcard tests/fuzz/*.c)))
BENCHES         := $(patsubst utils/bench/%.c,%,$(wildcard utils/bench/*.c))
SUITES          := unit $(if $(wildcard tests/integration/*.c),integration) $(if $(wildcard tests/crash/*.c),crash)
C_FILES         := $(wildcard $(foreach d,src/* utils utils/* tests/* tests/unit/*,$(d)/*.c $(d)/*.h))

all: $(addprefix $(OUT)/,$(PROGRAMS)) ## build/kv-server and build/kv-wal (the default)

# Packages: asked for once per checkout, again when the list changes. DEPS=no leaves it to you.
DEPS ?= yes
build/.deps-%: deps/install.sh
	@mkdir -p build
	@test '$(DEPS)' = no || deps/install.sh $*
	@touch $@
build/.deps-test: build/.deps-run

# Objects are rebuilt when the compiler or its flags change (ccache in front of a compiler changes nothing).
# Those of a training write their counts where they were compiled.
FLAGS_NOW := $(filter-out ccache,$(CC)) $(ALL_CFLAGS)$(if $(filter train,$(V)),$(subst ','\'',$(CURDIR)))
$(OUT)/obj/flags: always
	@mkdir -p $(@D)
	@test -f $@ && test "$$(cat $@)" = '$(FLAGS_NOW)' || echo '$(FLAGS_NOW)' > $@

build/obj/profile: | build/.deps-run
	@echo '  TRAIN build/train/kv-server, once: a minute (PGO=no does without)'
	@$(MAKE) V=train build/train/kv-server
	@env -u CHECK utils/train.sh build/train build/obj

$(OUT)/obj/%.o: %.c $(OUT)/obj/flags $(PROFILE) | build/.deps-run
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(OUT)/obj/tests/%.o: ALL_CFLAGS += -Itests/lib -Itests
$(TESTLIB_OBJ) $(UNIT_OBJ) $(INTEGRATION_OBJ) $(CRASH_OBJ): | build/.deps-test

$(OUT)/libkv.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR)$(if $(LTO),gcc-ar,ar) rcs $@ $^

$(OUT)/kv-server: $(OUT)/obj/src/server/main.o $(OUT)/libkv.a
	$(call say,LINK)$(CC) $(ALL_LDFLAGS) $< -Wl,--whole-archive $(OUT)/libkv.a -Wl,--no-whole-archive $(LIBS) -o $@

$(OUT)/kv-wal: $(OUT)/obj/utils/kv-wal.o $(OUT)/libkv.a
	$(call say,LINK)$(CC) $(ALL_LDFLAGS) $< $(OUT)/libkv.a $(LIBS) -o $@

# Test programs: every file of the folder plus tests/lib, with the suites they register (tests/lib/unit.h).
LINK_TESTS = $(call say,LINK)$(CC) $(ALL_LDFLAGS) $(filter %.o,$^) $(OUT)/libkv.a $(CHECK_LIBS) $(LIBS) -o $@
$(OUT)/unit-tests: $(UNIT_OBJ) $(TESTLIB_OBJ) $(OUT)/libkv.a
	$(LINK_TESTS)
$(OUT)/integration-tests: $(INTEGRATION_OBJ) $(TESTLIB_OBJ) $(OUT)/libkv.a $(addprefix $(OUT)/,$(PROGRAMS)) | build/peers/redis
	$(LINK_TESTS) -lhiredis
$(OUT)/crash-tests: $(CRASH_OBJ) $(TESTLIB_OBJ) $(OUT)/libkv.a $(addprefix $(OUT)/,$(PROGRAMS)) $(PRELOADS) | build/peers/redis
	$(LINK_TESTS)
build/peers/redis: | build/.deps-test
	deps/peers.sh redis
$(OUT)/preload_%.so: tests/crash/preload_%.c $(OUT)/obj/flags | build/.deps-test
	$(call say,CC)$(CC) -std=gnu11 -D_GNU_SOURCE= $(WARN) -O1 -g -fPIC -fvisibility=hidden -shared -pthread -Isrc $(filter %.c,$^) -ldl -o $@
$(OUT)/preload_powerloss.so: $(wildcard $(addprefix tests/crash/powerloss_,disk.[ch] state.c refuse.c int.h shim.h))
# An archive: a fuzzer takes of it what it uses.
$(FUZZLIB): $(FUZZLIB_OBJ)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^
build/fuzz/fuzz_%: $(OUT)/obj/tests/fuzz/fuzz_%.o $(FUZZLIB) $(OUT)/libkv.a | build/.deps-test
	$(call say,LINK)$(CC) $(ALL_LDFLAGS) $< $(FUZZLIB) $(OUT)/libkv.a $(LIBS) -o $@
$(OUT)/bench/%: $(OUT)/obj/utils/bench/%.o $(OUT)/libkv.a
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(ALL_LDFLAGS) $< $(OUT)/libkv.a $(LIBS) -o $@

# --- variants -------------------------------------------------------------------------------------------------------------
debug: ## build/debug/kv-server: no optimization, all checks
	$(MAKE) V=debug all
asan ubsan tsan: ## the unit, integration and crash suites under that sanitizer
	+@MAKE='$(MAKE)' utils/test.sh $@ $(SUITES)

# --- run and install ------------------------------------------------------------------------------------------------------
run: all ## starts the server with kv.conf on PORT (6379), data in ./data
	@utils/run.sh $(OUT)/kv-server '$(PORT)'

# Paths may have spaces and quotes.
quoted = '$(subst ','\'',$(1))'
BINDIR := $(call quoted,$(DESTDIR)$(PREFIX)/bin)
DOCDIR := $(call quoted,$(DESTDIR)$(PREFIX)/share/doc/kv)
DOCS   := kv.conf README.md LICENSE
install: all ## to PREFIX (/usr/local), below DESTDIR
	install -d $(BINDIR) $(DOCDIR)
	install -m 755 $(addprefix $(OUT)/,$(PROGRAMS)) $(BINDIR)
	install -m 644 $(DOCS) $(DOCDIR)
uninstall: ## removes what install put there
	for f in $(PROGRAMS); do rm -f $(BINDIR)/$$f; done
	for f in $(DOCS); do rm -f $(DOCDIR)/$$f; done
	rmdir $(DOCDIR) 2>/dev/null || true
clean: ## removes build/ except the peers of the compatibility tests
	find build -mindepth 1 -maxdepth 1 ! -name peers -exec rm -rf {} + 2>/dev/null || true

test test-unit test-integration test-crash test-compat torture coverage bench asan ubsan tsan seeded-bugs \
check-layers check-lengths check-docs check-headers check-training check-checks check-commands check-config check-info: | build/.deps-test

# --- tests (ONE=suite, case or test; SEED=n repeats a run) ------------------------------------------------------------------
export ONE SEED
test: ## everything: checks, surface, unit, integration, crash, compat
	+@MAKE='$(MAKE)' utils/test.sh $(TV) checks surface $(SUITES) compat
test-unit test-integration test-crash: test-%: ## one of them (V=asan|ubsan|tsan|debug for another variant)
	+@MAKE='$(MAKE)' utils/test.sh $(TV) $*
test-compat: ## upstream suites, differential oracle, real clients: all judges, an hour; writes redis-compat/report.md
	+@[ -n "$(ONE)" ] || export KV_TORTURE=1; MAKE='$(MAKE)' utils/test.sh $(TV) compat
torture: ## the long versions of the crash and integration suites
	+@KV_TORTURE=1 MAKE='$(MAKE)' utils/test.sh $(TV) $(filter-out unit,$(SUITES))
coverage: ## line and branch coverage of all suites, per folder (DETAIL=wal lists what is not covered)
	find build/cover -name '*.gcda' -delete 2>/dev/null || true
	+@MAKE='$(MAKE)' utils/test.sh cover $(SUITES)
	utils/coverage.py
seeded-bugs: ## builds kv with deliberate bugs and shows that the suites catch each
	$(MAKE) V=bugs all $(SUITES:%=build/bugs/%-tests)
	tests/crash/seeded-bugs.sh build/bugs
fuzz: ## every fuzzer for TIME (60) seconds; ONE=resp for one
	$(MAKE) V=fuzz fuzzers
	utils/fuzz.sh $(TIME) $(ONE)
fuzzers: $(FUZZERS)
bench: all $(BENCHES:%=$(OUT)/bench/%) ## kv beside redis-server (CASES=..., RUNS=3)
	deps/peers.sh redis
	utils/bench/bench.py

# --- checks ---------------------------------------------------------------------------------------------------------------
CHECKS := format-check check-layers check-lengths check-docs check-headers check-training check-checks
format: ## formats all C files
	clang-format -i $(C_FILES)
format-check: | build/.deps-test ## C files are formatted as .clang-format says
	@utils/check/format.sh $(C_FILES)
check-layers: ## includes point down only
	@utils/check/layers.py
check-lengths: ## functions up to 70 lines, files up to 800, listed exceptions
	@utils/check/lengths.py
check-docs: ## file:function named in a README exists; READMEs are short; deps are explained
	@utils/check/docs.py
check-headers: | build/.deps-run ## every header compiles alone and every file's head is in order
	@CC='$(CC)' CFLAGS='-std=gnu11 -D_GNU_SOURCE= $(WARN) -Isrc -Itests/lib -Itests -isystem /usr/include/lua5.1' utils/check/headers.py
check-training: $(OUT)/kv-server ## the load that release builds are trained with is one that kv takes
	@CHECK=500 utils/train.sh $(OUT) $(OUT)/obj
check-checks: ## the checks above and the test runner find what they are for
	@utils/check/selftest.py
check-commands: all ## the command table against COMMAND INFO and DOCS of redis-server
	deps/peers.sh redis
	KV_SERVER=$(OUT)/kv-server utils/check/surface.py commands
check-config: all ## directive names against CONFIG GET * of the references
	deps/peers.sh redis
	-deps/peers.sh valkey
	KV_SERVER=$(OUT)/kv-server utils/check/surface.py config
check-info: all ## INFO fields against the references
	deps/peers.sh redis
	-deps/peers.sh valkey
	KV_SERVER=$(OUT)/kv-server utils/check/surface.py info
tidy: | build/.deps-test ## clang-tidy with the checks of .clang-tidy, on files that changed
	@utils/check/tidy.sh
tags: ## ctags index
	ctags -R src tests utils
compile_commands.json: $(SRC) Makefile ## for editors and clang-tidy
	@utils/compile-commands.py '$(filter-out ccache,$(CC)) $(filter-out -MMD -MP -fprofile% -Wno-coverage-mismatch,$(ALL_CFLAGS)) -Itests/lib -Itests' $(filter %.c,$(C_FILES)) > $@

help: ## this list
	@awk -F ':.*## ' '/^[a-z].*:.*## / { printf "  %-24s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
.PHONY: all always debug asan ubsan tsan run install uninstall clean test test-unit test-integration test-crash test-compat \
        torture coverage seeded-bugs fuzz fuzzers bench format $(CHECKS) check-commands check-config check-info tidy tags help
