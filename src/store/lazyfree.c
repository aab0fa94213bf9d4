/* lazyfree.c -- The background thread that frees big values and flushed databases.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Freeing a container of a million elements takes tens of milliseconds; nobody may wait
 *          for it under a shard lock. An entry that goes is its own queue element, so that freeing
 *          never needs memory.
 *
 * THREADS  Any thread hands over, one thread frees.
 *
 * LOCKS    lazy.lock (RANK_LAZYFREE), taken under shard locks; held for a few instructions.
 *
 * A flushed database dies in two steps. Its entries, which no sweep dereferences, are freed at
 * once. Its headers, directories and segments, which sweeps may still look at, go when the entries
 * are gone *and* every thread was quiescent: whichever of the two comes last (graveyard.holders)
 * queues the second step. */
#include "base/thread.h"
#include "store/store_int.h"
#include <errno.h>

struct graveyard {
    struct graveyard *next; /* under lazy.lock */
    struct keyspace *ks;
    struct table *tables; /* one per shard */
    _Atomic int holders;  /* 2: entries to free, and a sweep may look */
    bool entries_freed;
};

static void wake(struct lazyfree *lf)
{
    /* Either the thread sees the new signal before it sleeps, or this sees that it sleeps: both are
     * seq_cst. */
    atomic_fetch_add(&lf->signal, 1);
    if (atomic_load(&lf->sleeping) != 0) {
        futex_wake(&lf->signal, 1);
    }
}

static void queue_entry(struct keyspace *ks, struct entry *e)
{
    struct lazyfree *lf = &ks->lazy;
    lock_acquire(&lf->lock);
    memcpy((char *)e + ENTRY_LINK_OFFSET, &lf->entries, sizeof e);
    lf->entries = e;
    lf->jobs_in++;
    lf->objects_in++;
    lock_release(&lf->lock);
    wake(lf);
}

static void queue_grave(struct graveyard *g, size_t objects)
{
    struct lazyfree *lf = &g->ks->lazy;
    lock_acquire(&lf->lock);
    g->next = lf->graves;
    lf->graves = g;
    lf->jobs_in++;
    lf->objects_in += objects;
    lock_release(&lf->lock);
    wake(lf);
}

void entry_release(struct keyspace *ks, struct entry *e)
{
    const struct value_ops *o = entry_ops(e);
    if (o != NULL && 1 + o->effort(entry_word_ptr(e)) > ks->cfg.lazyfree_min) {
        queue_entry(ks, e);
    } else {
        entry_free(e);
    }
}

void keyspace_free_value(struct keyspace *ks, enum obj_type type, enum obj_enc enc, void *value)
{
    struct entry_form f = { .type = type, .enc = enc, .word = (uint64_t)(uintptr_t)value };
    entry_release(ks, entry_make(S(""), &f, true));
}

/* ================= Flushed databases ================= */

static void free_entries(struct graveyard *g, _Atomic uint64_t *done)
{
    for (unsigned i = 0; i < g->ks->cfg.shards; i++) {
        table_free_entries(&g->tables[i], done);
    }
    g->entries_freed = true;
}

static void free_segments(struct graveyard *g)
{
    for (unsigned i = 0; i < g->ks->cfg.shards; i++) {
        table_free_segments(&g->tables[i]);
    }
    mem_free(g->tables);
    mem_free(g);
}

static void let_go(void *grave)
{
    struct graveyard *g = grave;
    if (atomic_fetch_sub_explicit(&g->holders, 1, memory_order_acq_rel) == 1) {
        queue_grave(g, 0);
    }
}

void tables_release(struct keyspace *ks, struct table *all, size_t entries, bool async)
{
    struct graveyard *g = mem_alloc(sizeof *g);
    *g = (struct graveyard){ .ks = ks, .tables = all, .holders = 2 };
    if (async) {
        queue_grave(g, entries);
    } else {
        _Atomic uint64_t done = 0;
        free_entries(g, &done);
        must(done == entries);
        let_go(g);
    }
    keyspace_retire(ks, g, let_go);
}

/* ================= The thread ================= */

/* Frees what is queued; false: nothing was. */
static bool free_some(struct lazyfree *lf)
{
    lock_acquire(&lf->lock);
    struct entry *e = lf->entries;
    struct graveyard *g = lf->graves;
    lf->entries = NULL;
    lf->graves = NULL;
    lock_release(&lf->lock);
    if (e == NULL && g == NULL) {
        return false;
    }
    while (e != NULL) {
        struct entry *next;
        memcpy(&next, (char *)e + ENTRY_LINK_OFFSET, sizeof next);
        entry_free(e);
        e = next;
        lf->objects_out++;
        lf->jobs_out++;
    }
    while (g != NULL) {
        struct graveyard *next = g->next;
        if (!g->entries_freed) {
            free_entries(g, &lf->objects_out);
            let_go(g);
        } else {
            free_segments(g);
        }
        g = next;
        lf->jobs_out++;
    }
    return true;
}

static void *lazyfree_main(void *arg)
{
    struct lazyfree *lf = arg;
    mem_thread_start();
    for (;;) {
        uint32_t seen = atomic_load(&lf->signal);
        if (free_some(lf)) {
            continue;
        }
        atomic_fetch_add(&lf->drained, 1);
        futex_wake(&lf->drained, INT32_MAX);
        if (atomic_load(&lf->stop)) {
            break;
        }
        atomic_store(&lf->sleeping, 1);
        futex_wait(&lf->signal, seen, -1);
        atomic_store(&lf->sleeping, 0);
    }
    mem_thread_stop();
    return NULL;
}

int lazyfree_start(struct keyspace *ks)
{
    struct lazyfree *lf = &ks->lazy;
    lock_init(&lf->lock, RANK_LAZYFREE, 0);
    return thread_start(&lf->thread, "kv-lazyfree", lazyfree_main, lf);
}

void lazyfree_stop(struct keyspace *ks)
{
    keyspace_lazyfree_drain(ks);
    atomic_store(&ks->lazy.stop, true);
    wake(&ks->lazy);
    pthread_join(ks->lazy.thread, NULL);
    must(ks->lazy.jobs_in == ks->lazy.jobs_out);
}

void keyspace_lazyfree_drain(struct keyspace *ks)
{
    struct lazyfree *lf = &ks->lazy;
    for (;;) {
        uint32_t seen = atomic_load(&lf->drained);
        if (atomic_load(&lf->jobs_out) == atomic_load(&lf->jobs_in)) {
            return;
        }
        futex_wait(&lf->drained, seen, -1);
    }
}

void keyspace_lazyfree_stats(const struct keyspace *ks, struct lazyfree_stats *out)
{
    out->freed = relaxed_get(ks->lazy.objects_out);
    uint64_t in = relaxed_get(ks->lazy.objects_in);
    out->pending = in > out->freed ? in - out->freed : 0;
}
