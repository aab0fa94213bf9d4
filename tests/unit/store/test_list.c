/* test_list.c -- Lists as values of entries: owned, moved, copied, measured, freed in the
 * background. SPDX-License-Identifier: BSD-3-Clause */
#include "ds/quicklist.h"
#include "store_util.h"

static struct keyspace *ks;
static struct shard *s;

static struct quicklist *list_of(unsigned n)
{
    struct quicklist *ql = quicklist_new(QL_FILL_DEFAULT);
    for (unsigned i = 0; i < n; i++) {
        char v[200];
        memset(v, 'a' + (int)(i % 26), sizeof v);
        ck_assert_int_eq(quicklist_push(ql, QL_TAIL, slice_of(v, sizeof v)), 0);
    }
    return ql;
}

static struct entry *add(unsigned db, unsigned number, unsigned elements)
{
    struct named_key nk;
    struct key *k = store_key(ks, &nk, number);
    struct entry *e = shard_add_object(s, db, k, OBJ_LIST, ENC_QUICKLIST, list_of(elements));
    ck_assert_ptr_eq(shard_find(s, db, k), e);
    ck_assert(slice_eq(entry_key(e), k->s));
    return e;
}

static uint64_t background(void)
{
    struct lazyfree_stats st;
    keyspace_lazyfree_drain(ks);
    keyspace_lazyfree_stats(ks, &st);
    ck_assert_uint_eq(st.pending, 0);
    return st.freed;
}

static void setup(void)
{
    ks = store_new(1, 2, 8);
    s = keyspace_shard(ks, 0);
    shard_lock(s);
}

static void teardown(void)
{
    shard_check(s);
    shard_unlock(s);
    keyspace_free(ks);
}

START_TEST(test_entry_of_a_list)
{
    setup();
    struct entry *e = add(0, 1, 1000);
    ck_assert_int_eq(entry_type(e), OBJ_LIST);
    ck_assert_int_eq(entry_enc(e), ENC_QUICKLIST);
    ck_assert_int_eq(entry_expire(e), -1);
    ck_assert_uint_ge(entry_memory(e, 0), 200000);
    ck_assert_uint_ge(entry_effort(e), 1000 * 200 / 8192);
    int64_t v;
    struct slice bytes;
    ck_assert(!entry_int(e, &v));
    ck_assert_ptr_null(entry_blob_ref(e, &bytes));
    void *ql = entry_ptr(e);
    e = shard_set_expire(s, 0, e, 50); /* the entry moves, the list does not */
    ck_assert_ptr_eq(entry_ptr(e), ql);
    struct quicklist *other = list_of(3);
    entry_set_ptr(e, ENC_LISTPACK, other);
    ck_assert_ptr_eq(entry_ptr(e), other);
    ck_assert_int_eq(entry_enc(e), ENC_LISTPACK);
    ck_assert_int_eq(entry_expire(e), 50);
    quicklist_free(ql); /* the old one is the caller's */
    teardown();
}
END_TEST

START_TEST(test_move_and_copy)
{
    setup();
    struct named_key nk;
    struct entry *e = add(0, 1, 300);
    void *ql = entry_ptr(e);
    struct key *k2 = store_key(ks, &nk, 2);
    e = shard_insert_as(s, 1, k2, shard_take(s, 0, e), 77);
    ck_assert_ptr_eq(entry_ptr(e), ql);
    ck_assert_int_eq(entry_expire(e), 77);
    ck_assert_uint_eq(shard_count(s, 0), 0);
    struct entry *copy = shard_copy_as(s, 0, k2, e, -1);
    ck_assert_ptr_nonnull(copy);
    ck_assert_ptr_ne(entry_ptr(copy), ql);
    quicklist_drop(entry_ptr(copy), QL_HEAD); /* independent from then on */
    ck_assert_uint_eq(quicklist_count(entry_ptr(copy)), 299);
    ck_assert_uint_eq(quicklist_count(entry_ptr(e)), 300);
    shard_delete(s, 1, e);
    keyspace_lazyfree_drain(ks);
    ck_assert_ptr_null(quicklist_check(entry_ptr(copy)));
    ck_assert_uint_eq(quicklist_count(entry_ptr(copy)), 299);
    teardown();
}
END_TEST

START_TEST(test_big_ones_are_freed_behind)
{
    setup();
    struct named_key nk;
    size_t before = mem_used();
    shard_delete(s, 0, add(0, 1, 10)); /* one chunk: at once */
    ck_assert_uint_eq(background(), 0);
    shard_delete(s, 0, add(0, 1, 5000));
    ck_assert_uint_eq(background(), 1);
    add(0, 1, 5000);
    struct key *k = store_key(ks, &nk, 1);
    ck_assert_ptr_nonnull(shard_set_int(s, 0, k, 5, false)); /* overwritten */
    ck_assert_uint_eq(background(), 2);
    for (unsigned i = 2; i < 12; i++) {
        add(0, i, i % 2 ? 3 : 2000);
    }
    ck_assert_uint_eq(keyspace_flush(ks, 0, true), 11);
    ck_assert_uint_eq(background(), 13);
    for (unsigned i = 2; i < 12; i++) {
        add(1, i, i % 2 ? 3 : 2000);
    }
    ck_assert_uint_eq(keyspace_flush(ks, -1, false), 10);
    ck_assert_uint_lt(mem_used(), before + 100000);
    teardown();
}
END_TEST

UNIT_SUITE(store_list)
{
    unit_case(suite, "values", test_entry_of_a_list, test_move_and_copy,
              test_big_ones_are_freed_behind);
}
