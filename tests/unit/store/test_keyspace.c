/* test_keyspace.c -- All shards together: keys, locks, whole databases, background freeing, memory.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "ds/stream.h"
#include "store_util.h"
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

static void add(struct keyspace *ks, unsigned db, unsigned number, size_t bytes)
{
    static char v[300000];
    struct named_key nk;
    struct key *k = store_key(ks, &nk, number);
    struct shard *s = store_lock(ks, k);
    ck_assert_ptr_nonnull(shard_set_string(s, db, k, slice_of(v, bytes), STRING_AUTO, false));
    shard_unlock(s);
}

static bool there(struct keyspace *ks, unsigned db, unsigned number)
{
    struct named_key nk;
    struct key *k = store_key(ks, &nk, number);
    struct shard *s = store_lock(ks, k);
    bool found = shard_find(s, db, k) != NULL;
    shard_unlock(s);
    return found;
}

static size_t flush(struct keyspace *ks, int db, bool async)
{
    store_lock_all(ks, true);
    size_t n = keyspace_flush(ks, db, async);
    store_lock_all(ks, false);
    return n;
}

START_TEST(test_limits)
{
    static const struct {
        unsigned shards, databases;
        int result;
    } cases[] = { { 0, 0, 0 },          { 1, 1, 0 },          { 4096, 16384, 0 },
                  { 3, 1, -EINVAL },    { 8192, 1, -EINVAL }, { 1000, 1, -EINVAL },
                  { 1, 16385, -EINVAL } };
    hash_seed((const uint8_t *)"0123456789abcdef");
    for (unsigned i = 0; i < countof(cases); i++) {
        struct keyspace_config cfg = { .shards = cases[i].shards, .databases = cases[i].databases };
        struct keyspace *ks = NULL;
        ck_assert_int_eq(keyspace_new(&ks, &cfg), cases[i].result);
        if (ks != NULL) {
            ck_assert_uint_eq(keyspace_shards(ks), cases[i].shards ? cases[i].shards : 1024);
            ck_assert_uint_eq(keyspace_databases(ks), cases[i].databases ? cases[i].databases : 16);
            add(ks, keyspace_databases(ks) - 1, 1, 10); /* the last database works */
            ck_assert_uint_eq(keyspace_count(ks, keyspace_databases(ks) - 1), 1);
            keyspace_free(ks);
        }
    }
}
END_TEST

START_TEST(test_keys_spread)
{
    static const unsigned shards[] = { 1, 2, 64, 1024 };
    for (unsigned i = 0; i < countof(shards); i++) {
        struct keyspace *ks = store_new(shards[i], 1, 0);
        static unsigned count[1024];
        memset(count, 0, sizeof count);
        for (unsigned n = 0; n < 50 * shards[i]; n++) {
            struct named_key nk;
            struct key *k = store_key(ks, &nk, n);
            ck_assert_uint_eq(k->hash, hash_key(nk.text, k->s.n));
            ck_assert_uint_lt(k->shard, shards[i]);
            ck_assert_uint_eq(shard_index(keyspace_shard(ks, k->shard)), k->shard);
            count[k->shard]++;
        }
        for (unsigned n = 0; n < shards[i]; n++) {
            ck_assert_uint_ge(count[n], 15); /* 50 expected, deviation 7 */
        }
        keyspace_free(ks);
    }
}
END_TEST

static void *try_locks(void *arg)
{
    struct keyspace *ks = arg;
    uintptr_t got = 0;
    for (unsigned i = 0; i < keyspace_shards(ks); i++) {
        if (shard_try_lock(keyspace_shard(ks, i))) {
            got |= (uintptr_t)1 << i;
            shard_unlock(keyspace_shard(ks, i));
        }
    }
    return (void *)got;
}

static uintptr_t free_locks(struct keyspace *ks)
{
    pthread_t t;
    void *got;
    ck_assert_int_eq(pthread_create(&t, NULL, try_locks, ks), 0);
    pthread_join(t, &got);
    return (uintptr_t)got;
}

START_TEST(test_locks)
{
    struct keyspace *ks = store_new(8, 1, 0);
    ck_assert_uint_eq(free_locks(ks), 0xff);
    shard_lock(keyspace_shard(ks, 3));
    shard_assert_held(keyspace_shard(ks, 3));
    ck_assert_uint_eq(free_locks(ks), 0xf7);
    shard_unlock(keyspace_shard(ks, 3));
    keyspace_lock_many(ks, (const uint32_t[]){ 0, 2, 7 }, 3);
    ck_assert_uint_eq(free_locks(ks), 0x7a);
    keyspace_unlock_many(ks, (const uint32_t[]){ 0, 2, 7 }, 3);
    ck_assert_uint_eq(free_locks(ks), 0xff);
    keyspace_free(ks);
}
END_TEST

static _Atomic int held_ended, settled;

static void *settle(void *arg)
{
    shard_settle(arg);
    ck_assert_int_eq(held_ended, 1);
    settled = 1;
    return NULL;
}

/* It comes back when whoever held the lock is done, and waits for no other shard's. */
START_TEST(test_settle)
{
    struct keyspace *ks = store_new(2, 1, 0);
    pthread_t t;
    shard_lock(keyspace_shard(ks, 0));
    ck_assert_int_eq(pthread_create(&t, NULL, settle, keyspace_shard(ks, 0)), 0);
    shard_settle(keyspace_shard(ks, 1));
    usleep(20000);
    ck_assert_int_eq(settled, 0);
    held_ended = 1;
    shard_unlock(keyspace_shard(ks, 0));
    pthread_join(t, NULL);
    ck_assert_int_eq(settled, 1);
    keyspace_free(ks);
}
END_TEST

START_TEST(test_databases_are_apart)
{
    struct keyspace *ks = store_new(4, 4, 0);
    for (unsigned i = 0; i < 100; i++) {
        add(ks, i % 3, i, 20);
    }
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned db = 0; db < 4; db++) {
            ck_assert_int_eq(there(ks, db, i), i % 3 == db);
        }
    }
    store_lock_all(ks, true);
    keyspace_swapdb(ks, 0, 3); /* with one that never had a key */
    keyspace_swapdb(ks, 1, 1);
    store_lock_all(ks, false);
    ck_assert_uint_eq(keyspace_count(ks, 0), 0);
    ck_assert_uint_eq(keyspace_count(ks, 3), 34);
    ck_assert(there(ks, 3, 0) && !there(ks, 0, 0) && there(ks, 1, 1));
    add(ks, 0, 5000, 20);
    ck_assert_uint_eq(flush(ks, 3, false), 34);
    ck_assert(there(ks, 0, 5000) && there(ks, 1, 1) && !there(ks, 3, 0));
    store_check_all(ks);
    ck_assert_uint_eq(flush(ks, -1, true), 67);
    bool headers = false; /* what had keys keeps them; what had none gives them up */
    for (unsigned db = 0; db < 4; db++) {
        ck_assert_uint_eq(keyspace_count(ks, db), 0);
        size_t n = keyspace_overhead(ks, db);
        ck_assert(n == 0 || n == (size_t)keyspace_shards(ks) * 64); /* a line each */
        headers |= n > 0;
    }
    ck_assert(headers);
    ck_assert_uint_eq(flush(ks, -1, true), 0);
    for (unsigned db = 0; db < 4; db++) {
        ck_assert_uint_eq(keyspace_overhead(ks, db), 0);
    }
    keyspace_free(ks);
}
END_TEST

START_TEST(test_memory_returns)
{
    struct keyspace *ks = store_new(16, 2, 0);
    for (unsigned round = 0; round < 4; round++) {
        size_t before = mem_used();
        for (unsigned i = 0; i < 20000; i++) {
            add(ks, 1, i, i % 100 == 0 ? 2000 : 64);
        }
        ck_assert_uint_gt(mem_used(), before + 20000 * 90);
        if (round < 2) {
            ck_assert_uint_eq(flush(ks, round == 0 ? 1 : -1, round == 0), 20000);
        } else {
            for (unsigned i = 0; i < 20000; i++) {
                struct named_key nk;
                struct key *k = store_key(ks, &nk, i);
                struct shard *s = store_lock(ks, k);
                shard_delete(s, 1, shard_find(s, 1, k));
                shard_unlock(s);
            }
        }
        keyspace_lazyfree_drain(ks);
        ck_assert_uint_lt(mem_used(), before + 100000);
    }
    keyspace_free(ks);
}
END_TEST

/* A container without an entry: by its effort here, or in the background. */
START_TEST(test_value_freeing)
{
    struct keyspace *ks = store_new(1, 1, 20);
    struct stream_limits one = { .entries = 1 };
    struct slice texts[] = { S("field"), S("value") };
    struct lazyfree_stats st;
    size_t used = mem_used();
    for (unsigned big = 0; big < 2; big++) {
        struct stream *s = stream_new();
        for (uint64_t i = 1; i <= (big == 0 ? 4 : 20000); i++) {
            ck_assert_int_eq(stream_append(s, (struct stream_id){ i, 0 }, texts, 1, &one), 0);
        }
        keyspace_free_value(ks, OBJ_STREAM, ENC_STREAM, s);
        keyspace_lazyfree_drain(ks);
        keyspace_lazyfree_stats(ks, &st);
        ck_assert_uint_eq(st.freed, big);
        ck_assert_uint_eq(mem_used(), used);
    }
    keyspace_free(ks);
}
END_TEST

START_TEST(test_background_freeing)
{
    struct keyspace *ks = store_new(1, 2, 2); /* more than two allocations: in the background */
    struct shard *s = keyspace_shard(ks, 0);
    struct named_key nk;
    struct key *k = store_key(ks, &nk, 1);
    struct lazyfree_stats st;
    add(ks, 0, 1, 1500); /* one blob: at once */
    add(ks, 0, 1, 10);
    keyspace_lazyfree_stats(ks, &st);
    ck_assert_uint_eq(st.freed + st.pending, 0);
    add(ks, 0, 1, 200000); /* by the page */
    add(ks, 0, 1, 200000); /* overwritten with the same size class */
    add(ks, 0, 1, 10);     /* overwritten with a small one */
    keyspace_lazyfree_drain(ks);
    keyspace_lazyfree_stats(ks, &st);
    ck_assert_uint_eq(st.freed, 2);
    ck_assert_uint_eq(st.pending, 0);
    add(ks, 0, 1, 200000);
    shard_lock(s);
    shard_delete(s, 0, shard_find(s, 0, k));
    shard_unlock(s);
    for (unsigned i = 0; i < 500; i++) {
        add(ks, i % 2, i, i % 10 == 0 ? 200000 : 30);
    }
    ck_assert_uint_eq(flush(ks, -1, true), 500);
    keyspace_lazyfree_drain(ks);
    keyspace_lazyfree_stats(ks, &st);
    ck_assert_uint_eq(st.freed, 503);
    ck_assert_uint_eq(st.pending, 0);
    for (unsigned i = 0; i < 50; i++) { /* more while it works */
        add(ks, 0, 1, 200000);
        add(ks, 0, 1, 1);
    }
    keyspace_free(ks); /* waits for the rest */
}
END_TEST

/* What was retired is freed when the test says so. */
static struct {
    void *p[1000];
    void (*free_fn[1000])(void *p);
    unsigned n;
} late;

static void retire_late(void *arg, void *p, void (*free_fn)(void *p))
{
    ck_assert_ptr_eq(arg, &late);
    ck_assert_uint_lt(late.n, countof(late.p));
    late.p[late.n] = p;
    late.free_fn[late.n++] = free_fn;
}

START_TEST(test_flush_waits_for_sweeps)
{
    struct keyspace_config cfg = {
        .shards = 2, .databases = 1, .retire = retire_late, .retire_arg = &late
    };
    struct keyspace *ks = NULL;
    hash_seed((const uint8_t *)"0123456789abcdef");
    ck_assert_int_eq(keyspace_new(&ks, &cfg), 0);
    for (int async = 0; async < 2; async++) {
        for (unsigned i = 0; i < 2000; i++) {
            add(ks, 0, i, 64);
        }
        size_t full = mem_used();
        ck_assert_uint_eq(flush(ks, 0, async), 2000);
        keyspace_lazyfree_drain(ks);
        size_t kept = mem_used(); /* entries are gone, the segments are still mapped */
        ck_assert_uint_lt(kept, full - 2000 * 80);
        ck_assert_uint_ge(late.n, 1);
        for (unsigned i = 0; i < late.n; i++) {
            late.free_fn[i](late.p[i]);
        }
        late.n = 0;
        keyspace_lazyfree_drain(ks);
        ck_assert_uint_lt(mem_used(), kept - 2000 / 6 * 64);
    }
    keyspace_free(ks);
}
END_TEST

/* ================= Several threads ================= */

static struct keyspace *shared;
static _Atomic unsigned finished;

static void *hammer(void *arg)
{
    unsigned base = (unsigned)(uintptr_t)arg * 1000;
    mem_thread_start();
    for (unsigned i = 0; i < 20000; i++) {
        unsigned number = base + (unsigned)rng_below(500);
        struct named_key nk;
        struct key *k = store_key(shared, &nk, number);
        struct shard *s = store_lock(shared, k);
        struct entry *e = shard_find(s, 0, k);
        if (e != NULL && rng_below(3) == 0) {
            shard_delete(s, 0, e);
        } else {
            e = shard_set_int(s, 0, k, number, rng_below(2));
            ck_assert_ptr_nonnull(shard_set_expire(s, 0, e, (int64_t)rng_below(100000)));
        }
        shard_unlock(s);
    }
    finished++;
    mem_thread_stop();
    return NULL;
}

START_TEST(test_threads)
{
    rng_seed_all(unit_seed());
    shared = store_new(16, 1, 0);
    pthread_t t[4];
    for (uintptr_t i = 0; i < countof(t); i++) {
        ck_assert_int_eq(pthread_create(&t[i], NULL, hammer, (void *)i), 0);
    }
    while (finished < countof(t)) { /* what needs no lock, meanwhile */
        ck_assert_uint_le(keyspace_count(shared, 0), 2000);
        ck_assert_uint_le(keyspace_expires(shared, 0), 2000);
        ck_assert_int_le(keyspace_avg_ttl(shared, 0, 0), 1000000);
        ck_assert_uint_lt(keyspace_overhead(shared, 0), 1 << 20);
        ck_assert_int_ge(shard_next_due(keyspace_shard(shared, 3)), 0);
        usleep(100);
    }
    for (unsigned i = 0; i < countof(t); i++) {
        pthread_join(t[i], NULL);
    }
    store_check_all(shared);
    ck_assert_uint_eq(keyspace_count(shared, 0), keyspace_expires(shared, 0));
    keyspace_free(shared);
}
END_TEST

UNIT_SUITE(store_keyspace)
{
    unit_case(suite, "keys", test_limits, test_keys_spread, test_locks, test_settle);
    unit_case(suite, "databases", test_databases_are_apart, test_memory_returns);
    unit_case(suite, "lazyfree", test_background_freeing, test_value_freeing,
              test_flush_waits_for_sweeps);
    unit_case_slow(suite, "threads", 300, test_threads);
}
