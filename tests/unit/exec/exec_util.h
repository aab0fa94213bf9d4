/* exec_util.h -- An engine without net and without a log, for tests of single parts of it.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_EXEC_UTIL_H
#define TESTS_EXEC_UTIL_H

#include "base/clock.h"
#include "exec/exec_int.h"
#include "unit.h"

#define EXEC_REACTORS 2

/* `rows` (NULL: none) join the engine's own commands. */
static inline struct exec *engine_new(const struct command *rows)
{
    clock_init();
    hash_seed((const uint8_t *)"0123456789abcdef");
    struct keyspace_config ks_cfg = { .shards = 16, .databases = 16 };
    struct keyspace *ks = NULL;
    ck_assert_int_eq(keyspace_new(&ks, &ks_cfg), 0);
    struct exec_config cfg = { .ks = ks, .reactors = EXEC_REACTORS };
    struct exec *x = NULL;
    ck_assert_int_eq(exec_new(&x, &cfg), 0);
    if (rows != NULL) {
        exec_register(x, rows);
    }
    exec_prepare(x);
    return x;
}

static inline void engine_free(struct exec *x)
{
    struct keyspace *ks = x->ks;
    exec_free(x);
    keyspace_free(ks);
}

#define WORDS_MAX 32

struct words {
    struct slice argv[WORDS_MAX];
    unsigned argc;
};

/* Words between single spaces. */
static inline struct words split(const char *text)
{
    struct words w = { .argc = 0 };
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        ck_assert_uint_lt(w.argc, WORDS_MAX);
        w.argv[w.argc++] = slice_of(text, n);
        text += n + (text[n] == ' ');
    }
    return w;
}

#endif
