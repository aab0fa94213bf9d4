/* test_store.c -- The store against an oracle: random operations on every form of a string.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "store_util.h"

#define DATABASES 3
#define KEYS      300

/* One key of the oracle: value as text. */
struct model {
    bool there;
    char *p;
    size_t n;
    int64_t expire;
    bool raw; /* written in place: reported raw whatever it holds */
};

struct world {
    struct keyspace *ks;
    struct model m[DATABASES][KEYS];
};

static void model_set(struct model *m, struct slice v, bool keep_expire, bool raw)
{
    mem_free(m->p);
    *m = (struct model){ true, mem_dup(v.p, v.n), v.n, m->there && keep_expire ? m->expire : -1,
                         raw };
}

static void model_clear(struct model *m)
{
    mem_free(m->p);
    *m = (struct model){ .expire = -1 };
}

static const char *model_encoding(const struct model *m)
{
    int64_t v;
    if (m->raw) {
        return "raw";
    }
    return parse_i64(slice_of(m->p, m->n), &v) ? "int" : m->n <= 44 ? "embstr" : "raw";
}

/* A value of every form and of sizes around every limit. */
static size_t random_value(char *dst, size_t room)
{
    static const size_t sizes[] = { 0,   1,    7,    20,   21,   43,   44,   45,   64,
                                    100, 1000, 1023, 1024, 1025, 1500, 5000, 70000 };
    if (rng_below(3) == 0) {
        return format_i64(dst, rng_below(2) ? (int64_t)rng_u64() : (int64_t)rng_below(200) - 100);
    }
    size_t n = size_min(sizes[rng_below(countof(sizes))], room);
    memset(dst, 'a' + (int)rng_below(26), n);
    return n;
}

static void check_entry(const struct world *w, unsigned db, unsigned i)
{
    const struct model *m = &w->m[db][i];
    struct named_key nk;
    struct key *k = store_key(w->ks, &nk, i);
    struct entry *e = shard_find(keyspace_shard(w->ks, k->shard), db, k);
    ck_assert_int_eq(e != NULL, m->there);
    if (e == NULL) {
        return;
    }
    char tmp[I64_TEXT_MAX];
    ck_assert(slice_eq(entry_key(e), k->s));
    ck_assert(slice_eq(entry_string(e, tmp), slice_of(m->p, m->n)));
    ck_assert_uint_eq(entry_strlen(e), m->n);
    ck_assert_int_eq(entry_expire(e), m->expire);
    ck_assert_int_eq(entry_type(e), OBJ_STRING);
    ck_assert_str_eq(obj_enc_name(entry_enc(e)), model_encoding(m));
    int64_t v, parsed;
    if (entry_int(e, &v)) {
        ck_assert(parse_i64(slice_of(m->p, m->n), &parsed) && parsed == v);
    }
}

static void op_set(struct shard *s, unsigned db, const struct key *k, struct model *m)
{
    static char v[70000];
    size_t n = random_value(v, sizeof v);
    bool keep = rng_below(2);
    int64_t number;
    struct entry *e;
    switch (rng_below(4)) {
    case 0:
        number = (int64_t)rng_u64();
        n = format_i64(v, number);
        e = shard_set_int(s, db, k, number, keep);
        break;
    case 1: e = shard_set_string_owned(s, db, k, mem_dup(v, n), n, keep); break;
    case 2:
        e = shard_set_string(s, db, k, slice_of(v, n), STRING_RAW, keep);
        model_set(m, slice_of(v, n), keep, true);
        ck_assert_ptr_nonnull(e);
        return;
    default: e = shard_set_string(s, db, k, slice_of(v, n), STRING_AUTO, keep);
    }
    ck_assert_ptr_nonnull(e);
    model_set(m, slice_of(v, n), keep, false);
}

/* APPEND, SETRANGE: bytes in place. */
static void op_write(struct shard *s, unsigned db, const struct key *k, struct model *m)
{
    struct entry *e = shard_find(s, db, k);
    if (e == NULL) {
        return;
    }
    size_t size = rng_below(2) ? m->n + rng_below(40) : rng_below(3000);
    char *bytes;
    ck_assert_ptr_nonnull(shard_string_writable(s, db, e, size, &bytes));
    size_t n = size_max(size, m->n);
    m->p = mem_realloc(m->p, n + 1);
    memset(m->p + m->n, 0, n - m->n);
    m->n = n;
    m->raw = true;
    if (n > 0) {
        size_t at = rng_below(n);
        bytes[at] = m->p[at] = (char)rng_below(256);
    }
}

static void op_expire(struct shard *s, unsigned db, const struct key *k, struct model *m)
{
    struct entry *e = shard_find(s, db, k);
    if (e != NULL) {
        m->expire = rng_below(4) == 0 ? -1 : (int64_t)rng_below(1000000);
        ck_assert_ptr_nonnull(shard_set_expire(s, db, e, m->expire));
    }
}

/* RENAME, MOVE, COPY to a key that is made free first. */
static void op_transfer(struct world *w, unsigned db, unsigned i, bool copy)
{
    unsigned to_db = (unsigned)rng_below(DATABASES), to = (unsigned)rng_below(KEYS);
    if (!w->m[db][i].there || (to_db == db && to == i)) {
        return;
    }
    struct named_key nk1, nk2;
    struct key *k1 = store_key(w->ks, &nk1, i), *k2 = store_key(w->ks, &nk2, to);
    uint32_t index[2] = { k1->shard < k2->shard ? k1->shard : k2->shard,
                          k1->shard < k2->shard ? k2->shard : k1->shard };
    unsigned n = k1->shard == k2->shard ? 1 : 2;
    keyspace_lock_many(w->ks, index, n);
    struct shard *s1 = keyspace_shard(w->ks, k1->shard), *s2 = keyspace_shard(w->ks, k2->shard);
    struct entry *there = shard_find(s2, to_db, k2);
    if (there != NULL) {
        shard_delete(s2, to_db, there);
    }
    model_clear(&w->m[to_db][to]);
    struct model *from = &w->m[db][i], *dst = &w->m[to_db][to];
    struct entry *e = shard_find(s1, db, k1);
    int64_t expire = rng_below(2) ? from->expire : (int64_t)rng_below(1000000);
    if (copy) {
        ck_assert_ptr_nonnull(shard_copy_as(s2, to_db, k2, e, expire));
        model_set(dst, slice_of(from->p, from->n), false, from->raw);
    } else {
        entry_set_clock(e, 77);
        e = shard_take(s1, db, e);
        ck_assert(slice_eq(entry_key(e), k1->s));
        ck_assert_int_eq(entry_expire(e), from->expire);
        e = shard_insert_as(s2, to_db, k2, e, expire);
        ck_assert_uint_eq(entry_clock(e), 77);
        *dst = *from;
        *from = (struct model){ .expire = -1 };
    }
    dst->expire = expire;
    shard_check(s1);
    shard_check(s2);
    check_entry(w, to_db, to);
    check_entry(w, db, i);
    keyspace_unlock_many(w->ks, index, n);
}

static void op_whole(struct world *w)
{
    unsigned a = (unsigned)rng_below(DATABASES), b = (unsigned)rng_below(DATABASES);
    store_lock_all(w->ks, true);
    if (rng_below(2)) {
        keyspace_swapdb(w->ks, a, b);
        struct model tmp[KEYS];
        memcpy(tmp, w->m[a], sizeof tmp);
        memmove(w->m[a], w->m[b], sizeof tmp);
        memcpy(w->m[b], tmp, sizeof tmp);
    } else {
        size_t n = 0;
        int db = rng_below(4) == 0 ? -1 : (int)a;
        for (unsigned d = 0; d < DATABASES; d++) {
            for (unsigned i = 0; i < KEYS && (db < 0 || d == a); i++) {
                n += w->m[d][i].there;
                model_clear(&w->m[d][i]);
            }
        }
        ck_assert_uint_eq(keyspace_flush(w->ks, db, rng_below(2)), n);
    }
    store_lock_all(w->ks, false);
    store_check_all(w->ks);
}

static void check_counts(const struct world *w)
{
    for (unsigned db = 0; db < DATABASES; db++) {
        size_t n = 0, expiring = 0, by_shard = 0, expiring_by_shard = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            n += w->m[db][i].there;
            expiring += w->m[db][i].there && w->m[db][i].expire != -1;
        }
        for (unsigned i = 0; i < keyspace_shards(w->ks); i++) {
            by_shard += shard_count(keyspace_shard(w->ks, i), db);
            expiring_by_shard += shard_expires(keyspace_shard(w->ks, i), db);
        }
        ck_assert_uint_eq(keyspace_count(w->ks, db), n);
        ck_assert_uint_eq(keyspace_expires(w->ks, db), expiring);
        ck_assert_uint_eq(by_shard, n);
        ck_assert_uint_eq(expiring_by_shard, expiring);
    }
}

static void random_step(struct world *w, unsigned deletes)
{
    unsigned db = (unsigned)rng_below(DATABASES), i = (unsigned)rng_below(KEYS);
    struct model *m = &w->m[db][i];
    struct named_key nk;
    struct key *k = store_key(w->ks, &nk, i);
    unsigned what = (unsigned)rng_below(100);
    if (what < 8) {
        op_transfer(w, db, i, what < 4);
        return;
    }
    struct shard *s = store_lock(w->ks, k);
    if (what < 8 + deletes) {
        struct entry *e = shard_find(s, db, k);
        if (e != NULL) {
            shard_delete(s, db, e);
        }
        model_clear(m);
    } else if (what < 60) {
        op_set(s, db, k, m);
    } else if (what < 80) {
        op_write(s, db, k, m);
    } else {
        op_expire(s, db, k, m);
    }
    shard_check(s);
    check_entry(w, db, i);
    shard_unlock(s);
}

static void run_random(unsigned shards, unsigned steps)
{
    static struct world w;
    rng_seed_all(unit_seed());
    w.ks = store_new(shards, DATABASES, 2);
    for (unsigned db = 0; db < DATABASES; db++) {
        for (unsigned i = 0; i < KEYS; i++) {
            w.m[db][i].expire = -1;
        }
    }
    for (unsigned step = 0; step < steps; step++) {
        random_step(&w, step / 1000 % 2 ? 45 : 5); /* grows, shrinks, grows ... */
        if (step % 500 == 499) {
            check_counts(&w);
            for (unsigned i = 0; i < KEYS * DATABASES; i++) {
                struct named_key nk;
                struct shard *s = store_lock(w.ks, store_key(w.ks, &nk, i % KEYS));
                check_entry(&w, i / KEYS, i % KEYS);
                shard_unlock(s);
            }
        }
        if (step % 2500 == 2499) {
            op_whole(&w);
        }
    }
    for (unsigned i = 0; i < KEYS * DATABASES; i++) {
        model_clear(&w.m[i / KEYS][i % KEYS]);
    }
    keyspace_free(w.ks);
}

START_TEST(test_random_one_shard)
{
    run_random(1, 20000);
}
END_TEST

START_TEST(test_random_shards)
{
    run_random(16, 20000);
}
END_TEST

UNIT_SUITE(store)
{
    unit_case_slow(suite, "random", 300, test_random_one_shard, test_random_shards);
}
