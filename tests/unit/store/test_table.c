/* test_table.c -- The bucketed table: growth and shrinkage, SCAN's guarantee, fair choices, sweeps.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "store_util.h"
#include "store/store_int.h"
#include <pthread.h>

/* ================= One shard, keys by number ================= */

static void add(struct keyspace *ks, unsigned number)
{
    struct named_key nk;
    struct key *k = store_key(ks, &nk, number);
    struct shard *s = store_lock(ks, k);
    ck_assert_ptr_nonnull(shard_set_int(s, 0, k, number, false));
    shard_unlock(s);
}

static bool del(struct keyspace *ks, unsigned number)
{
    struct named_key nk;
    struct key *k = store_key(ks, &nk, number);
    struct shard *s = store_lock(ks, k);
    struct entry *e = shard_find(s, 0, k);
    if (e != NULL) {
        shard_delete(s, 0, e);
    }
    shard_unlock(s);
    return e != NULL;
}

static unsigned number_of(const struct entry *e)
{
    int64_t v = -1;
    ck_assert(entry_int(e, &v));
    return (unsigned)v;
}

static struct table_stats stats_of(struct keyspace *ks)
{
    struct table_stats ts = { 0 };
    for (unsigned i = 0; i < keyspace_shards(ks); i++) {
        struct shard *s = keyspace_shard(ks, i);
        shard_lock(s);
        shard_table_stats(s, 0, &ts);
        shard_unlock(s);
    }
    return ts;
}

START_TEST(test_grows_and_shrinks)
{
    enum { N = 20000 };
    struct keyspace *ks = store_new(1, 1, 0);
    size_t before = keyspace_overhead(ks, 0);
    for (unsigned i = 0; i < N; i++) {
        add(ks, i);
        if (i % 1000 == 0 || i < 100) {
            store_check_all(ks);
        }
    }
    struct table_stats ts = stats_of(ks);
    ck_assert_uint_eq(ts.slots_used, N);
    /* The load the table promises: neither much memory nor long chains. */
    ck_assert_uint_ge(ts.buckets, N / 6);
    ck_assert_uint_le(ts.buckets, N / 4);
    ck_assert_uint_le(ts.longest_chain, 40);
    uint64_t chains = 0;
    for (unsigned i = 0; i < countof(ts.chains); i++) {
        chains += ts.chains[i];
    }
    ck_assert_uint_eq(chains, ts.buckets);
    size_t full = keyspace_overhead(ks, 0);
    ck_assert_uint_ge(full - before, (ts.buckets + ts.overflow_buckets) * 64);
    ck_assert_uint_le(full - before, (ts.buckets * 9 / 8 + ts.overflow_buckets + 8) * 64 + 4096);
    for (unsigned i = 0; i < N; i++) {
        ck_assert(del(ks, i));
        ck_assert(!del(ks, i));
        if (i % 1000 == 0 || i > N - 100) {
            store_check_all(ks);
        }
    }
    ts = stats_of(ks);
    ck_assert_uint_eq(ts.slots_used, 0);
    ck_assert_uint_le(ts.buckets, 2);
    ck_assert_uint_eq(ts.overflow_buckets, 0);
    ck_assert_uint_lt(keyspace_overhead(ks, 0), 8192);
    keyspace_free(ks);
}
END_TEST

static bool count_each(void *arg, struct entry *e)
{
    unsigned *seen = arg;
    seen[number_of(e)]++;
    return true;
}

static bool stop_at_ten(void *arg, struct entry *e unused_arg)
{
    return ++*(unsigned *)arg < 10;
}

START_TEST(test_each)
{
    enum { N = 1000 };
    struct keyspace *ks = store_new(1, 2, 0);
    unsigned seen[N] = { 0 }, stopped = 0;
    struct shard *s = keyspace_shard(ks, 0);
    for (unsigned i = 0; i < N; i++) {
        add(ks, i);
    }
    shard_lock(s);
    shard_each(s, 0, count_each, seen);
    shard_each(s, 0, stop_at_ten, &stopped);
    shard_each(s, 1, count_each, NULL); /* a database that never had a key */
    shard_unlock(s);
    for (unsigned i = 0; i < N; i++) {
        ck_assert_uint_eq(seen[i], 1);
    }
    ck_assert_uint_eq(stopped, 10);
    keyspace_free(ks);
}
END_TEST

/* ================= SCAN ================= */

enum { STAY = 200, CHURN = 3000 };
struct scan_seen {
    unsigned count[STAY + CHURN];
};

static void note(void *arg, struct entry *e)
{
    ((struct scan_seen *)arg)->count[number_of(e)]++;
}

/* Swings between none and all of the churning keys, by a random step: across several doublings, and
 * down far enough that buckets are merged. */
static void churn(struct keyspace *ks, unsigned *now)
{
    static bool shrinking;
    for (unsigned step = (unsigned)rng_below(1500); step > 0; step--) {
        shrinking = *now == CHURN || (shrinking && *now > 0);
        if (shrinking) {
            ck_assert(del(ks, STAY + --*now));
        } else {
            add(ks, STAY + (*now)++);
        }
    }
}

static void full_scan(struct keyspace *ks, struct scan_seen *seen, unsigned *now)
{
    struct shard *s = keyspace_shard(ks, 0);
    uint64_t cursor = 0;
    unsigned calls = 0;
    memset(seen, 0, sizeof *seen);
    do {
        shard_lock(s);
        cursor = shard_scan(s, 0, cursor, note, seen);
        shard_unlock(s);
        ck_assert_uint_lt(cursor, (uint64_t)1 << 32);
        ck_assert_uint_lt(++calls, 100000);
        if (now != NULL && rng_below(16) == 0) {
            churn(ks, now);
        }
    } while (cursor != 0);
}

START_TEST(test_scan_while_resizing)
{
    rng_seed_all(unit_seed());
    struct keyspace *ks = store_new(1, 1, 0);
    static struct scan_seen seen;
    unsigned now = 0, repeated = 0;
    for (unsigned i = 0; i < STAY; i++) {
        add(ks, i);
    }
    for (unsigned round = 0; round < 40; round++) {
        full_scan(ks, &seen, &now);
        for (unsigned i = 0; i < STAY; i++) {
            ck_assert_uint_ge(seen.count[i], 1);
            repeated += seen.count[i] > 1;
        }
    }
    store_check_all(ks);
    ck_assert_uint_ge(repeated, 1); /* the table did shrink under the scans */
    keyspace_free(ks);
}
END_TEST

START_TEST(test_scan_at_rest)
{
    static struct scan_seen seen;
    struct keyspace *ks = store_new(1, 2, 0);
    struct shard *s = keyspace_shard(ks, 0);
    shard_lock(s);
    ck_assert_uint_eq(shard_scan(s, 1, 77, note, &seen), 0);
    shard_unlock(s);
    for (unsigned n = 0; n < 400; n++) { /* every size of the table exactly once each */
        add(ks, n);
        full_scan(ks, &seen, NULL);
        for (unsigned i = 0; i <= n; i++) {
            ck_assert_uint_eq(seen.count[i], 1);
        }
    }
    /* Cursors nobody gave out: no crash, and they lead to the end. */
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t cursor = rng_u64();
        unsigned calls = 0;
        shard_lock(s);
        while ((cursor = shard_scan(s, 0, cursor, note, &seen)) != 0) {
            ck_assert_uint_lt(++calls, 1000);
        }
        shard_unlock(s);
    }
    keyspace_free(ks);
}
END_TEST

/* ================= Random choices ================= */

/* How far `draws` counts are from uniform, in standard deviations of the chi-square statistic. */
static double unfairness(const unsigned *count, unsigned n, unsigned draws)
{
    double expected = (double)draws / n, chi2 = 0;
    for (unsigned i = 0; i < n; i++) {
        double d = (double)count[i] - expected;
        chi2 += d * d / expected;
    }
    double freedom = n - 1, deviation = __builtin_sqrt(2 * freedom);
    return (chi2 - freedom) / deviation;
}

static void check_fair(unsigned keys, bool expiring)
{
    enum { EACH = 200 };
    unsigned count[2000] = { 0 };
    struct keyspace *ks = store_new(1, 1, 0);
    struct shard *s = keyspace_shard(ks, 0);
    for (unsigned i = 0; i < 2 * keys; i++) {
        add(ks, i);
    }
    shard_lock(s);
    for (unsigned i = 0; i < 2 * keys; i++) {
        struct named_key nk;
        struct entry *e = shard_find(s, 0, store_key(ks, &nk, i));
        if (i >= keys && !expiring) {
            shard_delete(s, 0, e);
        } else if (i < keys && expiring) {
            ck_assert_ptr_nonnull(shard_set_expire(s, 0, e, 1000 + i));
        }
    }
    for (unsigned i = 0; i < EACH * keys; i++) {
        unsigned number = number_of(shard_random(s, 0, expiring));
        ck_assert_uint_lt(number, keys);
        count[number]++;
    }
    shard_unlock(s);
    ck_assert(unfairness(count, keys, EACH * keys) < 8);
    keyspace_free(ks);
}

START_TEST(test_random_is_fair)
{
    rng_seed_all(unit_seed());
    static const unsigned sizes[] = { 2, 5, 40, 300, 500, 900 };
    for (unsigned i = 0; i < countof(sizes); i++) {
        check_fair(sizes[i], false);
        check_fair(sizes[i], true);
    }
}
END_TEST

START_TEST(test_random_of_nothing)
{
    struct keyspace *ks = store_new(1, 2, 0);
    struct shard *s = keyspace_shard(ks, 0);
    struct entry *out[4];
    for (unsigned round = 0; round < 2; round++) {
        shard_lock(s);
        for (unsigned db = 0; db < 2; db++) {
            ck_assert_ptr_null(shard_random(s, db, false));
            ck_assert_ptr_null(shard_random(s, db, true));
            ck_assert_uint_eq(shard_sample(s, db, false, out, 4), 0);
            ck_assert_uint_eq(shard_sample(s, db, true, out, 4), 0);
        }
        shard_unlock(s);
        add(ks, 1); /* second round: the table exists and is empty again */
        ck_assert(del(ks, 1));
    }
    keyspace_free(ks);
}
END_TEST

static void check_sample(struct shard *s, unsigned keys, bool expiring, unsigned *count)
{
    struct entry *out[64];
    unsigned n = 1 + (unsigned)rng_below(countof(out));
    unsigned got = shard_sample(s, 0, expiring, out, n);
    ck_assert_uint_eq(got, size_min(n, keys));
    unsigned twice = 0;
    for (unsigned i = 0; i < got; i++) {
        count[number_of(out[i])]++;
        for (unsigned j = 0; j < i; j++) {
            twice += out[i] == out[j];
        }
    }
    ck_assert_uint_eq(twice, 0);
}

START_TEST(test_sample)
{
    rng_seed_all(unit_seed());
    static const unsigned sizes[] = { 1, 3, 30, 64, 500 };
    for (unsigned i = 0; i < countof(sizes); i++) {
        struct keyspace *ks = store_new(1, 1, 0);
        struct shard *s = keyspace_shard(ks, 0);
        unsigned all[500] = { 0 }, some[500] = { 0 };
        for (unsigned k = 0; k < sizes[i]; k++) {
            struct named_key nk;
            add(ks, k);
            shard_lock(s);
            struct entry *e = shard_find(s, 0, store_key(ks, &nk, k));
            ck_assert_ptr_nonnull(shard_set_expire(s, 0, e, (int64_t)rng_below(100)));
            shard_unlock(s);
        }
        shard_lock(s);
        for (unsigned round = 0; round < 600; round++) {
            check_sample(s, sizes[i], false, all);
            check_sample(s, sizes[i], true, some);
        }
        shard_unlock(s);
        for (unsigned k = 0; k < sizes[i]; k++) { /* everybody's turn comes */
            ck_assert_uint_ge(all[k], 1);
            ck_assert_uint_ge(some[k], 1);
        }
        keyspace_free(ks);
    }
}
END_TEST

/* ================= Prefetch sweeps beside changes ================= */

enum { SWEEP_KEYS = 3000, RETIRED_MAX = 10000 };
static struct {
    struct keyspace *ks;
    _Atomic bool stop;
    _Atomic uint64_t quiet; /* how often the sweeping thread looked at nothing */
    struct {
        void *p;
        void (*free_fn)(void *p);
    } retired[RETIRED_MAX];
    unsigned count, reclaimed;
} sweep;

static void retire(void *arg unused_arg, void *p, void (*free_fn)(void *p))
{
    ck_assert_uint_lt(sweep.count, RETIRED_MAX);
    sweep.retired[sweep.count].p = p;
    sweep.retired[sweep.count++].free_fn = free_fn;
}

/* Waits until the sweeping thread was quiescent, then frees what was retired before. */
static void reclaim(bool wait)
{
    uint64_t seen = atomic_load(&sweep.quiet);
    unsigned n = sweep.count;
    while (wait && atomic_load(&sweep.quiet) < seen + 2) {
    }
    for (unsigned i = 0; i < n; i++) {
        sweep.retired[i].free_fn(sweep.retired[i].p);
    }
    sweep.reclaimed += n;
    sweep.count = 0;
}

static void *sweeper(void *arg unused_arg)
{
    while (!atomic_load(&sweep.stop)) {
        struct sweep_key keys[64];
        for (unsigned i = 0; i < 64; i++) {
            struct named_key nk;
            sweep_key_set(&keys[i], store_key(sweep.ks, &nk, (unsigned)rng_below(SWEEP_KEYS)));
        }
        keyspace_sweep(sweep.ks, (unsigned)rng_below(2), keys, 64);
        atomic_fetch_add(&sweep.quiet, 1);
    }
    return NULL;
}

START_TEST(test_sweeps_beside_changes)
{
    rng_seed_all(unit_seed());
    struct keyspace_config cfg = { .shards = 2, .databases = 2, .retire = retire };
    hash_seed((const uint8_t *)"0123456789abcdef");
    ck_assert_int_eq(keyspace_new(&sweep.ks, &cfg), 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, sweeper, NULL), 0);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < SWEEP_KEYS; i++) {
            add(sweep.ks, i);
        }
        if (round % 2 == 0) {
            for (unsigned i = 0; i < SWEEP_KEYS; i++) {
                ck_assert(del(sweep.ks, i));
            }
        }
        reclaim(true);
        store_lock_all(sweep.ks, true);
        keyspace_swapdb(sweep.ks, 0, 1);
        ck_assert_uint_eq(keyspace_flush(sweep.ks, -1, round % 4 == 1), round % 2 ? SWEEP_KEYS : 0);
        store_lock_all(sweep.ks, false);
    }
    atomic_store(&sweep.stop, true);
    pthread_join(thread, NULL);
    keyspace_lazyfree_drain(sweep.ks);
    reclaim(false);
    ck_assert_uint_ge(sweep.reclaimed, 100);
    keyspace_free(sweep.ks);
}
END_TEST

/* The one key there is, and a key that is not; before and after the database has its tables. */
static struct sweep_key swept(struct keyspace *ks, unsigned number)
{
    struct named_key nk;
    struct sweep_key key;
    sweep_key_set(&key, store_key(ks, &nk, number));
    keyspace_sweep(ks, 0, &key, 1);
    ck_assert(key.bucket != NULL && key.entry != NULL);
    sweep_again(&key);
    return key;
}

START_TEST(test_sweep_finds)
{
    struct keyspace *ks = store_new(4, 1, 0);
    swept(ks, 0);
    unsigned found = 0;
    for (unsigned i = 0; i < 10000; i++) {
        add(ks, i);
    }
    for (unsigned i = 0; i < 10000; i++) {
        struct named_key nk;
        struct key *k = store_key(ks, &nk, i);
        found += swept(ks, i).entry == shard_find(store_lock(ks, k), 0, k);
        shard_unlock(keyspace_shard(ks, k->shard));
        swept(ks, 10000 + i);
    }
    ck_assert_uint_ge(found, 8000); /* the others are in overflow buckets, or share a tag */
    keyspace_free(ks);
}
END_TEST

START_TEST(test_tags_match)
{
    rng_seed_all(unit_seed());
    for (unsigned round = 0; round < 100000; round++) {
        struct bucket b;
        unsigned tag = (unsigned)rng_below(4) * 0x5555, want = 0;
        for (unsigned i = 0; i < 8; i++) {
            uint64_t top = rng_below(4) * 0x5555;
            word_set(&b, i, top << 48 | (rng_u64() & 0xffffffffffff));
            want |= (unsigned)(top == tag && i < BUCKET_SLOTS) << i;
        }
        unsigned got = 0;
        for (unsigned m = bucket_match(&b, tag); m != 0; m &= m - 1) {
            got |= 1u << match_slot(m);
        }
        ck_assert_uint_eq(got, want);
    }
}
END_TEST

UNIT_SUITE(store_table)
{
    unit_case_slow(suite, "size", 300, test_grows_and_shrinks, test_each);
    unit_case_slow(suite, "scan", 300, test_scan_while_resizing, test_scan_at_rest);
    unit_case_slow(suite, "choice", 300, test_random_is_fair, test_random_of_nothing, test_sample);
    unit_case_slow(suite, "sweeps", 300, test_sweeps_beside_changes, test_sweep_finds,
                   test_tags_match);
}
