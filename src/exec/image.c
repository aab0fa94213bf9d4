/* image.c -- Beginning and ending a log while clients are served: the keyspace as records.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A log that begins in the middle of a life must hold what is there already, and nobody
 * may be stopped while it is written. So it is written shard by shard: a thread walks over them,
 * and whoever changes something in a shard that it has not reached writes that shard first.
 * THREADS  exec_log_image(): one thread, as the extra worker. image_before_change(): workers.
 * LOCKS    x->imaged[i] belongs to the lock of shard i; x->imaging changes in exclusive sections.
 * INVARIANTS  I1 in the log the records of a shard's content come before every effect on it, so
 *                replay from nothing gives the keyspace
 * COST     The first change of a shard waits for the records of that shard: with 1,024 shards, a
 * thousandth of the keyspace. */
#include "exec/exec_int.h"
#include "base/fault.h"
#include "ds/quicklist.h"
#include "ds/set.h"
#include "ds/zset.h"
#include <unistd.h>

#define VALUES_PER_RECORD 128
#define BYTES_PER_RECORD  65536
#define WAIT_US           1000       /* between two looks for room in the log */
#define ROOM_BYTES        (1u << 20) /* enough of it for the next shard, usually */

struct image {
    struct txn t;
    unsigned db;
};

static void append(struct image *im, struct slice key, const struct slice *argv, unsigned argc)
{
    im->t.slot = hash_slot(key);
    fx_argv(&im->t, im->db, argv, argc);
    (void)fx_append(&im->t);
    fx_reset(&im->t);
}

static void image_string(struct image *im, const struct entry *e)
{
    char text[I64_TEXT_MAX], due[I64_TEXT_MAX];
    struct slice argv[5] = { S("SET"), entry_key(e), entry_string(e, text) };
    unsigned argc = 3;
    if (entry_expire(e) >= 0) {
        argv[argc++] = S("PXAT");
        argv[argc++] = slice_of(due, format_i64(due, entry_expire(e)));
    }
    append(im, argv[1], argv, argc);
}

/* Records of one command with many values, as many as they need. */
struct batch {
    struct image *im;
    struct slice argv[2 + VALUES_PER_RECORD];
    char text[VALUES_PER_RECORD][F64_TEXT_MAX];
    unsigned n;
    size_t bytes;
};

static void batch_begin(struct batch *b, struct image *im, struct slice name, const struct entry *e)
{
    b->im = im;
    b->argv[0] = name;
    b->argv[1] = entry_key(e);
    b->n = 0;
    b->bytes = 0;
}

static void batch_flush(struct batch *b)
{
    if (b->n > 0) {
        append(b->im, b->argv[1], b->argv, 2 + b->n);
        b->n = 0;
        b->bytes = 0;
    }
}

/* A short text (a number is one) may be gone after this call, a long one has to stay. */
static void batch_value(struct batch *b, struct slice text)
{
    if (text.n < F64_TEXT_MAX) {
        memcpy(b->text[b->n], text.p, text.n);
        text.p = b->text[b->n];
    }
    b->argv[2 + b->n++] = text;
    b->bytes += text.n;
}

/* After an element: a record holds whole ones, of up to two values. */
static void batch_element(struct batch *b)
{
    if (b->n + 2 > VALUES_PER_RECORD || b->bytes >= BYTES_PER_RECORD) {
        batch_flush(b);
    }
}

static void image_list(struct image *im, const struct entry *e)
{
    struct batch b;
    struct ql_iter it;
    struct lp_value v;
    char text[I64_TEXT_MAX];
    batch_begin(&b, im, S("RPUSH"), e);
    quicklist_iter(&it, entry_ptr(e), 0, true);
    while (quicklist_next(&it, &v)) {
        batch_value(&b, lp_text(&v, text));
        batch_element(&b);
    }
    batch_flush(&b);
}

static void image_set(struct image *im, const struct entry *e)
{
    struct batch b;
    struct set s;
    struct set_iter it;
    struct set_member m;
    batch_begin(&b, im, S("SADD"), e);
    entry_get_set(e, &s);
    set_iter(&it, &s, 0);
    while (set_next(&it, &m)) {
        batch_value(&b, set_text(&m));
        batch_element(&b);
    }
    batch_flush(&b);
}

static void image_zset(struct image *im, const struct entry *e)
{
    struct batch b;
    struct zset z;
    struct zset_iter it;
    struct zset_item item;
    char score[F64_TEXT_MAX];
    batch_begin(&b, im, S("ZADD"), e);
    entry_get_zset(e, &z);
    zset_iter(&it, z, 0, true);
    while (zset_next(&it, &item)) {
        batch_value(&b, slice_of(score, format_f64(score, item.score)));
        batch_value(&b, item.member);
        batch_element(&b);
    }
    batch_flush(&b);
}

static bool image_entry(void *arg, struct entry *e)
{
    struct image *im = arg;
    switch (entry_type(e)) {
    case OBJ_STRING: image_string(im, e); return true;
    case OBJ_LIST: image_list(im, e); break;
    case OBJ_SET: image_set(im, e); break;
    case OBJ_ZSET: image_zset(im, e); break;
    default: must_not_reach();
    }
    if (entry_expire(e) >= 0) {
        char due[I64_TEXT_MAX];
        struct slice argv[] = { S("PEXPIREAT"), entry_key(e),
                                slice_of(due, format_i64(due, entry_expire(e))) };
        append(im, argv[1], argv, countof(argv));
    }
    return true;
}

/* The lock of the shard is held. */
static void image_shard(struct worker *w, unsigned index)
{
    struct exec *x = w->x;
    if (x->imaged[index]) {
        return;
    }
    x->imaged[index] = true;
    struct image im = { .t = { .w = w, .slot = SLOT_NONE } };
    struct shard *s = keyspace_shard(x->ks, index);
    for (im.db = 0; im.db < keyspace_databases(x->ks); im.db++) {
        if (shard_count(s, im.db) > 0) {
            shard_each(s, im.db, image_entry, &im);
        }
    }
    buf_free(&im.t.fx);
}

void image_before_change_slow(struct worker *w, const uint32_t *shards, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        image_shard(w, shards[i]);
    }
}

void image_all_before_change(struct worker *w)
{
    for (unsigned i = 0; i < w->x->nshards; i++) {
        image_shard(w, i);
    }
}

/* ---- Beginning and ending; exclusive sections ---- */

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
    mem_free(x->imaged);
    x->imaged = NULL;
    atomic_store_explicit(&x->imaging, false, memory_order_relaxed);
    x->log_closing = false;
}

/* A command about nothing in a shard. */
static void append_whole(void *image, const struct slice *argv, unsigned argc)
{
    struct image *im = image;
    im->t.slot = WAL_SLOT_ALL;
    fx_argv(&im->t, 0, argv, argc);
    (void)fx_append(&im->t);
    fx_reset(&im->t);
}

/* What waited for the old log goes on. */
static void wake_reactors(struct exec *x)
{
    for (unsigned i = 0; i < x->reactors; i++) {
        exec_wal_wake(x, i);
    }
}

void exec_log_begin(struct exec *x, struct wal *w)
{
    must(x->wal == NULL);
    forget_log(x);
    x->imaged = mem_calloc(x->nshards * sizeof *x->imaged);
    x->wal = w;
    atomic_store_explicit(&x->imaging, true, memory_order_relaxed);
    if (x->each_library != NULL) { /* they belong to no shard: at once */
        struct image im = { .t = { .w = &x->workers[x->reactors], .slot = SLOT_NONE } };
        x->each_library(x->scripts, append_whole, &im);
        buf_free(&im.t.fx);
    }
}

void exec_log_imaged(struct exec *x)
{
    mem_free(x->imaged);
    x->imaged = NULL;
    atomic_store_explicit(&x->imaging, false, memory_order_relaxed);
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

bool exec_log_image(struct exec *x, bool (*go_on)(void *arg), void *arg)
{
    struct worker *w = &x->workers[x->reactors];
    for (unsigned i = 0; i < x->nshards; i++) {
        while (!wal_admit(x->wal, w->id, ROOM_BYTES)) {
            if (!go_on(arg)) {
                return false;
            }
            usleep(WAIT_US);
        }
        if (!go_on(arg) || wal_state(x->wal) == WAL_NOSPACE || fault("exec.image") != 0) {
            return false;
        }
        struct shard *s = keyspace_shard(x->ks, i);
        worker_wake(w);
        shard_lock(s);
        image_shard(w, i);
        shard_unlock(s);
        worker_sleep(w);
        if (w->appended) {
            w->appended = false;
            wal_announce(x->wal, w->id);
        }
    }
    return true;
}
