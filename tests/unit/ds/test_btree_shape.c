/* test_btree_shape.c -- Which pages and nodes a tree has after what was done to it; its checker.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/bt_steps.h"
#include "ds/btree_int.h"
#include "base/hash.h"
#include "base/mem.h"

#define RECORDS 200000

static struct slice key_of(char text[32], unsigned i)
{
    return slice_of(text, (size_t)sprintf(text, "key:%012u", i));
}

/* ascending, descending, by hash, of one order */
static uint64_t order_by(int how, unsigned i, struct slice key)
{
    return how == 0 ? i : how == 1 ? RECORDS - i : how == 2 ? hash_key(key.p, key.n) >> 11 : 0;
}

static struct btree *grown(int how)
{
    struct btree *t = btree_new();
    char text[32];
    for (unsigned i = 0; i < RECORDS; i++) {
        struct slice key = key_of(text, i);
        want(btree_put(t, order_by(how, i, key), key, slice_of("", 0), BTREE_NO_DUE) == 1);
    }
    bt_sound(t);
    return t;
}

/* Keys of 16 bytes: 27 bytes are the record itself. */
START_TEST(test_memory)
{
    static const double most[] = { 28, 28, 32, 28 };
    for (int how = 0; how < 4; how++) {
        size_t before = mem_used();
        struct btree *t = grown(how);
        double bytes = (double)btree_bytes(t) / RECORDS;
        ck_assert_msg(bytes <= most[how], "order %d: %.1f bytes per record", how, bytes);
        double used = (double)(mem_used() - before) / RECORDS;
        ck_assert_msg(used < bytes * 1.02 && used > bytes * 0.98, "%.1f, not %.1f", used, bytes);
        btree_free(t);
        ck_assert_uint_eq(mem_used(), before);
    }
    struct btree *t = btree_new(); /* and small trees are small */
    ck_assert_int_eq(btree_put(t, 1, S("key"), S("value"), BTREE_NO_DUE), 1);
    ck_assert_uint_le(btree_bytes(t), 72);
    btree_free(t);
}
END_TEST

/* Removing nine of ten, everywhere, must not leave a tenth of each page behind. */
START_TEST(test_small_neighbours_join)
{
    char text[32];
    for (int how = 0; how < 8; how++) {
        struct btree *t = grown(how % 4);
        uint64_t pages = btree_pages(t);
        size_t bytes = btree_bytes(t);
        for (unsigned i = 0; how < 4 && i < RECORDS; i++) {
            struct slice key = key_of(text, i);
            want(i % 10 == 3 || btree_remove(t, order_by(how, i, key), key));
        }
        for (uint64_t i = 0; how >= 4 && i < btree_count(t); i++) {
            want(btree_remove_range(t, i, 9) <= 9);
        }
        ck_assert_uint_le(btree_count(t), RECORDS / 10);
        ck_assert_uint_le(btree_pages(t), pages / 10 * 5 + 2);
        ck_assert_uint_le(btree_bytes(t), bytes / 10 * 2);
        bt_sound(t);
        btree_free(t);
    }
}
END_TEST

/* Records as long as a page takes them, and one byte longer; every size in the place of every
 * other, which fills and empties pages. */
START_TEST(test_record_sizes)
{
    static const size_t sizes[] = {
        0, 1, 61, 62, 63, 254, 255, 256, 1000, 1021, 65535 + 5, 1 << 20
    };
    char *text = calloc(1, 1 << 20);
    struct btree *t = btree_new();
    struct bt_oracle o = { 0 };
    for (size_t k = 0; k < countof(sizes); k++) {
        for (size_t v = 0; v < countof(sizes) - 2; v++) {
            for (int64_t due = -1; due < 2; due++) {
                struct btree_item item = { (uint64_t)(v * 2) + (uint64_t)(due + 1),
                                           slice_of(text, sizes[k]), slice_of(text, sizes[v]),
                                           due };
                bt_put(t, &o, &item);
            }
        }
    }
    bt_same(t, &o);
    for (size_t i = 0; i < o.n; i++) {
        for (size_t v = 0; v < countof(sizes); v++) {
            struct btree_item item = bt_owned(&o.v[i]);
            struct slice value = item.value;
            item.value = slice_of(text, sizes[v]);
            bt_put(t, &o, &item);
            free((void *)(uintptr_t)item.key.p);
            free((void *)(uintptr_t)value.p);
        }
        bt_sound(t);
    }
    bt_same(t, &o);
    btree_free(t);
    bt_oracle_free(&o);
    t = btree_new();
    ck_assert_int_eq(btree_put(t, 1, slice_of(text, BTREE_RECORD_MAX - 3), S(""), -1), 1);
    ck_assert_uint_eq(btree_pages(t), 1);
    ck_assert_int_eq(btree_put(t, 1, slice_of(text, BTREE_RECORD_MAX - 2), S(""), -1), 1);
    ck_assert_uint_eq(btree_pages(t), 2);
    bt_sound(t);
    btree_free(t);
    free(text);
}
END_TEST

/* A value that is written again and again, longer and shorter, leaves nothing behind. */
START_TEST(test_replacing_keeps_size)
{
    static char text[1000];
    struct btree *t = btree_new();
    for (int round = 0; round < 100; round++) {
        for (uint64_t i = 0; i < 1000; i++) {
            size_t n = (i + (uint64_t)round) * 7 % 100 + 1;
            want(btree_put(t, i, S("key"), slice_of(text, n), BTREE_NO_DUE) == (round == 0));
        }
        bt_sound(t);
        ck_assert_uint_le(btree_bytes(t), 1000 * (10 + 5 + 51) * 5 / 4 + 16384);
    }
    btree_free(t);
}
END_TEST

/* Of a tree of three levels only the last record stays, below nodes with one child each, all of
 * which an image still holds. */
START_TEST(test_shared_chain)
{
    static char key[1000];
    struct btree *t = btree_new();
    uint64_t n = 0;
    while (t->root == NULL || t->root->level < 3) {
        ck_assert_int_eq(btree_put(t, n++, slice_of(key, sizeof key), S(""), -1), 1);
    }
    struct btree *image = btree_dup(t);
    ck_assert_uint_eq(btree_remove_range(t, 0, n - 1), n - 1);
    ck_assert_uint_eq(btree_remove_range(t, 1, 1), 0);
    bt_sound(t);
    bt_sound(image);
    ck_assert_uint_eq(btree_count(image), n);
    struct btree_item item;
    ck_assert(btree_at(t, 0, &item) && item.order == n - 1);
    ck_assert(btree_at(image, n - 1, &item) && item.order == n - 1);
    ck_assert_uint_eq(t->root->level, 0);
    btree_free(image);
    bt_sound(t);
    btree_free(t);
}
END_TEST

/* ---- The checker itself: each invariant broken on purpose ---- */

static struct btree *sample(void)
{
    static char big[2000];
    struct btree *t = btree_new();
    char text[32];
    for (unsigned i = 0; i < 2000; i++) {
        want(btree_put(t, i / 3 * 2, key_of(text, i), S("v"), BTREE_NO_DUE) == 1);
    }
    want(btree_put(t, 1, S("big"), slice_of(big, sizeof big), 5) == 1);
    want(btree_remove(t, 0, key_of(text, 1)));
    bt_sound(t);
    return t;
}

static void broken(struct btree *t, const char *invariant)
{
    const char *told = btree_check(t);
    if (told == NULL || strncmp(told, invariant, 2) != 0) {
        ck_abort_msg("%s, not %s", told != NULL ? told : "nothing", invariant);
    }
}

/* Breaks it, sees it told, mends it. */
#define BREAK(place, value, invariant)        \
    do {                                      \
        __typeof__(place) was_ = (place);     \
        (place) = (__typeof__(place))(value); \
        broken(t, invariant);                 \
        (place) = was_;                       \
        bt_sound(t);                          \
    } while (0)

START_TEST(test_check_sees_nodes)
{
    struct btree *t = sample();
    struct btree_inner *in = btree_inner_of(t->root);
    ck_assert_uint_eq(in->node.level, 1);
    ck_assert_uint_ge(in->node.n, 4);
    BREAK(in->sum.count, in->sum.count + 1, "T1");
    BREAK(in->sum.pages, in->sum.pages + 1, "T1");
    BREAK(in->sum.bytes, in->sum.bytes + 1, "T1");
    BREAK(in->count[1], in->count[1] - 1, "T1");
    BREAK(in->node.n, in->node.n - 1, "T1");
    BREAK(in->node.n, 1, "T2");
    BREAK(in->node.n, BTREE_FANOUT + 1, "T2");
    BREAK(in->node.level, 2, "T2");
    BREAK(in->child[1]->refs, 0, "T2");
    BREAK(in->from[1], in->from[2], "T4");
    BREAK(in->from[1], 0, "T4");
    struct btree_node *second = in->child[2];
    uint64_t count = in->count[2], from = in->from[2];
    in->child[2] = in->child[1];
    in->count[2] = in->count[1];
    in->from[2] = in->from[1];
    broken(t, "T4"); /* the same page twice */
    in->child[2] = second;
    in->count[2] = count;
    in->from[2] = from;
    bt_sound(t);
    btree_free(t);
}
END_TEST

START_TEST(test_check_sees_pages)
{
    struct btree *t = sample();
    struct btree_page *p = btree_page_of(btree_inner_of(t->root)->child[0]);
    uint16_t *off = (uint16_t *)(uintptr_t)btree_page_off(p);
    unsigned big = 0;
    while (p->order[big] != 1) {
        big++;
    }
    ck_assert_uint_gt(p->dead, 0);
    BREAK(p->order[5], 0, "T3");
    BREAK(p->order[0], 2, "T3");
    BREAK(off[3], 0, "T5");
    BREAK(off[3], p->heap + 1, "T5");
    BREAK(off[3], off[4], "T5");
    BREAK(off[3], off[3] - 1, "T5");
    BREAK(p->heap, p->heap + 1, "T5");
    BREAK(p->heap, p->cap, "T5");
    BREAK(p->dead, 0, "T5");
    BREAK(p->nbig, 0, "T1");
    BREAK(p->big_bytes, 0, "T1");
    struct btree_big *b;
    memcpy(&b, btree_page_record(p, big) + 1, sizeof b);
    BREAK(b->vlen, 10, "T6");
    btree_free(t);
    t = btree_new();
    ck_assert_int_eq(btree_put(t, 1, S("key"), S("v"), BTREE_NO_DUE), 1);
    BREAK(t->root->n, 0, "T5");
    btree_free(t);
}
END_TEST

static const struct btree_page *last_page(const struct btree *t)
{
    const struct btree_node *n = t->root;
    while (n->level > 0) {
        n = btree_inner_of(n)->child[n->n - 1];
    }
    return btree_page_of(n);
}

/* What is fetched ahead is what is then looked at. */
START_TEST(test_ahead)
{
    char text[32];
    for (int how = 0; how < 4; how++) {
        struct btree *t = grown(how);
        uint64_t orders[BTREE_AHEAD];
        unsigned n = 0, guess;
        for (unsigned i = 0; i < RECORDS; i += how == 3 ? 1000 : 7) {
            struct slice key = key_of(text, i);
            uint64_t order = order_by(how, i, key);
            struct btree_path p;
            want(btree_path_find(t, order, key, &p));
            const struct btree_page *page = btree_page_guess(t, order, &guess);
            if (how < 3) { /* its order is its own */
                ck_assert_ptr_eq(page, p.page);
                ck_assert_uint_eq(btree_page_ahead(page, order, guess), p.at);
            }
            orders[n++] = order;
            if (n == BTREE_AHEAD) {
                btree_ahead(t, orders, n);
                n = 0;
            }
        }
        ck_assert_ptr_eq(btree_page_guess(t, UINT64_MAX, &guess), last_page(t));
        bt_sound(t);
        btree_free(t);
    }
    struct btree *t = btree_new();
    btree_ahead(t, (const uint64_t[]){ 1 }, 1);
    ck_assert_int_eq(btree_put(t, 1, S("key"), S("value"), BTREE_NO_DUE), 1);
    btree_ahead(t, (const uint64_t[]){ 0, 1, 2 }, 3);
    btree_free(t);
}
END_TEST

UNIT_SUITE(btree_shape)
{
    unit_case(suite, "shape", test_memory, test_small_neighbours_join, test_record_sizes,
              test_replacing_keeps_size, test_shared_chain, test_ahead);
    unit_case(suite, "check", test_check_sees_nodes, test_check_sees_pages);
}
