/* replay.c -- Loading the log into the keyspace: workers by hash slot, rendezvous where a record
 * touches several. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Records of one slot must be applied in order; records of different slots need not. So
 *          each worker thread applies the slots that fall to it, in log order; a record of several
 *          slots (or of all) waits until every worker is done with what came before and is applied
 *          alone.
 *
 * THREADS  The caller of exec_replay() dispatches (the log calls it back); `threads` workers
 *          apply, or as many as can be started. Single producer, single consumer queues.
 *
 * LOG MODE Handlers run with CALL_REPLAY: no clock, expiry, eviction, events, blocked clients or
 *          memory limit.
 *
 * FAILURE  A record that does not parse or whose command answers an error stops the replay with
 *          -EBADMSG: the log passed its checksums, so it is a bug or a newer kv, and serving less
 *          than what was acknowledged is not an option.
 *
 * FAULTS   exec.replay. */
#include "exec/tracking.h"
#include "base/log.h"
#include "base/thread.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define APPLY_AHEAD 32          /* records parsed and prefetched ahead of execution */
#define AHEAD_ARGS  6           /* arguments of a command that is parsed ahead */
#define FETCH_BYTES 128         /* of each record to come: they are in another processor's cache */
#define QUEUE_ITEMS 1024        /* work items (shares of batches) in flight per worker */
#define QUEUE_BYTES (32u << 20) /* of the log, since the oldest of these: it stays in memory */
#define BATCH_MORE  4096        /* bytes of a batch round its payloads, nearly always */

struct shared_batch {
    struct wal_batch *batch;
    _Atomic unsigned shares;
    struct wal_record rec[];
};
struct work { /* a worker's share of one batch */
    struct shared_batch *of;
    unsigned n;
    uint32_t *index; /* into of->rec; lies behind the struct */
};
/* A record that is one command on one key of database 0, the common form. */
struct ahead {
    const struct cmd_ref *ref; /* NULL: another form, parsed when its turn comes */
    struct key key;
    unsigned argc;
    struct slice argv[AHEAD_ARGS];
};
struct replayer {
    struct replay *all;
    struct worker w;
    pthread_t thread;
    struct work *queue[QUEUE_ITEMS];
    uint64_t from[QUEUE_ITEMS]; /* the dispatcher's: `handed` when the item was queued */
    _Atomic uint32_t head cacheline_aligned; /* next to consume */
    _Atomic uint32_t tail cacheline_aligned; /* next to fill */
    _Atomic uint32_t done;                   /* == head once the item was applied */
    struct slice *argv;
    unsigned argv_cap;
    uint32_t *share; /* dispatcher's scratch: indexes for this worker */
    unsigned nshare;
    unsigned share_cap;
};
struct replay {
    struct exec *x;
    unsigned n;
    struct replayer *rep;
    uint64_t handed; /* bytes of the log whose records were handed out */
    _Atomic int error;
    _Atomic bool stop;
    char message[256];
    struct lock message_lock;
};

/* ---- Reading canonical RESP ---- */

static bool read_count(const char **p, const char *end, char kind, size_t *out)
{
    const char *at = *p;
    if (at >= end || *at != kind) {
        return false;
    }
    size_t v = 0;
    for (at++; at < end && *at >= '0' && *at <= '9'; at++) {
        v = v * 10 + (size_t)(*at - '0');
        if (v > ((size_t)1 << 40)) {
            return false;
        }
    }
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n') {
        return false;
    }
    *p = at + 2;
    *out = v;
    return true;
}

static bool read_arg(const char **p, const char *end, struct slice *arg)
{
    size_t len;
    if (!read_count(p, end, '$', &len) || (size_t)(end - *p) < len + 2) {
        return false;
    }
    *arg = slice_of(*p, len);
    *p += len + 2;
    return true;
}

/* One command from *p; its arguments go to rp->argv. */
static bool read_command(struct replayer *rp, const char **p, const char *end, unsigned *argc)
{
    size_t n;
    if (!read_count(p, end, '*', &n) || n == 0 || n > UINT32_MAX) {
        return false;
    }
    if (n > rp->argv_cap) {
        rp->argv_cap = (unsigned)size_max(n, 64);
        rp->argv = mem_realloc(rp->argv, rp->argv_cap * sizeof *rp->argv);
    }
    for (size_t i = 0; i < n; i++) {
        if (!read_arg(p, end, &rp->argv[i])) {
            return false;
        }
    }
    *argc = (unsigned)n;
    return true;
}

/* ---- Applying ---- */

static void fail_as(struct replay *all, int error, const struct wal_record *rec, const char *why,
                    struct slice what)
{
    lock_acquire(&all->message_lock);
    if (atomic_load_explicit(&all->error, memory_order_relaxed) == 0) {
        snprintf(all->message, sizeof all->message, "record ending at LSN %llu: %s '%.*s'",
                 (unsigned long long)rec->lsn, why, (int)size_min(what.n, 100), what.p);
        atomic_store_explicit(&all->error, error, memory_order_release);
    }
    lock_release(&all->message_lock);
}

static void fail(struct replay *all, const struct wal_record *rec, const char *why,
                 struct slice what)
{
    fail_as(all, -EBADMSG, rec, why, what);
}

int64_t call_logged_ms(const struct call *c)
{
    return c->flags & CALL_REPLAY ? c->in->w->logged_ms : c->now_ms;
}

/* The keys of `c` are found; answers are of no interest, unless they are errors. */
static bool apply_call(struct replayer *rp, const struct wal_record *rec, struct call *c)
{
    struct worker *w = &rp->w;
    txn_begin(&w->txn, w);
    txn_lock(&w->txn, c->keys, c->nkeys, w->lock_set);
    c->cmd->proc(c);
    txn_unlock(&w->txn);
    fx_reset(&w->txn);
    if (unlikely(c->in->error)) {
        struct buf text = { 0 };
        out_copy_to(c->out, &text);
        /* No limit holds in log mode: OOM says that there was no memory, nothing about the log. */
        bool oom = text.n >= 4 && memcmp(text.p, "-OOM", 4) == 0;
        fail_as(rp->all, oom ? -ENOMEM : -EBADMSG, rec, "refused", buf_slice(&text));
        buf_free(&text);
        return false;
    }
    out_clear(c->out);
    return true;
}

static struct call call_of(struct worker *w, struct call_int *in, unsigned db,
                           const struct slice *argv, unsigned argc, struct out *out)
{
    return (struct call){ .cmd = in->ref->row,
                          .argv = argv,
                          .argc = argc,
                          .db = db,
                          .resp = 2,
                          .flags = CALL_REPLAY,
                          .x = w->x,
                          .ks = w->x->ks,
                          .out = out,
                          .in = in };
}

static bool apply_one(struct replayer *rp, const struct wal_record *rec, unsigned *db,
                      unsigned argc, struct out *out)
{
    struct worker *w = &rp->w;
    struct slice *argv = rp->argv;
    const struct cmd_ref *ref = command_lookup_logged(w->x, argv, argc);
    if (ref == NULL || ref->row->proc == NULL) {
        fail(rp->all, rec, "unknown command", argv[0]);
        return false;
    }
    if (slice_is(argv[0], "select") && argc == 2) {
        int64_t v;
        if (!parse_i64(argv[1], &v) || v < 0 || v >= keyspace_databases(w->x->ks)) {
            fail(rp->all, rec, "no such database", argv[1]);
            return false;
        }
        *db = (unsigned)v;
        return true;
    }
    if (argc == 1 && (slice_is(argv[0], "multi") || slice_is(argv[0], "exec"))) {
        return true; /* the whole record is applied anyway, or none of it */
    }
    struct call_int in = { .t = &w->txn, .w = w, .ref = ref };
    struct call c = call_of(w, &in, *db, argv, argc, out);
    c.nkeys = call_find_keys(w, ref, argv, argc);
    c.keys = w->keys;
    return apply_call(rp, rec, &c);
}

static bool apply_record(struct replayer *rp, const struct wal_record *rec, struct out *out)
{
    const char *p = rec->payload.p, *end = p + rec->payload.n;
    unsigned db = 0;
    while (p < end) {
        unsigned argc;
        if (!read_command(rp, &p, end, &argc)) {
            fail(rp->all, rec, "not a command:", slice_of(p, (size_t)(end - p)));
            return false;
        }
        if (!apply_one(rp, rec, &db, argc, out)) {
            return false;
        }
    }
    return true;
}

static bool apply_ahead(struct replayer *rp, const struct wal_record *rec, struct ahead *a,
                        struct out *out)
{
    struct call_int in = { .t = &rp->w.txn, .w = &rp->w, .ref = a->ref };
    struct call c = call_of(&rp->w, &in, 0, a->argv, a->argc, out);
    c.keys = &a->key;
    c.nkeys = 1;
    return apply_call(rp, rec, &c);
}

/* True when the first key is known, and *key with it. */
static bool read_ahead(struct replayer *rp, const struct wal_record *rec, struct ahead *a,
                       struct sweep_key *key)
{
    const char *p = rec->payload.p, *end = p + rec->payload.n;
    size_t argc;
    a->ref = NULL;
    if (rec->slot >= 16384 || !read_count(&p, end, '*', &argc) || argc < 2) {
        return false;
    }
    for (unsigned i = 0; i < argc && i < AHEAD_ARGS; i++) {
        if (!read_arg(&p, end, &a->argv[i])) {
            return false;
        }
    }
    a->key = keyspace_key(rp->all->x->ks, a->argv[1]);
    sweep_key_set(key, &a->key);
    const struct cmd_ref *ref = command_lookup_logged(rp->all->x, a->argv, (unsigned)argc);
    if (p == end && argc <= AHEAD_ARGS && ref != NULL && ref->one_key && ref->row->proc != NULL) {
        a->ref = ref;
        a->argc = (unsigned)argc;
    }
    return true;
}

static void fetch_record(const struct wal_record *rec)
{
    for (size_t at = 0; at < FETCH_BYTES; at += 64) {
        __builtin_prefetch((const char *)rec->payload.p + at);
    }
}

/* Records [at, at + n) of the job, with the misses of all their keys together. */
static bool apply_some(struct replayer *rp, const struct work *job, unsigned at, unsigned n,
                       struct out *out)
{
    struct ahead ahead[APPLY_AHEAD];
    struct sweep_key key[APPLY_AHEAD];
    unsigned keys = 0;
    for (unsigned i = 0; i < n; i++) {
        keys += read_ahead(rp, &job->of->rec[job->index[at + i]], &ahead[i], &key[keys]);
    }
    keyspace_sweep(rp->all->x->ks, 0, key, keys);
    for (unsigned i = 0; i < n; i++) {
        const struct wal_record *rec = &job->of->rec[job->index[at + i]];
        if (at + n + i < job->n) {
            fetch_record(&job->of->rec[job->index[at + n + i]]);
        }
        rp->w.logged_ms = rec->wall_ms;
        if (likely(ahead[i].ref != NULL)) {
            if (!apply_ahead(rp, rec, &ahead[i], out)) {
                return false;
            }
            continue;
        }
        /* Alone between two rendezvous(): FLUSHALL finds all shards its own. No lock is taken: who
         * looks at the keyspace while it is loaded must do so as keyspace_sweep() does. */
        bool alone = rec->slot >= 16384;
        rp->w.in_section = alone;
        lock_assume_all(RANK_SHARD, alone);
        bool fine = apply_record(rp, rec, out);
        lock_assume_all(RANK_SHARD, false);
        rp->w.in_section = false;
        if (!fine) {
            return false;
        }
    }
    return true;
}

static void apply_work(struct replayer *rp, struct work *job, struct out *out)
{
    unsigned n = 0;
    (void)fault("exec.replay");
    for (unsigned at = 0; at < job->n; at += n) {
        n = job->n - at < APPLY_AHEAD ? job->n - at : APPLY_AHEAD;
        if (atomic_load_explicit(&rp->all->error, memory_order_relaxed) != 0 ||
            !apply_some(rp, job, at, n, out)) {
            return;
        }
    }
}

static void share_release(struct shared_batch *b)
{
    if (atomic_fetch_sub_explicit(&b->shares, 1, memory_order_acq_rel) == 1) {
        wal_batch_release(b->batch);
        mem_free(b);
    }
}

static void *replayer_main(void *arg)
{
    struct replayer *rp = arg;
    mem_thread_start();
    out_cache_start();
    worker_keys_reserve(&rp->w, 1);
    replay_here(&rp->w);
    struct out out = { 0 };
    for (;;) {
        worker_quiesce(&rp->w);
        uint32_t head = atomic_load_explicit(&rp->head, memory_order_relaxed);
        uint32_t tail = atomic_load_explicit(&rp->tail, memory_order_acquire);
        if (head == tail) {
            if (atomic_load_explicit(&rp->all->stop, memory_order_acquire)) {
                break;
            }
            futex_wait(&rp->tail, tail, 100000);
            continue;
        }
        struct work *job = rp->queue[head % QUEUE_ITEMS];
        apply_work(rp, job, &out);
        share_release(job->of);
        mem_free(job);
        atomic_store_explicit(&rp->head, head + 1, memory_order_release);
        atomic_store_explicit(&rp->done, head + 1, memory_order_release);
        futex_wake(&rp->done, 1);
    }
    out_clear(&out);
    out_cache_stop();
    mem_thread_stop();
    return NULL;
}

/* ---- Dispatching ---- */

static void wait_below(struct replayer *rp, uint32_t pending)
{
    for (;;) {
        uint32_t done = atomic_load_explicit(&rp->done, memory_order_acquire);
        if (atomic_load_explicit(&rp->tail, memory_order_relaxed) - done <= pending) {
            return;
        }
        futex_wait(&rp->done, done, 100000);
    }
}

/* Items keep the buffers they point into: the next one waits until the worker's oldest is near. */
static void wait_near(struct replayer *rp)
{
    uint32_t tail = atomic_load_explicit(&rp->tail, memory_order_relaxed);
    for (;;) {
        uint32_t done = atomic_load_explicit(&rp->done, memory_order_acquire);
        if (done == tail || rp->all->handed - rp->from[done % QUEUE_ITEMS] <= QUEUE_BYTES) {
            return;
        }
        futex_wait(&rp->done, done, 100000);
    }
}

static void hand_over(struct replayer *rp, struct shared_batch *b)
{
    if (rp->nshare == 0) {
        return;
    }
    struct work *job = mem_alloc(sizeof *job + rp->nshare * sizeof(uint32_t));
    job->of = b;
    job->n = rp->nshare;
    job->index = (uint32_t *)(job + 1);
    memcpy(job->index, rp->share, rp->nshare * sizeof(uint32_t));
    rp->nshare = 0;
    atomic_fetch_add_explicit(&b->shares, 1, memory_order_relaxed);
    wait_below(rp, QUEUE_ITEMS - 1);
    uint32_t tail = atomic_load_explicit(&rp->tail, memory_order_relaxed);
    rp->queue[tail % QUEUE_ITEMS] = job;
    rp->from[tail % QUEUE_ITEMS] = rp->all->handed;
    atomic_store_explicit(&rp->tail, tail + 1, memory_order_release);
    futex_wake(&rp->tail, 1);
}

static void share_add(struct replayer *rp, uint32_t index)
{
    if (rp->nshare == rp->share_cap) {
        rp->share_cap = rp->share_cap == 0 ? 1024 : rp->share_cap * 2;
        rp->share = mem_realloc(rp->share, rp->share_cap * sizeof *rp->share);
    }
    rp->share[rp->nshare++] = index;
}

/* Everything handed out so far is applied when this returns. */
static void rendezvous(struct replay *all, struct shared_batch *b)
{
    for (unsigned i = 0; i < all->n; i++) {
        hand_over(&all->rep[i], b);
    }
    for (unsigned i = 0; i < all->n; i++) {
        wait_below(&all->rep[i], 0);
    }
}

static int on_records(void *arg, struct wal_batch *batch, const struct wal_record *rec, unsigned n)
{
    struct replay *all = arg;
    must(all->n > 0 && n > 0);
    for (unsigned i = 0; i < all->n; i++) {
        wait_near(&all->rep[i]);
    }
    const char *first = rec[0].payload.p, *end = rec[n - 1].payload.p + rec[n - 1].payload.n;
    struct shared_batch *b = mem_alloc(sizeof *b + n * sizeof *rec);
    b->batch = batch;
    atomic_init(&b->shares, 1); /* the dispatcher's */
    memcpy(b->rec, rec, n * sizeof *rec);
    for (uint32_t i = 0; i < n; i++) {
        if (rec[i].slot < 16384) {
            share_add(&all->rep[rec[i].slot % all->n], i);
            continue;
        }
        rendezvous(all, b);
        share_add(&all->rep[0], i);
        rendezvous(all, b);
    }
    for (unsigned i = 0; i < all->n; i++) {
        hand_over(&all->rep[i], b);
    }
    share_release(b);
    all->handed += (uint64_t)(end - first) + BATCH_MORE;
    return atomic_load_explicit(&all->error, memory_order_acquire);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct replay *all = arg;
    atomic_store_explicit(&all->x->load_done, done, memory_order_relaxed);
    atomic_store_explicit(&all->x->load_total, total, memory_order_relaxed);
    int64_t now = clock_mono_ms();
    if (now - all->x->load_logged_ms < 1000) {
        return;
    }
    all->x->load_logged_ms = now;
    int64_t passed = now - all->x->load_start_ms;
    double share = total > 0 ? (double)done / (double)total : 1;
    int64_t eta = share > 0 ? (int64_t)((double)passed * (1 - share) / share) : 0;
    log_notice("Loading the log: %.0f%% (%llu of %llu bytes), about %lld s left", share * 100,
               (unsigned long long)done, (unsigned long long)total, (long long)(eta / 1000));
}

/* As many as there can be of `threads`. The error of the first that cannot. */
static int replayers_start(struct replay *all, unsigned threads)
{
    int rc = 0;
    all->rep = mem_aligned(64, threads * sizeof *all->rep);
    memset(all->rep, 0, threads * sizeof *all->rep);
    while (all->n < threads && rc == 0) {
        struct replayer *rp = &all->rep[all->n];
        rp->all = all;
        rp->w.x = all->x;
        rp->w.id = all->n;
        rp->w.wall_ms = clock_wall_ms();
        rp->w.txn.w = &rp->w;
        rp->w.txn.replay = true;
        replay_join(&rp->w);
        rc = thread_start(&rp->thread, "replay", replayer_main, rp);
        if (rc != 0) {
            atomic_store(&rp->w.quiescent, UINT64_MAX); /* it looks at nothing */
        }
        all->n += rc == 0;
    }
    return rc;
}

int exec_replay(struct exec *x, struct wal *w, unsigned threads, struct wal_report *report)
{
    struct replay all = { .x = x };
    lock_init(&all.message_lock, RANK_LEAF, 0);
    x->load_logged_ms = clock_mono_ms();
    atomic_store_explicit(&x->load_start_ms, x->load_logged_ms, memory_order_relaxed);
    int rc = replayers_start(&all, threads < 1 ? 1 : threads);
    if (all.n > 0) {
        struct wal_replay cb = { .arg = &all, .records = on_records, .progress = on_progress };
        rc = report != NULL ? wal_load(w, &cb, report) : wal_replay(w, &cb);
    }
    for (unsigned i = 0; i < all.n; i++) {
        wait_below(&all.rep[i], 0);
    }
    atomic_store_explicit(&all.stop, true, memory_order_release);
    for (unsigned i = 0; i < all.n; i++) {
        struct replayer *rp = &all.rep[i];
        futex_wake(&rp->tail, 1);
        pthread_join(rp->thread, NULL);
    }
    replay_left(x);
    for (unsigned i = 0; i < all.n; i++) {
        struct replayer *rp = &all.rep[i];
        mem_free(rp->argv);
        mem_free(rp->share);
        mem_free(rp->w.keys);
        mem_free(rp->w.key_index);
        mem_free(rp->w.lock_set);
        buf_free(&rp->w.txn.fx);
        mem_free(rp->w.txn.touched);
    }
    mem_free(all.rep);
    if (rc == 0) {
        rc = atomic_load_explicit(&all.error, memory_order_acquire);
    }
    if (rc != 0 && all.message[0] != '\0') {
        log_warning("Loading the log failed at %s", all.message);
    }
    return rc;
}

int exec_reload(struct call *c)
{
    struct exec *x = c->x;
    const struct txn *t = c->in->t;
    must(t->exclusive);
    if (x->wal == NULL) {
        return -ENOENT;
    }
    if (t->fx_commands > 0 || t->verbatim.n > 0) {
        return -EBUSY;
    }
    int rc = wal_wait_until(x->wal, wal_tail(x->wal));
    rc = rc != 0 ? rc : wal_replay_begin(x->wal); /* judged readable before anything is dropped */
    if (rc != 0) {
        return rc;
    }
    watch_touch_db(x, -1);
    tracking_flushed(c);
    keyspace_flush(c->ks, -1, false);
    if (x->script_hooks != NULL) { /* a library that is left may have a name the log gives first */
        x->script_hooks->flush(x->scripts);
    }
    rc = exec_replay(x, x->wal, x->reactors, NULL);
    wal_replay_end(x->wal);
    if (rc != 0) {
        log_warning("The log could not be read again (%d): ending, a restart reads it anew", rc);
        _exit(EXIT_WAL);
    }
    return 0;
}
