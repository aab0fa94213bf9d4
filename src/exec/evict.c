/* evict.c -- maxmemory: keys go by the chosen policy until there is room, or writes are refused.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Sampling, as Redis: of `maxmemory-samples` entries of a random shard the worst goes.
 *          Shards are slices of a keyed hash, so one of them is as good a sample as any other.
 *
 * THREADS  Any reactor, before a command or between two, with no lock held. Each eviction is a
 *          transaction of its own: DEL in the log, the event with its gate. Whoever makes room may
 *          have looked at things already, so that nobody is let in meanwhile: clients go before,
 *          where a request begins (memory_let_clients_go()).
 *
 * BOUND    One call evicts for at most a time that grows with maxmemory-eviction-tenacity; what is
 *          left over goes with the next commands. Big values are freed by the background thread, so
 *          memory may fall a little later than the key goes.
 *
 * COUNT    What an eviction itself makes others hold for a moment must not make more keys go:
 *          invalidations and replies that wait for the disk are not counted, and reactors
 *          keep no idle blocks. */
#include "exec/exec_int.h"
#include "base/rng.h"

#define SAMPLES_MAX   64
#define SIZE_SAMPLES  5  /* elements of a big value that are measured */
#define LIMIT_US_UNIT 50 /* a call's time: 500 us at tenacity 10, as in Redis */

size_t memory_not_counted(const struct exec *x)
{
    int64_t leaving = atomic_load_explicit(&x->leaving_mem, memory_order_relaxed) +
                      atomic_load_explicit(&x->telling_mem, memory_order_relaxed);
    size_t passing = x->net != NULL ? net_passing_bytes(x->net) : 0; /* before it serves: none */
    return (size_t)(leaving > 0 ? leaving : 0) + passing;
}

/* Bytes above the limit; 0 or less: none. */
static int64_t excess_over(const struct exec *x, int64_t limit)
{
    int64_t excess = (int64_t)mem_used() - limit;
    return excess <= 0 ? excess : excess - (int64_t)memory_not_counted(x);
}

static bool policy_is_volatile(int64_t policy)
{
    return policy == POLICY_VOLATILE_LRU || policy == POLICY_VOLATILE_LFU ||
           policy == POLICY_VOLATILE_RANDOM || policy == POLICY_VOLATILE_TTL;
}

/* The higher, the sooner it goes. */
static int64_t score_of(struct worker *w, const struct entry *e, int64_t policy, int64_t now)
{
    if (POLICY_IS_LRU(policy)) {
        return entry_idle_s(w->x, e, now);
    }
    if (POLICY_IS_LFU(policy)) {
        return 255 - (int64_t)entry_lfu(w->x, e, now);
    }
    return policy == POLICY_VOLATILE_TTL ? INT64_MAX - entry_expire(e) : 0;
}

/* Under the shard's lock: deletes the worst of a sample of one database. Returns about the bytes
 * that the key took; 0: there is no candidate. */
static size_t evict_from(struct worker *w, struct shard *s, unsigned db, int64_t policy)
{
    struct exec *x = w->x;
    struct entry *sample[SAMPLES_MAX], *worst = NULL;
    int64_t wanted = option_int(&x->opt.maxmemory_samples);
    unsigned n = shard_sample(s, db, policy_is_volatile(policy), sample,
                              wanted < SAMPLES_MAX ? (unsigned)wanted : SAMPLES_MAX);
    int64_t now = worker_now_ms(w), most = INT64_MIN;
    for (unsigned i = 0; i < n; i++) {
        int64_t score = score_of(w, sample[i], policy, now);
        if (score > most) {
            most = score;
            worst = sample[i];
        }
    }
    if (worst == NULL) {
        return 0;
    }
    size_t bytes = entry_memory(worst, SIZE_SAMPLES);
    struct call_int in = { .t = &w->txn, .w = w };
    struct call c = { .db = db, .resp = 2, .now_ms = now, .x = x, .ks = x->ks, .in = &in };
    w->scratch.n = 0; /* the entry's key goes with it */
    buf_add_slice(&w->scratch, entry_key(worst));
    struct key k = keyspace_key(x->ks, buf_slice(&w->scratch));
    struct slice argv[] = { S("DEL"), k.s };
    txn_begin(&w->txn, w);
    int64_t start = clock_mono_us();
    shard_delete(s, db, worst);
    latency_note(x, LATENCY_EVICTION_DEL, clock_mono_us() - start);
    fx_argv(&w->txn, db, argv, 2);
    key_changed(&c, &k);
    counter_add(&w->evicted, 1);
    notify(&c, NOTIFY_EVICTED, "evicted", &k);
    txn_commit(&w->txn);
    return bytes;
}

/* Deletes one key somewhere. Returns as evict_from(). */
static size_t evict_one(struct worker *w, int64_t policy)
{
    struct exec *x = w->x;
    unsigned databases = keyspace_databases(x->ks), start = (unsigned)rng_below(x->nshards);
    for (unsigned i = 0; i < x->nshards; i++) {
        struct shard *s = keyspace_shard(x->ks, (start + i) & (x->nshards - 1));
        unsigned first = (unsigned)rng_below(databases);
        for (unsigned d = 0; d < databases; d++) {
            unsigned db = (first + d) % databases;
            if ((policy_is_volatile(policy) ? shard_expires(s, db) : shard_count(s, db)) == 0) {
                continue;
            }
            if (!w->in_section) {
                shard_lock(s);
            }
            size_t bytes = evict_from(w, s, db, policy);
            if (!w->in_section) {
                shard_unlock(s);
            }
            if (bytes > 0) {
                return bytes;
            }
        }
    }
    return 0;
}

/* It ends also when the keys that went took as much as there was too much: what telling of them
 * takes (invalidations, events, the log) must not make more keys go. */
static bool evict_until(struct worker *w, int64_t policy, int64_t limit, int64_t until)
{
    struct exec *x = w->x;
    int64_t excess = excess_over(x, limit);
    do {
        size_t bytes = evict_one(w, policy);
        if (bytes == 0) {
            return false; /* nothing left that may go */
        }
        excess -= (int64_t)bytes;
        if (excess <= 0 || excess_over(x, limit) <= 0) {
            return true;
        }
    } while (clock_mono_us() < until);
    return true; /* under way: this command is let through, the next one goes on evicting */
}

unsigned evict_slice(struct worker *w)
{
    struct exec *x = w->x;
    int64_t limit = option_int(&x->opt.maxmemory);
    if (likely(limit == 0 || excess_over(x, limit) <= 0) ||
        option_int(&x->opt.maxmemory_policy) == POLICY_NOEVICTION || w->id != 0 ||
        pause_active(x) || log_is_full(x)) {
        return 100;
    }
    section_poll(w);
    memory_let_clients_go(w);
    return !w->busy && memory_make_room(w) && excess_over(x, limit) > 0 ? 1 : 100;
}

void memory_let_clients_go(struct worker *w)
{
    struct exec *x = w->x;
    int64_t limit = option_int(&x->opt.maxmemory);
    if (limit > 0 && option_int(&x->opt.maxmemory_clients) != 0 && !w->busy &&
        excess_over(x, limit) > 0 && !pause_active(x)) {
        clients_evict(w);
    }
}

bool memory_make_room(struct worker *w)
{
    struct exec *x = w->x;
    int64_t limit = option_int(&x->opt.maxmemory), policy = option_int(&x->opt.maxmemory_policy);
    if (excess_over(x, limit) <= 0) {
        return true;
    }
    if (pause_active(x)) {
        return true; /* whoever gets here may not write, or made the pause in this transaction */
    }
    if (log_is_full(x)) {
        return true; /* likewise */
    }
    if (policy == POLICY_NOEVICTION || atomic_load_explicit(&x->loading, memory_order_relaxed)) {
        return false;
    }
    int64_t tenacity = option_int(&x->opt.maxmemory_eviction_tenacity);
    int64_t until = tenacity >= 100 ? INT64_MAX : clock_mono_us() + tenacity * LIMIT_US_UNIT;
    int64_t start = clock_mono_us();
    bool room = evict_until(w, policy, limit, until);
    latency_note(x, LATENCY_EVICTION_CYCLE, clock_mono_us() - start);
    return room;
}
