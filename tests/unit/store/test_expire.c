/* test_expire.c -- The expiry order: exactness, next_due, sums; against a sorted array.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "store_util.h"
#include "ds/fields.h"

enum { KEYS = 400, DATABASES = 3 };

static struct keyspace *ks;
static int64_t model[DATABASES][KEYS]; /* -1: no expiry, -2: no key */

static int64_t model_first(unsigned *expiring)
{
    int64_t first = INT64_MAX;
    *expiring = 0;
    for (unsigned i = 0; i < DATABASES * KEYS; i++) {
        int64_t when = model[i / KEYS][i % KEYS];
        if (when >= 0) {
            first = when < first ? when : first;
            ++*expiring;
        }
    }
    return first;
}

static struct entry *find(unsigned db, unsigned i)
{
    struct named_key nk;
    return shard_find(keyspace_shard(ks, 0), db, store_key(ks, &nk, i));
}

static void set(unsigned db, unsigned i, int64_t when)
{
    struct named_key nk;
    struct shard *s = keyspace_shard(ks, 0);
    struct entry *e = find(db, i);
    if (e == NULL) {
        e = shard_set_int(s, db, store_key(ks, &nk, i), i, false);
        ck_assert_ptr_nonnull(e);
    }
    e = shard_set_expire(s, db, e, when);
    ck_assert_int_eq(entry_expire(e), when);
    model[db][i] = when;
}

/* Takes the first due as the expiry slice does, and checks that it is the earliest. */
static void expire_first(int64_t now)
{
    unsigned db = 99, expiring;
    int64_t first = model_first(&expiring);
    struct shard *s = keyspace_shard(ks, 0);
    struct entry *e = shard_first_due(s, now, &db);
    if (first > now) {
        ck_assert_ptr_null(e);
        return;
    }
    ck_assert_ptr_nonnull(e);
    int64_t number;
    ck_assert(entry_int(e, &number));
    ck_assert_int_eq(entry_expire(e), first);
    ck_assert_int_eq(model[db][number], first);
    shard_delete(s, db, e);
    model[db][number] = -2;
}

static void check_all(void)
{
    unsigned expiring, counted = 0;
    int64_t first = model_first(&expiring);
    struct shard *s = keyspace_shard(ks, 0);
    ck_assert_int_eq(shard_next_due(s), first);
    for (unsigned db = 0; db < DATABASES; db++) {
        counted += (unsigned)shard_expires(s, db);
    }
    ck_assert_uint_eq(counted, expiring);
    shard_check(s);
}

static int64_t told; /* by the store: what it said last */
static unsigned tellings;

static void note_earlier(void *arg, unsigned shard, int64_t due_ms)
{
    ck_assert_ptr_eq(arg, &told);
    ck_assert_uint_eq(shard, 0);
    ck_assert_int_eq(shard_next_due(keyspace_shard(ks, 0)), due_ms);
    told = due_ms;
    tellings++;
}

START_TEST(test_earlier_is_told)
{
    ks = store_new(1, DATABASES, 0);
    keyspace_tell_earlier(ks, note_earlier, &told);
    struct shard *s = keyspace_shard(ks, 0);
    tellings = 0;
    shard_lock(s);
    set(0, 1, 1000);
    ck_assert_int_eq(told, 1000);
    set(1, 2, 2000); /* later, and the same: nothing to tell */
    set(1, 3, 1000);
    ck_assert_uint_eq(tellings, 1);
    set(2, 4, 999);
    ck_assert_int_eq(told, 999);
    set(2, 4, 5000); /* the first is another one now, and not earlier */
    set(0, 1, 3000);
    ck_assert_uint_eq(tellings, 2);
    set(0, 1, 10);
    ck_assert_uint_eq(tellings, 3);
    ck_assert_int_eq(told, 10);
    shard_unlock(s);
    keyspace_free(ks);
}
END_TEST

START_TEST(test_order)
{
    rng_seed_all(unit_seed());
    ks = store_new(1, DATABASES, 0);
    struct shard *s = keyspace_shard(ks, 0);
    for (unsigned i = 0; i < DATABASES * KEYS; i++) {
        model[i / KEYS][i % KEYS] = -2;
    }
    shard_lock(s);
    for (unsigned step = 0; step < 40000; step++) {
        unsigned db = (unsigned)rng_below(DATABASES), i = (unsigned)rng_below(KEYS);
        unsigned filling = step / 4000 % 2 == 0 ? 70 : 25; /* the heap grows, then empties */
        unsigned what = (unsigned)rng_below(100);
        if (what < filling) {
            set(db, i, (int64_t)rng_below(what % 2 ? 50 : 1000000)); /* many equal ones, too */
        } else if (what < filling + 10) {
            set(db, i, -1);
        } else if (what < 97) {
            expire_first((int64_t)rng_below(1200000));
        } else if (find(db, i) != NULL) {
            shard_delete(s, db, find(db, i));
            model[db][i] = -2;
        }
        if (step % 16 == 0) {
            check_all();
        }
    }
    while (shard_next_due(s) != INT64_MAX) {
        expire_first(INT64_MAX - 1);
    }
    check_all();
    shard_unlock(s);
    keyspace_free(ks);
}
END_TEST

START_TEST(test_due_at_the_millisecond)
{
    ks = store_new(1, 2, 0);
    struct shard *s = keyspace_shard(ks, 0);
    unsigned db = 9;
    shard_lock(s);
    ck_assert_ptr_null(shard_first_due(s, INT64_MAX, &db));
    set(1, 5, 1000);
    ck_assert_ptr_null(shard_first_due(s, 999, &db));
    ck_assert_ptr_eq(shard_first_due(s, 1000, &db), find(1, 5));
    ck_assert_uint_eq(db, 1);
    ck_assert_ptr_eq(shard_first_due(s, 1000, &db), find(1, 5)); /* it stays until deleted */
    set(0, 5, INT64_MAX);                                        /* as good as never */
    set(1, 5, -1);
    ck_assert_ptr_null(shard_first_due(s, INT64_MAX, &db));
    shard_check(s);
    shard_unlock(s);
    keyspace_free(ks);
}
END_TEST

START_TEST(test_overwrite_and_keep)
{
    ks = store_new(1, 1, 0);
    struct shard *s = keyspace_shard(ks, 0);
    struct named_key nk;
    struct key *k = store_key(ks, &nk, 1);
    static char big[5000];
    static const struct {
        size_t n;
        bool keep;
    } steps[] = { { 3, true },  { 3, true },   { 100, true },  { 5000, true },
                  { 2, true },  { 3, false },  { 3, false },   { 90, true },
                  { 92, true }, { 92, false }, { 5000, false } };
    shard_lock(s);
    for (unsigned i = 0; i < countof(steps); i++) {
        struct entry *e = shard_find(s, 0, k);
        int64_t had = e != NULL ? entry_expire(e) : -1;
        e = shard_set_string(s, 0, k, slice_of(big, steps[i].n), STRING_AUTO, steps[i].keep);
        ck_assert_int_eq(entry_expire(e), steps[i].keep ? had : -1);
        ck_assert_int_eq(shard_next_due(s), steps[i].keep && had != -1 ? had : INT64_MAX);
        shard_check(s);
        ck_assert_ptr_nonnull(shard_set_expire(s, 0, e, 1000 + i));
    }
    shard_unlock(s);
    keyspace_free(ks);
}
END_TEST

START_TEST(test_next_due_of_whole_databases)
{
    ks = store_new(1, 3, 0);
    struct shard *s = keyspace_shard(ks, 0);
    shard_lock(s);
    set(0, 1, 100);
    set(1, 1, 200);
    set(2, 1, 300);
    keyspace_swapdb(ks, 0, 2);
    unsigned db = 9;
    ck_assert_ptr_nonnull(shard_first_due(s, 100, &db));
    ck_assert_uint_eq(db, 2);
    ck_assert_uint_eq(keyspace_flush(ks, 2, true), 1);
    ck_assert_int_eq(shard_next_due(s), 200);
    shard_check(s);
    ck_assert_uint_eq(keyspace_flush(ks, -1, false), 2);
    ck_assert_int_eq(shard_next_due(s), INT64_MAX);
    set(1, 7, 50); /* after the tables were gone */
    ck_assert_int_eq(shard_next_due(s), 50);
    keyspace_swapdb(ks, 1, 2); /* with a database that was never used again */
    ck_assert_ptr_nonnull(shard_first_due(s, 50, &db));
    ck_assert_uint_eq(db, 2);
    shard_check(s);
    shard_unlock(s);
    keyspace_free(ks);
}
END_TEST

START_TEST(test_avg_ttl)
{
    const int64_t now = 1700000000000;
    ks = store_new(1, 2, 0);
    struct shard *s = keyspace_shard(ks, 0);
    ck_assert_int_eq(keyspace_avg_ttl(ks, 0, now), 0);
    shard_lock(s);
    for (unsigned i = 0; i < 100; i++) {
        set(0, i, now + 1000 * (int64_t)i); /* mean 49,500 */
        set(1, i, -1);
    }
    ck_assert_int_eq(keyspace_avg_ttl(ks, 0, now), 49500);
    ck_assert_int_eq(keyspace_avg_ttl(ks, 1, now), 0);
    ck_assert_int_eq(keyspace_avg_ttl(ks, 0, now + 9500), 40000);
    ck_assert_int_eq(keyspace_avg_ttl(ks, 0, now + 90000), 0); /* overdue */
    for (unsigned i = 50; i < 100; i++) {
        shard_delete(s, 0, find(0, i));
    }
    ck_assert_int_eq(keyspace_avg_ttl(ks, 0, now), 24500);
    ck_assert_uint_eq(keyspace_expires(ks, 0), 50);
    for (unsigned i = 0; i < 50; i++) {
        set(0, i, INT64_MAX); /* capped: no overflow, still far in the future */
    }
    ck_assert_int_gt(keyspace_avg_ttl(ks, 0, now), 1000000000000);
    shard_check(s);
    shard_unlock(s);
    keyspace_free(ks);
}
END_TEST

/* ---- Hashes by the earliest due of their fields ---- */

enum { HASHES = 60, NAMES = 12 };

static int64_t dues[DATABASES][HASHES][NAMES]; /* -1: no due, -2: no field */

static int64_t hash_first(const int64_t *due)
{
    int64_t first = -1;
    for (unsigned i = 0; i < NAMES; i++) {
        first = due[i] > 0 && (first < 0 || due[i] < first) ? due[i] : first;
    }
    return first;
}

static bool hash_exists(const int64_t *due)
{
    bool any = false;
    for (unsigned i = 0; i < NAMES; i++) {
        any |= due[i] != -2;
    }
    return any;
}

static void forget_hash(int64_t *due)
{
    for (unsigned i = 0; i < NAMES; i++) {
        due[i] = -2;
    }
}

/* Puts a field, sets or ends its due, or removes it; the hash goes with its last field. */
static void change_hash(unsigned db, unsigned h, unsigned name, const struct fields_limits *limits)
{
    struct named_key nk;
    const struct key *k = store_key(ks, &nk, h);
    struct shard *s = keyspace_shard(ks, 0);
    struct entry *e = shard_find(s, db, k);
    int64_t *due = dues[db][h];
    struct slice field = slice_of((const char[]){ (char)('a' + name) }, 1);
    struct fields f;
    ck_assert_int_eq(e != NULL, hash_exists(due));
    if (e == NULL) {
        fields_new(&f);
        e = shard_add_object(s, db, k, OBJ_HASH, entry_fields_enc(&f), f.p);
    }
    entry_get_fields(e, FIELDS_ALL, &f);
    if (due[name] == -2 || rng_below(4) > 0) {
        due[name] = rng_below(3) == 0 ? -1 : (int64_t)rng_below(500) + 1;
        ck_assert_int_ge(fields_put_due(&f, field, S("v"), due[name], limits), 0);
    } else {
        due[name] = -2;
        ck_assert(fields_remove(&f, field));
    }
    shard_put_fields(s, db, e, &f);
    if (!hash_exists(due)) {
        shard_delete(s, db, e);
    }
}

/* What else may happen to a hash: the entry moves, is copied, replaced or expires. */
static void move_hash(unsigned db, unsigned h, unsigned to)
{
    struct named_key nk, other;
    const struct key *k = store_key(ks, &nk, h), *t = store_key(ks, &other, to);
    struct shard *s = keyspace_shard(ks, 0);
    struct entry *e = shard_find(s, db, k), *there = shard_find(s, db, t);
    if (e == NULL) {
        return;
    }
    switch (rng_below(6)) {
    case 0: (void)shard_set_expire(s, db, e, rng_below(2) ? -1 : 100000); return;
    case 1:
        ck_assert_ptr_nonnull(shard_set_string(s, db, k, S("x"), STRING_AUTO, true));
        shard_delete(s, db, shard_find(s, db, k));
        break;
    case 2: /* a put over it by an entry made before */
        ck_assert_ptr_nonnull(shard_put_entry(s, db, k, entry_new_string(k, S("x"))));
        shard_delete(s, db, shard_find(s, db, k));
        break;
    case 3: shard_delete(s, db, e); break;
    default:
        if (h == to) {
            return;
        }
        if (there != NULL) {
            shard_delete(s, db, there);
        }
        memcpy(dues[db][to], dues[db][h], sizeof dues[db][h]);
        if (rng_below(2)) {
            ck_assert_ptr_nonnull(shard_copy_as(s, db, t, e, entry_expire(e)));
            return;
        }
        (void)shard_insert_as(s, db, t, shard_take(s, db, e), -1);
    }
    forget_hash(dues[db][h]);
}

static void check_hashes(void)
{
    struct shard *s = keyspace_shard(ks, 0);
    int64_t first = INT64_MAX;
    for (unsigned db = 0; db < DATABASES; db++) {
        unsigned with = 0;
        for (unsigned h = 0; h < HASHES; h++) {
            struct named_key nk;
            int64_t due = hash_first(dues[db][h]), last = 0;
            struct entry *e = shard_find(s, db, store_key(ks, &nk, h));
            for (unsigned i = 0; i < NAMES && last >= 0; i++) {
                int64_t at = dues[db][h][i];
                last = at == -1 ? -1 : at > last ? at : last;
            }
            with += due > 0;
            first = due > 0 && due < first ? due : first;
            if (e != NULL) {
                int64_t key = entry_expire(e);
                first = key >= 0 && key < first ? key : first;
                ck_assert_int_eq(entry_end(e), key < 0 || (last > 0 && last < key) ? last : key);
            }
        }
        ck_assert_uint_eq(keyspace_subexpires(ks, db), with);
    }
    ck_assert_int_eq(shard_next_due(s), first);
    unsigned db = 99;
    ck_assert(first == INT64_MAX || shard_first_due(s, first - 1, &db) == NULL);
    ck_assert(first == INT64_MAX || shard_first_due(s, first, &db) != NULL);
    shard_check(s);
}

START_TEST(test_field_dues)
{
    static const struct fields_limits limits[] = { { 128, 64 }, { 0, 0 } };
    rng_seed_all(unit_seed());
    ks = store_new(1, DATABASES, 1); /* 1: big ones go to the background */
    struct shard *s = keyspace_shard(ks, 0);
    for (unsigned i = 0; i < DATABASES * HASHES; i++) {
        forget_hash(dues[i / HASHES][i % HASHES]);
    }
    shard_lock(s);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned db = (unsigned)rng_below(DATABASES), h = (unsigned)rng_below(HASHES);
        if (rng_below(20) == 0) {
            move_hash(db, h, (unsigned)rng_below(HASHES));
        } else {
            change_hash(db, h, (unsigned)rng_below(NAMES), &limits[rng_below(2)]);
        }
        if (step % 64 == 0) {
            check_hashes();
        }
    }
    check_hashes();
    keyspace_swapdb(ks, 0, 1);
    shard_check(s);
    ck_assert_uint_gt(keyspace_subexpires(ks, 0), 0);
    ck_assert_uint_gt(keyspace_overhead(ks, 0), 0);
    keyspace_flush(ks, -1, true);
    ck_assert_int_eq(shard_next_due(s), INT64_MAX);
    ck_assert_uint_eq(keyspace_subexpires(ks, 0), 0);
    shard_check(s);
    shard_unlock(s);
    keyspace_free(ks);
}
END_TEST

/* ---- Several chunks of it ---- */

enum { MANY = 3000, PER_CHUNK = 256 }; /* a dozen chunks */

static int64_t many[MANY]; /* 0: no due */

/* Gives key i this due, or none; the key stays. The due is of the key or of a field in it. */
static void set_many(unsigned i, int64_t when, bool field)
{
    static const struct fields_limits limits = { 128, 64 };
    struct named_key nk;
    const struct key *k = store_key(ks, &nk, i);
    struct shard *s = keyspace_shard(ks, 0);
    struct entry *e = shard_find(s, 0, k);
    many[i] = when;
    if (!field) {
        e = e != NULL ? e : shard_set_int(s, 0, k, i, false);
        ck_assert_ptr_nonnull(shard_set_expire(s, 0, e, when != 0 ? when : -1));
        return;
    }
    struct fields f;
    if (e == NULL) {
        fields_new(&f);
        e = shard_add_object(s, 0, k, OBJ_HASH, entry_fields_enc(&f), f.p);
    }
    entry_get_fields(e, FIELDS_ALL, &f);
    ck_assert_int_ge(fields_put_due(&f, S("f"), S("v"), when != 0 ? when : -1, &limits), 0);
    shard_put_fields(s, 0, e, &f);
}

static void check_many(bool field)
{
    struct shard *s = keyspace_shard(ks, 0);
    unsigned with = 0, db;
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < MANY; i++) {
        with += many[i] != 0;
        first = many[i] != 0 && many[i] < first ? many[i] : first;
    }
    ck_assert_uint_eq(field ? keyspace_subexpires(ks, 0) : keyspace_expires(ks, 0), with);
    ck_assert_int_eq(shard_next_due(s), first);
    struct entry *e = shard_first_due(s, INT64_MAX - 1, &db);
    ck_assert_int_eq(e != NULL, with > 0);
    for (unsigned i = 0; e != NULL && !field && i < 3; i++) {
        int64_t number;
        ck_assert(entry_int(shard_random(s, 0, true), &number));
        ck_assert_int_ne(many[number], 0);
    }
    shard_check(s);
}

/* Up and down through all sizes, thrice, with changes between; the last time it ends empty. */
static void wander(bool field)
{
    unsigned with = 0, peak[3] = { MANY * 9 / 10, PER_CHUNK + 40, MANY / 2 },
             low[3] = { 100, 1, 0 };
    for (unsigned round = 0; round < 6; round++) {
        bool up = round % 2 == 0;
        unsigned to = up ? peak[round / 2] : low[round / 2];
        for (unsigned step = 0; with != to; step++) {
            unsigned i = (unsigned)rng_below(MANY), what = (unsigned)rng_below(10);
            bool far = with > to + MANY / 4 || with + MANY / 4 < to; /* else it might not arrive */
            bool in = many[i] != 0, wanted = what < 7 ? up : far && what < 8 ? !up : in;
            set_many(i, wanted ? 1 + (int64_t)rng_below(what % 2 ? 50 : 1000000) : 0, field);
            with += (unsigned)wanted - (unsigned)in;
            if (step % 32 == 0) {
                check_many(field);
            }
        }
        check_many(field);
    }
}

START_TEST(test_chunks)
{
    rng_seed_all(unit_seed());
    for (unsigned field = 0; field < 2; field++) {
        ks = store_new(1, 1, 0);
        struct shard *s = keyspace_shard(ks, 0);
        memset(many, 0, sizeof many);
        shard_lock(s);
        wander(field);
        for (unsigned i = 0; i < MANY; i++) { /* those of a flushed table go with it */
            set_many(i, 1 + (int64_t)rng_below(1000), field);
        }
        check_many(field);
        size_t used = mem_used();
        ck_assert_uint_eq(keyspace_flush(ks, 0, false), MANY);
        ck_assert_uint_lt(mem_used(), used - MANY * 16);
        ck_assert_int_eq(shard_next_due(s), INT64_MAX);
        shard_unlock(s);
        keyspace_free(ks);
    }
}
END_TEST

/* Bytes allocated beside the entries, and what the keyspace says of them. */
static void overhead_is(size_t empty, size_t *told_bytes)
{
    size_t entries = 0;
    for (unsigned i = 0; i < MANY; i++) {
        entries += mem_usable(find(0, i));
    }
    size_t real = mem_used() - empty - entries;
    *told_bytes = keyspace_overhead(ks, 0);
    ck_assert_uint_ge(real + 64, *told_bytes);
    ck_assert_uint_le(real, *told_bytes + 512); /* what the allocator rounds up */
}

/* The order's part of the overhead is what it owns, follows its size both ways, and going to and
 * fro over the end of a chunk costs no memory. */
START_TEST(test_chunks_are_counted)
{
    size_t empty = mem_used(), told_bytes, before, least;
    ks = store_new(1, 1, 0);
    empty = mem_used();
    struct shard *s = keyspace_shard(ks, 0);
    shard_lock(s);
    for (unsigned i = 0; i < MANY; i++) {
        set_many(i, 0, false);
    }
    overhead_is(empty, &before);
    for (unsigned i = 0; i < MANY; i++) {
        set_many(i, 1 + i, false);
        if (i % 64 == 0 || i < 40) {
            overhead_is(empty, &told_bytes);
            size_t items = (i + 1) * 16, chunk = PER_CHUNK * 16;
            ck_assert_uint_ge(told_bytes - before, items);
            ck_assert_uint_le(told_bytes - before, items + (i < 300 ? items : chunk) + 256);
        }
    }
    for (unsigned i = 0; i < 20; i++) { /* about where a chunk begins */
        unsigned at = 2 * PER_CHUNK - 13 + i;
        for (unsigned k = MANY; k-- > at;) {
            set_many(k, 0, false);
        }
        least = keyspace_overhead(ks, 0);
        set_many(at, 1, false);
        set_many(at, 0, false);
        ck_assert_uint_le(keyspace_overhead(ks, 0), least + PER_CHUNK * 16);
        ck_assert_uint_le(least - before, (at + PER_CHUNK * 3 / 2 + 4) * 16 + 256);
        overhead_is(empty, &told_bytes);
        for (unsigned k = at; k < MANY; k++) {
            set_many(k, 1 + k, false);
        }
    }
    for (unsigned i = MANY; i-- > 0;) {
        set_many(i, 0, false);
    }
    overhead_is(empty, &told_bytes);
    ck_assert_uint_eq(told_bytes, before);
    shard_check(s);
    shard_unlock(s);
    keyspace_free(ks);
}
END_TEST

UNIT_SUITE(store_expire)
{
    unit_case_slow(suite, "order", 300, test_order, test_due_at_the_millisecond, test_field_dues);
    unit_case_slow(suite, "chunks", 300, test_chunks, test_chunks_are_counted);
    unit_case(suite, "changes", test_overwrite_and_keep, test_next_due_of_whole_databases,
              test_avg_ttl, test_earlier_is_told);
}
