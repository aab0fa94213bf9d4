/* test_listpack.c -- Exact bytes as Redis writes them, random changes against an oracle, hostile
 * input, failing memory. SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/oracle.h"
#include "ds/listpack.h"
#include "base/fault.h"
#include "base/mem.h"

static void same(const struct listpack *lp, const struct oracle *o)
{
    want(lp_valid(lp_slice(lp)));
    want(lp_count(lp) == o->n);
    want(lp_end(lp) == lp_bytes(lp) - 1);
    uint32_t at = lp_first(lp);
    uint32_t before = LP_NONE;
    for (size_t i = 0; i < o->n; i++) {
        want(at != LP_NONE);
        char store[I64_TEXT_MAX];
        struct lp_value v = lp_get(lp, at);
        want(slice_eq(lp_text(&v, store), o->v[i]));
        int64_t number;
        want(parse_i64(o->v[i], &number) == (v.p == NULL));
        want(lp_span(lp, at) == lp_entry_size(o->v[i]));
        want(lp_prev(lp, at) == before);
        before = at;
        at = lp_next(lp, at);
    }
    want(at == LP_NONE);
    want(lp_last(lp) == before);
    want(lp_prev(lp, lp_end(lp)) == before);
}

static struct listpack *list_of(const char *const *texts, size_t n)
{
    struct listpack *lp = lp_new();
    for (size_t i = 0; i < n; i++) {
        lp = lp_append(lp, slice_str(texts[i]));
        ck_assert_ptr_nonnull(lp);
    }
    return lp;
}

/* What redis-server 7.0.15 writes for RPUSH k <text>; DUMP k, without the frame around it. */
static const struct {
    const char *text, *hex;
} redis_bytes[] = {
    { "0", "0900000001000001ff" },
    { "127", "0900000001007f01ff" },
    { "128", "0a0000000100c08002ff" },
    { "-1", "0a0000000100dfff02ff" },
    { "4095", "0a0000000100cfff02ff" },
    { "4096", "0b0000000100f1001003ff" },
    { "-4096", "0a0000000100d00002ff" },
    { "-4097", "0b0000000100f1ffef03ff" },
    { "32767", "0b0000000100f1ff7f03ff" },
    { "32768", "0c0000000100f200800004ff" },
    { "-32768", "0b0000000100f1008003ff" },
    { "-32769", "0c0000000100f2ff7fff04ff" },
    { "8388607", "0c0000000100f2ffff7f04ff" },
    { "8388608", "0d0000000100f30000800005ff" },
    { "-8388608", "0c0000000100f200008004ff" },
    { "-8388609", "0d0000000100f3ffff7fff05ff" },
    { "2147483647", "0d0000000100f3ffffff7f05ff" },
    { "2147483648", "110000000100f4000000800000000009ff" },
    { "-2147483648", "0d0000000100f30000008005ff" },
    { "-2147483649", "110000000100f4ffffff7fffffffff09ff" },
    { "9223372036854775807", "110000000100f4ffffffffffffff7f09ff" },
    { "-9223372036854775808", "110000000100f4000000000000008009ff" },
    { "9223372036854775808", "1c0000000100933932323333373230333638353437373538303814ff" },
    { "-0", "0b0000000100822d3003ff" },
    { "01", "0b000000010082303103ff" },
    { "", "0900000001008001ff" },
    { "1 ", "0b000000010082312003ff" },
};

START_TEST(test_bytes_as_redis)
{
    for (size_t i = 0; i < countof(redis_bytes); i++) {
        struct listpack *lp = list_of(&redis_bytes[i].text, 1);
        char hex[128] = "";
        struct slice s = lp_slice(lp);
        for (size_t k = 0; k < s.n; k++) {
            sprintf(hex + 2 * k, "%02x", (uint8_t)s.p[k]);
        }
        ck_assert_str_eq(hex, redis_bytes[i].hex);
        ck_assert(lp_equal(lp, lp_first(lp), slice_str(redis_bytes[i].text)));
        lp_free(lp);
    }
}
END_TEST

/* Strings around the steps of the backward length and what redis-server 7.0.15 writes for it. */
static const struct {
    size_t text;
    unsigned n;
    uint8_t back[5];
} redis_back[] = {
    { 124, 1, { 0x7e } },
    { 125, 1, { 0x7f } },
    { 126, 2, { 0x01, 0x80 } },
    { 16377, 2, { 0x7f, 0xfe } },
    { 16378, 3, { 0x00, 0xff, 0xff } },
    { 16379, 3, { 0x01, 0x80, 0x80 } },
    { 2097145, 3, { 0x7f, 0xff, 0xfe } },
    { 2097146, 4, { 0x00, 0xff, 0xff, 0xff } },
    { 2097147, 4, { 0x01, 0x80, 0x80, 0x80 } },
    { 268435449, 4, { 0x7f, 0xff, 0xff, 0xfe } },
    { 268435450, 5, { 0x00, 0xff, 0xff, 0xff, 0xff } },
    { 268435451, 5, { 0x01, 0x80, 0x80, 0x80, 0x80 } },
};

START_TEST(test_back_lengths_as_redis)
{
    size_t most = 2097147;
    char *text = malloc(most);
    memset(text, 'x', most);
    for (size_t i = 0; i < countof(redis_back); i++) {
        unsigned n = redis_back[i].n;
        struct slice value = slice_of(text, redis_back[i].text);
        ck_assert_uint_eq(lp_entry_size(value), value.n + n +
                                                    (value.n < 64     ? 1
                                                     : value.n < 4096 ? 2
                                                                      : 5));
        if (value.n > most) {
            continue; /* the size tells the step; writing a quarter of a gigabyte tells no more */
        }
        struct listpack *lp = lp_append(lp_new(), value);
        ck_assert_ptr_nonnull(lp);
        struct slice s = lp_slice(lp);
        ck_assert_mem_eq(s.p + s.n - 1 - n, redis_back[i].back, n);
        ck_assert_int_eq(s.p[s.n - 2 - n], 'x');
        ck_assert_uint_eq(lp_last(lp), lp_first(lp));
        ck_assert(lp_valid(s));
        lp_free(lp);
    }
    free(text);
}
END_TEST

START_TEST(test_string_lengths)
{
    static const size_t lengths[] = { 0, 1, 63, 64, 4095, 4096, 65536, 1 << 20 };
    char *text = calloc(1, 1 << 20);
    struct oracle o = { 0 };
    struct listpack *lp = lp_new();
    for (size_t i = 0; i < countof(lengths); i++) {
        struct slice s = slice_of(text, lengths[i]);
        lp = lp_append(lp, s);
        ck_assert_ptr_nonnull(lp);
        oracle_insert(&o, o.n, s);
        size_t head = lengths[i] < 64 ? 1 : lengths[i] < 4096 ? 2 : 5;
        ck_assert_uint_ge(lp_entry_size(s), lengths[i] + head + 1);
        same(lp, &o);
    }
    struct listpack *copy = lp_dup(lp);
    same(copy, &o);
    lp_free(copy);
    lp_free(lp);
    oracle_free(&o);
    free(text);
}
END_TEST

START_TEST(test_seek_and_find)
{
    static const char *const texts[] = { "a", "1", "b", "a", "1", "01", "", "c" };
    struct listpack *lp = list_of(texts, countof(texts));
    int64_t n = countof(texts);
    for (int64_t i = 0; i < n; i++) {
        ck_assert(lp_equal(lp, lp_seek(lp, i), slice_str(texts[i])));
        ck_assert_uint_eq(lp_seek(lp, i), lp_seek(lp, i - n));
    }
    ck_assert_uint_eq(lp_seek(lp, n), LP_NONE);
    ck_assert_uint_eq(lp_seek(lp, -n - 1), LP_NONE);
    ck_assert_uint_eq(lp_seek(lp, INT64_MAX), LP_NONE);
    ck_assert_uint_eq(lp_seek(lp, INT64_MIN), LP_NONE);
    ck_assert_uint_eq(lp_find(lp, lp_first(lp), S("1"), 0), lp_seek(lp, 1));
    ck_assert_uint_eq(lp_find(lp, lp_first(lp), S("1"), 1), lp_seek(lp, 4));
    ck_assert_uint_eq(lp_find(lp, lp_first(lp), S("a"), 0), lp_seek(lp, 0));
    ck_assert_uint_eq(lp_find(lp, lp_seek(lp, 1), S("a"), 0), lp_seek(lp, 3));
    ck_assert_uint_eq(lp_find(lp, lp_seek(lp, 1), S("a"), 2), LP_NONE);
    ck_assert_uint_eq(lp_find(lp, lp_first(lp), S("01"), 0), lp_seek(lp, 5));
    ck_assert_uint_eq(lp_find(lp, lp_first(lp), slice_of(NULL, 0), 0), lp_seek(lp, 6));
    ck_assert_uint_eq(lp_find(lp, lp_first(lp), S("x"), 0), LP_NONE);
    ck_assert_uint_eq(lp_find(lp, LP_NONE, S("a"), 0), LP_NONE);
    ck_assert(!lp_equal(lp, lp_first(lp), S("b")));
    ck_assert(!lp_equal(lp, lp_seek(lp, 1), S("2")));
    lp_free(lp);
    lp = lp_new();
    ck_assert_uint_eq(lp_first(lp), LP_NONE);
    ck_assert_uint_eq(lp_last(lp), LP_NONE);
    ck_assert_uint_eq(lp_seek(lp, 0), LP_NONE);
    ck_assert_uint_eq(lp_seek(lp, -1), LP_NONE);
    lp_free(lp);
}
END_TEST

/* A listpack may hold an integer in a wider form, or as text: written by others. It still equals
 * its text. */
START_TEST(test_foreign_forms)
{
    static const char bytes[] = "\x1b\0\0\0\x04\0"
                                "\x81"
                                "7\x02"
                                "\xc0\x07\x02"
                                "\xf1\x07\0\x03"
                                "\xf4\x07\0\0\0\0\0\0\0\x09"
                                "\xff";
    struct slice s = slice_of(bytes, sizeof bytes - 1);
    ck_assert(lp_valid(s));
    struct listpack *lp = lp_from_bytes(s);
    ck_assert_uint_eq(lp_count(lp), 4);
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = lp_next(lp, at)) {
        ck_assert(lp_equal(lp, at, S("7")));
    }
    lp_free(lp);
}
END_TEST

static struct listpack *random_step(struct listpack *lp, struct oracle *o)
{
    struct slice s = oracle_value(200, 70000);
    size_t i = o->n > 0 ? rng_below(o->n) : 0;
    uint32_t at = o->n > 0 ? lp_seek(lp, (int64_t)i) : LP_NONE;
    int64_t number = (int64_t)rng_u64() >> rng_below(64);
    char store[I64_TEXT_MAX];
    struct slice number_text = slice_of(store, format_i64(store, number));
    switch (rng_below(o->n > 0 ? 12 : 4)) {
    case 0:
        lp = lp_append(lp, s);
        oracle_insert(o, o->n, s);
        break;
    case 1:
        lp = lp_prepend(lp, s);
        oracle_insert(o, 0, s);
        break;
    case 2:
        lp = lp_append_int(lp, number);
        oracle_insert(o, o->n, number_text);
        break;
    case 3: {
        struct slice many[3] = { s, number_text, S("") };
        size_t n = rng_below(4);
        lp = lp_append_many(lp, many, n);
        for (size_t k = 0; k < n; k++) {
            oracle_insert(o, o->n, many[k]);
        }
        break;
    }
    case 4:
        lp = lp_insert_before(lp, &at, s);
        oracle_insert(o, i, s);
        want(lp_equal(lp, at, s));
        break;
    case 5:
        lp = lp_insert_after(lp, &at, s);
        oracle_insert(o, i + 1, s);
        want(lp_equal(lp, at, s));
        break;
    case 6:
    case 7:
        lp = lp_replace(lp, at, s);
        oracle_replace(o, i, s);
        want(lp_equal(lp, at, s));
        break;
    case 8:
        lp = lp_replace_int(lp, at, number);
        oracle_replace(o, i, number_text);
        break;
    case 9:
    case 10:
        lp = lp_delete(lp, &at);
        oracle_remove(o, i, 1);
        want(at == (i < o->n ? lp_seek(lp, (int64_t)i) : LP_NONE));
        break;
    default: {
        size_t n = rng_below(o->n > 60 ? o->n : 4);
        lp = lp_delete_range(lp, rng_below(2) == 0 ? (int64_t)i : (int64_t)i - (int64_t)o->n,
                             (uint32_t)n);
        oracle_remove(o, i, size_min(n, o->n - i));
    }
    }
    return lp;
}

START_TEST(test_random)
{
    rng_seed_all(unit_seed());
    struct oracle o = { 0 };
    struct listpack *lp = lp_new();
    for (int round = 0; round < 20000; round++) {
        lp = random_step(lp, &o);
        want(lp != NULL);
        same(lp, &o);
    }
    lp_free(lp);
    oracle_free(&o);
}
END_TEST

START_TEST(test_range_edges)
{
    static const char *const texts[] = { "a", "b", "c" };
    struct listpack *lp = list_of(texts, 3);
    lp = lp_delete_range(lp, 3, 1);
    lp = lp_delete_range(lp, -4, 1);
    lp = lp_delete_range(lp, 0, 0);
    ck_assert_uint_eq(lp_count(lp), 3);
    lp = lp_delete_range(lp, -2, UINT32_MAX);
    ck_assert_uint_eq(lp_count(lp), 1);
    ck_assert(lp_equal(lp, lp_first(lp), S("a")));
    lp = lp_delete_range(lp, 0, 1);
    ck_assert_uint_eq(lp_bytes(lp), LP_EMPTY);
    lp_free(lp);
}
END_TEST

START_TEST(test_merge)
{
    rng_seed_all(unit_seed());
    for (int round = 0; round < 200; round++) {
        struct oracle o = { 0 };
        struct listpack *part[2] = { lp_new(), lp_new() };
        for (int k = 0; k < 2; k++) {
            for (uint64_t n = rng_below(20); n > 0; n--) {
                struct slice s = oracle_value(0, 0);
                part[k] = lp_append(part[k], s);
                oracle_insert(&o, o.n, s);
            }
        }
        struct listpack *lp = lp_merge(part[0], part[1]);
        same(lp, &o);
        lp_free(part[1]);
        lp_free(lp);
        oracle_free(&o);
    }
}
END_TEST

/* Past 65,534 entries the header only says "many"; it keeps saying so while entries go. */
START_TEST(test_many_entries)
{
    struct listpack *lp = lp_new();
    for (int i = 0; i < 65540; i++) {
        lp = lp_append_int(lp, i & 127);
        if (i >= 65530) {
            ck_assert_uint_eq(lp_count(lp), (uint32_t)i + 1);
            ck_assert(lp_valid(lp_slice(lp)));
        }
    }
    ck_assert(memcmp(lp_slice(lp).p + 4, "\xff\xff", 2) == 0);
    ck_assert(lp_equal(lp, lp_seek(lp, 65537), S("1")));
    ck_assert(lp_equal(lp, lp_seek(lp, -65540), S("0")));
    ck_assert_uint_eq(lp_seek(lp, 65540), LP_NONE);
    ck_assert_uint_eq(lp_seek(lp, -65541), LP_NONE);
    lp = lp_delete_range(lp, 10, 65530);
    ck_assert_uint_eq(lp_count(lp), 10);
    uint32_t at = lp_first(lp);
    lp = lp_delete(lp, &at);
    ck_assert_uint_eq(lp_count(lp), 9);
    lp_free(lp);
}
END_TEST

/* Random flips, cuts and lies about the size. Whatever is accepted must be walkable inside its
 * bytes (asan watches an exact allocation) and say the same forwards and backwards. */
START_TEST(test_hostile_bytes)
{
    rng_seed_all(unit_seed());
    unsigned accepted = 0;
    for (int round = 0; round < 60000; round++) {
        struct listpack *lp = lp_new();
        for (uint64_t n = rng_below(12); n > 0; n--) {
            lp = lp_append(lp, oracle_value(300, 20000));
        }
        size_t size = lp_bytes(lp);
        size_t given = rng_below(8) == 0 ? rng_below(size + 1) : size;
        uint8_t *hurt = malloc(given > 0 ? given : 1);
        memcpy(hurt, lp_slice(lp).p, given);
        for (uint64_t flips = rng_below(4); flips > 0 && given > 0; flips--) {
            size_t where = rng_below(2) == 0 ? rng_below(given) : rng_below(size_min(given, 16));
            unsigned bit = 1u << rng_below(8);
            unsigned now = rng_below(2) == 0 ? (unsigned)rng_below(256) : hurt[where] ^ bit;
            hurt[where] = (uint8_t)now;
        }
        if (lp_valid(slice_of(hurt, given))) {
            accepted++;
            const struct listpack *view = (const struct listpack *)(void *)hurt;
            uint32_t n = 0, back = 0;
            uint64_t sum = 0;
            for (uint32_t at = lp_first(view); at != LP_NONE; at = lp_next(view, at)) {
                struct lp_value v = lp_get(view, at);
                for (size_t k = 0; v.p != NULL && k < v.n; k++) {
                    sum += (uint8_t)v.p[k];
                }
                n++;
            }
            for (uint32_t at = lp_last(view); at != LP_NONE; at = lp_prev(view, at)) {
                back++;
            }
            want(n == lp_count(view));
            want(n == back);
            want(sum < UINT64_MAX);
        }
        free(hurt);
        lp_free(lp);
    }
    ck_assert_uint_gt(accepted, 1000);
}
END_TEST

START_TEST(test_invalid)
{
    static const struct {
        size_t n;
        const char *bytes;
    } bad[] = {
        { 0, "" },
        { 6, "\x06\0\0\0\0\0" },
        { 7, "\x07\0\0\0\0\0\0" },                              /* no end */
        { 7, "\x08\0\0\0\0\0\xff" },                            /* size too large */
        { 7, "\x07\0\0\0\x01\0\xff" },                          /* count */
        { 9, "\x09\0\0\0\0\0\x01\x01\xff" },                    /* count */
        { 9, "\x09\0\0\0\x01\0\x01\x02\xff" },                  /* backward length */
        { 8, "\x08\0\0\0\x01\0\x01\xff" },                      /* no backward length */
        { 9, "\x09\0\0\0\x01\0\xf5\x01\xff" },                  /* unknown head */
        { 9, "\x09\0\0\0\x01\0\xff\x01\xff" },                  /* end in the middle */
        { 9, "\x09\0\0\0\x01\0\x81\x02\xff" },                  /* string reaches the end mark */
        { 8, "\x08\0\0\0\x01\0\xe0\xff" },                      /* length cut */
        { 9, "\x09\0\0\0\x01\0\xf0\x01\xff" },                  /* length cut */
        { 9, "\x09\0\0\0\x01\0\xf1\x01\xff" },                  /* integer cut */
        { 17, "\x11\0\0\0\x01\0\xf5\0\0\0\0\0\0\0\0\x09\xff" }, /* unknown head */
        { 10, "\x0a\0\0\0\x01\0\x01\x80\x81\xff" },             /* backward length, longer form */
        { 12, "\x0c\0\0\0\x01\0\xf0\xff\xff\xff\xff\xff" },     /* string of 4 GiB */
    };
    for (size_t i = 0; i < countof(bad); i++) {
        char *exact = malloc(bad[i].n + (bad[i].n == 0)); /* for the address sanitizer */
        memcpy(exact, bad[i].bytes, bad[i].n);
        ck_assert_msg(!lp_valid(slice_of(exact, bad[i].n)), "row %zu", i);
        free(exact);
    }
    /* A backward length of two bytes that would lie half behind the end. */
    char *cut = calloc(1, 135);
    memcpy(cut, "\x87\0\0\0\x01\0\xe0\x7e", 8);
    cut[134] = (char)0xff;
    ck_assert(!lp_valid(slice_of(cut, 135)));
    free(cut);
    ck_assert(lp_valid(slice_of("\x07\0\0\0\0\0\xff", 7)));
    ck_assert(lp_valid(slice_of("\x09\0\0\0\xff\xff\x01\x01\xff", 9)));
}
END_TEST

static bool arm(const char *spec)
{
    return fault_arm(spec) == 0;
}

START_TEST(test_no_memory)
{
    static const char *const texts[] = { "one", "2", "three" };
    static char big[5000];
    struct listpack *lp = list_of(texts, 3);
    struct listpack *other = lp_append(lp_new(), slice_of(big, sizeof big));
    struct slice many[2] = { S("x"), slice_of(big, sizeof big) };
    struct slice s = slice_of(big, sizeof big);
    struct slice before = oracle_copy(lp_slice(lp));
    uint32_t at = lp_seek(lp, 1);
    ck_assert(arm("mem.alloc=nomem:0:0"));
    ck_assert_ptr_null(lp_append(lp, s));
    ck_assert_ptr_null(lp_prepend(lp, s));
    ck_assert_ptr_null(lp_insert_before(lp, &at, s));
    ck_assert_ptr_null(lp_insert_after(lp, &at, s));
    ck_assert_ptr_null(lp_replace(lp, at, s));
    ck_assert_ptr_null(lp_append_many(lp, many, 2));
    ck_assert_ptr_null(lp_merge(lp, other));
    ck_assert_ptr_null(lp_dup(lp));
    ck_assert_ptr_null(lp_from_bytes(before));
    ck_assert_uint_eq(at, lp_seek(lp, 1));
    ck_assert(slice_eq(lp_slice(lp), before));
    lp = lp_delete_range(lp, 0, 3);
    ck_assert_uint_eq(lp_bytes(lp), LP_EMPTY);
    other = lp_delete_range(other, 0, 1); /* cannot give memory back: keeps it */
    ck_assert_uint_eq(lp_bytes(other), LP_EMPTY);
    ck_assert(arm(""));
    free((void *)(uintptr_t)before.p);
    lp_free(other);
    lp_free(lp);
}
END_TEST

START_TEST(test_size_limit)
{
    struct listpack *lp = lp_append(lp_new(), S("x"));
    /* Only lengths are looked at before the limit is found exceeded. */
    ck_assert_ptr_null(lp_append(lp, slice_of("x", LP_BYTES_MAX)));
    ck_assert_ptr_null(lp_append(lp, slice_of("x", SIZE_MAX / 2)));
    ck_assert_ptr_null(lp_replace(lp, LP_HEADER, slice_of("x", LP_BYTES_MAX - 6)));
    struct slice many[2] = { slice_of("x", SIZE_MAX / 2), slice_of("x", SIZE_MAX / 2 + 1) };
    ck_assert_ptr_null(lp_append_many(lp, many, 2));
    ck_assert_uint_eq(lp_count(lp), 1);
    ck_assert(lp_equal(lp, LP_HEADER, S("x")));
    lp_free(lp);
}
END_TEST

START_TEST(test_memory_returns)
{
    struct listpack *lp = lp_new();
    for (int i = 0; i < 1000; i++) {
        lp = lp_append(lp, S("0123456789abcdef0123456789abcdef"));
    }
    size_t full = mem_usable(lp);
    lp = lp_delete_range(lp, 10, 990);
    ck_assert_uint_lt(mem_usable(lp), full / 8);
    lp_free(lp);
    lp_free(NULL);
}
END_TEST

START_TEST(test_values)
{
    char store[I64_TEXT_MAX];
    struct lp_value v = lp_value_of(slice_of(NULL, 0));
    ck_assert_ptr_nonnull(v.p);
    ck_assert_uint_eq(v.n, 0);
    v = lp_value_of(S("-42"));
    ck_assert_ptr_null(v.p);
    ck_assert_int_eq(v.i, -42);
    ck_assert(slice_eq(lp_text(&v, store), S("-42")));
    v = lp_value_int(INT64_MIN);
    ck_assert(slice_eq(lp_text(&v, store), S("-9223372036854775808")));
    ck_assert_uint_eq(lp_value_size(&v), 10);
    uint8_t block[32];
    ck_assert_ptr_eq(lp_value_write(block + LP_HEADER, &v), block + 16);
    lp_stamp(block, 17, 1);
    ck_assert(lp_valid(slice_of(block, 17)));
    lp_stamp(block, 17, 65535);
    ck_assert(memcmp(block + 4, "\xff\xff", 2) == 0);
    struct lp_needle needle = lp_needle_of(S("7"));
    v = lp_value_int(7);
    ck_assert(lp_matches(&needle, &v));
    v = (struct lp_value){ "7", 1, 0 };
    ck_assert(lp_matches(&needle, &v));
    needle = lp_needle_of(S("word"));
    v = lp_value_int(0);
    ck_assert(!lp_matches(&needle, &v));
    needle = lp_needle_of(S("07"));
    v = (struct lp_value){ "7", 1, 0 };
    ck_assert(!lp_matches(&needle, &v));
    v = lp_value_int(7);
    ck_assert(!lp_matches(&needle, &v));
}
END_TEST

UNIT_SUITE(listpack)
{
    unit_case(suite, "format", test_bytes_as_redis, test_back_lengths_as_redis, test_string_lengths,
              test_values, test_foreign_forms);
    unit_case(suite, "read", test_seek_and_find);
    unit_case_slow(suite, "change", 300, test_random, test_range_edges, test_merge,
                   test_many_entries, test_memory_returns);
    unit_case_slow(suite, "hostile", 300, test_hostile_bytes, test_invalid);
    unit_case(suite, "failure", test_no_memory, test_size_limit);
}
