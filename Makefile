# Makefile -- builds kv, runs it, proves it. `make help` lists the targets.
# SPDX-License-Identifier: BSD-3-Clause
#
# One source tree, several variants: release (build/), and build/<variant>/ for test, debug, asan, ubsan, tsan.

V       ?= release
CC      ?= gcc
OUT     := build$(if $(filter release,$(V)),,/$(V))
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings
CFLAGS_release := -O3 -g -DNDEBUG -fno-plt
CFLAGS_test    := -O1 -g -DKV_DEBUG -DKV_FAULTS
CFLAGS_debug   := -Og -g3 -DKV_DEBUG -DKV_FAULTS
CFLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address -DKV_DEBUG -DKV_FAULTS -DKV_SANITIZE
CFLAGS_ubsan   := -O1 -g -fno-omit-frame-pointer -fsanitize=undefined -fno-sanitize-recover=undefined -DKV_DEBUG -DKV_FAULTS
CFLAGS_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -DKV_DEBUG -DKV_FAULTS -DKV_SANITIZE
LDFLAGS_asan   := -fsanitize=address
LDFLAGS_ubsan  := -fsanitize=undefined
LDFLAGS_tsan   := -fsanitize=thread
JEMALLOC       := $(if $(filter asan tsan,$(V)),,-ljemalloc)
ALL_CFLAGS  := -std=gnu11 $(WARN) $(CFLAGS_$(V)) -pthread -Isrc -MMD -MP $(CFLAGS)
ALL_LDFLAGS := -pthread -rdynamic $(LDFLAGS_$(V)) $(LDFLAGS)
LIBS        := $(JEMALLOC) -lev -lssl -lcrypto -lm -ldl

SRC      := $(wildcard src/*/*.c)
LIB_SRC  := $(filter-out src/server/main.c,$(SRC))
LIB_OBJ  := $(LIB_SRC:%.c=$(OUT)/obj/%.o)
MAIN_OBJ := $(OUT)/obj/src/server/main.o
UNIT_SRC := $(wildcard tests/unit/*/*.c) tests/lib/unit_main.c
UNIT_OBJ := $(UNIT_SRC:%.c=$(OUT)/obj/%.o)
TESTLIB_OBJ := $(patsubst %.c,$(OUT)/obj/%.o,$(filter-out tests/lib/unit_main.c,$(wildcard tests/lib/*.c)))

all: $(OUT)/kv-server $(OUT)/kv-wal

$(OUT)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c $< -o $@

$(OUT)/obj/tests/%.o: ALL_CFLAGS += -Itests/lib -Itests

$(OUT)/libkv.a: $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(OUT)/kv-server: $(MAIN_OBJ) $(OUT)/libkv.a
	$(CC) $(ALL_LDFLAGS) $(MAIN_OBJ) -Wl,--whole-archive $(OUT)/libkv.a -Wl,--no-whole-archive $(LIBS) -o $@

$(OUT)/kv-wal: $(OUT)/obj/utils/kv-wal.o $(OUT)/libkv.a
	$(CC) $(ALL_LDFLAGS) $< $(OUT)/libkv.a $(LIBS) -o $@

$(OUT)/unit-tests: $(UNIT_OBJ) $(TESTLIB_OBJ) $(OUT)/libkv.a
	$(CC) $(ALL_LDFLAGS) $(UNIT_OBJ) $(TESTLIB_OBJ) $(OUT)/libkv.a -lcheck -lsubunit -lrt $(LIBS) -o $@

test-unit:
	$(MAKE) V=test build/test/unit-tests
	build/test/unit-tests $(ONE)

clean:
	rm -rf build

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
.PHONY: all test-unit clean
