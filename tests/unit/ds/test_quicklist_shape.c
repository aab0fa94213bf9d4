/* test_quicklist_shape.c -- Which chunks and tree nodes a list has after what was done to it.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/ql_steps.h"
#include "ds/ql_tree.h"
#include "base/mem.h"

static const int fills[] = { -1, -2, -5, 1, 2, 5, 128 };

START_TEST(test_fill)
{
    static const struct {
        int fill, told;
        uint64_t chunks;
    } rows[] = {
        { 0, 0, 1000 }, { 1, 1, 1000 },
        { 2, 2, 500 },  { 1000, 1000, 13 },
        { -1, -1, 26 }, { 100000, 32767, 13 },
        { -2, -2, 13 }, { -3, -3, 7 },
        { -4, -4, 4 },  { QL_FILL_DEFAULT, -2, 13 },
        { -5, -5, 2 },  { -99, -5, 2 },
    };
    static char text[98]; /* an entry of 101 bytes */
    for (size_t i = 0; i < countof(rows); i++) {
        struct quicklist *ql = quicklist_new(rows[i].fill);
        ck_assert_int_eq(quicklist_fill_factor(ql), rows[i].told);
        for (int k = 0; k < 1000; k++) {
            ok(quicklist_push(ql, QL_TAIL, slice_of(text, sizeof text)));
        }
        sound(ql);
        ck_assert_uint_eq(quicklist_chunks(ql), rows[i].chunks);
        size_t bytes = quicklist_bytes(ql);
        ck_assert_uint_ge(bytes, 1000 * 101);
        if (rows[i].fill < 0) {
            ck_assert_uint_le(bytes, 1000 * 101 + 2 * 65536);
        }
        quicklist_free(ql);
    }
    quicklist_free(NULL);
}
END_TEST

START_TEST(test_element_sizes)
{
    static const size_t sizes[] = { 0, 1, 63, 64, 4095, 4096, 8163, 8164, 65536, 1 << 20 };
    char *text = calloc(1, 1 << 20);
    for (size_t f = 0; f < countof(fills); f++) {
        struct quicklist *ql = quicklist_new(fills[f]);
        struct oracle o = { 0 };
        for (size_t i = 0; i < countof(sizes); i++) {
            push(ql, &o, QL_TAIL, slice_of(text, sizes[i]));
            push(ql, &o, QL_HEAD, slice_of(text, sizes[i]));
            push(ql, &o, QL_TAIL, S("small"));
        }
        same(ql, &o);
        for (size_t i = 0; i < o.n; i++) { /* every size takes the place of every other */
            for (size_t k = 0; k < countof(sizes); k++) {
                struct slice s = slice_of(text, sizes[k]);
                ok(quicklist_set(ql, i, s));
                oracle_replace(&o, i, s);
                sound(ql);
            }
        }
        same(ql, &o);
        quicklist_free(ql);
        oracle_free(&o);
    }
    /* The largest listpack element of a chunk of 8 KiB, and the smallest plain one. */
    struct quicklist *ql = quicklist_new(-2);
    ok(quicklist_push(ql, QL_TAIL, slice_of(text, 8192 - 16 - 7 - 5 - 2)));
    ck_assert_ptr_nonnull(quicklist_only_listpack(ql));
    quicklist_drop(ql, QL_TAIL);
    ok(quicklist_push(ql, QL_TAIL, slice_of(text, 8192 - 16 - 7 - 5 - 1)));
    ck_assert_ptr_null(quicklist_only_listpack(ql));
    sound(ql);
    quicklist_free(ql);
    free(text);
}
END_TEST

/* Deleting nine of ten, everywhere, must not leave a tenth of each chunk behind. */
START_TEST(test_small_neighbours_join)
{
    for (int how = 0; how < 3; how++) {
        struct quicklist *ql = quicklist_new(-2);
        for (int i = 0; i < 100000; i++) {
            char text[64];
            int n = sprintf(text, "element-%08d-abcdefghijklmnopqrstuvwxyz", i);
            ok(quicklist_push(ql, QL_TAIL, slice_of(text, (size_t)n)));
        }
        uint64_t chunks = quicklist_chunks(ql);
        size_t bytes = quicklist_bytes(ql);
        struct ql_iter it;
        struct lp_value v;
        if (how < 2) {
            quicklist_iter(&it, ql, how == 0 ? 0 : 99999, how == 0);
            while (quicklist_next(&it, &v)) {
                if (v.p[15] != '0') {
                    quicklist_iter_delete(ql, &it);
                }
            }
        } else {
            for (uint64_t i = 0; i < quicklist_count(ql); i++) {
                want(quicklist_delete(ql, i, 19) <= 19);
            }
        }
        ck_assert_uint_gt(quicklist_count(ql), 1000);
        ck_assert_uint_lt(quicklist_count(ql), 20000);
        uint64_t kept = quicklist_count(ql);
        ck_assert_uint_lt(quicklist_chunks(ql), chunks * kept * 5 / 100000 + 2);
        ck_assert_uint_lt(quicklist_bytes(ql), bytes * kept * 5 / 100000 + 8192);
        sound(ql);
        quicklist_free(ql);
    }
}
END_TEST

/* The same in the tree: many chunks taken out one by one leave no chain of nearly empty nodes. */
START_TEST(test_nodes_join)
{
    size_t one = mem_good_size(sizeof(struct ql_chunk) + LP_EMPTY + 3);
    for (int how = 0; how < 2; how++) {
        struct quicklist *ql = quicklist_new(1);
        for (int i = 0; i < 40000; i++) {
            ok(quicklist_push(ql, i < 20000 ? QL_TAIL : QL_HEAD, S("x")));
        }
        /* Grown at the ends, the nodes are full. */
        ck_assert_uint_lt(quicklist_bytes(ql), 40000 * one + 700 * sizeof(struct ql_inner));
        struct ql_iter it;
        struct lp_value v;
        quicklist_iter(&it, ql, 0, true);
        for (uint64_t i = 0; how == 0 && quicklist_next(&it, &v); i++) {
            if (i % 20 != 0) {
                quicklist_iter_delete(ql, &it);
            }
        }
        for (uint64_t i = 0; how == 1 && i < quicklist_count(ql); i++) {
            want(quicklist_delete(ql, i, 1) == 1);
            want(quicklist_delete(ql, i, 18) <= 18);
        }
        sound(ql);
        uint64_t n = quicklist_count(ql);
        ck_assert_uint_le(n, 2000);
        ck_assert_uint_eq(n, quicklist_chunks(ql));
        ck_assert_uint_lt(quicklist_bytes(ql), n * one + (n / 10 + 4) * sizeof(struct ql_inner));
        quicklist_free(ql);
    }
}
END_TEST

/* Splits by inserting big elements and taking them out again leave no crumbs. */
START_TEST(test_splits_heal)
{
    static char big[10000];
    struct quicklist *ql = quicklist_new(-2);
    for (int i = 0; i < 100; i++) {
        ok(quicklist_push(ql, QL_TAIL, S("0123456789")));
    }
    for (uint64_t i = 1; i < 100; i++) {
        ok(quicklist_insert(ql, i, slice_of(big, sizeof big)));
        ck_assert_uint_eq(quicklist_chunks(ql), 3);
        struct ql_iter it;
        struct lp_value v;
        quicklist_iter(&it, ql, i, true);
        ck_assert(quicklist_next(&it, &v));
        ck_assert_uint_eq(v.n, sizeof big);
        if (i % 3 == 0) {
            quicklist_iter_delete(ql, &it);
        } else if (i % 3 == 1) {
            ck_assert_uint_eq(quicklist_delete(ql, i, 1), 1);
        } else {
            ok(quicklist_iter_replace(ql, &it, S("0123456789")));
        }
        ck_assert_uint_eq(quicklist_chunks(ql), 1);
        ck_assert_ptr_nonnull(quicklist_only_listpack(ql));
        sound(ql);
    }
    quicklist_free(ql);
}
END_TEST

/* Chunks of four elements with up to three lost on either side of a cut. */
START_TEST(test_cuts_heal)
{
    for (uint64_t at = 0; at < 16; at++) {
        for (uint64_t n = 1; at + n <= 16; n++) {
            struct quicklist *ql = quicklist_new(4);
            for (int i = 0; i < 16; i++) {
                ok(quicklist_push(ql, QL_TAIL, S("x")));
            }
            ck_assert_uint_eq(quicklist_chunks(ql), 4);
            ck_assert_uint_eq(quicklist_delete(ql, at, n), n);
            sound(ql);
            struct ql_iter it;
            struct ql_view view;
            uint32_t last = 4;
            quicklist_iter(&it, ql, 0, true);
            while (quicklist_next_chunk(&it, &view)) { /* two neighbours together: more than half */
                ck_assert_uint_gt(last + view.count, 2);
                last = view.count;
            }
            quicklist_free(ql);
        }
    }
    /* The chunk before a cut and the one after it are small too. */
    struct quicklist *ql = quicklist_new(8);
    static const uint64_t lost[] = { 1, 2, 3, 4 }; /* of each chunk's eight, last chunk first */
    for (int i = 0; i < 32; i++) {
        ok(quicklist_push(ql, QL_TAIL, S("x")));
    }
    for (int c = 4; c-- > 0;) {
        ck_assert_uint_eq(quicklist_delete(ql, (uint64_t)c * 8 + 1, lost[c]), lost[c]);
    }
    ck_assert_uint_eq(quicklist_chunks(ql), 4); /* 7 6 5 4 */
    ck_assert_uint_eq(quicklist_delete(ql, 0, 6), 6);
    ck_assert_uint_eq(quicklist_chunks(ql), 4); /* 1 6 5 4 */
    ck_assert_uint_eq(quicklist_delete(ql, 2, 4), 4);
    ck_assert_uint_eq(quicklist_chunks(ql), 3); /* 1 2 joined, 5 4 */
    ck_assert_uint_eq(quicklist_delete(ql, 3, 4), 4);
    ck_assert_uint_eq(quicklist_chunks(ql), 2); /* 3 1 joined, 4 */
    sound(ql);
    quicklist_free(ql);
    /* A cut that leaves something of two chunks: the first of them joins the one before it. */
    ql = quicklist_new(8);
    for (int i = 0; i < 24; i++) {
        ok(quicklist_push(ql, QL_TAIL, S("x")));
    }
    ck_assert_uint_eq(quicklist_delete(ql, 1, 7), 7);
    ck_assert_uint_eq(quicklist_chunks(ql), 3); /* 1 8 8 */
    ck_assert_uint_eq(quicklist_delete(ql, 3, 10), 10);
    ck_assert_uint_eq(quicklist_chunks(ql), 2); /* 1 2 joined, 4 */
    sound(ql);
    quicklist_free(ql);
    /* What is left of a chunk takes no more memory than it needs. */
    ql = quicklist_new(-2);
    while (quicklist_bytes(ql) < 8192) {
        ok(quicklist_push(ql, QL_TAIL, S("some element")));
    }
    ck_assert_uint_gt(quicklist_delete(ql, 1, UINT64_MAX), 100);
    ck_assert_uint_lt(quicklist_bytes(ql), 256);
    quicklist_free(ql);
}
END_TEST

/* An element that belongs between two chunks goes to the one with room. */
START_TEST(test_insert_between_chunks)
{
    struct quicklist *ql = quicklist_new(3);
    for (int i = 0; i < 4; i++) {
        ok(quicklist_push(ql, QL_HEAD, S("x")));
    }
    ck_assert_uint_eq(quicklist_chunks(ql), 2); /* 1 3 */
    ok(quicklist_insert(ql, 1, S("y")));
    ck_assert_uint_eq(quicklist_chunks(ql), 2); /* 2 3 */
    ok(quicklist_insert(ql, 2, S("y")));
    ck_assert_uint_eq(quicklist_chunks(ql), 2); /* 3 3 */
    ok(quicklist_insert(ql, 3, S("y")));
    ck_assert_uint_eq(quicklist_chunks(ql), 3); /* 3 1 3 */
    sound(ql);
    quicklist_free(ql);
}
END_TEST

/* Of a tree of four levels only the last chunk stays, below nodes with one child each, all of which
 * an image still holds. */
START_TEST(test_shared_chain)
{
    struct quicklist *ql = quicklist_new(1);
    uint64_t n = QL_FANOUT * QL_FANOUT;
    for (uint64_t i = 0; i <= n; i++) {
        ok(quicklist_push(ql, QL_TAIL, i < n ? S("x") : S("last")));
    }
    ck_assert_uint_eq(ql->root->level, 3);
    const struct quicklist *image = quicklist_freeze(ql);
    ck_assert_uint_eq(quicklist_delete(ql, 0, n), n);
    sound(ql);
    sound(image);
    ck_assert_uint_eq(quicklist_count(image), n + 1);
    struct lp_value v;
    ck_assert(quicklist_get(ql, 0, &v) && is_text(&v, S("last")));
    ck_assert(quicklist_get(image, n, &v) && is_text(&v, S("last")));
    ck_assert_uint_eq(ql->root->level, 0);
    quicklist_release(image);
    sound(ql);
    quicklist_free(ql);
}
END_TEST

/* A queue that goes round in place keeps its size and its chunks. */
START_TEST(test_queue)
{
    for (size_t length = 1; length < 1000; length = length * 3 + 1) {
        struct quicklist *ql = quicklist_new(-2);
        struct oracle o = { 0 };
        size_t most = 0;
        for (size_t i = 0; i < 5000; i++) {
            char text[32];
            push(ql, &o, QL_TAIL, slice_of(text, (size_t)sprintf(text, "job:%zu:abcdefghij", i)));
            if (o.n > length) {
                drop(ql, &o, QL_HEAD);
            }
            sound(ql);
            most = size_max(most, quicklist_bytes(ql));
        }
        ck_assert_uint_le(most, length * 25 * 3 + 3 * 8192);
        same(ql, &o);
        while (o.n > 1) {
            drop(ql, &o, QL_TAIL);
        }
        ck_assert_uint_le(quicklist_bytes(ql), 512);
        drop(ql, &o, QL_HEAD);
        struct lp_value v;
        ck_assert(!quicklist_peek(ql, QL_HEAD, &v));
        ck_assert(!quicklist_peek(ql, QL_TAIL, &v));
        ck_assert_uint_eq(quicklist_count(ql), 0);
        ck_assert_uint_eq(quicklist_delete(ql, 0, 1), 0);
        quicklist_rotate(ql, QL_HEAD);
        quicklist_free(ql);
        oracle_free(&o);
    }
}
END_TEST

START_TEST(test_chunks_for_savers)
{
    rng_seed_all(unit_seed());
    struct quicklist *ql = quicklist_new(-1), *copy = quicklist_new(-1);
    struct oracle o = { 0 };
    for (int i = 0; i < 3000; i++) {
        push(ql, &o, QL_TAIL, oracle_value(100, 9000));
    }
    struct ql_iter it;
    struct ql_view view;
    uint64_t chunks = 0, count = 0;
    quicklist_iter(&it, ql, 0, true);
    while (quicklist_next_chunk(&it, &view)) {
        chunks++;
        count += view.count;
        if (view.plain) {
            ck_assert_uint_eq(view.count, 1);
            ok(quicklist_push(copy, QL_TAIL, view.bytes));
            continue;
        }
        ck_assert(lp_valid(view.bytes));
        struct listpack *lp = lp_from_bytes(view.bytes);
        ck_assert_uint_eq(lp_count(lp), view.count);
        ok(quicklist_append_listpack(copy, lp));
        lp_free(lp);
    }
    ck_assert(!quicklist_next_chunk(&it, &view));
    ck_assert_uint_eq(chunks, quicklist_chunks(ql));
    ck_assert_uint_eq(count, 3000);
    same(copy, &o);
    ck_assert_uint_le(quicklist_chunks(copy), chunks + chunks / 10 + 1);
    quicklist_free(copy);
    quicklist_free(ql);
    oracle_free(&o);
}
END_TEST

/* What a list of chunks a little too large for ours (8,192 bytes from Redis) becomes. */
START_TEST(test_append_oversized)
{
    static char text[264];
    struct quicklist *ql = quicklist_new(-2);
    struct listpack *lp = lp_new();
    while (lp_bytes(lp) + 264 <= 8192) {
        lp = lp_append(lp, slice_of(text, 128));
    }
    lp = lp_append(lp, slice_of(text, 8192 - lp_bytes(lp) - 4));
    ck_assert_uint_eq(lp_bytes(lp), 8192);
    for (int i = 0; i < 100; i++) {
        ok(quicklist_append_listpack(ql, lp));
        sound(ql);
    }
    ck_assert_uint_eq(quicklist_count(ql), 100 * lp_count(lp));
    ck_assert_uint_le(quicklist_chunks(ql), 103);
    lp = lp_delete_range(lp, 10, UINT32_MAX); /* and small ones are packed together */
    for (int i = 0; i < 100; i++) {
        ok(quicklist_append_listpack(ql, lp));
        sound(ql);
    }
    ck_assert_uint_le(quicklist_chunks(ql), 103 + 100 * lp_bytes(lp) / 7100 + 1);
    lp = lp_delete_range(lp, 0, UINT32_MAX);
    ok(quicklist_append_listpack(ql, lp));
    sound(ql);
    lp_free(lp);
    quicklist_free(ql);
}
END_TEST

/* The checker itself: each invariant broken on purpose. */
START_TEST(test_check_sees)
{
    static char big[9000];
    struct quicklist *ql = quicklist_new(-2);
    for (int i = 0; i < 1000; i++) {
        ok(quicklist_push(ql, QL_TAIL, S("some element of the list")));
    }
    ok(quicklist_push(ql, QL_TAIL, slice_of(big, sizeof big)));
    sound(ql);
    struct ql_inner *root = (struct ql_inner *)(void *)ql->root;
    struct ql_chunk *c = (struct ql_chunk *)(void *)root->child[1];
    struct ql_chunk *plain = (struct ql_chunk *)(void *)root->child[root->node.n - 1];
#define broken(change, back, name)                   \
    do {                                             \
        change;                                      \
        ck_assert_ptr_nonnull(quicklist_check(ql));  \
        ck_assert_str_eq(quicklist_check(ql), name); \
        back;                                        \
        ck_assert_ptr_null(quicklist_check(ql));     \
    } while (0)
    broken(root->sum.count++, root->sum.count--, "Q1 sums");
    broken(root->sum.bytes++, root->sum.bytes--, "Q1 sums");
    broken(root->sum.chunks++, root->sum.chunks--, "Q1 sums");
    broken(root->count[1]++, root->count[1]--, "Q1 count of a child");
    broken(root->node.level++, root->node.level--, "Q2 depth");
    unsigned n = root->node.n;
    broken(root->node.n = 1, root->node.n = (uint16_t)n, "Q2 root with one child");
    broken(c->node.refs = 0, c->node.refs = 1, "Q2 node without references");
    broken(c->start += 7000, c->start -= 7000, "Q3 size of listpack");
    broken(c->start = c->cap, c->start = 0, "Q3 start of listpack");
    broken((c->node.n++, root->count[1]++), (c->node.n--, root->count[1]--),
           "Q3 elements of chunk");
    broken(c->room[c->start + 6] ^= 1, c->room[c->start + 6] ^= 1, "Q3 listpack");
    broken(plain->size -= 2000, plain->size += 2000, "Q4 plain chunk");
    quicklist_free(ql);
}
END_TEST

UNIT_SUITE(quicklist_shape)
{
    unit_case(suite, "grow", test_fill, test_element_sizes, test_insert_between_chunks, test_queue);
    unit_case(suite, "shrink", test_small_neighbours_join, test_nodes_join, test_splits_heal,
              test_cuts_heal, test_shared_chain);
    unit_case(suite, "chunks", test_chunks_for_savers, test_append_oversized);
    unit_case(suite, "check", test_check_sees);
}
