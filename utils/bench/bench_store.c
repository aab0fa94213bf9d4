/* bench_store.c -- The store alone: memory per key, cost of a command, two threads on one keyspace.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Usage: bench_store [memory|cost|scale] [keys]. Without a word: all three.
 *
 *   memory  (RSS after - before) / keys for 16-byte keys with 64-byte values, each size in a
 * process of its own. Bar: at most 120 bytes for 1.5, 2, 2.5 and 3 M keys. cost    ns per GET and
 * SET of one thread, with and without prefetch sweeps over batches. scale   two threads on one
 * keyspace against two threads with one keyspace of half the keys each, uniform keys, 90 % GET, in
 * turns. Bar: 0.93. Rates are per CPU second, so that other work on the machine does not count. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/store.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY_BYTES   16
#define VALUE_BYTES 64
#define BATCH       64
#define ROUNDS      15
#define ROUND_OPS   2000000u
#define NO_COMMAND  101u /* instead of a percentage: only keys, hashes and sweeps */

static const char value[VALUE_BYTES + 1] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void make_key(char dst[KEY_BYTES], uint64_t number)
{
    memcpy(dst, "key:000000000000", KEY_BYTES);
    for (char *p = dst + KEY_BYTES; number != 0; number /= 10) {
        *--p = (char)('0' + number % 10);
    }
}

static void set_one(struct keyspace *ks, uint64_t number)
{
    char text[KEY_BYTES];
    make_key(text, number);
    struct key k = keyspace_key(ks, slice_of(text, KEY_BYTES));
    struct shard *s = keyspace_shard(ks, k.shard);
    shard_lock(s);
    must(shard_set_string(s, 0, &k, slice_of(value, VALUE_BYTES), STRING_AUTO, false) != NULL);
    shard_unlock(s);
}

static struct keyspace *new_keyspace(void)
{
    struct keyspace_config cfg = { 0 };
    struct keyspace *ks;
    must(keyspace_new(&ks, &cfg) == 0);
    return ks;
}

static struct keyspace *filled(uint64_t first, uint64_t end)
{
    struct keyspace *ks = new_keyspace();
    for (uint64_t i = first; i < end; i++) {
        set_one(ks, i);
    }
    return ks;
}

static uint64_t cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ================= memory ================= */

static void memory_of(uint64_t keys)
{
    pid_t child = fork();
    must(child >= 0);
    if (child > 0) {
        waitpid(child, NULL, 0);
        return;
    }
    struct keyspace *ks = new_keyspace();
    size_t before = mem_rss();
    uint64_t start = cpu_ns();
    for (uint64_t i = 0; i < keys; i++) {
        set_one(ks, i);
    }
    uint64_t ns = cpu_ns() - start;
    struct table_stats ts = { 0 };
    for (unsigned i = 0; i < keyspace_shards(ks); i++) {
        struct shard *s = keyspace_shard(ks, i);
        shard_lock(s);
        shard_table_stats(s, 0, &ts);
        shard_unlock(s);
    }
    printf("memory %8llu keys: %6.1f bytes per key (table %.1f, overflow %.0f %%, longest chain "
           "%llu), %.0f ns per new key\n",
           (unsigned long long)keys, (double)(mem_rss() - before) / (double)keys,
           (double)keyspace_overhead(ks, 0) / (double)keys,
           100.0 * (double)ts.overflow_buckets / (double)ts.buckets,
           (unsigned long long)ts.longest_chain, (double)ns / (double)keys);
    fflush(stdout);
    _exit(0);
}

/* ================= commands ================= */

struct worker {
    struct keyspace *ks;
    uint64_t first, keys; /* numbers it draws from */
    unsigned set_percent;
    bool sweeps;
    uint64_t ops;
    uint64_t seed;
    uint64_t ns; /* out: CPU time */
    uint64_t sum;
};

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void command(struct worker *w, const struct key *k, bool set)
{
    struct shard *s = keyspace_shard(w->ks, k->shard);
    shard_lock(s);
    if (set) {
        must(shard_set_string(s, 0, k, slice_of(value, VALUE_BYTES), STRING_AUTO, false) != NULL);
    } else {
        struct entry *e = shard_find(s, 0, k);
        char tmp[I64_TEXT_MAX], reply[VALUE_BYTES];
        struct slice v = entry_string(e, tmp);
        memcpy(reply, v.p, size_min(v.n, sizeof reply));
        entry_set_clock(e, (uint32_t)w->sum);
        w->sum += (uint8_t)reply[7];
    }
    shard_unlock(s);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    static _Thread_local char text[BATCH][KEY_BYTES];
    struct key k[BATCH];
    struct sweep_key sweep[BATCH];
    bool set[BATCH];
    must(w->keys > 0);
    mem_thread_start();
    uint64_t start = cpu_ns();
    for (uint64_t done = 0; done < w->ops; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint64_t r = next_random(&w->seed);
            make_key(text[i], w->first + (r >> 16) % w->keys);
            set[i] = (r & 0xffff) % 100 < w->set_percent;
            k[i] = keyspace_key(w->ks, slice_of(text[i], KEY_BYTES));
            sweep_key_set(&sweep[i], &k[i]);
        }
        if (w->sweeps) {
            keyspace_sweep(w->ks, 0, sweep, BATCH);
        }
        for (unsigned i = 0; w->set_percent != NO_COMMAND && i < BATCH; i++) {
            command(w, &k[i], set[i]);
        }
    }
    w->ns = cpu_ns() - start;
    mem_thread_stop();
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, compare);
    return v[n / 2];
}

static void cost(uint64_t keys)
{
    struct keyspace *ks = filled(0, keys);
    static const struct {
        const char *name;
        unsigned set_percent;
    } kinds[] = { { "no command", NO_COMMAND }, { "GET", 0 }, { "SET", 100 }, { "90 % GET", 10 } };
    for (unsigned kind = 0; kind < countof(kinds); kind++) {
        double ns[2][ROUNDS];
        for (unsigned round = 0; round < 2 * ROUNDS; round++) {
            struct worker w = { ks,    0, keys, kinds[kind].set_percent, round % 2 != 0, ROUND_OPS,
                                round, 0, 0 };
            work(&w);
            ns[round % 2][round / 2] = (double)w.ns / (double)w.ops;
        }
        printf("cost   %8llu keys, %-10s: %5.0f ns, with sweeps %5.0f ns\n",
               (unsigned long long)keys, kinds[kind].name, median(ns[0], ROUNDS),
               median(ns[1], ROUNDS));
    }
    keyspace_free(ks);
}

/* Rate of two threads at once, in operations per CPU second. */
static double pair_rate(struct keyspace *a, struct keyspace *b, uint64_t keys, bool sweeps,
                        uint64_t seed)
{
    struct worker w[2] = {
        { a, 0, a == b ? keys : keys / 2, 10, sweeps, ROUND_OPS, seed, 0, 0 },
        { b, a == b ? 0 : keys / 2, a == b ? keys : keys / 2, 10, sweeps, ROUND_OPS, ~seed, 0, 0 },
    };
    pthread_t t[2];
    for (int i = 0; i < 2; i++) {
        must(pthread_create(&t[i], NULL, work, &w[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
    return (double)w[0].ops / (double)w[0].ns + (double)w[1].ops / (double)w[1].ns;
}

static void scale(uint64_t keys)
{
    struct keyspace *one = filled(0, keys);
    struct keyspace *half[2] = { filled(0, keys / 2), filled(keys / 2, keys) };
    for (int sweeps = 0; sweeps < 2; sweeps++) {
        double shared[ROUNDS], apart[ROUNDS], ratio[ROUNDS];
        for (unsigned i = 0; i < ROUNDS; i++) {
            shared[i] = pair_rate(one, one, keys, sweeps != 0, i);
            apart[i] = pair_rate(half[0], half[1], keys, sweeps != 0, i);
            ratio[i] = shared[i] / apart[i];
        }
        printf("scale  %8llu keys, %s sweeps: one keyspace %.2f M/s, two stores %.2f M/s, ratio "
               "%.3f (bar 0.93)\n",
               (unsigned long long)keys, sweeps ? "with" : "no  ", 1e3 * median(shared, ROUNDS),
               1e3 * median(apart, ROUNDS), median(ratio, ROUNDS));
    }
    keyspace_free(one);
    keyspace_free(half[0]);
    keyspace_free(half[1]);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "all";
    uint64_t keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    bool all = strcmp(what, "all") == 0;
    hash_seed((const uint8_t *)"0123456789abcdef");
    if (all || strcmp(what, "memory") == 0) {
        static const uint64_t sizes[] = { 1500000, 2000000, 2500000, 3000000 };
        for (unsigned i = 0; i < countof(sizes) && argc <= 2; i++) {
            memory_of(sizes[i]);
        }
        if (argc > 2) {
            memory_of(keys);
        }
    }
    if (all || strcmp(what, "cost") == 0) {
        cost(keys);
    }
    if (all || strcmp(what, "scale") == 0) {
        scale(keys);
    }
    return 0;
}
