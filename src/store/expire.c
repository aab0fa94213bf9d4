/* expire.c -- The order in which the keys of a table, and the fields of its hashes, expire, and the
 * earliest moment per shard. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Expiry is exact, so the next key due must be known, not sampled. A heap with four
 *             children per node has half as many levels as one with two, and the children of a node
 *             share one line. Each entry holds its index in the heap: no search to change it.
 *             A heap lies in chunks. The first grows as it must to a full one, after that chunks
 *             are added and nothing is copied: one more key never takes long, however many there
 *             are, and shards that grow together leave no old arrays behind.
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
 *             X6  a heap without items owns nothing; others have room for theirs and, past the
 *                 first chunk, for less than one and a half chunks more; each chunk begins a line
 *             Checked by expire_check(), X4 by shard_check(). */
#include "store/store_int.h"
#include "base/fault.h"

#define CHILDREN    4u
#define FIRST_SLOTS 8u /* fewest of a first chunk */
#define LIST_MIN    4u /* fewest chunks a list has room for */

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

/* `at` is where that place is. */
static inline void put(struct heap h, struct expire_item *at, uint32_t place,
                       struct expire_item item)
{
    *at = item;
    if (h.fields) {
        *entry_fields_place(item.e) = place;
    } else {
        entry_set_place(item.e, place);
    }
}

static void sift_up(struct heap h, uint32_t place, struct expire_item item)
{
    struct expire_item *at = expire_at(h.o, place);
    while (place > 0) {
        uint32_t parent = (place - 1) / CHILDREN;
        struct expire_item *above = expire_at(h.o, parent);
        if (above->when <= item.when) {
            break;
        }
        put(h, at, place, *above);
        place = parent;
        at = above;
    }
    put(h, at, place, item);
}

static void sift_down(struct heap h, uint32_t place, struct expire_item item)
{
    uint32_t n = count_of(h.o);
    struct expire_item *at = expire_at(h.o, place);
    for (;;) {
        uint64_t child = (uint64_t)place * CHILDREN + 1;
        if (child >= n) {
            break;
        }
        struct expire_item *c = expire_at(h.o, (uint32_t)child); /* its brothers follow it */
        uint32_t least = 0, end = (uint32_t)u64_min(n - child, CHILDREN);
        for (uint32_t i = 1; i < end; i++) {
            if (c[i].when < c[least].when) {
                least = i;
            }
        }
        if (c[least].when >= item.when) {
            break;
        }
        put(h, at, place, c[least]);
        place = (uint32_t)child + least;
        at = &c[least];
    }
    put(h, at, place, item);
}

static void sift(struct heap h, uint32_t place, struct expire_item item)
{
    if (place > 0 && expire_at(h.o, (place - 1) / CHILDREN)->when > item.when) {
        sift_up(h, place, item);
    } else {
        sift_down(h, place, item);
    }
}

/* ================= Its chunks ================= */

static inline uint32_t chunks_after_first(uint32_t slots)
{
    return slots > EXPIRE_CHUNK ? slots / EXPIRE_CHUNK - 1 : 0;
}

/* What a list of so many chunks has room for: it follows from them, so it needs no field. */
static uint32_t list_room(uint32_t chunks)
{
    uint32_t room = chunks > 0 ? LIST_MIN : 0;
    while (room < chunks) {
        room *= 2;
    }
    return room;
}

static void list_resize(struct expire_first *first, uint32_t from, uint32_t to)
{
    if (list_room(to) == 0) {
        mem_free(first->more);
        first->more = NULL;
    } else if (list_room(to) != list_room(from)) {
        first->more = mem_realloc(first->more, list_room(to) * sizeof *first->more);
    }
}

static void *chunk_new(uint32_t slots)
{
    return mem_aligned(EXPIRE_LINE, slots * sizeof(struct expire_item));
}

static void first_resize(struct expire_order *o, uint32_t slots)
{
    struct expire_first *old = o->first;
    o->first = chunk_new(slots);
    o->first->more = NULL;
    if (old != NULL) {
        uint32_t both = (uint32_t)u64_min(slots, relaxed_get(o->slots)) - EXPIRE_HEAD;
        memcpy(o->first->item, old->item, both * sizeof(struct expire_item));
        mem_free(old);
    }
    relaxed_set(o->slots, slots);
}

static void grow(struct expire_order *o)
{
    uint32_t slots = relaxed_get(o->slots);
    if (slots == 0) {
        first_resize(o, FIRST_SLOTS);
    } else if (slots < EXPIRE_CHUNK) { /* 8, 12, 16, 24, 32, ...: sizes that the allocator has */
        first_resize(o, slots + (0x80000000u >> __builtin_clz(slots)) / 2);
    } else {
        uint32_t n = chunks_after_first(slots);
        list_resize(o->first, n, n + 1);
        o->first->more[n] = chunk_new(EXPIRE_CHUNK);
        relaxed_set(o->slots, slots + EXPIRE_CHUNK);
    }
}

/* Memory is given back later than the next item would need it again. */
static void shrink(struct expire_order *o)
{
    uint32_t slots = relaxed_get(o->slots), count = relaxed_get(o->count);
    if (count == 0) {
        expire_order_free(o);
    } else if (slots <= EXPIRE_CHUNK) {
        if (count < slots / 4 && slots > FIRST_SLOTS) {
            first_resize(o, (uint32_t)u64_max(slots / 2, FIRST_SLOTS));
        }
    } else if (count + EXPIRE_HEAD + EXPIRE_CHUNK + EXPIRE_CHUNK / 2 <= slots) {
        uint32_t n = chunks_after_first(slots);
        mem_free(o->first->more[n - 1]);
        list_resize(o->first, n, n - 1);
        relaxed_set(o->slots, slots - EXPIRE_CHUNK);
    }
}

void expire_order_free(struct expire_order *o)
{
    uint32_t n = chunks_after_first(relaxed_get(o->slots));
    for (uint32_t i = 0; i < n; i++) {
        mem_free(o->first->more[i]);
    }
    if (n > 0) {
        mem_free(o->first->more);
    }
    mem_free(o->first);
    o->first = NULL;
    relaxed_set(o->slots, 0);
}

size_t expire_order_memory(const struct expire_order *o)
{
    uint32_t slots = relaxed_get(o->slots);
    return slots * sizeof(struct expire_item) +
           list_room(chunks_after_first(slots)) * sizeof(struct expire_item *);
}

/* ================= In and out ================= */

static void heap_add(struct heap h, struct entry *e, int64_t when)
{
    must(h.o != NULL);
    uint32_t n = count_of(h.o), slots = relaxed_get(h.o->slots);
    if (slots == 0 || n + EXPIRE_HEAD == slots) {
        grow(h.o);
    }
    count_set(h.o->count, n + 1);
    sift_up(h, n, (struct expire_item){ when, e });
}

static void heap_remove(struct heap h, const struct entry *e)
{
    must(h.o != NULL);
    uint32_t place = place_of(h, e), n = count_of(h.o) - 1;
    must(expire_at(h.o, place)->e == e);
    count_set(h.o->count, n);
    if (place < n) {
        sift(h, place, *expire_at(h.o, n));
    }
    shrink(h.o);
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
    return count_of(o) > 0 ? expire_at(o, 0)->when : INT64_MAX;
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
            return expire_at(top_of(&t->expire) == due ? &t->expire : fields_order(t), 0)->e;
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
    const struct expire_item *item = expire_at(&t->expire, place);
    must(item->e == e);
    int64_t before = top_of(&t->expire);
    sum_add(t, sum_part(s->ks, when) - sum_part(s->ks, item->when));
    entry_set_when(e, when);
    sift(keys_of(t), place, (struct expire_item){ when, e });
    top_changed(s, before, top_of(&t->expire));
}

void expire_moved(struct table *t, struct entry *e)
{
    if (seeded_bug("store.bug_expire_moved")) {
        return;
    }
    expire_at(&t->expire, entry_place(e))->e = e;
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
        const struct expire_item *item = expire_at(h.o, place);
        must(item->e == e);
        if (item->when == due) {
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
    expire_at(fields_order(t), *entry_fields_place(e))->e = e;
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
    const struct expire_item *item = expire_at(o, place);
    must(item->e == e && item->when == when);
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

static void check_chunks(const struct expire_order *o) /* X6 */
{
    uint32_t slots = relaxed_get(o->slots), used = relaxed_get(o->count) + EXPIRE_HEAD;
    must((slots == 0) == (o->first == NULL) && (slots == 0) == (used == EXPIRE_HEAD));
    if (slots == 0) {
        return;
    }
    uint32_t n = chunks_after_first(slots);
    must(used <= slots && slots % (n > 0 ? EXPIRE_CHUNK : CHILDREN) == 0);
    must((n > 0) == (o->first->more != NULL));
    must(n == 0 || used + EXPIRE_CHUNK + EXPIRE_CHUNK / 2 > slots);
    must(mem_usable(o->first->more) >= list_room(n) * sizeof *o->first->more);
    must((uintptr_t)o->first % EXPIRE_LINE == 0);
    for (uint32_t i = 0; i < n; i++) {
        must((uintptr_t)o->first->more[i] % EXPIRE_LINE == 0);
    }
}

static void check_heap(const struct expire_order *o)
{
    for (uint32_t i = 1; i < count_of(o); i++) {
        must(expire_at(o, (i - 1) / CHILDREN)->when <= expire_at(o, i)->when); /* X2 */
    }
    if (o != NULL) {
        check_chunks(o);
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
        sum += sum_part(s->ks, expire_at(&t->expire, i)->when);
    }
    must(sum == relaxed_get(t->expire_sum)); /* X3 */
}
