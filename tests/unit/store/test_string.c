/* test_string.c -- Strings: forms, sharing of large ones, and what stays when memory runs out.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/fault.h"
#include "store_util.h"

static struct keyspace *ks;
static struct shard *s;
static struct named_key nk;
static struct key *k;
static char big[200000];

static void setup(void)
{
    ks = store_new(1, 2, 0);
    s = keyspace_shard(ks, 0);
    k = store_key(ks, &nk, 1);
    for (size_t i = 0; i < sizeof big; i++) {
        big[i] = (char)('a' + i % 26);
    }
    shard_lock(s);
}

static void teardown(void)
{
    shard_check(s);
    shard_unlock(s);
    keyspace_free(ks);
}

static struct entry *set(struct slice v, enum string_form form)
{
    struct entry *e = shard_set_string(s, 0, k, v, form, false);
    ck_assert_ptr_nonnull(e);
    ck_assert_ptr_eq(shard_find(s, 0, k), e);
    return e;
}

static struct slice text(const struct entry *e)
{
    static char tmp[I64_TEXT_MAX];
    return entry_string(e, tmp);
}

static const char *encoding(const struct entry *e)
{
    return obj_enc_name(entry_enc(e));
}

START_TEST(test_encodings)
{
    static const struct {
        const char *v, *encoding;
    } cases[] = {
        { "0", "int" },
        { "-1", "int" },
        { "9223372036854775807", "int" },
        { "-9223372036854775808", "int" },
        { "9223372036854775808", "embstr" },
        { "007", "embstr" },
        { "+1", "embstr" },
        { " 1", "embstr" },
        { "-0", "embstr" },
        { "", "embstr" },
        { "12345678901234567890123456789012345678901234", "embstr" }, /* 44 */
        { "123456789012345678901234567890123456789012345", "raw" },   /* 45 */
    };
    setup();
    for (unsigned i = 0; i < countof(cases); i++) {
        struct slice v = slice_str(cases[i].v);
        struct entry *e = set(v, STRING_AUTO);
        ck_assert_str_eq(encoding(e), cases[i].encoding);
        ck_assert(slice_eq(text(e), v));
        ck_assert_uint_eq(entry_strlen(e), v.n);
        int64_t number = 5, expected = 5;
        ck_assert_int_eq(entry_int(e, &number), parse_i64(v, &expected));
        ck_assert_int_eq(number, expected);
        e = set(v, STRING_RAW);
        ck_assert_str_eq(encoding(e), "raw");
        ck_assert(slice_eq(text(e), v));
        ck_assert(!entry_int(e, &number));
    }
    ck_assert_str_eq(obj_type_name(OBJ_STRING), "string");
    ck_assert_str_eq(obj_type_name(OBJ_LIST), "list");
    ck_assert_str_eq(obj_type_name(OBJ_STREAM), "stream");
    ck_assert_str_eq(obj_enc_name(ENC_QUICKLIST), "quicklist");
    ck_assert_str_eq(obj_enc_name(ENC_LISTPACK_EX), "listpackex");
    teardown();
}
END_TEST

START_TEST(test_access_clock_stays)
{
    setup();
    struct entry *e = set(S("x"), STRING_AUTO);
    ck_assert_uint_eq(entry_clock(e), 0);
    entry_set_clock(e, 0xabcdef);
    static const size_t sizes[] = { 1, 2, 100, 900, 5000, 3 };
    for (unsigned i = 0; i < countof(sizes); i++) {
        e = set(slice_of(big, sizes[i]), STRING_AUTO);
        ck_assert_uint_eq(entry_clock(e), 0xabcdef);
        e = shard_set_expire(s, 0, e, 1000);
        ck_assert_uint_eq(entry_clock(e), 0xabcdef);
    }
    teardown();
}
END_TEST

START_TEST(test_overwrite_reuses_memory)
{
    setup();
    struct entry *e = set(slice_of(big, 64), STRING_AUTO);
    ck_assert_ptr_eq(set(slice_of(big + 1, 64), STRING_AUTO), e);
    ck_assert_ptr_eq(set(slice_of(big + 2, 60), STRING_AUTO), e); /* the same size class */
    ck_assert(slice_eq(text(e), slice_of(big + 2, 60)));
    ck_assert_uint_eq(entry_memory(e, 0), 96);
    /* From its own bytes, in place, moved up by an expiry, and to another class. */
    e = set(slice_of(text(e).p + 3, 40), STRING_AUTO);
    ck_assert(slice_eq(text(e), slice_of(big + 5, 40)));
    e = shard_set_expire(s, 0, e, 77);
    struct slice own = text(e);
    e = shard_set_string(s, 0, k, slice_of(own.p + 1, own.n - 1), STRING_RAW, true);
    ck_assert(slice_eq(text(e), slice_of(big + 6, 39)));
    ck_assert(slice_eq(entry_key(e), k->s));
    ck_assert_int_eq(entry_expire(e), 77);
    teardown();
}
END_TEST

START_TEST(test_memory_of_the_target_size)
{
    struct key fixed;
    setup();
    fixed = keyspace_key(ks, S("key:000000000001")); /* 16 bytes with 64 */
    struct entry *e = shard_set_string(s, 0, &fixed, slice_of(big, 64), STRING_AUTO, false);
    ck_assert_uint_eq(entry_memory(e, 0), 96);
    ck_assert_uint_eq(entry_effort(e), 1);
    e = set(slice_of(big, 100000), STRING_AUTO);
    ck_assert_uint_ge(entry_memory(e, 0), 100000);
    ck_assert_uint_le(entry_memory(e, 0), 140000);
    ck_assert_uint_ge(entry_effort(e), 2);
    teardown();
}
END_TEST

START_TEST(test_keys_of_all_lengths)
{
    setup();
    static const size_t sizes[] = { 0, 1, 7, 8, 9, 15, 16, 17, 100, 1000, 70000 };
    for (unsigned i = 0; i < countof(sizes); i++) {
        struct key a = keyspace_key(ks, slice_of(big, sizes[i]));
        struct entry *e = shard_set_int(s, 0, &a, i, false);
        ck_assert(slice_eq(entry_key(e), a.s));
        e = shard_set_expire(s, 0, e, 5);
        ck_assert(slice_eq(entry_key(e), a.s));
        shard_check(s);
    }
    for (unsigned i = 0; i < countof(sizes); i++) {
        struct key a = keyspace_key(ks, slice_of(big, sizes[i]));
        int64_t v = -1;
        ck_assert(entry_int(shard_find(s, 0, &a), &v) && v == i);
        if (sizes[i] > 0) { /* one byte differs, although the hash is the same: another key */
            big[sizes[i] - 1] ^= 1;
            ck_assert_ptr_null(shard_find(s, 0, &a));
            big[sizes[i] - 1] ^= 1;
        }
    }
    teardown();
}
END_TEST

/* ================= In place ================= */

START_TEST(test_writable)
{
    setup();
    char *bytes = NULL;
    struct entry *e = set(S("12"), STRING_AUTO);
    e = shard_string_writable(s, 0, e, 0, &bytes); /* only to be changed */
    ck_assert_str_eq(encoding(e), "raw");
    bytes[0] = '7';
    ck_assert(slice_eq(text(e), S("72")));
    e = shard_string_writable(s, 0, e, 5, &bytes);
    ck_assert(slice_eq(text(e), slice_of("72\0\0\0", 5)));
    memcpy(bytes + 2, "abc", 3);
    e = shard_string_writable(s, 0, e, 3, &bytes); /* never shorter */
    ck_assert(slice_eq(text(e), S("72abc")));
    e = shard_set_expire(s, 0, e, 99);
    /* Byte by byte over the limit of what lies inside an entry. */
    size_t moves = 0;
    for (size_t n = 5; n < 5000; n++) {
        struct entry *before = e;
        e = shard_string_writable(s, 0, e, n + 1, &bytes);
        ck_assert_ptr_nonnull(e);
        moves += e != before;
        ck_assert_int_eq(bytes[n], 0);
        bytes[n] = big[n];
        ck_assert(slice_eq(slice_of(text(e).p + 5, n - 4), slice_of(big + 5, n - 4)));
        ck_assert_uint_eq(text(e).n, n + 1);
    }
    ck_assert_uint_lt(moves, 40); /* room to spare: not one move per byte */
    ck_assert_int_eq(entry_expire(e), 99);
    struct slice shared;
    ck_assert_ptr_nonnull(bytes);
    struct blob *b = entry_blob_ref(e, &shared);
    ck_assert_ptr_nonnull(b);
    blob_release(b);
    e = set(slice_of(big, 30), STRING_AUTO);
    e = shard_string_writable(s, 0, e, 100000, &bytes); /* straight to a large one */
    ck_assert(slice_eq(slice_of(text(e).p, 30), slice_of(big, 30)));
    for (size_t i = 30; i < 100000; i++) {
        ck_assert_int_eq(bytes[i], 0);
    }
    teardown();
}
END_TEST

/* ================= Large strings ================= */

START_TEST(test_shared_bytes_do_not_change)
{
    setup();
    struct slice v, w;
    struct entry *e = set(slice_of(big, 5000), STRING_AUTO);
    struct blob *b = entry_blob_ref(e, &v);
    ck_assert_ptr_nonnull(b);
    char *bytes;
    e = shard_string_writable(s, 0, e, 6000, &bytes);
    memset(bytes, 'X', 6000);
    ck_assert(slice_eq(v, slice_of(big, 5000)));
    ck_assert_ptr_ne(text(e).p, v.p);
    blob_release(b);
    /* Held by nobody else: no copy. */
    char *again;
    e = shard_string_writable(s, 0, e, 10, &again);
    ck_assert_ptr_eq(again, bytes);
    /* Overwritten, deleted, flushed: the bytes live as long as the reference. */
    b = entry_blob_ref(e, &v);
    e = set(slice_of(big + 1, 7000), STRING_AUTO);
    struct blob *b2 = entry_blob_ref(e, &w);
    shard_delete(s, 0, e);
    ck_assert_int_eq(v.p[5999], 'X');
    ck_assert(slice_eq(w, slice_of(big + 1, 7000)));
    blob_release(b);
    blob_release(b2);
    ck_assert_ptr_null(entry_blob_ref(set(slice_of(big, 1024), STRING_AUTO), &v));
    ck_assert_ptr_null(entry_blob_ref(set(S("5"), STRING_AUTO), &v));
    teardown();
}
END_TEST

START_TEST(test_copy_shares_until_changed)
{
    setup();
    struct named_key other;
    struct key *k2 = store_key(ks, &other, 2);
    struct entry *e = set(slice_of(big, 100000), STRING_AUTO);
    size_t before = mem_used();
    struct entry *copy = shard_copy_as(s, 1, k2, e, 123);
    ck_assert_ptr_nonnull(copy);
    ck_assert_uint_lt(mem_used() - before, 20000);
    ck_assert_int_eq(entry_expire(copy), 123);
    ck_assert_int_eq(entry_expire(e), -1);
    copy = shard_copy_as(s, 1, k2, e, 124); /* in place of the first one */
    ck_assert_ptr_nonnull(copy);
    ck_assert_ptr_eq(shard_find(s, 1, k2), copy);
    ck_assert_uint_eq(shard_count(s, 1), 1);
    ck_assert_int_eq(entry_expire(copy), 124);
    char *bytes;
    copy = shard_string_writable(s, 1, copy, 0, &bytes);
    bytes[0] = 'Z';
    ck_assert(slice_eq(text(e), slice_of(big, 100000)));
    ck_assert_int_eq(text(copy).p[0], 'Z');
    shard_delete(s, 0, e);
    ck_assert(slice_eq(slice_of(text(copy).p + 1, 99999), slice_of(big + 1, 99999)));
    teardown();
}
END_TEST

START_TEST(test_owned_buffers)
{
    setup();
    size_t before = mem_used();
    static const size_t sizes[] = { 0, 3, 44, 1024, 1025, 4096, 100000 };
    for (unsigned i = 0; i < countof(sizes); i++) {
        char *p = mem_alloc(sizes[i] + 1);
        memcpy(p, big, sizes[i]);
        struct entry *e = shard_set_string_owned(s, 0, k, p, sizes[i], false);
        ck_assert(slice_eq(text(e), slice_of(big, sizes[i])));
        if (sizes[i] >= 4096) {
            ck_assert_ptr_eq(text(e).p, p); /* not copied */
        }
        char *bytes;
        e = shard_string_writable(s, 0, e, sizes[i] + 10000, &bytes); /* grows from there */
        ck_assert(slice_eq(slice_of(bytes, sizes[i]), slice_of(big, sizes[i])));
    }
    /* Mostly empty: copied, so that it does not hold the memory. */
    char *p = mem_alloc(150000);
    memcpy(p, big, 5000);
    struct entry *e = shard_set_string_owned(s, 0, k, p, 5000, false);
    ck_assert_ptr_ne(text(e).p, p);
    ck_assert_uint_lt(entry_memory(e, 0), 10000);
    e = shard_set_string_owned(s, 0, k, mem_dup("123", 3), 3, false);
    ck_assert_str_eq(encoding(e), "int");
    shard_delete(s, 0, e);
    ck_assert_uint_lt(mem_used(), before + 20000);
    teardown();
}
END_TEST

/* ================= Made outside of the table ================= */

START_TEST(test_made_and_put)
{
    static const size_t sizes[] = { 1, 10, 80, 700, 3000, 100000 };
    setup();
    size_t before = mem_used();
    for (unsigned i = 0; i < countof(sizes) * countof(sizes); i++) {
        size_t from = sizes[i % countof(sizes)], to = sizes[i / countof(sizes)];
        entry_discard(entry_new_string(k, slice_of(big, to)));
        struct entry *e = entry_new_string(k, slice_of(big, from));
        ck_assert_ptr_eq(shard_put_entry(s, 0, k, e), e); /* a new key */
        e = shard_set_expire(s, 0, e, 5000);
        entry_set_clock(e, 11);
        e = shard_put_entry(s, 0, k, entry_new_string(k, slice_of(big + 1, to)));
        ck_assert_ptr_eq(shard_find(s, 0, k), e);
        ck_assert(slice_eq(text(e), slice_of(big + 1, to)));
        ck_assert_int_eq(entry_expire(e), -1);
        ck_assert_uint_eq(entry_clock(e), 11);
        ck_assert_uint_eq(shard_count(s, 0), 1);
        ck_assert_uint_eq(shard_expires(s, 0), 0);
        shard_check(s);
        shard_delete(s, 0, e);
    }
    keyspace_lazyfree_drain(ks);
    ck_assert_uint_lt(mem_used(), before + 20000);
    teardown();
}
END_TEST

/* ================= Out of memory ================= */

enum change {
    TO_INT,
    TO_SMALL,
    TO_RAW,
    TO_LARGE,
    TO_OWNED,
    TO_MADE,
    TO_MADE_SMALL,
    TO_WRITABLE,
    TO_WRITABLE_LARGE,
    TO_COPY,
    CHANGES
};

/* NULL: failed. */
static struct entry *apply(enum change c, struct entry *e)
{
    char *bytes, *p;
    struct named_key other;
    switch (c) {
    case TO_INT: return shard_set_int(s, 0, k, 42, false);
    case TO_SMALL: return shard_set_string(s, 0, k, slice_of(big, 10), STRING_AUTO, false);
    case TO_RAW: return shard_set_string(s, 0, k, slice_of(big, 700), STRING_RAW, true);
    case TO_LARGE: return shard_set_string(s, 0, k, slice_of(big, 3000), STRING_AUTO, false);
    case TO_OWNED:
        p = mem_dup(big, 4000);
        e = shard_set_string_owned(s, 0, k, p, 4000, true);
        if (e == NULL) {
            ck_assert_int_eq(memcmp(p, big, 4000), 0);
            mem_free(p); /* still the caller's */
        }
        return e;
    case TO_MADE:
    case TO_MADE_SMALL:
        e = entry_new_string(k, slice_of(big, c == TO_MADE ? 3000 : 30));
        return e != NULL ? shard_put_entry(s, 0, k, e) : NULL;
    case TO_WRITABLE: return e != NULL ? shard_string_writable(s, 0, e, 300, &bytes) : e;
    case TO_WRITABLE_LARGE: return e != NULL ? shard_string_writable(s, 0, e, 150000, &bytes) : e;
    default: return e != NULL ? shard_copy_as(s, 1, store_key(ks, &other, 2), e, 5) : e;
    }
}

/* An entry of the size and form, with expiry and clock. */
static struct entry *start_from(size_t n, bool shared)
{
    static struct blob *held;
    struct slice v;
    struct entry *e = shard_find(s, 0, k);
    if (e != NULL) {
        shard_delete(s, 0, e);
    }
    struct named_key other;
    if ((e = shard_find(s, 1, store_key(ks, &other, 2))) != NULL) {
        shard_delete(s, 1, e);
    }
    if (held != NULL) {
        blob_release(held);
        held = NULL;
    }
    if (n == 0) {
        return NULL;
    }
    e = set(n == 1 ? S("7") : slice_of(big + 2, n), STRING_AUTO);
    e = shard_set_expire(s, 0, e, 5000);
    entry_set_clock(e, 11);
    held = shared ? entry_blob_ref(e, &v) : NULL;
    return e;
}

static void fail_each_allocation(size_t from, bool shared, enum change c, unsigned *failures)
{
    for (unsigned nth = 0;; nth++) {
        struct entry *e = start_from(from, shared);
        char spec[64];
        snprintf(spec, sizeof spec, "mem.alloc=nomem:%u:1", nth);
        ck_assert_int_eq(fault_arm(spec), 0);
        struct entry *changed = apply(c, e);
        ck_assert_int_eq(fault_arm(""), 0);
        shard_check(s);
        if (changed != NULL || (from == 0 && c >= TO_WRITABLE)) {
            return;
        }
        ++*failures;
        ck_assert_ptr_eq(shard_find(s, 0, k), e);
        if (e != NULL) {
            ck_assert(slice_eq(text(e), from == 1 ? S("7") : slice_of(big + 2, from)));
            ck_assert_int_eq(entry_expire(e), 5000);
            ck_assert_uint_eq(entry_clock(e), 11);
        }
        ck_assert_uint_eq(shard_count(s, 1), 0);
    }
}

START_TEST(test_no_memory_changes_nothing)
{
#ifdef KV_FAULTS
    setup();
    static const size_t sizes[] = { 0, 1, 10, 80, 700, 3000 };
    unsigned failures = 0;
    size_t before = mem_used();
    for (unsigned i = 0; i < countof(sizes); i++) {
        for (enum change c = 0; c < CHANGES; c++) {
            fail_each_allocation(sizes[i], false, c, &failures);
            fail_each_allocation(sizes[i], sizes[i] > 1024, c, &failures);
        }
    }
    ck_assert_uint_gt(failures, 60);
    start_from(0, false);
    ck_assert_uint_lt(mem_used(), before + 20000); /* nothing lost on the way */
    teardown();
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

UNIT_SUITE(store_string)
{
    unit_case(suite, "forms", test_encodings, test_access_clock_stays, test_overwrite_reuses_memory,
              test_memory_of_the_target_size, test_keys_of_all_lengths, test_writable);
    unit_case(suite, "large", test_shared_bytes_do_not_change, test_copy_shares_until_changed,
              test_owned_buffers);
    unit_case(suite, "made", test_made_and_put);
    unit_case(suite, "memory", test_no_memory_changes_nothing);
}
