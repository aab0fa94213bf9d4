/* expire.c -- The order in which the keys of a table expire, and the earliest moment per shard.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Expiry is exact, so the next key due must be known, not sampled. A heap with four
 *             children per node has half as many levels as one with two, and the children of a node
 *             share one line. Each entry holds its index in the heap: no search to change it.
 *
 * THREADS     The holder of the shard lock; shard_next_due() and the counts are read without it.
 *
 * INVARIANTS  X1  an entry has ENTRY_EXPIRES <=> it is in the heap exactly once, at its `place`
 *
 *             X2  no node is earlier than its parent
 *             X3  expire_sum is the sum of its items
 *             X4  next_due is the earliest expiry in any database of the shard
 *             Checked by expire_check(), X4 by shard_check(). */
#include "store/store_int.h"
#include "base/fault.h"

#define CHILDREN  4u
#define FIRST_CAP 8u

static inline void put(struct table *t, uint32_t place, struct expire_item item)
{
    t->expire[place] = item;
    entry_set_place(item.e, place);
}

static void sift_up(struct table *t, uint32_t place, struct expire_item item)
{
    while (place > 0) {
        uint32_t parent = (place - 1) / CHILDREN;
        if (t->expire[parent].when <= item.when) {
            break;
        }
        put(t, place, t->expire[parent]);
        place = parent;
    }
    put(t, place, item);
}

static void sift_down(struct table *t, uint32_t place, struct expire_item item)
{
    uint32_t n = table_expires(t);
    for (;;) {
        uint64_t child = (uint64_t)place * CHILDREN + 1;
        if (child >= n) {
            break;
        }
        uint32_t least = (uint32_t)child, end = (uint32_t)u64_min(child + CHILDREN, n);
        for (uint32_t i = least + 1; i < end; i++) {
            if (t->expire[i].when < t->expire[least].when) {
                least = i;
            }
        }
        if (t->expire[least].when >= item.when) {
            break;
        }
        put(t, place, t->expire[least]);
        place = least;
    }
    put(t, place, item);
}

static void sift(struct table *t, uint32_t place, struct expire_item item)
{
    if (place > 0 && t->expire[(place - 1) / CHILDREN].when > item.when) {
        sift_up(t, place, item);
    } else {
        sift_down(t, place, item);
    }
}

/* ================= The earliest of a shard ================= */

int64_t shard_next_due(const struct shard *s)
{
    return relaxed_get(s->next_due);
}

static void recompute(struct shard *s)
{
    int64_t due = INT64_MAX;
    unsigned used = atomic_load_explicit(&s->ks->dbs_used, memory_order_acquire);
    for (unsigned db = 0; db < used; db++) {
        const struct table *t = shard_table(s, db);
        if (t != NULL && table_expires(t) > 0 && t->expire[0].when < due) {
            due = t->expire[0].when;
        }
    }
    relaxed_set(s->next_due, due);
}

/* The top of a heap of the shard was `before` and is now `after` (INT64_MAX: none). */
static void top_changed(struct shard *s, int64_t before, int64_t after)
{
    int64_t due = shard_next_due(s);
    if (after <= due) {
        relaxed_set(s->next_due, after);
    } else if (before == due) {
        recompute(s);
    }
}

static inline int64_t top_of(const struct table *t)
{
    return table_expires(t) > 0 ? t->expire[0].when : INT64_MAX;
}

void expire_detached(struct shard *s, const struct table *t)
{
    if (table_expires(t) > 0 && t->expire[0].when == shard_next_due(s)) {
        recompute(s);
    }
}

struct entry *shard_first_due(struct shard *s, int64_t now_ms, unsigned *db)
{
    shard_assert_held(s);
    int64_t due = shard_next_due(s);
    if (due > now_ms || due == INT64_MAX) {
        return NULL;
    }
    unsigned used = atomic_load_explicit(&s->ks->dbs_used, memory_order_acquire);
    for (unsigned i = 0; i < used; i++) {
        const struct table *t = shard_table(s, i);
        if (t != NULL && top_of(t) == due) {
            *db = i;
            return t->expire[0].e;
        }
    }
    must_not_reach(); /* X4 */
}

/* ================= Changes ================= */

/* What an expiry adds to the sum. Relative to the first one ever seen, so that a reader without the
 * lock, which may see sum and count one change apart, is wrong by one life time and not by one unix
 * time. */
static uint64_t sum_part(struct keyspace *ks, int64_t when)
{
    int64_t capped = when < EXPIRE_SUM_MAX ? when : EXPIRE_SUM_MAX;
    int64_t base = relaxed_get(ks->expire_base);
    if (unlikely(base == 0) &&
        atomic_compare_exchange_strong_explicit(&ks->expire_base, &base, capped,
                                                memory_order_relaxed, memory_order_relaxed)) {
        base = capped;
    }
    return (uint64_t)capped - (uint64_t)base;
}

static void sum_add(struct table *t, uint64_t part)
{
    uint64_t sum = relaxed_get(t->expire_sum);
    count_set(t->expire_sum, sum + part);
}

static void resize(struct table *t, uint32_t cap)
{
    relaxed_set(t->expire_cap, cap);
    if (cap == 0) {
        mem_free(t->expire);
        t->expire = NULL;
        return;
    }
    t->expire = mem_realloc(t->expire, cap * sizeof *t->expire);
}

void expire_add(struct shard *s, struct table *t, struct entry *e)
{
    uint32_t n = table_expires(t);
    if (n == relaxed_get(t->expire_cap)) {
        resize(t, n == 0 ? FIRST_CAP : n + n / 2);
    }
    int64_t before = top_of(t), when = entry_expire(e);
    sum_add(t, sum_part(s->ks, when));
    count_set(t->expire_count, n + 1);
    sift_up(t, n, (struct expire_item){ when, e });
    top_changed(s, before, top_of(t));
}

void expire_remove(struct shard *s, struct table *t, struct entry *e)
{
    uint32_t place = entry_place(e), n = table_expires(t) - 1;
    must(t->expire[place].e == e);
    int64_t before = top_of(t);
    sum_add(t, -sum_part(s->ks, t->expire[place].when));
    count_set(t->expire_count, n);
    if (place < n) {
        sift(t, place, t->expire[n]);
    }
    uint32_t cap = relaxed_get(t->expire_cap);
    if (n == 0) {
        resize(t, 0);
    } else if (n < cap / 4 && cap > FIRST_CAP) {
        resize(t, cap / 2);
    }
    top_changed(s, before, top_of(t));
}

void expire_change(struct shard *s, struct table *t, struct entry *e, int64_t when)
{
    uint32_t place = entry_place(e);
    must(t->expire[place].e == e);
    int64_t before = top_of(t);
    sum_add(t, sum_part(s->ks, when) - sum_part(s->ks, t->expire[place].when));
    entry_set_when(e, when);
    sift(t, place, (struct expire_item){ when, e });
    top_changed(s, before, top_of(t));
}

void expire_moved(struct table *t, struct entry *e)
{
    if (seeded_bug("store.bug_expire_moved")) {
        return;
    }
    t->expire[entry_place(e)].e = e;
}

/* ================= Counting ================= */

int64_t keyspace_avg_ttl(const struct keyspace *ks, unsigned db, int64_t now_ms)
{
    double sum = 0;
    uint64_t count = 0;
    int64_t base = relaxed_get(ks->expire_base);
    for (unsigned i = 0; i < ks->cfg.shards; i++) {
        const struct table *t = shard_table(&ks->shards[i], db);
        uint64_t n = t != NULL ? count_get(t->expire_count) : 0;
        if (n > 0) {
            uint64_t expiries = count_get(t->expire_sum);
            sum += (double)(int64_t)(expiries + n * ((uint64_t)base - (uint64_t)now_ms));
            count += n;
        }
    }
    return count > 0 && sum > 0 ? (int64_t)(sum / (double)count) : 0;
}

struct check_state {
    const struct table *t;
    uint32_t expiring;
};

static bool check_entry(void *arg, struct entry *e)
{
    struct check_state *state = arg;
    if (e->flags & ENTRY_EXPIRES) {
        uint32_t place = entry_place(e);
        must(place < table_expires(state->t)); /* X1 */
        must(state->t->expire[place].e == e &&
             state->t->expire[place].when == entry_expire(e)); /* X1 */
        state->expiring++;
    }
    return true;
}

void expire_check(struct shard *s, const struct table *t)
{
    struct check_state state = { t, 0 };
    table_each(t, check_entry, &state);
    must(state.expiring == table_expires(t)); /* X1 */
    uint64_t sum = 0;
    for (uint32_t i = 0; i < table_expires(t); i++) {
        must(i == 0 || t->expire[(i - 1) / CHILDREN].when <= t->expire[i].when); /* X2 */
        sum += sum_part(s->ks, t->expire[i].when);
    }
    must(sum == relaxed_get(t->expire_sum)); /* X3 */
}
