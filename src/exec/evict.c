/* evict.c -- maxmemory: keys go by the chosen policy until there is room, or writes are refused.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Sampling, as Redis: of `maxmemory-samples` entries the worst goes. They are those of a
 *          random shard, and of the next ones while it has too few. Shards are slices of a keyed
 *          hash, so one of them is as good a sample as any other.
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
#define SIZE_SAMPLES  5     /* elements of a big value that are measured */
#define LOOKS_MAX     16384 /* databases of shards that are looked at when keys are few */
#define LIMIT_US_UNIT 50    /* a call's time: 500 us at tenacity 10, as in Redis */

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

/* Under the shard's lock: deletes e. Returns about the bytes that it took, never 0. */
static size_t evict_entry(struct worker *w, struct shard *s, unsigned db, struct entry *e)
{
    struct exec *x = w->x;
    size_t bytes = entry_memory(e, SIZE_SAMPLES);
    struct call_int in = { .t = &w->txn, .w = w };
    struct call c = {
        .db = db, .resp = 2, .now_ms = worker_now_ms(w), .x = x, .ks = x->ks, .in = &in
    };
    w->scratch.n = 0; /* the entry's key goes with it */
    buf_add_slice(&w->scratch, entry_key(e));
    struct key k = keyspace_key(x->ks, buf_slice(&w->scratch));
    struct slice argv[] = { S("DEL"), k.s };
    txn_begin(&w->txn, w);
    int64_t start = clock_mono_us();
    shard_delete(s, db, e);
    latency_note(x, LATENCY_EVICTION_DEL, clock_mono_us() - start);
    fx_argv(&w->txn, db, argv, 2);
    key_changed(&c, &k);
    counter_add(&w->evicted, 1);
    notify(&c, NOTIFY_EVICTED, "evicted", &k);
    txn_commit(&w->txn);
    return bytes;
}

/* For the worst of some entries. Its key is in the worker's scratch buffer while s is set and
 * nothing was evicted. */
struct search {
    int64_t policy, now;
    unsigned left;   /* entries yet to be looked at */
    struct shard *s; /* where the worst so far is; NULL: there was none yet */
    unsigned db;
    int64_t score;
    size_t evicted; /* as evict_entry(); 0: not yet */
};

static void search_lock(struct worker *w, struct shard *s)
{
    if (!w->in_section) {
        shard_lock(s);
    }
}

static void search_unlock(struct worker *w, struct shard *s)
{
    if (!w->in_section) {
        shard_unlock(s);
    }
}

/* Looks at entries of one database. The worst goes at once when it is here and none are left to be
 * looked at: with many keys that is always so. */
static void search_in(struct worker *w, struct search *f, struct shard *s, unsigned db)
{
    struct entry *sample[SAMPLES_MAX], *worst = NULL;
    search_lock(w, s);
    unsigned n = shard_sample(s, db, policy_is_volatile(f->policy), sample, f->left);
    for (unsigned i = 0; i < n; i++) {
        int64_t score = score_of(w, sample[i], f->policy, f->now);
        if (f->s == NULL || score > f->score) {
            f->score = score;
            f->s = s;
            worst = sample[i];
        }
    }
    f->left -= n;
    if (worst != NULL && f->left == 0) {
        f->evicted = evict_entry(w, s, db, worst);
    } else if (worst != NULL) {
        f->db = db;
        w->scratch.n = 0;
        buf_add_slice(&w->scratch, entry_key(worst));
    }
    search_unlock(w, s);
}

/* Evicts what the search found, unless somebody else took it meanwhile. */
static void evict_found(struct worker *w, struct search *f)
{
    struct key k = keyspace_key(w->x->ks, buf_slice(&w->scratch));
    search_lock(w, f->s);
    struct entry *e = shard_find(f->s, f->db, &k);
    if (e != NULL && (!policy_is_volatile(f->policy) || entry_expire(e) >= 0)) {
        f->evicted = evict_entry(w, f->s, f->db, e);
    }
    search_unlock(w, f->s);
}

/* Shards are looked at until there were enough entries. */
static void search(struct worker *w, struct search *f)
{
    struct exec *x = w->x;
    unsigned databases = keyspace_databases(x->ks), start = (unsigned)rng_below(x->nshards);
    unsigned looks = 0;
    for (unsigned i = 0; i < x->nshards && f->left > 0; i++) {
        struct shard *s = keyspace_shard(x->ks, (start + i) & (x->nshards - 1));
        unsigned first = (unsigned)rng_below(databases);
        for (unsigned d = 0; d < databases && f->left > 0; d++) {
            unsigned db = (first + d) % databases;
            if (looks++ >= LOOKS_MAX && f->s != NULL) {
                return;
            }
            if ((policy_is_volatile(f->policy) ? shard_expires(s, db) : shard_count(s, db)) > 0) {
                search_in(w, f, s, db);
            }
        }
    }
}

/* Deletes one key somewhere. Returns about the bytes that it took; 0: there is no candidate. */
static size_t evict_one(struct worker *w, int64_t policy)
{
    bool any = policy == POLICY_ALLKEYS_RANDOM || policy == POLICY_VOLATILE_RANDOM;
    int64_t samples = any ? 1 : option_int(&w->x->opt.maxmemory_samples);
    struct search f;
    do {
        f = (struct search){ .policy = policy,
                             .now = worker_now_ms(w),
                             .left = samples < SAMPLES_MAX ? (unsigned)samples : SAMPLES_MAX };
        search(w, &f);
        if (f.s != NULL && f.evicted == 0) {
            evict_found(w, &f);
        }
    } while (f.s != NULL && f.evicted == 0); /* others take keys, too: so it ends */
    return f.evicted;
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

bool memory_is_full(struct exec *x)
{
    int64_t limit = option_int(&x->opt.maxmemory);
    return unlikely(limit > 0) && option_int(&x->opt.maxmemory_policy) == POLICY_NOEVICTION &&
           excess_over(x, limit) > 0;
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
