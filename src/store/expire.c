/* expire.c -- The order in which the keys of a table, and the fields of its hashes, expire, and the
 * earliest moment per shard. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Expiry is exact, so the next key due must be known, not sampled. A heap with four
 *             children per node has half as many levels as one with two, and the children of a node
 *             share one line. Each entry holds its index in the heap: no search to change it.
 *             A second heap has the hashes, by the earliest due of their fields; what is due after
 *             that the hash itself knows (ds/fields.h). Their index lies with the fields.
 *
 * THREADS     The holder of the shard lock; shard_next_due() and the counts are read without it.
 *
 * INVARIANTS  X1  an entry has ENTRY_EXPIRES <=> it is in the heap exactly once, at its `place`
 *             X2  no node is earlier than its parent
 *             X3  expire_sum is the sum of its items
 *             X4  next_due is the earliest expiry or field due in any database of the shard
 *             X5  an entry has ENTRY_FIELDS_DUE <=> a field of it has a due <=> it is in the second
 *                 heap exactly once, at the place its fields keep, by the earliest of them
 *             Checked by expire_check(), X4 by shard_check(). */
#include "store/store_int.h"
#include "base/fault.h"

#define CHILDREN  4u
#define FIRST_CAP 8u

/* ================= A heap ================= */

/* One of the two of a table. */
struct heap {
    struct expire_order *o;
    bool fields;
};

static inline struct heap keys_of(struct table *t)
{
    return (struct heap){ &t->expire, false };
}

static struct expire_order *fields_order(const struct table *t)
{
    return atomic_load_explicit(&t->fields, memory_order_acquire);
}

static inline struct heap fields_of(const struct table *t)
{
    return (struct heap){ fields_order(t), true };
}

static inline uint32_t count_of(const struct expire_order *o)
{
    return o != NULL ? relaxed_get(o->count) : 0;
}

uint32_t expire_fields_count(const struct table *t)
{
    const struct expire_order *o = fields_order(t);
    return o != NULL ? count_get(o->count) : 0;
}

static inline uint32_t place_of(struct heap h, const struct entry *e)
{
    return h.fields ? *entry_fields_place(e) : entry_place(e);
}

static inline void put(struct heap h, uint32_t place, struct expire_item item)
{
    h.o->item[place] = item;
    if (h.fields) {
        *entry_fields_place(item.e) = place;
    } else {
        entry_set_place(item.e, place);
    }
}

static void sift_up(struct heap h, uint32_t place, struct expire_item item)
{
    while (place > 0) {
        uint32_t parent = (place - 1) / CHILDREN;
        if (h.o->item[parent].when <= item.when) {
            break;
        }
        put(h, place, h.o->item[parent]);
        place = parent;
    }
    put(h, place, item);
}

static void sift_down(struct heap h, uint32_t place, struct expire_item item)
{
    uint32_t n = count_of(h.o);
    const struct expire_item *heap = h.o->item;
    for (;;) {
        uint64_t child = (uint64_t)place * CHILDREN + 1;
        if (child >= n) {
            break;
        }
        uint32_t least = (uint32_t)child, end = (uint32_t)u64_min(child + CHILDREN, n);
        for (uint32_t i = least + 1; i < end; i++) {
            if (heap[i].when < heap[least].when) {
                least = i;
            }
        }
        if (heap[least].when >= item.when) {
            break;
        }
        put(h, place, heap[least]);
        place = least;
    }
    put(h, place, item);
}

static void sift(struct heap h, uint32_t place, struct expire_item item)
{
    if (place > 0 && h.o->item[(place - 1) / CHILDREN].when > item.when) {
        sift_up(h, place, item);
    } else {
        sift_down(h, place, item);
    }
}

static void resize(struct expire_order *o, uint32_t cap)
{
    relaxed_set(o->cap, cap);
    if (cap == 0) {
        mem_free(o->item);
        o->item = NULL;
        return;
    }
    o->item = mem_realloc(o->item, cap * sizeof *o->item);
}

static void heap_add(struct heap h, struct entry *e, int64_t when)
{
    must(h.o != NULL);
    uint32_t n = count_of(h.o);
    if (n == relaxed_get(h.o->cap)) {
        resize(h.o, n == 0 ? FIRST_CAP : n + n / 2);
    }
    count_set(h.o->count, n + 1);
    sift_up(h, n, (struct expire_item){ when, e });
}

static void heap_remove(struct heap h, const struct entry *e)
{
    must(h.o != NULL);
    uint32_t place = place_of(h, e), n = count_of(h.o) - 1;
    must(h.o->item[place].e == e);
    count_set(h.o->count, n);
    if (place < n) {
        sift(h, place, h.o->item[n]);
    }
    uint32_t cap = relaxed_get(h.o->cap);
    if (n == 0) {
        resize(h.o, 0);
    } else if (n < cap / 4 && cap > FIRST_CAP) {
        resize(h.o, cap / 2);
    }
}

/* ================= The earliest of a shard ================= */

void keyspace_tell_earlier(struct keyspace *ks,
                           void (*earlier)(void *arg, unsigned shard, int64_t due_ms), void *arg)
{
    ks->earlier_arg = arg;
    ks->earlier = earlier;
}

int64_t shard_next_due(const struct shard *s)
{
    return relaxed_get(s->next_due);
}

static inline int64_t top_of(const struct expire_order *o)
{
    return count_of(o) > 0 ? o->item[0].when : INT64_MAX;
}

int64_t expire_top(const struct table *t)
{
    int64_t key = top_of(&t->expire), field = top_of(fields_order(t));
    return key < field ? key : field;
}

static void recompute(struct shard *s)
{
    int64_t due = INT64_MAX;
    unsigned used = atomic_load_explicit(&s->ks->dbs_used, memory_order_acquire);
    for (unsigned db = 0; db < used; db++) {
        const struct table *t = shard_table(s, db);
        if (t != NULL && expire_top(t) < due) {
            due = expire_top(t);
        }
    }
    relaxed_set(s->next_due, due);
}

/* The top of a heap of the shard was `before` and is now `after` (INT64_MAX: none). */
static void top_changed(struct shard *s, int64_t before, int64_t after)
{
    int64_t due = shard_next_due(s);
    if (after < due) {
        relaxed_set(s->next_due, after);
        if (s->ks->earlier != NULL) {
            s->ks->earlier(s->ks->earlier_arg, s->index, after);
        }
    } else if (before == due) {
        recompute(s);
    }
}

void expire_detached(struct shard *s, const struct table *t)
{
    int64_t top = expire_top(t);
    if (top != INT64_MAX && top == shard_next_due(s)) {
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
        if (t != NULL && expire_top(t) == due) {
            *db = i;
            return top_of(&t->expire) == due ? t->expire.item[0].e : fields_order(t)->item[0].e;
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

void expire_add(struct shard *s, struct table *t, struct entry *e)
{
    int64_t before = top_of(&t->expire), when = entry_expire(e);
    sum_add(t, sum_part(s->ks, when));
    heap_add(keys_of(t), e, when);
    top_changed(s, before, top_of(&t->expire));
}

void expire_remove(struct shard *s, struct table *t, struct entry *e)
{
    int64_t before = top_of(&t->expire);
    sum_add(t, -sum_part(s->ks, entry_expire(e)));
    heap_remove(keys_of(t), e);
    top_changed(s, before, top_of(&t->expire));
}

void expire_change(struct shard *s, struct table *t, struct entry *e, int64_t when)
{
    uint32_t place = entry_place(e);
    must(t->expire.item[place].e == e);
    int64_t before = top_of(&t->expire);
    sum_add(t, sum_part(s->ks, when) - sum_part(s->ks, t->expire.item[place].when));
    entry_set_when(e, when);
    sift(keys_of(t), place, (struct expire_item){ when, e });
    top_changed(s, before, top_of(&t->expire));
}

void expire_moved(struct table *t, struct entry *e)
{
    if (seeded_bug("store.bug_expire_moved")) {
        return;
    }
    t->expire.item[entry_place(e)].e = e;
}

/* The second heap of a table, which then stays: its count is read without the lock. */
static struct heap fields_need(struct table *t)
{
    if (fields_order(t) == NULL) {
        struct expire_order *o = mem_calloc(sizeof *o);
        atomic_store_explicit(&t->fields, o, memory_order_release);
    }
    return fields_of(t);
}

void expire_fields_sync(struct shard *s, struct table *t, struct entry *e)
{
    int64_t due = entry_fields_due(e), before = top_of(fields_order(t));
    if (due == NO_EXPIRE) {
        expire_fields_leave(s, t, e);
        return;
    }
    struct heap h = fields_need(t);
    if (e->flags & ENTRY_FIELDS_DUE) {
        uint32_t place = place_of(h, e);
        must(h.o->item[place].e == e);
        if (h.o->item[place].when == due) {
            return;
        }
        sift(h, place, (struct expire_item){ due, e });
    } else {
        e->flags |= ENTRY_FIELDS_DUE;
        heap_add(h, e, due);
    }
    top_changed(s, before, top_of(h.o));
}

void expire_fields_leave(struct shard *s, struct table *t, struct entry *e)
{
    if (!(e->flags & ENTRY_FIELDS_DUE)) {
        return;
    }
    int64_t before = top_of(fields_order(t));
    heap_remove(fields_of(t), e);
    e->flags &= (uint8_t)~ENTRY_FIELDS_DUE;
    top_changed(s, before, top_of(fields_order(t)));
}

void expire_fields_moved(struct table *t, struct entry *e)
{
    fields_order(t)->item[*entry_fields_place(e)].e = e;
}

/* ================= Counting ================= */

int64_t keyspace_avg_ttl(const struct keyspace *ks, unsigned db, int64_t now_ms)
{
    double sum = 0;
    uint64_t count = 0;
    int64_t base = relaxed_get(ks->expire_base);
    for (unsigned i = 0; i < ks->cfg.shards; i++) {
        const struct table *t = shard_table(&ks->shards[i], db);
        uint64_t n = t != NULL ? count_get(t->expire.count) : 0;
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
    uint32_t expiring, with_due;
};

static void check_place(const struct expire_order *o, uint32_t place, const struct entry *e,
                        int64_t when)
{
    must(place < count_of(o)); /* X1, X5 */
    must(o->item[place].e == e && o->item[place].when == when);
}

static bool check_entry(void *arg, struct entry *e)
{
    struct check_state *state = arg;
    if (e->flags & ENTRY_EXPIRES) {
        check_place(&state->t->expire, entry_place(e), e, entry_expire(e)); /* X1 */
        state->expiring++;
    }
    int64_t due = entry_fields_due(e);
    must((due != NO_EXPIRE) == ((e->flags & ENTRY_FIELDS_DUE) != 0)); /* X5 */
    if (due != NO_EXPIRE) {
        check_place(fields_order(state->t), *entry_fields_place(e), e, due);
        state->with_due++;
    }
    return true;
}

static void check_heap(const struct expire_order *o)
{
    for (uint32_t i = 1; i < count_of(o); i++) {
        must(o->item[(i - 1) / CHILDREN].when <= o->item[i].when); /* X2 */
    }
}

void expire_check(struct shard *s, const struct table *t)
{
    struct check_state state = { t, 0, 0 };
    table_each(t, check_entry, &state);
    must(state.expiring == table_expires(t));          /* X1 */
    must(state.with_due == count_of(fields_order(t))); /* X5 */
    check_heap(&t->expire);
    check_heap(fields_order(t));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < table_expires(t); i++) {
        sum += sum_part(s->ks, t->expire.item[i].when);
    }
    must(sum == relaxed_get(t->expire_sum)); /* X3 */
}
