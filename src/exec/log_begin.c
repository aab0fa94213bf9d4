/* log_begin.c -- Beginning and ending a log while clients are served.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A log that begins in the middle of a life must hold what is there already, and nobody
 * may be stopped while that is written. So it is written shard by shard, and until all of it is
 * there the log promises nothing: no reply waits for it, no LSN is given out.
 * STATES   of a shard:
 *            OUT     nothing of it is in the log. Changes are not logged: its image will have them.
 *            IN      its content is in the log, every change follows.
 *            BEHIND  its small entries are in the log, its large values are parts that wait to be
 *                    written; records about it wait in the queue behind them.
 *          OUT -> IN or BEHIND by put_in(), BEHIND -> IN when parts and queue are empty, and
 *          IN -> BEHIND when a record touches a BEHIND shard, too: what comes after that record at
 *          its other shards has to come after it in the log.
 *          A change that touches shards OUT and others puts the former in, first.
 *          FLUSHALL, FLUSHDB and SWAPDB are logged without that: on what is not in the log yet they
 *          have nothing to do, and what is put in later is what they left.
 *
 * INVARIANTS
 *          I1 in the log, the records of a key's content come before every effect on it
 *          I2 a record in the queue changes and reads BEHIND shards only (or all), and the parts
 *             of these were listed before it was queued
 *          I3 while a record about the whole keyspace is queued nothing of a shard put in may come
 *             before it: all of that is queued, too
 *
 * THREADS  exec_log_image(): one thread, as the extra worker. log_begin_*: workers.
 *
 * LOCKS    A shard's state belongs to its lock (or the section); parts and queue to `lock`, rank
 *          LOG_BEGIN.
 *
 * BOUND    Under a shard's lock its small entries are written (image.c): with 1,024 shards, a
 *          thousandth of the keyspace. A queue of more than QUEUE_MAX stops clients as a full log
 *          does.
 *
 * FAILURE  Without memory for a record the log lacks it, and is given up: it promised nothing. */
#include "exec/exec_int.h"
#include <errno.h>
#include <unistd.h>

#define WAIT_US    1000        /* between two looks for room in the log */
#define ROOM_BYTES (1u << 20)  /* enough of it for the next shard, usually */
#define QUEUE_MAX  (16u << 20) /* bytes */
#define QUEUE_TAIL (64u << 10) /* so many may be appended in an exclusive section */

enum shard_log { SHARD_OUT, SHARD_IN, SHARD_BEHIND };

struct record { /* one that waits for the parts before it */
    struct record *next;
    struct wal_frame frame;
    size_t n;
    char *bytes; /* behind the struct; its own memory where the log takes that over */
};
struct log_begin {
    uint8_t *state; /* enum shard_log of each shard */
    struct lock lock;
    /* under lock */
    struct image_part *parts;
    struct record *queue, **queue_end;
    bool whole; /* the queue holds a record about the whole keyspace; written in sections only */
    /* atomic */
    _Atomic size_t queued;   /* bytes of queue */
    _Atomic unsigned behind; /* shards that are BEHIND */
    _Atomic bool no_memory;  /* something is missing for the lack of it */
};
struct log_walk {
    struct worker *w;
    bool (*go_on)(void *arg);
    void *arg;
};

/* ---- States; the shard's lock is held, or the section ---- */

static void set_behind(struct log_begin *b, unsigned index)
{
    b->state[index] = SHARD_BEHIND;
    atomic_fetch_add_explicit(&b->behind, 1, memory_order_relaxed);
}

static void put_in(struct worker *w, unsigned index)
{
    struct log_begin *b = w->x->begin;
    if (b->state[index] != SHARD_OUT) {
        return;
    }
    struct image_part *big = NULL;
    image_shard(w, index, b->whole ? NULL : &big);
    if (!b->whole && big == NULL) {
        b->state[index] = SHARD_IN;
        return;
    }
    lock_acquire(&b->lock);
    while (big != NULL) {
        struct image_part *p = big;
        big = p->next;
        p->next = b->parts;
        b->parts = p;
    }
    lock_release(&b->lock);
    set_behind(b, index);
}

void log_begin_mixed(struct worker *w, const uint32_t *shards, unsigned n)
{
    const uint8_t *state = w->x->begin->state;
    unsigned out = 0;
    for (unsigned i = 0; i < n; i++) {
        out += state[shards[i]] == SHARD_OUT;
    }
    for (unsigned i = 0; i < n && out < n; i++) {
        put_in(w, shards[i]);
    }
}

void log_begin_keys(struct worker *w, const struct key *keys, unsigned n)
{
    must(w->in_section);
    for (unsigned i = 0; i < n; i++) {
        put_in(w, keys[i].shard);
    }
}

void log_begin_all(struct worker *w)
{
    must(w->in_section);
    for (unsigned i = 0; i < w->x->nshards; i++) {
        put_in(w, i);
    }
}

/* ---- Records ---- */

static struct record *record_new(size_t bytes)
{
    bool owned = bytes > WAL_COPIED_MAX;
    struct record *r = mem_try_alloc(sizeof *r + (owned ? 0 : bytes));
    char *own = owned && r != NULL ? mem_try_alloc(bytes) : NULL;
    if (r == NULL || (owned && own == NULL)) {
        mem_free(r);
        return NULL;
    }
    *r = (struct record){ .bytes = owned ? own : (char *)(r + 1) };
    return r;
}

static void record_free(struct record *r)
{
    if (r->bytes != (char *)(r + 1)) {
        mem_free(r->bytes);
    }
    mem_free(r);
}

static void record_append(struct worker *w, struct record *r)
{
    if (r->n > WAL_COPIED_MAX) {
        (void)wal_append_owned(w->x->wal, w->id, r->frame, r->bytes, r->n);
        r->bytes = NULL;
    } else {
        struct slice bytes = slice_of(r->bytes, r->n);
        (void)wal_append(w->x->wal, w->id, r->frame, &bytes, 1);
    }
    w->appended = true;
}

static void enqueue(struct log_begin *b, struct wal_frame frame, const struct slice *parts,
                    unsigned n)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        bytes += parts[i].n;
    }
    struct record *r = record_new(bytes);
    if (r == NULL) {
        atomic_store_explicit(&b->no_memory, true, memory_order_relaxed);
        return;
    }
    r->frame = frame;
    for (unsigned i = 0; i < n; i++) {
        memcpy(r->bytes + r->n, parts[i].p, parts[i].n);
        r->n += parts[i].n;
    }
    lock_acquire(&b->lock);
    *b->queue_end = r;
    b->queue_end = &r->next;
    lock_release(&b->lock);
    atomic_fetch_add_explicit(&b->queued, bytes, memory_order_seq_cst);
}

/* What t changed, and what its record will read again on replay (COPY, SORT STORE, ZUNIONSTORE), is
 * to be ordered behind what waits: the shards that are IN follow. */
static void all_behind(struct log_begin *b, const struct txn *t, bool whole)
{
    for (unsigned i = 0; i < t->nlocked; i++) {
        if (b->state[t->locked[i]] == SHARD_IN) {
            set_behind(b, t->locked[i]);
        }
    }
    for (unsigned i = 0; i < t->ntouched; i++) {
        if (b->state[t->touched[i].shard] == SHARD_IN) {
            set_behind(b, t->touched[i].shard);
        }
    }
    for (unsigned i = 0; whole && i < t->w->x->nshards; i++) {
        if (b->state[i] == SHARD_IN) {
            set_behind(b, i);
        }
    }
    if (whole) { /* elsewhere not even the same value may be written: others read it */
        b->whole = true;
    }
}

bool log_begin_takes(const struct txn *t, struct wal_frame frame, const struct slice *parts,
                     unsigned n)
{
    struct log_begin *b = t->w->x->begin;
    if (t->image) {
        if (t->queued) {
            enqueue(b, frame, parts, n);
        }
        return t->queued;
    }
    unsigned of[SHARD_BEHIND + 1] = { 0 };
    for (unsigned i = 0; i < t->ntouched; i++) {
        of[b->state[t->touched[i].shard]]++;
    }
    for (unsigned i = 0; i < t->nlocked; i++) {
        of[b->state[t->locked[i]]]++;
    }
    /* What else an EXEC in a section looked at is not known here: it may be anything put in. */
    bool whole = t->exclusive && (frame.slot == WAL_SLOT_ALL || of[SHARD_OUT] == 0);
    if (whole) {
        of[SHARD_BEHIND] += atomic_load_explicit(&b->behind, memory_order_relaxed);
    }
    must(of[SHARD_OUT] == 0 || (of[SHARD_IN] == 0 && of[SHARD_BEHIND] == 0 && !whole));
    if (of[SHARD_BEHIND] > 0) {
        all_behind(b, t, whole);
        enqueue(b, frame, parts, n);
    }
    return of[SHARD_BEHIND] > 0 || of[SHARD_OUT] > 0;
}

bool log_begin_full(const struct exec *x)
{
    return atomic_load_explicit(&x->begin->queued, memory_order_seq_cst) > QUEUE_MAX;
}

/* ---- The thread that begins the log ---- */

static void announce(struct worker *w)
{
    if (w->appended) {
        w->appended = false;
        wal_announce(w->x->wal, w->id);
    }
}

static bool lacks_memory(const struct log_begin *b)
{
    return atomic_load_explicit(&b->no_memory, memory_order_relaxed);
}

bool log_walk_room(struct log_walk *walk)
{
    struct worker *w = walk->w;
    while (!wal_admit(w->x->wal, w->id, ROOM_BYTES)) {
        announce(w);
        if (!walk->go_on(walk->arg)) {
            return false;
        }
        usleep(WAIT_US);
    }
    return walk->go_on(walk->arg) && wal_state(w->x->wal) != WAL_NOSPACE &&
           !lacks_memory(w->x->begin);
}

void log_begin_no_memory(struct exec *x)
{
    atomic_store_explicit(&x->begin->no_memory, true, memory_order_relaxed);
}

/* What waited for the old log, or for the queue, goes on. */
static void wake_reactors(struct exec *x)
{
    for (unsigned i = 0; i < x->reactors; i++) {
        exec_wal_wake(x, i);
    }
}

/* The first part; without any, the whole queue: the parts its records were queued behind are
 * written (I2). */
static struct image_part *take(struct log_begin *b, struct record **queue)
{
    *queue = NULL;
    lock_acquire(&b->lock);
    struct image_part *p = b->parts;
    if (p != NULL) {
        b->parts = p->next;
    } else {
        *queue = b->queue;
        b->queue = NULL;
        b->queue_end = &b->queue;
    }
    lock_release(&b->lock);
    return p;
}

/* Frees the records; appends them unless `walk` is NULL or there is no room (then false). */
static bool append_queue(struct log_begin *b, struct log_walk *walk, bool waits, struct record *r)
{
    bool ok = walk != NULL;
    while (r != NULL) {
        struct record *next = r->next;
        ok = ok && (!waits || log_walk_room(walk));
        if (ok) {
            record_append(walk->w, r);
        }
        atomic_fetch_sub_explicit(&b->queued, r->n, memory_order_seq_cst);
        record_free(r);
        r = next;
    }
    return ok;
}

/* In an exclusive section, and only little is queued: then nothing is behind any more. */
static void settle(struct log_begin *b, struct log_walk *walk)
{
    if (b->parts != NULL) {
        return; /* of a shard that was put in just now */
    }
    struct record *rest;
    (void)take(b, &rest);
    (void)append_queue(b, walk, false, rest);
    for (unsigned i = 0; i < walk->w->x->nshards; i++) {
        if (b->state[i] == SHARD_BEHIND) {
            b->state[i] = SHARD_IN;
        }
    }
    b->whole = false;
    atomic_store_explicit(&b->behind, 0, memory_order_relaxed);
}

/* Writes parts and queue until no shard is BEHIND. */
static bool catch_up(struct log_begin *b, struct log_walk *walk)
{
    while (atomic_load_explicit(&b->behind, memory_order_relaxed) > 0) {
        (void)fault("exec.image_behind");
        struct record *queue;
        struct image_part *p = take(b, &queue);
        bool ok = true;
        if (p != NULL) {
            ok = log_walk_room(walk) && image_part_write(walk, walk->w, p);
            image_part_free(p);
        } else {
            ok = append_queue(b, walk, true, queue);
            wake_reactors(walk->w->x);
        }
        announce(walk->w);
        if (!ok) {
            return false;
        }
        if (p == NULL && atomic_load_explicit(&b->queued, memory_order_relaxed) <= QUEUE_TAIL) {
            section_enter(walk->w);
            settle(b, walk);
            section_leave(walk->w);
            announce(walk->w);
        }
    }
    return true;
}

/* Why there is none. */
static int image_error(const struct log_walk *walk)
{
    const struct exec *x = walk->w->x;
    return lacks_memory(x->begin)             ? -ENOMEM
           : wal_state(x->wal) == WAL_NOSPACE ? -ENOSPC
           : !walk->go_on(walk->arg)          ? -ECANCELED
                                              : -EIO;
}

int exec_log_image(struct exec *x, bool (*go_on)(void *arg), void *arg)
{
    struct worker *w = &x->workers[x->reactors];
    struct log_walk walk = { w, go_on, arg };
    for (unsigned i = 0; i < x->nshards; i++) {
        if (!log_walk_room(&walk) || fault("exec.image") != 0) {
            return image_error(&walk);
        }
        struct shard *s = keyspace_shard(x->ks, i);
        worker_wake(w);
        shard_lock(s);
        put_in(w, i);
        shard_unlock(s);
        worker_sleep(w);
        announce(w);
        if (!catch_up(x->begin, &walk)) {
            return image_error(&walk);
        }
    }
    return lacks_memory(x->begin) ? -ENOMEM : 0;
}

/* ---- Beginning and ending; exclusive sections ---- */

static void begin_free(struct exec *x)
{
    struct log_begin *b = x->begin;
    if (b == NULL) {
        return;
    }
    struct record *queue;
    for (struct image_part *p; (p = take(b, &queue)) != NULL;) {
        image_part_free(p);
    }
    (void)append_queue(b, NULL, false, queue);
    mem_free(b->state);
    mem_free(b);
    x->begin = NULL;
    atomic_store_explicit(&x->imaging, false, memory_order_relaxed);
}

/* Nothing that belonged to another log is taken for this one's. */
static void forget_log(struct exec *x)
{
    for (unsigned i = 0; i < x->nshards; i++) {
        memset(x->shards[i].recent, 0, sizeof x->shards[i].recent);
    }
    for (unsigned i = 0; i < x->nworkers; i++) {
        x->workers[i].appended = false;
        for (struct session *s = x->workers[i].sessions; s != NULL; s = s->next) {
            s->last_lsn = s->last_gate = 0;
        }
    }
    atomic_store_explicit(&x->floor, 0, memory_order_release);
    begin_free(x);
    atomic_store_explicit(&x->log_partial, false, memory_order_relaxed);
    x->log_closing = false;
}

void exec_log_begin(struct exec *x, struct wal *w)
{
    must(x->wal == NULL);
    forget_log(x);
    struct log_begin *b = x->begin = mem_calloc(sizeof *b);
    b->state = mem_calloc(x->nshards * sizeof *b->state);
    b->queue_end = &b->queue;
    lock_init(&b->lock, RANK_LOG_BEGIN, 0);
    x->wal = w;
    atomic_store_explicit(&x->imaging, true, memory_order_relaxed);
    atomic_store_explicit(&x->log_partial, true, memory_order_relaxed);
    image_libraries(&x->workers[x->reactors]);
}

void exec_log_imaged(struct exec *x)
{
    must(atomic_load_explicit(&x->begin->behind, memory_order_relaxed) == 0);
    begin_free(x);
}

/* Whatever is told or asked for from here on waits for all that was done before. */
void exec_log_whole(struct exec *x)
{
    uint64_t tail = wal_tail(x->wal);
    atomic_store_explicit(&x->floor, tail, memory_order_release);
    for (unsigned i = 0; i < x->nworkers; i++) {
        for (struct session *s = x->workers[i].sessions; s != NULL; s = s->next) {
            s->last_lsn = tail;
        }
    }
    atomic_store_explicit(&x->log_partial, false, memory_order_relaxed);
}

bool exec_log_promises(const struct exec *x)
{
    return x->wal != NULL && !atomic_load_explicit(&x->log_partial, memory_order_relaxed);
}

void exec_log_close(struct exec *x)
{
    x->log_closing = true;
}

void exec_log_end(struct exec *x)
{
    forget_log(x);
    x->wal = NULL;
    wake_reactors(x);
}
