/* test_keymap.c -- The side table of watched and waited-for keys against a plain array.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec/keymap.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "unit.h"
#include <stdio.h>

#define KEYS 300

struct oracle {
    struct keynode *node[KEYS]; /* NULL: not in the map */
    unsigned count;
};

static struct key key_of(unsigned i, char *text)
{
    int n = snprintf(text, 16, "k%u", i / 2);
    /* Few hashes: chains, and different keys with an equal hash. */
    return (struct key){ .s = slice_of(text, (size_t)n), .hash = i / 2 % 50 };
}

/* Keys 2i and 2i + 1 are the same one in two databases. */
static unsigned db_of(unsigned i)
{
    return i % 2;
}

static void count_node(void *arg, struct keynode *n)
{
    unsigned *sum = arg;
    ck_assert_ptr_eq(n->head, n);
    (*sum)++;
}

static void check(struct keymap *m, const struct oracle *o)
{
    ck_assert_int_eq(m != NULL, o->count > 0);
    for (unsigned i = 0; i < KEYS; i++) {
        char text[16];
        struct key k = key_of(i, text);
        ck_assert_ptr_eq(keymap_find(m, db_of(i), &k), o->node[i]);
    }
    unsigned sum = 0;
    keymap_each(m, count_node, &sum);
    ck_assert_uint_eq(sum, o->count);
}

START_TEST(test_against_oracle)
{
    struct keymap *m = NULL;
    struct oracle o = { .count = 0 };
    rng_seed_all(unit_seed());
    for (unsigned step = 0; step < 4000; step++) {
        unsigned i = (unsigned)rng_below(KEYS);
        char text[16];
        struct key k = key_of(i, text);
        bool fill = step % 1000 < 600;
        if (o.node[i] != NULL && (!fill || rng_below(3) == 0)) {
            keymap_drop(&m, o.node[i]);
            if (_i == 1) {
                keymap_shrink(m);
            }
            o.node[i] = NULL;
            o.count--;
        } else {
            struct keynode *n = keymap_make(&m, db_of(i), &k);
            ck_assert(o.node[i] == NULL || o.node[i] == n);
            ck_assert(n->key.s.p != k.s.p && slice_eq(n->key.s, k.s));
            ck_assert_uint_eq(n->db, db_of(i));
            o.count += o.node[i] == NULL;
            o.node[i] = n;
            n->head = n;
        }
        if (step % 20 == 0) {
            check(m, &o);
        }
    }
    for (unsigned i = 0; i < KEYS; i++) {
        if (o.node[i] != NULL) {
            keymap_drop(&m, o.node[i]);
        }
    }
    ck_assert_ptr_null(m);
}
END_TEST

/* A table of one key is as short again as it ever was, however many there have been. */
START_TEST(test_shrinks)
{
    struct keymap *m = NULL;
    struct keynode *node[5000];
    char text[16];
    keymap_shrink(NULL);
    for (unsigned i = 0; i < countof(node); i++) {
        struct key k = { .s = slice_of(text, (size_t)snprintf(text, 16, "%u", i)), .hash = i };
        node[i] = keymap_make(&m, 0, &k);
        ck_assert_ptr_nonnull(node[i]);
        keymap_shrink(m);
    }
    ck_assert_uint_ge(m->slots, 4096);
    for (unsigned i = 1; i < countof(node); i++) {
        keymap_drop(&m, node[i]);
        keymap_shrink(m);
        ck_assert_uint_le(m->slots, 8 * m->used > 8 ? 16 * m->used : 8);
    }
    ck_assert_ptr_eq(keymap_find(m, 0, &node[0]->key), node[0]);
    keymap_drop(&m, node[0]);
    ck_assert_ptr_null(m);
}
END_TEST

static unsigned freed;

static void count_freed(struct keynode *n)
{
    ck_assert_ptr_nonnull(n->key.s.p);
    freed++;
}

START_TEST(test_any_and_free)
{
    ck_assert_ptr_null(keymap_any(NULL, 7));
    keymap_free(NULL, count_freed);
    ck_assert_uint_eq(freed, 0);
    struct keymap *m = NULL;
    bool seen[40] = { false };
    for (unsigned i = 0; i < 40; i++) {
        char text[16];
        struct key k = { .s = slice_of(text, (size_t)snprintf(text, 16, "%u", i)), .hash = i };
        ck_assert_ptr_nonnull(keymap_make(&m, 0, &k));
    }
    for (unsigned i = 0; i < 1000; i++) { /* any number finds one; together they find all */
        const struct keynode *n = keymap_any(m, i);
        ck_assert_ptr_nonnull(n);
        ck_assert_ptr_eq(keymap_find(m, 0, &n->key), n);
        seen[n->key.hash] = true;
    }
    for (unsigned i = 0; i < 40; i++) {
        ck_assert(seen[i]);
    }
    keymap_free(m, count_freed);
    ck_assert_uint_eq(freed, 40);
}
END_TEST

UNIT_SUITE(exec_keymap)
{
    unit_case(suite, "keymap", test_any_and_free, test_shrinks);
    unit_case_loop(suite, "oracle", 30, test_against_oracle, 2);
}
