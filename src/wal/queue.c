/* queue.c -- Producers: a record gets its place in the log and waits in a queue of its own.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         An append costs one shared atomic add, one copy and one checksum. Everything else it
 * touches belongs to its producer alone.
 * THREADS     Each producer appends, announces and asks for admission on its own thread. What is
 * named wal_queue_* runs in the thread that holds take: one consumer at a time.
 * ORDER       Three steps make the prefix below min(tail, all inflight) complete:
 *               1. inflight = a lower bound of the ticket to come        (release)
 *               2. ticket = fetch_add(tail, bytes)                       (release and more)
 *               3. published = count, inflight = NONE                    (release each)
 *             The consumer reads tail, then every inflight, then published (acquire each). Take a
 *             record with a ticket below the tail it read. Its add is in the modification order of
 *             tail at or before that value, and atomic adds continue a release sequence, so step 1
 *             happened before the consumer's read of inflight. It sees that lower bound, and stops
 *             below it; or NONE, or the bound of a later record of that producer, each stored with
 *             release after step 3: the record is in the queue.
 *             The bound need not be fresh. The newest tail the producer has seen will do, and
 *             saves fetching the contended line twice.
 * MEMORY      A producer fills chunks, the consumer empties them and hands them back. In the
 *             steady state nothing is allocated. Chunks are mappings, which mem_used() does not
 *             count: what waits for the disk must not make keys go, and maxmemory would. */
#include "base/mem.h"
#include "wal/wal_int.h"

#define CHUNK_BYTES ((size_t)128 * 1024)
#define SPARE_MAX   16 /* chunks a list keeps: 2 MiB after a burst */

_Static_assert(sizeof(struct wal_entry) == 32, "entries are 8-aligned and small");
_Static_assert(CHUNK_BYTES > WAL_COPIED_MAX + sizeof(struct wal_entry) + 8,
               "one entry always fits");

/* ---- Chunks ---- */

static struct wal_chunk *chunk_new(void)
{
    return mem_map(sizeof(struct wal_chunk) + CHUNK_BYTES);
}

static void chunk_free(struct wal_chunk *c)
{
    mem_unmap(c, sizeof *c + CHUNK_BYTES);
}

static struct wal_chunk *chunk_get(struct wal_producer *p)
{
    if (p->spare == NULL) {
        /* Takes the whole list at once, so that a pop can never meet a recycled head (ABA). */
        p->spare = atomic_exchange_explicit(&p->returned, NULL, memory_order_acquire);
        atomic_store_explicit(&p->nreturned, 0, memory_order_relaxed);
    }
    struct wal_chunk *c = p->spare;
    if (c == NULL) {
        return chunk_new();
    }
    p->spare = c->next;
    c->next = NULL;
    return c;
}

/* The consumer is done with `c`. The count is only a limit for memory kept; it may be off by what
 * the producer takes at the same moment. */
static void chunk_give_back(struct wal_producer *p, struct wal_chunk *c)
{
    if (atomic_load_explicit(&p->nreturned, memory_order_relaxed) >= SPARE_MAX) {
        chunk_free(c);
        return;
    }
    atomic_fetch_add_explicit(&p->nreturned, 1, memory_order_relaxed);
    struct wal_chunk *first = atomic_load_explicit(&p->returned, memory_order_relaxed);
    do {
        c->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&p->returned, &first, c, memory_order_release,
                                                    memory_order_relaxed));
}

static void chunks_free(struct wal_chunk *c)
{
    while (c != NULL) {
        struct wal_chunk *next = c->next;
        chunk_free(c);
        c = next;
    }
}

void wal_queues_init(struct wal *w)
{
    w->producers = mem_aligned(64, w->cfg.producers * sizeof *w->producers);
    memset(w->producers, 0, w->cfg.producers * sizeof *w->producers);
    for (unsigned i = 0; i < w->cfg.producers; i++) {
        struct wal_producer *p = &w->producers[i];
        p->chunk = p->head = chunk_new();
        atomic_init(&p->inflight, WAL_NONE);
        atomic_init(&p->gate, WAL_NONE);
        atomic_init(&p->durable_gate, WAL_NONE);
    }
}

void wal_queues_free(struct wal *w)
{
    for (unsigned i = 0; w->producers != NULL && i < w->cfg.producers; i++) {
        struct wal_producer *p = &w->producers[i];
        struct wal_entry *e;
        while ((e = wal_queue_head(p)) != NULL) { /* after a stop without space for the rest */
            mem_free(wal_entry_big(e));
            wal_queue_pop(p, e);
        }
        chunks_free(p->head);
        chunks_free(p->spare);
        chunks_free(atomic_load(&p->returned));
    }
    mem_free(w->producers);
    w->producers = NULL;
}

/* ---- Appending ---- */

static void next_chunk(struct wal_producer *p)
{
    struct wal_chunk *c = chunk_get(p);
    ((struct wal_entry *)(void *)(p->chunk->data + p->at))->ticket = WAL_NONE;
    p->chunk->next = c;
    p->chunk = c;
    p->at = 0;
}

/* Room for the entry itself and, behind it, always for the ticket that leads to the next chunk. */
static inline struct wal_entry *entry_reserve(struct wal_producer *p, size_t payload)
{
    size_t need = (sizeof(struct wal_entry) + payload + 7) & ~(size_t)7;
    if (unlikely(p->at + need + sizeof(uint64_t) > CHUNK_BYTES)) {
        next_chunk(p);
    }
    struct wal_entry *e = (struct wal_entry *)(void *)(p->chunk->data + p->at);
    e->bytes = (uint32_t)need;
    p->at += need;
    return e;
}

static inline void copy_parts(uint8_t *dst, const struct slice *parts, unsigned nparts)
{
    for (unsigned i = 0; i < nparts; i++) {
        memcpy(dst, parts[i].p, parts[i].n);
        dst += parts[i].n;
    }
}

/* Larger payloads go by pointer. */
static struct wal_entry *put_big(struct wal_producer *p, uint8_t *payload)
{
    struct wal_entry *e = entry_reserve(p, sizeof payload);
    memcpy(e + 1, &payload, sizeof payload);
    e->heap = 1;
    uint64_t had = atomic_load_explicit(&p->heap_records, memory_order_relaxed);
    atomic_store_explicit(&p->heap_records, had + 1, memory_order_relaxed);
    return e;
}

/* wal_frame_crc() where the payload follows the frame: one run over both is faster than two. */
static inline uint32_t inline_crc(const struct wal_entry *e, size_t n)
{
    const size_t from = offsetof(struct wal_entry, frame) + offsetof(struct wal_record_frame, slot);
    uint32_t crc = crc32c(0, &e->frame.length_lo, sizeof e->frame.length_lo);
    return crc32c(crc, (const uint8_t *)e + from, sizeof *e - from + n);
}

/* All that takes time comes before the ticket: while one is out, the log ends below it. */
static inline struct wal_appended put(struct wal *w, struct wal_producer *p, struct wal_entry *e,
                                      struct wal_frame frame, const uint8_t *payload, size_t n)
{
    e->frame = (struct wal_record_frame){
        .length_lo = (uint32_t)n,
        .slot = frame.slot,
        .length_hi = (uint8_t)(n >> 32),
        .flags = frame.flags,
        .db = frame.db,
    };
    e->frame.crc = e->heap != 0 ? wal_frame_crc(&e->frame, payload, n) : inline_crc(e, n);

    atomic_store_explicit(&p->inflight, p->seen, memory_order_release);
    /* seq_cst, which costs nothing over acq_rel here: with the load in wal_announce() it makes sure
     * that a writer about to sleep is seen or sees this record. */
    uint64_t ticket = atomic_fetch_add_explicit(&w->tail, n, memory_order_seq_cst);
    e->ticket = ticket;
    p->seen = ticket + n;
    atomic_store_explicit(&p->published, ++p->count, memory_order_release);
    atomic_store_explicit(&p->inflight, WAL_NONE, memory_order_release);
    return (struct wal_appended){ ticket + n };
}

struct wal_appended wal_append_owned(struct wal *w, unsigned producer, struct wal_frame frame,
                                     void *payload, size_t n)
{
    struct wal_producer *p = &w->producers[producer];
    must(n > WAL_COPIED_MAX && n < WAL_RECORD_MAX);
    return put(w, p, put_big(p, payload), frame, payload, n);
}

struct wal_appended wal_append(struct wal *w, unsigned producer, struct wal_frame frame,
                               const struct slice *parts, unsigned nparts)
{
    struct wal_producer *p = &w->producers[producer];
    size_t n = 0;
    for (unsigned i = 0; i < nparts; i++) {
        n += parts[i].n;
    }
    must(n > 0);
    if (unlikely(n > WAL_COPIED_MAX)) {
        uint8_t *payload = mem_alloc(n);
        copy_parts(payload, parts, nparts);
        return wal_append_owned(w, producer, frame, payload, n);
    }
    struct wal_entry *e = entry_reserve(p, n);
    e->heap = 0;
    uint8_t *payload = (uint8_t *)(e + 1);
    copy_parts(payload, parts, nparts);
    return put(w, p, e, frame, payload, n);
}

uint64_t wal_tail(const struct wal *w)
{
    return atomic_load_explicit(&w->tail, memory_order_acquire);
}

/* ---- Admission ---- */

/* Is there room for `bytes` more? A command larger than the limit passes when nothing else waits.
 */
static bool has_room(const struct wal *w, uint64_t tail, uint64_t bytes)
{
    uint64_t admit = atomic_load_explicit(&w->admit, memory_order_seq_cst);
    uint64_t written = atomic_load_explicit(&w->written, memory_order_seq_cst);
    return tail + bytes <= admit || (admit != 0 && tail <= written);
}

static bool admit_slow(struct wal *w, struct wal_producer *p, size_t bytes)
{
    p->seen = atomic_load_explicit(&w->tail, memory_order_seq_cst);
    if (wal_state(w) == WAL_NOSPACE || has_room(w, p->seen, bytes)) {
        return true;
    }
    p->wanted = p->wanted == 0 ? size_max(bytes, 1) : size_min(p->wanted, size_max(bytes, 1));
    uint64_t had = atomic_load_explicit(&p->stops, memory_order_relaxed);
    atomic_store_explicit(&p->stops, had + 1, memory_order_relaxed);
    return false;
}

/* What this producer has seen of the tail may be old. Each of its own appends refreshes it, so it
 * exceeds the limit by one command at most. */
bool wal_admit(struct wal *w, unsigned producer, size_t bytes)
{
    struct wal_producer *p = &w->producers[producer];
    if (likely(p->seen + bytes <= atomic_load_explicit(&w->admit, memory_order_relaxed))) {
        return true;
    }
    return admit_slow(w, p, bytes);
}

/* For a stopped producer: not before a quarter of the queue is free, so that it is not woken for
 * each group. */
bool wal_admits_again(const struct wal *w, uint64_t wanted)
{
    return wal_state(w) == WAL_NOSPACE ||
           has_room(w, atomic_load_explicit(&w->tail, memory_order_seq_cst),
                    u64_max(wanted, w->cfg.queue_bytes / 4));
}

/* ---- The consumer's side; take is held ---- */

/* Everything below the result is in the queues; *tail is the tail it was derived from. */
uint64_t wal_queue_complete(struct wal *w, uint64_t *tail)
{
    uint64_t complete = *tail = atomic_load_explicit(&w->tail, memory_order_seq_cst);
    for (unsigned i = 0; i < w->cfg.producers; i++) {
        complete = u64_min(complete,
                           atomic_load_explicit(&w->producers[i].inflight, memory_order_acquire));
    }
    return complete;
}

/* The oldest record of the queue, or NULL. */
struct wal_entry *wal_queue_head(struct wal_producer *p)
{
    if (p->taken == atomic_load_explicit(&p->published, memory_order_acquire)) {
        return NULL;
    }
    struct wal_entry *e = (struct wal_entry *)(void *)(p->head->data + p->head_at);
    if (e->ticket == WAL_NONE) {
        struct wal_chunk *emptied = p->head;
        p->head = emptied->next;
        p->head_at = 0;
        chunk_give_back(p, emptied);
        e = (struct wal_entry *)(void *)p->head->data;
    }
    return e;
}

void wal_queue_pop(struct wal_producer *p, const struct wal_entry *e)
{
    p->head_at += e->bytes;
    p->taken++;
}
